"""The command line: each command reads its arguments, calls the stage of its name, and prints the result.

A command imports what it needs when it is called, so that `check` answers without torch. Mistakes that need
no torch are reported before it is imported.
"""

import contextlib
import errno
import io
import logging
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import click

from pokemon_gen.cli_parts import (
    HTML_OUTPUT,
    INTERRUPTED,
    OVERRIDES,
    REPLACE,
    START_AGAIN,
    Group,
    overwrite_option,
    print_training,
    shown,
)
from pokemon_gen.cli_study import study
from pokemon_gen.cli_text import text
from pokemon_gen.errors import OwnCodeError, PokemonGenError

CRITERIA = ("detector", "fid", "nll")
"""Those of `settings.py`, repeated since that module imports pydantic; a test compares them."""

SHOWN = 8
"""The most pictures that are listed."""
_CHECKPOINT = "CHECKPOINT is a checkpoint's folder, or a run's folder or name, whose best checkpoint is used."


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pokemon-gen")
def cli() -> None:
    """Train a small transformer on 20x20 sprites, and complete sprites with it.

    Every setting of a config can be overridden by its dotted name: training.learning_rate=3e-4
    """


@cli.command(
    short_help="Do everything, from training to scorecard.",
    epilog="Example: pokemon-gen run quick training.max_steps=100 name=short",
)
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [OVERRIDES]...")
@START_AGAIN
def run(arguments: tuple[str, ...], overwrite: bool) -> None:
    """Train, choose the best checkpoint, complete, write a checked submission, score.

    CONFIG is a YAML file, the name of a shipped config, or the name of a run; default: quick. A run that was
    stopped resumes.
    """
    from pokemon_gen.stages.kept import kept_submission
    from pokemon_gen.training.resuming import check_same_run

    has_config = bool(arguments) and "=" not in arguments[0]
    config, overrides = (arguments[0], arguments[1:]) if has_config else ("quick", arguments)
    settings = _settings_to_train(config, overrides)
    if not overwrite:
        kept_submission(settings)
        check_same_run(settings)
    from pokemon_gen.pipeline import run as run_all

    result = run_all(settings, overwrite)
    for training in result.trainings:
        print_training(training, overwrite)
    if result.submission is None or result.score is None:
        sys.exit(INTERRUPTED)
    _print_scorecard(result.score.scorecard)
    _print_submission(result.submission)
    click.echo("Files: " + ", ".join(map(str, result.files)))
    if result.submission.report.faults:  # the submission existed, and was changed afterwards
        sys.exit(1)


@cli.command(
    short_help="Train a run, or resume it.",
    epilog="Example: pokemon-gen train gpt2-sample sprites.source=text:my_sprites name=mine",
)
@click.argument("config")
@OVERRIDES
@START_AGAIN
def train(config: str, overrides: tuple[str, ...], overwrite: bool) -> None:
    """Train a run, or resume it: checkpoints/<name>/checkpoint-<step>/.

    CONFIG is a YAML file, the name of a shipped config, or the name of a run.

    The members of an ensemble are <name>/member-0, <name>/member-1, and so on; `run` chooses among their
    checkpoints and combines them.
    """
    from pokemon_gen.training.resuming import check_same_run

    settings = _settings_to_train(config, overrides)
    if not overwrite:
        check_same_run(settings)
    from pokemon_gen.stages.train import train_members

    trainings = train_members(settings, overwrite=overwrite)
    for training in trainings:
        print_training(training, overwrite)
    if trainings[-1].status == "interrupted":
        sys.exit(INTERRUPTED)


@cli.command(
    short_help="Complete prompts: a picture and rows.",
    epilog=f"{_CHECKPOINT} Example: pokemon-gen complete checkpoints/quick --prompts cat.png"
    " completion.temperature=0.8",
)
@click.argument("checkpoint")
@OVERRIDES
@click.option("--split", type=click.Choice(["dev", "test"]), help="Whose prompts to complete; default: test.")
@click.option("--prompts", help="A .txt of prompts, a picture or a folder of pictures, instead of a split.")
@click.option("--variants", default=1, help="Completions of each prompt to keep, the best first; default: 1.")
@click.option("--output", help="The PNG; the rows are written next to it as .txt.")
@REPLACE
def complete(checkpoint: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Complete prompts with a CHECKPOINT: a sheet of all, and rows of tokens.

    A red line in the sheet separates each prompt, above it, from its completion. With --prompts, each
    completion also becomes a clean picture: on the canvas, in the colours and with the transparency of its
    prompt's picture, without a line.
    """
    from pokemon_gen.stages.plans import plan_completion

    plan = plan_completion(checkpoint, overrides=overrides, **options)  # reports mistakes before torch loads
    from pokemon_gen.stages.complete import run_completion

    made = run_completion(plan, options["prompts"])
    click.echo(f"Completed {len(made.sprites)} prompts: {made.picture}, {made.rows}")
    for picture in made.pictures[:SHOWN]:
        click.echo(picture)
    if len(made.pictures) > SHOWN:
        click.echo(f"and {len(made.pictures) - SHOWN} more pictures in {made.pictures[0].parent}")


@cli.command(
    short_help="Write a checked submission.",
    epilog=f"{_CHECKPOINT} Example: pokemon-gen submit checkpoints/quick completion.do_sample=false",
)
@click.argument("checkpoint")
@OVERRIDES
@REPLACE
def submit(checkpoint: str, overrides: tuple[str, ...], overwrite: bool) -> None:
    """Complete the test prompts with a CHECKPOINT and write the submission."""
    from pokemon_gen.stages.plans import plan_submission

    files = plan_submission(checkpoint, overrides, overwrite)
    from pokemon_gen.sprites.loading import load_sprites_of
    from pokemon_gen.stages.submit import run_submission

    made = run_submission(files, load_sprites_of(files.settings.sprites), overwrite)
    _print_submission(made)
    click.echo(f"Files: {made.file}, {made.sidecar}, {made.picture}")


@cli.command(
    short_help="Check the form and prompts of a submission.",
    epilog="Example: pokemon-gen check submissions/quick.txt --prompts test.txt",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prompts", type=click.Path(path_type=Path), help="A text file of the prompts, one a line.")
def check(file: Path, prompts: Path | None) -> None:
    """Check a submission: its exact form, and that no prompt was changed.

    The form: one line for each sprite, 400 tokens in plain digits, one space between two tokens.

    The prompts come from --prompts, or else from the hashes in the sidecar of FILE.
    """
    from pokemon_gen.submission import check as check_file

    report = check_file(file, prompts)
    click.echo(str(report))
    if report.faults:
        sys.exit(1)


@cli.command(
    short_help="Show what this machine has, and how long configs take.",
    epilog="Example: pokemon-gen doctor -v",
)
def doctor() -> None:
    """Show device, precision, versions and free disk, and how long each shipped config will take here.

    A few training steps of each config are measured, which takes half a minute or less.
    """
    from rich.console import Console

    from pokemon_gen.report.tables import estimates_table
    from pokemon_gen.stages.doctor import doctor as diagnose

    diagnosis = diagnose()
    for name, value in diagnosis.facts.items():
        click.echo(f"{name}: {value}")
    Console().print(estimates_table([estimate.row for estimate in diagnosis.estimates]))


@cli.command(
    short_help="Show a source of sprites.",
    epilog="Example: pokemon-gen sprites images:my_art sprites.colours=64 --output sheet.png",
)
@click.argument("source")
@OVERRIDES
@click.option("--output", type=click.Path(path_type=Path), help="The PNG of the contact sheet.")
@REPLACE
def sprites(source: str, overrides: tuple[str, ...], output: Path | None, overwrite: bool) -> None:
    """Show a SOURCE: procedural, hub:ID_OR_FOLDER, text:FOLDER, images:FOLDER, or a FOLDER alone."""
    from pokemon_gen.stages.sprites import preview

    seen = preview(source, overrides, output, overwrite)
    for split, count in seen.counts.items():
        click.echo(f"{split:<5} {count:>6} sprites")
    click.echo(f"palette    {len(seen.sprites.palette)} colours")
    click.echo(f"background {seen.sprites.background_share():.3f} of all pixels")
    click.echo(f"contact sheet {seen.picture}")


@cli.command(
    short_help="Pack what the homework asks for.",
    epilog="Example: pokemon-gen handin homework",
)
@click.argument("run")
@click.option("--output", type=click.Path(path_type=Path), help="The .zip; default: submissions/<name>.zip.")
@REPLACE
def handin(run: str, output: Path | None, overwrite: bool) -> None:
    """Pack a finished RUN: code, notebook, settings, sidecar, versions, how to reproduce; no weights or data.

    The archive is unpacked into an empty folder and tried there before it is written.
    """
    from pokemon_gen.stages.plans import plan_handin

    plan = plan_handin(run, output, overwrite)  # reports mistakes before torch loads
    from pokemon_gen.stages.handin import run_handin

    made = run_handin(plan)
    click.echo(f"{made.file}: {len(made.names)} files; unpacked and tried")


@cli.command(
    short_help="Make a submission again and compare the bytes.",
    epilog="Example: pokemon-gen reproduce submissions/homework.json",
)
@click.argument("sidecar", type=click.Path(path_type=Path))
@overwrite_option("Start again, if it was reproduced before.")
def reproduce(sidecar: Path, overwrite: bool) -> None:
    """Make a submission again from its SIDECAR: settings, seed and source of the sprites.

    The run <name>-reproduced does so; it resumes if it was stopped. The exit status is 1 if the bytes differ.
    """
    from pokemon_gen.stages.plans import plan_reproduction

    plan = plan_reproduction(sidecar)  # reports mistakes before torch loads
    from pokemon_gen.reproduction import run_reproduction

    made = run_reproduction(plan, overwrite)
    if made.equal:
        click.echo(f"{made.file}: equal, SHA-256 {made.sha256}")
        return
    click.echo(f"{made.file}: differs: {made.difference}")
    click.echo(
        "Not as it was then:" if made.causes else "Code, versions, processor and threads are as they were."
    )
    for cause in made.causes:
        click.echo(f"  {cause}")
    sys.exit(1)


@cli.command(
    short_help="Write a report of a run, as one page.",
    epilog="Example: pokemon-gen report quick",
)
@click.argument("run")
@HTML_OUTPUT
@REPLACE
def report(run: str, output: Path | None, overwrite: bool) -> None:
    """Write the report of a RUN or checkpoint: scorecard, completions, curves, and where the model is unsure.

    Without --output it is eval/results/<name>/report.html, which is replaced.
    """
    from pokemon_gen.models.choice import learns_text
    from pokemon_gen.stages.plans import plan_report

    if learns_text(run):
        from pokemon_gen.stages.text_report import write_text_report

        click.echo(write_text_report(run, output, overwrite).file)
        return
    plan = plan_report(run, output, overwrite)  # reports mistakes before torch loads
    from pokemon_gen.stages.report import run_report

    click.echo(run_report(plan).file)


@cli.command(
    short_help="Compare runs side by side, as one page.",
    epilog="Example: pokemon-gen compare fast strong",
)
@click.argument("runs", nargs=-1)
@HTML_OUTPUT
@REPLACE
def compare(runs: tuple[str, ...], output: Path | None, overwrite: bool) -> None:
    """Compare RUNS: their scorecards, the same prompts completed by each, and their curves.

    Without --output it is eval/results/<name>-vs-<name>/compare.html, which is replaced.
    """
    from pokemon_gen.stages.plans import plan_comparison

    plan = plan_comparison(runs, output, overwrite)  # reports mistakes before torch loads
    from pokemon_gen.stages.compare import run_comparison

    click.echo(run_comparison(plan).file)


@cli.command(
    short_help="Write a page in which people paint with the model.",
    epilog="Example: pokemon-gen page quick",
)
@click.argument("run")
@HTML_OUTPUT
@REPLACE
def page(run: str, output: Path | None, overwrite: bool) -> None:
    """Write the live page of a RUN or checkpoint: one HTML file that holds the model and needs no server.

    Without --output it is eval/results/<name>/page.html, which is replaced.
    """
    from pokemon_gen.stages.plans import plan_page

    plan = plan_page(run, output, overwrite)  # reports mistakes before torch loads
    from pokemon_gen.stages.page import run_page

    click.echo(run_page(plan).file)


@cli.command(
    short_help="Show the inside of a model, as one page.",
    epilog="Example: pokemon-gen inspect quick --sprite 3 --pixel 13,10",
)
@click.argument("run")
@click.option("--sprite", type=int, help="Sprites: the dev sprite, from 1; default: 1.")
@click.option("--pixel", metavar="ROW,COLUMN", help="Sprites: whose attention is shown first, from 1.")
@click.option("--token", type=int, help="Sprites: the colour that is compared in different places.")
@click.option("--prompt", help="Text: what the model reads; default: the first whole line of dev.")
@click.option("--word", help="Text: a word that is compared in different contexts.")
@click.option("--layer", type=int, help="The layer that is split into features, from 1; default: the middle.")
@click.option("--features", type=int, help="The most features that are shown; default: 12.")
@click.option("--feature-steps", type=int, help="Steps of the autoencoder's training; default: 300.")
@click.option("--output", type=click.Path(path_type=Path), help="The folder of the page and its files.")
@REPLACE
def inspect(run: str, output: Path | None, overwrite: bool, **options: Any) -> None:
    """Show the inside of a RUN or checkpoint, of sprites or of text: where heads look, what layers decide.

    Without --output it is eval/results/<name>/inside/page.html; that folder is replaced.
    """
    from pokemon_gen.stages.plans import InspectionOptions, plan_inspection

    shown = InspectionOptions(**{name: value for name, value in options.items() if value is not None})
    plan = plan_inspection(run, shown, output, overwrite)  # reports mistakes before torch loads
    from pokemon_gen.stages.inspect import run_inspection

    click.echo(run_inspection(plan).file)


@cli.command(
    short_help="Train the detector of a run.",
    epilog="Example: pokemon-gen detector llama detector.classifier.steps=500",
)
@click.argument("config")
@OVERRIDES
@REPLACE
def detector(config: str, overrides: tuple[str, ...], overwrite: bool) -> None:
    """Train the detector of a run, which chooses its checkpoint: checkpoints/<name>/detector/."""
    settings = _settings_to_train(config, overrides)
    from pokemon_gen.stages.detector import detector as train_detector

    _print_classifier(train_detector(settings, overwrite=overwrite))


@cli.command(
    short_help="Train the frozen judge of a source.", epilog="Example: pokemon-gen judge text:my_sprites"
)
@click.argument("source")
@OVERRIDES
@click.option("--sharp", is_flag=True, help="The sharp judge (judge-sharp.yaml): up to an hour on two cores.")
@overwrite_option("Train the judge again: its metrics then differ from those before.")
def judge(source: str, overrides: tuple[str, ...], sharp: bool, overwrite: bool) -> None:
    """Train the frozen judge of a SOURCE of sprites, once: checkpoints/judge-<fingerprint>/.

    Its config is judge.yaml. The sharp judge learns from completions of better models and can tell good
    completions from real sprites; scorecards use it where it exists. Metrics of different judges cannot be
    compared.
    """
    from pokemon_gen.config_files.loading import load_judge_settings
    from pokemon_gen.validation import check_settings

    check_settings(load_judge_settings(source, overrides, sharp))
    from pokemon_gen.discriminator.examination import failures, limits
    from pokemon_gen.stages.judge import judge as train_judge

    made = train_judge(source, overrides, overwrite, sharp=sharp)
    _print_classifier(made)
    for limit in limits(made.metadata):
        click.echo(f"Note: {limit}.")
    for failure in failures(made.metadata):
        click.echo(f"The judge cannot be relied on: {failure}.")


@cli.command(
    short_help="Combine checkpoints in an ensemble.",
    epilog="Example: pokemon-gen ensemble both checkpoints/llama checkpoints/mistral",
)
@click.argument("name")
@click.argument("checkpoints", nargs=-1, required=True)
@REPLACE
def ensemble(name: str, checkpoints: tuple[str, ...], overwrite: bool) -> None:
    """Combine two or more CHECKPOINTS, whose probabilities are averaged, in checkpoints/NAME/best/.

    The ensemble completes, submits and scores like any checkpoint.
    """
    from pokemon_gen.stages.plans import plan_ensemble

    plan_ensemble(name, checkpoints)
    from pokemon_gen.stages.ensemble import ensemble as combine

    made = combine(name, checkpoints, overwrite)
    for member in made.members:
        click.echo(f"{member['folder']}: {member['from']} ({member['chosen_for']})")
    click.echo(f"Ensemble: {made.folder}")


_weights = click.option(
    "--inception-weights", help="The file of the FID Inception weights; or set POKEMON_GEN_INCEPTION."
)


@cli.command(
    short_help="Choose the best checkpoint of a run.",
    epilog="Example: pokemon-gen select checkpoints/llama --by nll",
)
@click.argument("run")
@OVERRIDES
@click.option("--by", type=click.Choice(CRITERIA), help="The criterion; default: that of the config.")
@click.option("--on", type=click.Choice(["dev", "fold"]), help="Whose sprites; fold: held out of train.")
@_weights
def select(run: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Rank every checkpoint of a RUN, and copy the best one to checkpoints/<name>/best/."""
    from pokemon_gen.stages.plans import plan_selection

    plan_selection(run, overrides)
    from rich.console import Console

    from pokemon_gen.report.tables import selection_table
    from pokemon_gen.stages.select import select as select_best

    made = select_best(run, overrides=overrides, **options)
    Console().print(selection_table(made.selection.by, made.selection.ranked))
    click.echo(f"Best checkpoint: {made.selection.reason}")
    click.echo("Files: " + ", ".join(str(file) for file in (made.best, made.file, made.picture) if file))


@cli.command(
    short_help="Score completions.",
    epilog="Example: pokemon-gen score checkpoints/llama --inception-weights inception.pth",
)
@click.argument("completions")
@OVERRIDES
@click.option(
    "--reference", default="dev", show_default=True, help="dev, train, a FOLDER of images, or a .txt."
)
@_weights
@click.option(
    "--protocol", type=click.Choice(["pytorch-fid", "torch-fidelity"]), default="pytorch-fid",
    show_default=True, help="FID implementation.",
)  # fmt: skip
@click.option("--resize", is_flag=True, help="Resize images of other sizes to 20x20.")
@REPLACE
def score(completions: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Score COMPLETIONS: a checkpoint or run, a .txt of sprites, or a folder of images.

    The scorecard is written to eval/results/<name>/scorecard.json.
    """
    from pokemon_gen.stages.plans import plan_score

    weights = options["inception_weights"]
    plan_score(completions, options["reference"], overrides, options["overwrite"], weights)
    from pokemon_gen.stages.score import score as score_completions

    made = score_completions(completions, overrides=overrides, **options)
    _print_scorecard(made.scorecard)
    click.echo(f"Scorecard: {made.file}")


cli.add_command(text)
cli.add_command(study)


def main() -> None:
    """Run the command line; a user's mistake is one message, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # Windows' code pages have no "≤"
    _show_log()
    shown.tracebacks = False
    try:
        cli()
    except OwnCodeError as error:
        _end(f"{error}" if shown.tracebacks else f"{error}. --debug shows the traceback.")
    except PokemonGenError as error:
        _end(str(error))
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported
            raise
        first = str(error).split(". ")[0]
        _end(f"{first}. `nvidia-smi` shows which processes use the GPU. CUDA_VISIBLE_DEVICES= uses the CPU.")
    except OSError as error:  # a full disk, or a folder that must not be written to
        if error.filename:
            _end(f"{error.filename}: {error.strerror}")
        if "No usable temporary directory" in str(error):
            _end("temporary files can be written nowhere. Free some space, or set TMPDIR to another folder.")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(f"{error.strerror}: {_free_space()}")  # a write to an open file names none


def _free_space() -> str:
    """Return how much space is left where files may have been written."""
    free = ""
    with contextlib.suppress(OSError):  # no folder for temporary files can be written to
        for place in dict.fromkeys((str(Path.cwd()), tempfile.gettempdir())):
            free += f"{shutil.disk_usage(place).free / 2**20:,.0f} MiB are free in {place}. "
    return f"{free}Free some space, or set TMPDIR to another folder for temporary files."


def _end(message: str) -> None:
    """Print an error, with its traceback if `--debug` asks for it, and exit."""
    if shown.tracebacks:
        traceback.print_exc()
    click.echo(f"error: {message}", err=True)
    sys.exit(1)


class _Echo(logging.Handler):
    """Writes the package's log to the terminal, each message once; warnings begin with `note:`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        message = ("note: " if record.levelno >= logging.WARNING else "") + record.getMessage()
        if message not in self.seen:
            write = getattr(sys.modules.get("tqdm"), "tqdm", None)  # writes above a progress bar
            if write is None:
                click.echo(message, err=True)
            else:
                write.write(message, file=sys.stderr)
        self.seen.add(message)


def _show_log() -> None:
    """Show what the package logs from INFO on."""
    log = logging.getLogger("pokemon_gen")
    log.setLevel(logging.INFO)
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, _Echo)]
    log.addHandler(_Echo())
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns if it cannot keep its cache at home


def _settings_to_train(config: str, overrides: tuple[str, ...]) -> Any:
    """Load and check settings before torch is imported, and name their sprites.

    A forgotten `sprites.source=...` shows nowhere else.
    """
    from pokemon_gen.config_files.loading import load_settings
    from pokemon_gen.validation import check_settings

    settings = load_settings(config, overrides)
    check_settings(settings)
    click.echo(f"sprites: {settings.sprites.source}")
    return settings


def _print_classifier(made: Any) -> None:
    from rich.console import Console

    from pokemon_gen.report.tables import negative_types_table

    Console().print(negative_types_table(made.metadata))
    click.echo(f"Calibration error: {made.metadata['calibration_error']:.3f} (0: probabilities are shares)")
    kept = " (it existed already)" if made.kept else ""
    click.echo(f"{made.metadata['role']} {made.metadata['fingerprint']}: {made.folder}{kept}")


def _print_scorecard(scorecard: Any) -> None:
    from rich.console import Console

    from pokemon_gen.report.tables import scorecard_parts

    for part in scorecard_parts(scorecard):
        if isinstance(part, str):
            click.echo(part)
        else:
            Console().print(part)


def _print_submission(made: Any) -> None:
    click.echo(f"Best checkpoint: {made.checkpoint}, {made.reason}")
    click.echo(f"{made.file}: {made.report}")
