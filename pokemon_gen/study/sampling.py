"""The study of sampling: quality against diversity over top-k, top-p and temperature.

A low temperature gives good samples that are alike, a high one gives different samples that are bad, so one
number cannot choose the sampling (Caccia et al. 2020, "Language GANs Falling Short"). Every setting samples
several times from the same dev prompts. The settings that no other one beats in both measures form the front,
and the knee is the point of the front that is farthest above the line between its ends.

The quality is the judge's probability for sprites and the coherence for texts. Without either, it is the
NLL of the samples under the model itself, which rewards dull samples (Holtzman et al. 2020, "The Curious Case
of Neural Text Degeneration"). Each setting is written right after its measurement, so a stopped study
resumes, and a larger grid measures only its new settings.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from pokemon_gen import __version__
from pokemon_gen.bars import progress_bar
from pokemon_gen.completion.sampling import draw_candidates
from pokemon_gen.constants import MEASURING_SEED, PROMPT_LENGTH, RESULTS
from pokemon_gen.discriminator.judge import Judge, find_judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.jackknife import error_of_mean
from pokemon_gen.evaluation.pixels import new_colour_counts
from pokemon_gen.files import read_object, write_json, write_text
from pokemon_gen.models.checkpoints import (
    fingerprint_checkpoint,
    learned_from,
    require_trained_on,
)
from pokemon_gen.models.choice import Choice, choose_checkpoint, read_choice
from pokemon_gen.models.likelihood import nll_of_completions, token_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import find_run, result_name
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.report.sampling import (
    MEASURES,
    Sampling,
    SamplingContent,
    SamplingEntry,
    sampling_csv,
    sampling_page,
    save_tradeoff_plot,
)
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.study.coherence import Embedder, find_embedder
from pokemon_gen.study.diversity import (
    repeated_pixels,
    repetition,
    require_package,
    sprite_measures,
    text_measures,
)
from pokemon_gen.study_settings import SamplingGrid
from pokemon_gen.text.blocks import AdjacentBlocks, batches, read_tokens, require_block
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.generation import INCOMPLETE, continue_tokens
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import UNKNOWN, decode

ROWS_NAME = "rows.json"
"""The values of each prompt and setting, from which the other files are made."""
CHART_NAME, TABLE_NAME, PAGE_NAME = "tradeoff.png", "table.csv", "report.html"
RESAMPLES = 1000
"""Resamples of the prompts, from which the knee's certainty is estimated."""
FLAT = 1e-9
"""The height above the line between the ends of a front, as a share of its range, that is no knee."""
TRUE_SPRITES, TRUE_TEXT, OTHER_TEXT = "true completions", "true continuations", "those of other prompts"
"""What samples are compared with."""
Measured = dict[str, list[float]]
"""Measure → its value for each prompt."""


def combinations(grid: SamplingGrid) -> list[Sampling]:
    """Return every combination of a grid, in its order."""
    return [Sampling(*values) for values in itertools.product(grid.top_k, grid.top_p, grid.temperature)]


@dataclass(frozen=True)
class SamplingRow:
    """What was measured with one setting.

    Attributes:
        sampling: the setting.
        of_each: measure → its value for each prompt, the mean over the prompt's samples.
    """

    sampling: Sampling
    of_each: Measured

    def mean(self, measure: str) -> float:
        """Return the mean of a measure over the prompts."""
        return float(np.mean(self.of_each[measure]))

    def interval(self, measure: str) -> list[float] | None:
        """Return the 95 % interval of that mean. It counts prompts, because samples of one are alike."""
        error = error_of_mean(np.array(self.of_each[measure]))
        if error is None:
            return None
        mean = self.mean(measure)
        return [max(MEASURES[measure].lowest, mean - 1.96 * error), mean + 1.96 * error]


@dataclass(frozen=True)
class SamplingStudy:
    """A finished study.

    Attributes:
        name: of the run.
        quality: the measure of quality, a key of `MEASURES`.
        diversity: the measure of diversity.
        rows: one for each setting, in the order of the grid.
        front: the rows that no other one beats in both measures, by rising diversity.
        knee: the row of the knee; None if there is none.
        knee_share: the share of resamples of the prompts that have the same knee; None without a knee.
        references: kind of sprites or texts → its values, such as those of true completions.
        notes: what to know about the values.
        chart: the PNG.
        table: the CSV.
        page: the HTML page, which holds all of it. A notebook shows it.
    """

    name: str
    quality: str
    diversity: str
    rows: list[SamplingRow] = field(repr=False)
    front: list[int]
    knee: int | None
    knee_share: float | None
    references: dict[str, Measured] = field(repr=False)
    notes: Sequence[str]
    chart: Path
    table: Path
    page: HtmlPage


class Subject(Protocol):
    """What is sampled: a run on sprites, or one on text.

    Attributes:
        name: of the run.
        section: of the settings that hold the sampling.
        quality: the measure of quality.
        diversity: the measure of diversity.
        sizes: what is sampled, in a sentence.
        notes: what to know about the values.
        made_from: everything that the values of a setting depend on, apart from the setting.
    """

    name: str
    section: str
    quality: str
    diversity: str
    sizes: str
    notes: list[str]
    made_from: dict[str, Any]

    def measure(self, sampling: Sampling) -> Measured:
        """Sample with a setting, and measure the samples of each prompt."""

    def references(self) -> dict[str, Measured]:
        """Measure what the samples are compared with."""


def study_sampling(
    run: str | Path, grid: SamplingGrid | None = None, folder: Path | None = None
) -> SamplingStudy:
    """Sample with every setting of a grid, and report quality against diversity.

    Settings that an earlier study of the same checkpoint measured on the same samples are not measured again.

    Args:
        run: the name or the folder of a run, whose best checkpoint is used, or the folder of a checkpoint;
            on sprites or on text.
        grid: the settings; None takes the defaults, which take some minutes on two CPU cores.
        folder: of the results. None: `eval/results/<name>/sampling/`; the name of a checkpoint begins with
            that of its run.

    Raises:
        PokemonGenError: for a run without a checkpoint, sprites or a corpus that are missing or have changed
            since the training, fewer than two prompts, or, for text, without sacreBLEU.
    """
    grid = grid or SamplingGrid()
    choice = choose_checkpoint(run)
    of_text = learned_from(choice.folder) == "text"
    name = result_name(find_run(run))
    subject: Subject = TextSubject(choice, grid, name) if of_text else SpriteSubject(choice, grid, name)
    folder = folder or RESULTS / name / "sampling"
    rows, references = _measure_all(subject, combinations(grid), folder / ROWS_NAME)
    return _report(subject, rows, references, folder)


class SpriteSubject:
    """A run on sprites, whose dev prompts are completed."""

    section, diversity = "completion", "distance"

    def __init__(self, choice: Choice, grid: SamplingGrid, name: str) -> None:
        """Load the model, its sprites, and their judge if there is one."""
        checkpoint = load_checkpoint(read_choice(choice))
        sprites = load_sprites_of(checkpoint.settings.sprites)
        checkpoint.require_palette_of(sprites)
        require_trained_on(choice.folder, sprites.origin)
        dev, judge = sprites.tokens("dev"), find_judge(sprites)
        self.name, self.model, self.grid = name, checkpoint.model, grid
        self.truth = dev[_spread(len(dev), grid.prompts)]  # (P, 400)
        self.judge = judge if isinstance(judge, Judge) else None
        self.quality = "judge" if self.judge else "nll"
        self.sizes = (
            f"{grid.samples} completions of each of {len(self.truth)} dev prompts, from {choice.folder}."
        )
        self.notes = _notes_on(judge)
        self.made_from = {
            "checkpoint": fingerprint_checkpoint(choice.folder),
            "sprites": sprites.fingerprint,
            "judge": self.judge.fingerprint if self.judge else None,
            "prompts": len(self.truth),
            **grid.model_dump(include={"samples", "seed"}),
        }

    def measure(self, sampling: Sampling) -> Measured:
        """Complete every prompt with a setting, and measure the completions."""
        settings = CompletionSettings(
            do_sample=True, candidates=self.grid.samples, seed=self.grid.seed, **asdict(sampling)
        )
        drawn = draw_candidates(self.model, self.truth[:, :PROMPT_LENGTH], settings)
        return {
            **self._judged(drawn.sprites),
            "nll": (-drawn.log_likelihood).mean(1).tolist(),
            **sprite_measures(drawn.sprites),
        }

    def references(self) -> dict[str, Measured]:
        """Measure the true completions of the same prompts."""
        judged = {"judge": [self.judge.evaluate(self.truth).mean_probability]} if self.judge else {}
        true: Measured = {
            **judged,
            "nll": nll_of_completions(self.model, self.truth).tolist(),
            "repeated_pixels": repeated_pixels(self.truth).tolist(),
            "new_colours": new_colour_counts(self.truth).tolist(),
        }
        return {TRUE_SPRITES: true}

    def _judged(self, sprites: NDArray[np.int64]) -> Measured:
        """Return the judge's mean probability for the completions of each prompt; (P, K, 400) → P values."""
        if self.judge is None:
            return {}
        return {"judge": [self.judge.evaluate(completions).mean_probability for completions in sprites]}


class TextSubject:
    """A run on text: the first half of blocks of dev is continued for the length of the second half.

    The likelihood is that of the tokens themselves. Their text can be of other tokens: an unknown character
    and a byte that is no character are written as several, which would fill more than a block.
    """

    section, diversity = "generation", "self_bleu"

    def __init__(self, choice: Choice, grid: SamplingGrid, name: str) -> None:
        """Load the model, cut prompts out of dev, and load the embedding model if it is installed."""
        require_package("sacrebleu", "sacrebleu", "self-BLEU")  # before a study of minutes
        self.model, self.grid = load_text_model(choice.folder), grid
        if self.model.settings is None:
            raise PokemonGenError(
                f"{choice.folder}: its run's corpus is not known, so there are no dev prompts. Name a run "
                "that `pokemon-gen text train` made."
            )
        self.name, corpus = name, open_corpus(self.model.settings.corpus)
        require_trained_on(choice.folder, corpus.origin)
        self.given, self.true = _halves_of_blocks(self.model.tokenizer, corpus, grid.prompts)
        self.prompts, self.truth = self._texts(self.given), self._texts(self.true)
        self.new_tokens = self.true.shape[1]
        found = find_embedder()
        self.embedder = found if isinstance(found, Embedder) else None
        self.quality = "coherence" if self.embedder else "nll_character"
        self.sizes = (
            f"{grid.samples} continuations of each of {len(self.prompts)} texts of dev by {self.new_tokens} "
            f"tokens, from {choice.folder}."
        )
        self.notes = [
            f"Embedding model: {found.name}."
            if isinstance(found, Embedder)
            else f"The quality is the NLL, because no embedding model is installed. {found}"
        ]
        self.made_from = {
            "checkpoint": fingerprint_checkpoint(choice.folder),
            "corpus": corpus.survey.fingerprint,
            "embedder": self.embedder.name if self.embedder else None,
            "prompts": len(self.prompts),
            **grid.model_dump(include={"samples", "seed"}),
        }

    def measure(self, sampling: Sampling) -> Measured:
        """Continue every prompt with a setting, and measure the continuations."""
        assert self.model.settings is not None
        changes = {
            **asdict(sampling),
            "do_sample": True,
            "seed": self.grid.seed,
            "max_new_tokens": self.new_tokens,
            "stop_at_separator": False,  # samples of one length have comparable diversities
        }
        settings = self.model.settings.generation.model_copy(update=changes)
        drawn = [continue_tokens(self.model, given, settings, self.grid.samples) for given in self.given]
        samples = [self._texts(rows) for rows in drawn]
        return {
            **self._coherence(samples),
            "nll_character": [
                float(np.mean(self._nll(given, rows))) for given, rows in zip(self.given, drawn, strict=True)
            ],
            **text_measures(samples),
        }

    def references(self) -> dict[str, Measured]:
        """Measure the true continuations, and how well those of other prompts fit.

        They have no distinct-2: it falls with the number of texts, and there is one true one for each prompt.
        """
        true: Measured = {
            **self._coherence([[text] for text in self.truth]),
            "nll_character": [
                float(self._nll(given, true[None])[0])
                for given, true in zip(self.given, self.true, strict=True)
            ],
            "repetition": [repetition(text) for text in self.truth],
        }
        others = [self.truth[:row] + self.truth[row + 1 :] for row in range(len(self.truth))]
        return {TRUE_TEXT: true, OTHER_TEXT: self._coherence(others)}

    def _coherence(self, samples: Sequence[Sequence[str]]) -> Measured:
        """Return the mean coherence of the samples of each prompt, if there is an embedding model."""
        if self.embedder is None:
            return {}
        pairs = zip(self.prompts, samples, strict=True)
        return {
            "coherence": [
                float(self.embedder.coherence([prompt] * len(texts), texts).mean()) for prompt, texts in pairs
            ]
        }

    def _texts(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the texts of rows of tokens; an unknown character is one character in them."""
        # A half of a tokenizer of bytes may begin or end within a character.
        texts = [decode(self.model.tokenizer, row).strip(INCOMPLETE) for row in rows.tolist()]
        return [text.replace(UNKNOWN, INCOMPLETE) for text in texts]

    @torch.no_grad()
    def _nll(self, given: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the NLL of continuations under the model at temperature 1, in nats per character.

        Args:
            given: (T,) the tokens of the prompt.
            new: (K, T') the tokens of its continuations.
        """
        rows = np.concatenate([np.tile(given, (len(new), 1)), new], axis=1)
        tokens = torch.from_numpy(rows).to(self.model.model.device)  # (K, T + T')
        nll = token_nll(self.model.model(tokens).logits, tokens)[:, len(given) - 1 :].sum(1)
        characters = np.array([max(len(text), 1) for text in self._texts(new)])
        found: NDArray[np.float64] = nll.double().cpu().numpy() / characters
        return found


def _halves_of_blocks(
    tokenizer: PreTrainedTokenizerFast, corpus: Corpus, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the second halves of P blocks of dev, spread evenly over it: (P, T), (P, T').

    Raises:
        PokemonGenError: for a dev of fewer than two blocks.
    """
    where, size = f"{corpus.settings.source}: dev", corpus.settings.block_size
    stream = read_tokens(corpus, "dev", tokenizer)
    require_block(stream, size, where)
    blocks = AdjacentBlocks(stream, size, most)
    if len(blocks) < 2:
        raise PokemonGenError(
            f"{where}: it fills one block of {size} tokens, and a study needs two prompts. Use a longer text."
        )
    tokens = torch.cat(list(batches(blocks, most)))[:, :size]  # (P, block_size)
    return tokens[:, : size // 2].numpy(), tokens[:, size // 2 :].numpy()


def _spread(total: int, most: int) -> NDArray[np.int64]:
    """Return the places of `most` of `total` things, evenly spread; all of them if they are fewer."""
    return np.arange(min(total, most)) * total // min(total, most)


def _notes_on(judge: Judge | str) -> list[str]:
    """Return what to know about the judge of a study."""
    if isinstance(judge, str):
        return [f"The quality is the NLL, because {judge}"]
    doubts = [f"The judge cannot be relied on: {'; '.join(judge.failures)}."] if judge.failures else []
    return [
        f"Judge: {judge.kind}, {judge.fingerprint}. Settings that are chosen here are chosen by the judge, "
        "so it overrates a run that uses them.",
        *doubts,
    ]


def _measure_all(
    subject: Subject, settings: Sequence[Sampling], file: Path
) -> tuple[list[SamplingRow], dict[str, Measured]]:
    """Measure the settings that a file does not hold yet, and write each one to it at once.

    The file keeps what was measured on other samples or of an earlier checkpoint, by what it was made from.
    """
    made_from = hashlib.sha256(json.dumps([__version__, subject.made_from]).encode()).hexdigest()
    kept = read_object(file) if file.is_file() else {}
    known = kept.get(made_from, {})
    references: dict[str, Measured] = known.get("references") or subject.references()
    rows = {Sampling(**row["sampling"]): row["of_each"] for row in known.get("rows", [])}
    missing = [setting for setting in settings if setting not in rows]
    done = len(settings) - len(missing)
    with progress_bar(len(settings), "sampling", "setting", start=done) as bar:
        for setting in missing:
            rows[setting] = subject.measure(setting)
            entries = [{"sampling": asdict(one), "of_each": of_each} for one, of_each in rows.items()]
            write_json(file, {**kept, made_from: {"references": references, "rows": entries}})
            bar.update()
    return [SamplingRow(setting, rows[setting]) for setting in settings], references


def _report(
    subject: Subject, rows: list[SamplingRow], references: dict[str, Measured], folder: Path
) -> SamplingStudy:
    """Find the knee, and write chart, table and page."""
    points = _points(rows, subject)  # (N, P, 2)
    best, front = knee(points.mean(1)), pareto(points.mean(1))
    share = None if best is None else knee_share(points, best)
    content = SamplingContent(
        name=subject.name,
        quality=subject.quality,
        diversity=subject.diversity,
        entries=[_entry(row) for row in rows],
        front=front,
        knee=best,
        knee_share=share,
        references={
            name: {measure: float(np.mean(of_each)) for measure, of_each in values.items()}
            for name, values in references.items()
        },
        override=subject.section,
        sizes=subject.sizes,
        notes=[*subject.notes, *doubts_on_coherence(references)],
    )
    chart, table, page = (folder / name for name in (CHART_NAME, TABLE_NAME, PAGE_NAME))
    save_tradeoff_plot(content, chart)
    write_text(table, sampling_csv(content))
    write_text(page, sampling_page(content, chart.read_bytes()))
    return SamplingStudy(
        subject.name, subject.quality, subject.diversity, rows, front, best, share, references, content.notes,
        chart, table, HtmlPage(page),
    )  # fmt: skip


def doubts_on_coherence(references: Mapping[str, Measured]) -> list[str]:
    """Say so if true continuations fit their own prompts no better than other ones.

    Args:
        references: the coherence of true continuations with their own and with the other prompts, if there is
            an embedding model.
    """
    own, other = (references.get(name, {}).get("coherence", []) for name in (TRUE_TEXT, OTHER_TEXT))
    differences = np.array(own) - np.array(other)
    error = error_of_mean(differences)
    if error is None or differences.mean() - 1.96 * error > 0:
        return []
    return [
        "Do not trust the coherence here: true continuations fit their own prompts by "
        f"{differences.mean():.3f} ± {1.96 * error:.3f} better than other prompts, which can be chance."
    ]


def _entry(row: SamplingRow) -> SamplingEntry:
    """Return a row with its means and intervals."""
    means = {name: row.mean(name) for name in row.of_each}
    return SamplingEntry(**asdict(row.sampling), means=means, intervals={n: row.interval(n) for n in means})


def _points(rows: Sequence[SamplingRow], subject: Subject) -> NDArray[np.float64]:
    """Return diversity and quality of each row and prompt, both higher if better: (N, P, 2)."""
    return np.stack(
        [
            MEASURES[name].sign * np.array([row.of_each[name] for row in rows])
            for name in (subject.diversity, subject.quality)
        ],
        axis=-1,
    )


def pareto(points: NDArray[np.float64]) -> list[int]:
    """Return the points that no other one beats in one coordinate without losing in the other.

    Args:
        points: (N, 2); higher is better in both coordinates.

    Returns:
        Their rows, by rising first coordinate. Of equal points, one is returned.
    """
    front: list[int] = []
    for row in np.lexsort((points[:, 1], points[:, 0]))[::-1].tolist():  # from the largest first coordinate
        if not front or points[row, 1] > points[front[-1], 1]:
            front.append(row)
    return front[::-1]


def knee(points: NDArray[np.float64]) -> int | None:
    """Return the point of the front that is farthest above the line between the front's ends.

    This is the knee of Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack", without its smoothing and
    its sensitivity, which are for long and noisy curves: `kneed` 0.9 finds no knee in fronts of three points.

    Args:
        points: (N, 2); higher is better in both coordinates.

    Returns:
        Its row; None if no point of the front is above the line.
    """
    front = pareto(points)
    ends = points[front]
    if len(front) < 3:
        return None
    scaled = (ends - ends.min(0)) / np.ptp(ends, axis=0)  # the line runs from (0, 1) to (1, 0)
    heights = scaled.sum(1) - 1
    best = int(heights.argmax())
    return front[best] if heights[best] > FLAT else None


def knee_share(points: NDArray[np.float64], row: int) -> float:
    """Return the share of bootstrap resamples of the prompts in which a row is the knee.

    Args:
        points: (N, P, 2) the two coordinates of each row and prompt.
        row: the knee of all prompts.
    """
    generator = np.random.default_rng(MEASURING_SEED)
    prompts = points.shape[1]
    draws = (generator.integers(0, prompts, prompts) for _ in range(RESAMPLES))
    return float(np.mean([knee(points[:, draw].mean(1)) == row for draw in draws]))
