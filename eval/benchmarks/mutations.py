"""Break the code in ways that would falsify a result without an error; the tests must notice each.

    uv run python eval/benchmarks/mutations.py

A break replaces a piece of a copy of the package, and the tests that are named beside it run on the copy.
They catch the break if one of them fails. Bar: every break is caught. A break whose piece has changed in the
code is an error: adapt it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common import argument_parser, outcome

ROOT = Path(__file__).parent.parent.parent
COPIED = ("pokemon_gen", "tests", "configs", "eval", "notebooks", "docs", "pyproject.toml", "README.md")
"""What the tests need."""
LIMIT = 1800
"""Seconds that the tests of a break may take."""
FAILED = 1
"""pytest's exit status when tests failed; others mean that they did not run."""


class Break(NamedTuple):
    """A break: what it does, where, the piece of code before and after, and the tests that must notice."""

    what: str
    file: str
    before: str
    after: str
    tests: str


FORM = "tests/test_submission.py tests/test_text_rows.py"
CLASSIFIER = "tests/discriminator tests/stages/test_detector.py"
SCORE = "tests/evaluation/test_scorecard.py tests/stages/test_score.py"
SELECT = "tests/test_selection.py tests/stages/test_select.py tests/models/test_choice.py"
TRAIN = "tests/training/test_run.py tests/training/test_exact_resume.py tests/test_augmentation.py"
SAMPLE = "tests/completion"
BREAKS = (
    # the form
    Break(
        "a line of more than 400 tokens is accepted",
        "text_rows.py", "elif len(row) not in lengths:", "elif len(row) < min(lengths):", FORM,
    ),
    Break(
        "prompt hashes cover the first 200 tokens only",
        "submission.py", "hash_prompt(row[:prompt_length]) != expected",
        "hash_prompt(row[:200]) != expected", FORM,
    ),
    Break(
        "hashes are written and compared over the first 200 tokens only",
        "submission.py", "hashlib.sha256(row_text(prompt).encode())",
        "hashlib.sha256(row_text(prompt[:200]).encode())", FORM,
    ),
    Break(
        "`--prompts` compares the first 200 tokens only",
        "submission.py", "for i, t in enumerate(prompt) if i < len(row)",
        "for i, t in enumerate(prompt[:200]) if i < len(row)", FORM,
    ),
    Break(
        "of a whole sprite, 200 tokens are the prompt",
        "text_rows.py", "return row[:PROMPT_LENGTH] if", "return row[:200] if", FORM,
    ),
    # the splits
    Break(
        "a detector or a judge learns dev too",
        "discriminator/training.py", "    positives, calibration = _split(train, section, sprites.source)\n",
        "    positives, calibration = _split(train, section, sprites.source)\n"
        "    positives = np.concatenate([positives, dev])\n", CLASSIFIER,
    ),
    Break(
        "the classifier learns the sprites that set its threshold",
        "discriminator/training.py", "section.classifier, section.seed, positives, completions.train, ",
        "section.classifier, section.seed, train, completions.train, ", CLASSIFIER,
    ),
    Break(
        "the generators learn the sprites that set the threshold",
        "discriminator/training.py", "section.generators, section.seed, positives, dev, sprites",
        "section.generators, section.seed, train, dev, sprites", CLASSIFIER,
    ),
    Break(
        "the threshold is taken on dev",
        "discriminator/training.py", "completions.train, calibration, sprites.palette",
        "completions.train, dev, sprites.palette", CLASSIFIER,
    ),
    Break(
        "the threshold is taken on what was learned",
        "discriminator/training.py", "completions.train, calibration, sprites.palette",
        "completions.train, positives, sprites.palette", CLASSIFIER,
    ),
    Break(
        "a generator completes sprites that it has seen",
        "discriminator/generators.py", "seen = np.setdiff1d(np.arange(len(train)), fold)",
        "seen = np.arange(len(train))", CLASSIFIER,
    ),
    Break(
        "checkpoints are compared on train",
        "selection.py", "    return sprites.tokens(on)\n", '    return sprites.tokens("train")\n', SELECT,
    ),
    Break(
        "the scorecard's dev reference is train",
        "stages/score.py", '"train"):\n        tokens = sprites.tokens(reference)',
        '"train"):\n        tokens = sprites.tokens("train")', SCORE,
    ),
    Break(
        "the scorecard's train reference is dev",
        "stages/score.py", '(Reference(split, judged.sprites.tokens(split)) for split',
        '(Reference(split, judged.sprites.tokens("dev")) for split', SCORE,
    ),
    Break(
        "the detection rate of real sprites is that of train",
        "evaluation/scorecard.py", "real = inputs.judge.evaluate(inputs.dev.sprites)",
        "real = inputs.judge.evaluate(inputs.train.sprites)", SCORE,
    ),
    Break(
        "the memorisation check compares with dev",
        "evaluation/scorecard.py", "real.sprites, inputs.train.sprites, inputs.palette",
        "real.sprites, inputs.dev.sprites, inputs.palette", SCORE,
    ),
    # the training
    Break(
        "labels are shifted twice",
        "training/sprites.py", "    labels = tokens.clone()\n", "    labels = tokens.roll(-1, 1)\n",
        f"{TRAIN} {CLASSIFIER}",
    ),
    Break(
        "a resume starts from step 0",
        "training/run.py", "resume_from_checkpoint=str(checkpoint) if checkpoint else None",
        "resume_from_checkpoint=None", TRAIN,
    ),
    Break(
        "the augmentation draws the same whatever the seed",
        "training/captured.py", "manual_seed(derived_seed(self.args.seed, *self._batch)))",
        "manual_seed(derived_seed(0, *self._batch)))", TRAIN,
    ),
    Break(
        "the augmentation draws the same in each step",
        "training/captured.py", "manual_seed(derived_seed(self.args.seed, *self._batch)))",
        "manual_seed(derived_seed(self.args.seed)))", TRAIN,
    ),
    Break(
        "dropout draws the same in each step",
        "training/captured.py", "seed = derived_seed(self.args.seed, *self._batch, 1)",
        "seed = derived_seed(self.args.seed, 1)", f"{TRAIN} tests/training/test_captured.py",
    ),
    Break(
        "ensembles of neighbouring seeds share members",
        "settings.py", "seed = self.seed * self.members + number", "seed = self.seed + number",
        "tests/config_files tests/stages/test_ensemble.py",
    ),
    Break(
        "neighbouring seeds share their orders of sprites",
        "training/arguments.py", 'ours["data_seed"] = derived_seed(settings.seed)',
        'ours["data_seed"] = settings.seed', "tests/training/test_arguments.py tests/training/test_run.py",
    ),
    # the classifier
    Break(
        "only the corrupted half is augmented",
        "discriminator/fit.py", "torch.cat(_augment(pictures, self.settings.channel_swaps, generator))",
        "torch.cat([pictures[0], *_augment(pictures[1:], self.settings.channel_swaps, generator)])",
        CLASSIFIER,
    ),
    Break(
        "nothing is augmented",
        "discriminator/fit.py", "torch.cat(_augment(pictures, self.settings.channel_swaps, generator))",
        "torch.cat(pictures)", CLASSIFIER,
    ),
    Break(
        "there are no splices",
        "discriminator/negatives.py", '    "splice": splice,\n', '    "splice": noise,\n', CLASSIFIER,
    ),
    Break(
        "splices have no share",
        "discriminator/negatives.py", '    "splice": 0.17,\n    "mirrored rows": 0.14,\n',
        '    "splice": 0.0,\n    "mirrored rows": 0.31,\n', CLASSIFIER,
    ),
    Break(
        "there are no completions among the corrupted sprites",
        "discriminator/fit.py", "corrupted = [self.completions.sprites[completed]]",
        "corrupted = [self.positives[self.completions.rows[completed]]]", CLASSIFIER,
    ),
    Break(
        "completions have no share",
        "discriminator/negatives.py", '    COMPLETIONS: 0.39,\n    "splice": 0.17,\n',
        '    COMPLETIONS: 0.0,\n    "splice": 0.56,\n', CLASSIFIER,
    ),
    Break(
        "a splice may keep its own completion",
        "discriminator/negatives.py", "sprites[np.roll(order, 1), PROMPT_LENGTH:]",
        "sprites[order, PROMPT_LENGTH:]", CLASSIFIER,
    ),
    # the scorecard
    Break(
        "intervals are of one standard error",
        "evaluation/jackknife.py", "[max(0.0, value - 1.96 * error), value + 1.96 * error]",
        "[max(0.0, value - error), value + error]", "tests/evaluation",
    ),
    Break(
        "the paired interval of KID resamples both sets on their own",
        "evaluation/distances.py", "kernels.paired_distance(_resample(n, generator))",
        "kernels.distance(_resample(n, generator), _resample(n, generator))", "tests/evaluation",
    ),
    Break(
        "the better half counts",
        "evaluation/scorecard.py", "fid = max(grams", "fid = min(grams", "tests/evaluation",
    ),
    Break(
        "the better half's rate counts",
        "evaluation/scorecard.py", "float(min(result.passed[half]", "float(max(result.passed[half]",
        "tests/evaluation",
    ),
    Break(
        "one of the two limits suffices for a bar",
        "evaluation/scorecard.py", 'fid <= limits["fid"] and result.rate >=',
        'fid <= limits["fid"] or result.rate >=', "tests/evaluation",
    ),
    Break(
        "the selection by FID compares completions with themselves",
        "selection.py", "fid = frechet_distance(drawn, true)", "fid = frechet_distance(drawn, drawn)", SELECT,
    ),
    Break(
        "without a selection, the NLL of all tokens chooses",
        "models/choice.py", '("eval_completion_nll", "completion NLL")', '("eval_nll", "NLL")', SELECT,
    ),
    Break(
        "the selection takes the worst checkpoint",
        "selection.py", "sign = -1 if by in HIGHER_IS_BETTER else 1",
        "sign = 1 if by in HIGHER_IS_BETTER else -1", SELECT,
    ),
    Break(
        "the NLL of the completion is that of the prompt",
        "models/likelihood.py", "return nll[:, -COMPLETION_LENGTH:]", "return nll[:, :COMPLETION_LENGTH]",
        "tests/models/test_likelihood.py",
    ),
    # the sampling
    Break(
        "a conditioning token can be drawn by `generate`",
        "completion/sampling.py", "self.choose(scores[:, : self.palette_size], number)",
        "self.choose(scores, number)", SAMPLE,
    ),
    Break(
        "the nearest colour is that by RGB",
        "palette.py", "self.nearest(oklab(distinct[start : start + 4096]))",
        "((distinct[start : start + 4096, None].astype(float) - self.rgb[None]) ** 2).sum(-1).argmin(1)",
        "tests/test_palette.py tests/sprites/test_images.py",
    ),
    Break(
        "a model completes in its training mode",
        "completion/sampling.py", "    model.eval()\n", "    model.train()\n",
        f"{SAMPLE} tests/training/test_run.py",
    ),
    Break(
        "an ensemble averages logits",
        "models/ensemble.py", "torch.stack(list(logits)).log_softmax(-1).logsumexp(0)",
        "torch.stack(list(logits)).mean(0)", SAMPLE,
    ),
    Break(
        "top-p cuts nothing",
        "completion/sampling.py", "if settings.top_p < 1:", "if settings.top_p < 0:", SAMPLE,
    ),
    Break(
        "draws do not depend on the seed",
        "completion/sampling.py", "np.random.default_rng([seed, *np", "np.random.default_rng([*np", SAMPLE,
    ),
    Break(
        "all candidates of a prompt are equal",
        "completion/sampling.py", "return generator.gumbel(size=shape).astype(np.float32)",
        "return np.repeat(generator.gumbel(size=(1, *shape[1:])), shape[0], 0).astype(np.float32)", SAMPLE,
    ),
)  # fmt: skip


def copy_of_repository(folder: Path) -> None:
    """Copy what the tests need, so that a break never touches the code itself."""
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(place, folder / name)


def run_tests(folder: Path, tests: str) -> int:
    """Run tests on a copy until one fails; return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=LIMIT, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{tests}: they took more than {LIMIT} seconds") from None


def is_caught(one: Break, folder: Path) -> bool:
    """Break the copy, run its tests, and undo the break.

    Raises:
        SystemExit: if the tests did not run.
    """
    file = folder / "pokemon_gen" / one.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(one.before, one.after), encoding="utf-8")
    status = run_tests(folder, one.tests)
    file.write_text(text, encoding="utf-8")
    if status not in (0, FAILED):
        raise SystemExit(f"{one.what}: the tests ended with status {status}")
    return status == FAILED


def require_pieces() -> None:
    """Check that the code still holds the piece that each break replaces, once.

    Raises:
        SystemExit: naming the first break that has to be adapted.
    """
    for one in BREAKS:
        count = (ROOT / "pokemon_gen" / one.file).read_text(encoding="utf-8").count(one.before)
        if count != 1:
            raise SystemExit(f"{one.file}: {one.what}: {count} places hold {one.before!r}")


def chosen(words: Sequence[str]) -> list[Break]:
    """Return the breaks whose description contains one of these words; without words, all of them."""
    return [one for one in BREAKS if not words or any(word in one.what for word in words)]


def main() -> None:
    """Break, test, and print what slipped through."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "words", nargs="*", help="try only the breaks whose description contains one of these"
    )
    breaks = chosen(parser.parse_args().words)
    require_pieces()
    slipped = []
    with tempfile.TemporaryDirectory() as temporary:
        copy_of_repository(Path(temporary))
        for tests in dict.fromkeys(one.tests for one in breaks):
            if run_tests(Path(temporary), tests):
                raise SystemExit(f"{tests}: they fail without a break")
        for one in breaks:
            caught = is_caught(one, Path(temporary))
            slipped += [] if caught else [one.what]
            print(f"{'caught' if caught else 'SLIPPED'}: {one.what} ({one.file})", flush=True)
    print(f"{len(breaks) - len(slipped)} of {len(breaks)} breaks were caught")
    print(outcome(not slipped))


if __name__ == "__main__":
    main()
