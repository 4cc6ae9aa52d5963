"""What the commands of the command line share: options, exit statuses, and how results are printed."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

INTERRUPTED = 130
"""The shell's exit status for a program stopped by Ctrl-C (128 + SIGINT)."""
Function = TypeVar("Function", bound=Callable[..., Any])


def overwrite_option(help_text: str) -> Callable[[Function], Function]:
    """Return the option that replaces what exists."""
    return click.option("--overwrite", is_flag=True, help=help_text)


REPLACE = overwrite_option("Replace files that exist.")
START_AGAIN = overwrite_option("Start again: delete the run's checkpoints and results first.")
OVERRIDES = click.argument("overrides", nargs=-1)
HTML_OUTPUT = click.option("--output", type=click.Path(path_type=Path), help="The HTML file.")


class Command(click.Command):
    """A command that takes -v and --debug after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _logging_options()


class Group(click.Group):
    """The group of all commands."""

    command_class = Command

    def invoke(self, context: click.Context) -> Any:
        """Run the command; Ctrl-C, or a signal before the first step of a training, is one message."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            click.echo(str(error) or "interrupted", err=True)
            sys.exit(INTERRUPTED)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _logging_options()


def _logging_options() -> list[click.Parameter]:
    """Return the options that say how much is shown."""

    def verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            logging.getLogger("pokemon_gen").setLevel(logging.DEBUG)

    def debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            logging.getLogger("pokemon_gen").setLevel(logging.DEBUG)
            shown.tracebacks = True

    return [
        _flag(["-v", "--verbose"], verbose, "Show more messages."),
        _flag(["--debug"], debug, "Show the traceback behind an error message."),
    ]


def _flag(names: list[str], callback: Any, help_text: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, callback=callback, help=help_text)


class _Shown:
    """What the user asked to see."""

    tracebacks = False


shown = _Shown()


def print_training(result: Any, overwrite: bool) -> None:
    """Print what a training reached, and how it is resumed if it was interrupted."""
    dev = "" if result.dev_nll is None else f"; dev NLL {result.dev_nll:.4f} nats/token"
    if result.dev_completion_nll is not None:
        dev += f", completion {result.dev_completion_nll:.4f}"
    click.echo(f"{result.folder}: {result.status}, step {result.step} of {result.max_steps}{dev}")
    if result.status == "interrupted" and result.settings.training.get("save_only_model"):
        click.echo("The checkpoint has no optimizer (save_only_model), so the run cannot resume.")
    elif result.status == "interrupted":
        without = " without --overwrite" if overwrite else ""
        click.echo(f"A checkpoint was saved; the same command{without} resumes the run.")
