"""`pokemon-gen study`: a study from a plan, and the study of sampling."""

import sys
from typing import Any

import click

from pokemon_gen.cli_parts import INTERRUPTED, OVERRIDES, Command, Group, overwrite_option


class _Studies(Group):
    """A group in which the name of a plan can stand where a command's would."""

    def resolve_command(self, context: click.Context, arguments: list[str]) -> Any:
        """Take the first word for a plan, unless it is the name of a command."""
        if arguments and arguments[0] not in self.commands and not arguments[0].startswith("-"):
            arguments = ["plan", *arguments]
        return super().resolve_command(context, arguments)


@click.group(
    cls=_Studies,
    short_help="Train the variants of a plan, or study sampling.",
    epilog="Example: pokemon-gen study captions 'seeds=[0]'",
)
def study() -> None:
    """Study a question: train the variants of a plan, or complete with many sampling settings.

    `pokemon-gen study STUDY.yaml` trains what the plan lacks, and writes a table, curves and a report. It
    resumes where it was stopped.
    """


@study.command(
    cls=Command,
    short_help="Complete with many sampling settings.",
    epilog="Example: pokemon-gen study sampling quick 'sampling.temperature=[0.7,1.0]'",
)
@click.argument("run")
@OVERRIDES
def sampling(run: str, overrides: tuple[str, ...]) -> None:
    """Sample the dev prompts of a RUN with every combination of top-k, top-p and temperature.

    The result is a plot of quality against diversity with its knee, a table and a page. Overrides such as
    sampling.top_p=[1.0,0.9] change the grid.
    """
    from pokemon_gen.config_files.overrides import override_sampling

    grid = override_sampling(overrides)
    from pokemon_gen.models.choice import choose_checkpoint

    choose_checkpoint(run)  # both report mistakes before torch loads
    from pokemon_gen.study.sampling import study_sampling

    made = study_sampling(run, grid)
    for note in made.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Knee: {'none' if made.knee is None else made.rows[made.knee].sampling.words}")
    click.echo(f"Files: {made.page.file}, {made.chart}, {made.table}")


@study.command(
    cls=Command,
    short_help="Train the variants of a plan.",
    epilog="Example: pokemon-gen study captions name=short 'always=[training.max_steps=100]'",
)
@click.argument("plan")
@OVERRIDES
@overwrite_option("Train the runs again whose settings were others.")
def plan(plan: str, overrides: tuple[str, ...], overwrite: bool) -> None:
    """Train the variants of a PLAN (a YAML file, or the name of a shipped study), and write its report."""
    from pokemon_gen.study.plan import load_plan

    loaded = load_plan(plan, overrides)  # reports mistakes before torch loads
    from rich.console import Console

    from pokemon_gen.report.tables import study_table
    from pokemon_gen.stages.study import run_study
    from pokemon_gen.study.runs import InterruptedStudyError

    try:
        made = run_study(loaded, overwrite=overwrite)
    except InterruptedStudyError as error:
        click.echo(str(error), err=True)
        sys.exit(INTERRUPTED)
    Console().print(study_table(made.rows))
    click.echo(f"Files: {made.file}, {made.page}, {made.markdown}")
