"""The settings of a run on text: the same as those of a run on sprites where the two are alike.

`model` and `training` mean what they mean in `settings.py`. The docstrings of the fields are also the
reference in `docs/configs.md`.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pokemon_gen.settings import RunSettings, Section, SectionAlone

LOCATION_OF_CORPUS = {"source"}
"""Fields of `corpus:` that may change within a run: a corpus is recognised by its fingerprint."""


class CorpusSettings(Section):
    """The text that a model learns, and how it is cut into blocks."""

    source: str = "captions"
    """The source: `captions` or `riddles` (both about the procedural sprites, written by the code that draws
    them), `file:PATH` (a text file in UTF-8) or `hub:ID_OR_FOLDER` (a column of a data set)."""
    column: str | None = None
    """The column of a `hub:` data set. By default, its only column of texts."""
    count: int = Field(4_000, ge=2)
    """Number of captions or riddles. A core writes about 300 a second."""
    seed: int = Field(0, ge=0)
    """Seed of the captions and riddles, and of `split: documents`."""
    separator: str = Field("\n", min_length=1)
    """What is between two documents: captions and the texts of a column are joined by it, and
    `split: documents` cuts a file at it. Generation can stop at it."""
    case: Literal["keep", "lower", "upper"] = "keep"
    """Whether letters are kept, or all made lower or upper case."""
    split: Literal["order", "documents"] = "order"
    """How dev is taken: `order` takes the end of the text, `documents` draws documents from all of it."""
    train_share: float = Field(0.9, gt=0, lt=1)
    """Share of the characters (or of the documents) that belongs to train. The rest is dev."""
    block_size: int = Field(64, ge=2)
    """Number of tokens that the model reads at once. It predicts the token after each of them."""
    eval_blocks: int = Field(512, ge=0)
    """The most blocks of dev, spread over it, on which the NLL is measured during the training, since all of
    dev can take longer than the training. 0 takes all of them. `text score` always reads all of dev."""
    blocks: Literal["random", "epochs"] = "random"
    """How blocks are drawn: `random` starts each block anywhere in train, so that blocks overlap; `epochs`
    cuts train into blocks that do not overlap, and shuffles them in each epoch."""

    def cased(self, text: str) -> str:
        """Return a text in the case of the corpus."""
        if self.case == "keep":
            return text
        return text.lower() if self.case == "lower" else text.upper()


class TokenizerSettings(Section):
    """What a token is."""

    kind: Literal["characters", "bpe", "pretrained"] = "characters"
    """`characters` (each character of the corpus is a token), `bpe` (byte pair encoding of bytes, learned
    from train) or `pretrained`."""
    size: int = Field(512, ge=257)
    """Number of tokens of a `bpe` tokenizer. 256 of them are the bytes."""
    unknown: bool = False
    """Whether a character that train lacks becomes the token `<unk>`. By default, the characters of dev are
    tokens too, and any other one is an error that names it. A `bpe` tokenizer knows every character."""
    source: str | None = None
    """The tokenizer of `kind: pretrained`: a folder, or the id of a model on the hub."""

    @model_validator(mode="after")
    def _a_pretrained_tokenizer_has_a_source(self) -> Self:
        if (self.kind == "pretrained") != (self.source is not None):
            raise ValueError("source: `kind: pretrained` needs one, and the other kinds have none.")
        if self.unknown and self.kind != "characters":
            raise ValueError("unknown: only `kind: characters` has unknown characters.")
        return self


class GenerationSettings(Section):
    """How text is continued. The names are those of `transformers`."""

    do_sample: bool = True
    """Whether each token is sampled. If not, the most likely token is taken (greedy decoding)."""
    temperature: float = Field(1.0, gt=0)
    """Divisor of the logits before sampling."""
    top_k: int = Field(0, ge=0)
    """Number of most likely tokens to sample from. 0 means all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sampling is limited to the smallest set of most likely tokens whose probabilities add up to this
    value (nucleus sampling). 1 means all tokens."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling. Sample N has the same text, however many samples are drawn."""
    max_new_tokens: int = Field(300, ge=1)
    """The most tokens that are added to a prompt."""
    stop_at_separator: bool = False
    """Whether a sample ends at the corpus's separator."""


class TextSettings(RunSettings):
    """All settings of a run on text."""

    learns: ClassVar[Literal["sprites", "text"]] = "text"
    measured: ClassVar[tuple[str, ...]] = ("nll", "bits_per_character", "loss")
    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    generation: GenerationSettings = GenerationSettings()

    def training_defaults(self) -> dict[str, Any]:
        """Return defaults in steps, since an epoch of random blocks has no meaning."""
        return {
            "per_device_eval_batch_size": 64,
            "logging_strategy": "steps",
            "logging_steps": 0.02,
            "eval_strategy": "steps",
            "eval_steps": 0.1,
            "save_strategy": "steps",
            "save_steps": 0.1,
            # Random blocks are drawn by their number, so shuffling the numbers would add nothing.
            "train_sampling_strategy": "sequential" if self.corpus.blocks == "random" else "random",
        }

    def fixed(self) -> dict[str, Any]:
        """Return section → settings that must not change within a run; the corpus has a fingerprint."""
        return {
            "corpus": self.corpus.model_dump(exclude=LOCATION_OF_CORPUS),
            "tokenizer": self.tokenizer.model_dump(),
            **super().fixed(),
        }


class CorpusAlone(SectionAlone):
    """Settings of a corpus without a run."""

    corpus: CorpusSettings


class GenerationAlone(SectionAlone):
    """Settings of the generation without a run."""

    generation: GenerationSettings
