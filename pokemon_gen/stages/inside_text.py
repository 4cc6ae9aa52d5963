"""The inside of a model of text: what each part of the page shows, computed on a prompt and on dev.

Tokens, layers and heads are counted from 1 in words, and from 0 in arrays.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pokemon_gen.constants import MEASURING_SEED
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.ablation import AblationRow, ablate
from pokemon_gen.interpret.activations import add_to_stream, read_activations
from pokemon_gen.interpret.attention import entropy, mean_by_distance, name_heads, rollout, text_targets
from pokemon_gen.interpret.embeddings import project
from pokemon_gen.interpret.features import compare
from pokemon_gen.interpret.lens import decision_layer, logit_lens
from pokemon_gen.report.inside import (
    Block,
    Cell,
    Context,
    Contexts,
    Scatter,
    Section,
    Table,
    TextAttention,
    Tiles,
)
from pokemon_gen.report.inside_pictures import Point, Tile, heat_pixels
from pokemon_gen.stages.inside_parts import (
    Features,
    ablation_arrays,
    ablation_table,
    activations_by_layer,
    affordable,
    compared_table,
    density_rows,
    depth_name,
    feature_quality,
    head_name,
    heads_table,
    lens_table,
    percent,
    projections,
    titled,
    train_features,
)
from pokemon_gen.text.blocks import AdjacentBlocks, TokenStream
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.tokenizers import decode
from pokemon_gen.text_settings import GenerationSettings

FEW, VECTORS, ABLATED = 16, 64_000, 32
"""Blocks of dev whose attention and predictions are read; vectors of train that the autoencoder learns from
(a quarter as many of dev measure it); blocks on which parts are switched off."""
READ, COUNTED = 2**14, 2**22
"""Tokens whose states are held at once, and tokens that are counted at once."""
MOST_LABELS = 200
"""The most tokens in a scatter plot of embeddings, the most frequent ones: more labels cannot be read."""
SHOWN_CONTEXTS, BEFORE, AFTER = 8, 30, 10
"""Contexts of a feature, and the tokens shown before and after the marked one."""
STEERED, STRENGTHS, CONTINUED = 3, (0.5, 1.0), 60
"""Features that steer a text, their strengths as shares of their largest activation, and the new tokens."""
LEAST_OCCURRENCES, MOST_OCCURRENCES = 4, 60
"""Occurrences of a word whose states are compared: a projection needs four."""
BLUE = (47, 109, 181)


@dataclass(frozen=True)
class TextView:
    """What is inspected.

    Attributes:
        text_model: the model and its tokenizer.
        train: the tokens of train, and so `dev`.
        dev: see `train`.
        tokens: (T,) the prompt.
        other: (K,) another text, whose last token is compared with that of the prompt; None if dev has none.
        word: whose states in different contexts are compared; empty for none.
        contexts: the beginnings of texts up to and including the word, as `occurrences` returns them.
        layer: the layer whose output is split into features, counted from 1.
        steps: of the autoencoder's training.
        shown: the most features that are shown.
    """

    text_model: TextModel
    train: TokenStream
    dev: TokenStream
    tokens: NDArray[np.int64]
    other: NDArray[np.int64] | None
    word: str
    contexts: list[str]
    layer: int
    steps: int
    shown: int

    @property
    def model(self) -> PreTrainedModel:
        """The model alone."""
        return self.text_model.model

    @property
    def block_size(self) -> int:
        """The tokens of a block."""
        assert self.text_model.settings is not None
        return self.text_model.settings.corpus.block_size

    @cached_property
    def names(self) -> list[str]:
        """The prompt's tokens as text."""
        return [self.name(token) for token in self.tokens.tolist()]

    def name(self, token: int) -> str:
        """Return a token as text in which spaces and line breaks can be seen."""
        return decode(self.text_model.tokenizer, [token]).replace("\n", "⏎").replace(" ", "␣")

    def blocks(self, stream: TokenStream, count: int) -> NDArray[np.int64]:
        """Return at most `count` blocks of a stream, spread over it, (N, block size)."""
        adjacent = AdjacentBlocks(stream, self.block_size, count)
        found: NDArray[np.int64] = adjacent.__getitems__(list(range(len(adjacent))))[:, :-1].numpy()
        return found

    def blocks_for(self, stream: TokenStream, vectors: int) -> NDArray[np.int64]:
        """Return blocks of a stream with about that number of vectors, (N, block size)."""
        return self.blocks(stream, max(1, vectors // self.block_size))


def attention_section(view: TextView) -> Section:
    """Return where each head looks, in the prompt and in the mean."""
    own = read_activations(view.model, view.tokens[None], attentions=True).attentions
    blocks = view.blocks(view.dev, affordable(view.model, view.block_size, FEW))
    attentions = read_activations(view.model, blocks, attentions=True).attentions
    assert own is not None
    assert attentions is not None
    named = name_heads(attentions, text_targets(blocks.shape[1]))
    nats, shares = (measured.mean(1) for measured in entropy(attentions))  # (L, H)
    distances = np.stack([mean_by_distance(layer.mean(0)) for layer in attentions])  # (L, H, T)
    flow = rollout(own)[:, 0].astype(np.float32)  # (L, T, T)
    names = {(head.layer, head.head): head.name for head in named}
    maps = [(f"{head_name(h.layer, h.head)}: {h.name}", own[h.layer, 0, h.head]) for h in named]
    maps += [(f"rollout up to layer {n + 1}", one) for n, one in enumerate(flow)]
    tiles = [Tile(heat_pixels(_seen(one), 1), name, f"Attention of {name}") for name, one in maps]
    text_attention = TextAttention(
        "tokens",
        "From token to token",
        "Choose a head, and click the token that looks: the bluer the other tokens, the more of its "
        "attention they get, relative to the largest share. The heads with the clearest target come first. "
        "The rollout follows the attention of all heads through the layers, half of it through the "
        "residual stream.",
        view.names,
        [name for name, _ in maps],
        tiles,
        np.stack([one for _, one in maps]),
        4,
    )
    rows = [
        (
            head_name(layer, head),
            names[layer, head],
            *(percent(share) for share in distances[layer, head, :8]),
        )
        for layer, head in np.ndindex(distances.shape[:2])
    ]
    by_distance = Table(
        "distance",
        "Mean attention by distance",
        f"Over {len(blocks)} blocks of dev: the mean share of a token that lies that number of tokens back.",
        ["Head", "Looks at", *(f"{n} back" for n in range(len(rows[0]) - 2))],
        rows,
    )
    arrays = {
        "attention": own[:, 0], "rollout": flow, "mean_by_distance": distances,
        "entropy_nats": nats, "entropy_share": shares, "tokens": view.tokens,
    }  # fmt: skip
    return titled("attention", [text_attention, heads_table(named, shares), by_distance], arrays)


def _seen(attention: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return attention (T, T) with NaN for the keys that a query does not see."""
    return np.where(np.tri(len(attention), dtype=bool), attention, np.nan)


def embedding_section(view: TextView) -> Section:
    """Return the token embeddings, and the states of one word in different contexts."""
    vectors = view.model.get_input_embeddings().weight.detach().float().cpu().numpy()
    counts = count_tokens(view.train.tokens, len(vectors))
    order = np.argsort(-counts, kind="stable")[: min(MOST_LABELS, np.count_nonzero(counts))]
    points = [
        Point(0, 0, BLUE, f"{view.name(t)}: {counts[t]:,} times in train", view.name(t))
        for t in order.tolist()
    ]
    plots, planes = projections(
        vectors[order], points, f"the embeddings of the {len(order)} most frequent tokens", MEASURING_SEED
    )
    arrays: dict[str, NDArray[Any]] = {"tokens": order, "embeddings": vectors, **planes}
    blocks: list[Block] = [*plots]
    if view.contexts:
        found, more = _word(view)
        blocks += found
        arrays |= more
    return titled("embeddings", blocks, arrays)


def count_tokens(tokens: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return how often each of `size` tokens occurs, (size,); counting in pieces bounds the memory."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(tokens), COUNTED):
        counts += np.bincount(tokens[start : start + COUNTED], minlength=size)
    return counts


def occurrences(lines: Iterable[str], word: str) -> list[str]:
    """Return the beginnings of lines up to and including a word, at most `MOST_OCCURRENCES` different ones.

    No line is read after the last of these.

    Raises:
        PokemonGenError: for a word that is too rare.
    """
    pattern = re.compile(rf"\b{re.escape(word)}\b")
    found = (line[: match.end()] for line in lines for match in pattern.finditer(line))
    distinct: dict[str, None] = {}
    for beginning in found:
        distinct[beginning] = None
        if len(distinct) == MOST_OCCURRENCES:
            break
    if len(distinct) < LEAST_OCCURRENCES:
        raise PokemonGenError(
            f"--word: {word!r} occurs in {len(distinct)} different contexts in dev. Choose a word that "
            f"occurs in at least {LEAST_OCCURRENCES}."
        )
    return list(distinct)


def _word(view: TextView) -> tuple[list[Block], dict[str, NDArray[Any]]]:
    """Return the states of a word's last token in different contexts."""
    word, contexts = view.word, view.contexts
    states = np.stack([_last_states(view, text) for text in contexts], axis=1)  # (L + 1, K, D)
    unit = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    similarity = unit @ unit.swapaxes(1, 2)  # (L + 1, K, K)
    first, second = np.triu_indices(len(contexts), k=1)
    least = int(similarity[view.layer][first, second].argmin())
    pair = first[least], second[least]
    plane = project(states[view.layer], "pca", MEASURING_SEED)
    preceding = [(text[: -len(word)].split() or ["(begin)"])[-1] for text in contexts]
    points = [
        Point(float(x), float(y), BLUE, text, before)
        for (x, y), text, before in zip(plane, contexts, preceding, strict=True)
    ]
    rows = [
        (depth_name(n), f"{s[first, second].mean():.3f}", f"{s[pair]:.3f}") for n, s in enumerate(similarity)
    ]
    blocks: list[Block] = [
        Scatter(
            "word",
            f"“{word}” in {len(contexts)} contexts",
            f"PCA of the states of its last token after layer {view.layer}; the label of a point is the "
            "word before it.",
            points,
        ),
        Table(
            "word-layers",
            f"How similar “{word}” stays to itself",
            "Cosine similarity of the states in different contexts: 1 means that the context makes no "
            "difference.",
            ["After", "Mean over all pairs", "The pair below"],
            rows,
        ),
        Contexts(
            "word-pair",
            f"The least similar pair after layer {view.layer}",
            "The model reads a text up to the marked word.",
            {f"“{word}”": [Context(contexts[n][: -len(word)], word, "") for n in pair]},
        ),
    ]
    return blocks, {"word_pca": plane, "word_contexts": np.array(contexts), "word_similarity": similarity}


def _last_states(view: TextView, text: str) -> NDArray[np.float32]:
    """Return the stream at the last token of a text, (L + 1, D)."""
    tokens = np.array(view.text_model.tokenizer.encode(text, add_special_tokens=False))
    return read_activations(view.model, tokens[None, -(view.text_model.context or 0) :]).hidden[:, 0, -1]


def lens_section(view: TextView) -> Section:
    """Return what each layer would predict after each token of the prompt, and the likelihood by layer."""
    own = logit_lens(view.model, view.tokens[None])
    decided = decision_layer(own.predicted)[0]  # (T,)
    depth = len(own.predicted) - 1
    rows = []
    for place, name in enumerate(view.names):
        cells = [view.name(int(token)) for token in own.predicted[:, 0, place]]
        marked = [Cell(cell) if n >= decided[place] else cell for n, cell in enumerate(cells)]
        follows = view.names[place + 1] if place + 1 < len(view.names) else ""
        rows.append((f"{place + 1}: {name}", *marked, follows))
    tokens = Table(
        "tokens",
        "What each layer would predict next",
        "The most probable next token after each token of the prompt, if the model stopped after that "
        "layer; it is marked from the layer on after which it does not change. Early layers were never "
        "trained to be read this way.",
        ["Token", "Embeddings", *(f"Layer {n}" for n in range(1, depth + 1)), "The prompt"],
        rows,
    )
    blocks = view.blocks(view.dev, FEW)
    mean = logit_lens(view.model, blocks)
    layers = lens_table(mean, decision_layer(mean.predicted), f"{len(blocks)} blocks of dev")
    arrays = {"predicted": own.predicted[:, 0], "decided": decided, "nll": own.nll[:, 0], "dev_nll": mean.nll}
    return titled("lens", [tokens, layers], arrays)


def feature_section(view: TextView) -> tuple[Section, Features]:
    """Return the sparse features of a layer, and the autoencoder that found them."""
    learned = _vectors(view, view.blocks_for(view.train, VECTORS))
    dev_blocks = view.blocks_for(view.dev, VECTORS // 4)
    held_out = _vectors(view, dev_blocks)
    features = train_features(learned, held_out, view.steps, view.shown)
    density = features.report.density
    contexts = {
        f"Feature {feature}: active in {percent(density[feature], 1)} of the tokens": _contexts(
            view, features, feature, dev_blocks
        )
        for feature in features.shown
    }
    blocks: list[Block] = [
        feature_quality(features, len(learned), len(held_out), view.layer, "token"),
        density_rows(features.report),
        Contexts(
            "contexts",
            "Where features are most active",
            f"For each feature, the {SHOWN_CONTEXTS} tokens of dev that excite it most, marked in their "
            "contexts, with its activation.",
            contexts,
        ),
    ]
    arrays: dict[str, NDArray[Any]] = {
        "shown": np.array(features.shown), "density": features.report.density, "top_row": features.top.rows,
        "top_value": features.top.values, "dev_blocks": dev_blocks,
    }  # fmt: skip
    if features.shown:
        states = read_activations(view.model, view.tokens[None]).hidden[:, 0]
        maps = activations_by_layer(features, states)[..., features.shown]  # (L + 1, T, shown)
        maps[:, 0] = np.nan  # an anchor, as in `_vectors`: it would outshine all other tokens
        steered, texts = _steered(view, features)
        blocks.append(_by_layer_tiles(view, features, maps))
        if view.other is not None:
            blocks.append(_compared(view, features, view.other))
        blocks.append(steered)
        arrays |= {"by_layer": maps, "steered": np.array(texts)}
    return titled("features", blocks, arrays), features


def _vectors(view: TextView, blocks: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the stream after the chosen layer without the anchors at the first tokens, (M, D)."""
    step = max(1, READ // blocks.shape[1])
    parts = [
        read_activations(view.model, blocks[start : start + step]).hidden[view.layer, :, 1:]
        for start in range(0, len(blocks), step)
    ]
    states = np.concatenate(parts)
    return np.ascontiguousarray(states.reshape(-1, states.shape[-1]))


def _contexts(view: TextView, features: Features, feature: int, blocks: NDArray[np.int64]) -> list[Context]:
    """Return the strongest places of a feature in blocks of dev."""

    def shown(tokens: NDArray[np.int64]) -> str:
        return decode(view.text_model.tokenizer, tokens.tolist()).replace("\n", "⏎")

    found = []
    for row, value in zip(
        features.top.rows[feature][:SHOWN_CONTEXTS], features.top.values[feature], strict=False
    ):
        number, place = divmod(int(row), blocks.shape[1] - 1)
        tokens, place = blocks[number], place + 1
        found.append(
            Context(
                shown(tokens[max(0, place - BEFORE) : place]),
                shown(tokens[place : place + 1]),
                shown(tokens[place + 1 : place + 1 + AFTER]),
                f"{value:.1f}",
            )
        )
    return found


def _by_layer_tiles(view: TextView, features: Features, maps: NDArray[np.float32]) -> Tiles:
    """Return the activation of each feature by layer (rows) and token (columns) of the prompt."""
    tiles = []
    for place, feature in enumerate(features.shown):
        values = maps[:, :, place]
        depth, token = np.unravel_index(int(np.nanargmax(values)), values.shape)
        largest = float(np.nanmax(values))
        where = f"largest {largest:.1f}, token {token + 1} “{view.names[int(token)]}”, layer {depth}"
        pixels = heat_pixels(values, max(largest, 1e-9))
        tiles.append(Tile(pixels, f"feature {feature}\n{where}", f"feature {feature}: {where}"))
    note = (
        "Rows are layers from the embeddings (0) down to the last, columns the tokens of the prompt, without "
        f"the first. The autoencoder learned the stream after layer {view.layer}; after other layers it "
        "reads the same directions, which may mean something else there."
    )
    top = "the largest activation of the feature"
    return Tiles("by-layer", "Activation by layer and by token", note, tiles, 7, 1, True, top)


def _compared(view: TextView, features: Features, other: NDArray[np.int64]) -> Table:
    """Return the features of the last token of the prompt and of another text, (K,) tokens."""
    both = (view.tokens, other)
    states = [read_activations(view.model, tokens[None]).hidden[view.layer, 0, -1] for tokens in both]
    pairs = compare(features.autoencoder, *states)
    endings = [decode(view.text_model.tokenizer, tokens[-12:].tolist()) for tokens in both]
    return compared_table(pairs, f"“…{endings[0]}”", f"“…{endings[1]}”")


def _steered(view: TextView, features: Features) -> tuple[Table, list[str]]:
    """Continue the first half of the prompt greedily, with and without a few features."""
    prompt = decode(view.text_model.tokenizer, view.tokens[: max(1, len(view.tokens) // 2)].tolist())
    settings = GenerationSettings(do_sample=False, max_new_tokens=CONTINUED)

    def continued() -> str:
        return generate(view.text_model, prompt, settings)[0]

    rows = [("without steering", continued())]
    for feature in features.shown[:STEERED]:
        largest = float(features.top.values[feature, 0])
        for strength in STRENGTHS:
            direction = features.autoencoder.decoder[feature]
            with add_to_stream(view.model, view.layer - 1, direction, strength * largest):
                rows.append((f"feature {feature} x {strength:g}", continued()))
    differing = sum(text != rows[0][1] for _, text in rows[1:])
    note = (
        f"“{prompt}” is continued greedily while a feature is added to the stream after layer {view.layer}, "
        f"at every token, {STRENGTHS[0]:g} and {STRENGTHS[1]:g} times as strong as its largest activation "
        f"on dev. {differing} of {len(rows) - 1} texts differ from the one without steering."
    )
    shown = [(name, text.replace("\n", "⏎")) for name, text in rows]
    table = Table("steered", "What a feature writes", note, ["Added", "Continuation"], shown)
    return table, [text for _, text in rows]


def ablation_section(view: TextView) -> tuple[Section, Sequence[AblationRow]]:
    """Return what the predictions lose without each part."""
    blocks = view.blocks(view.dev, ABLATED)
    rows = ablate(view.model, blocks)
    table = ablation_table(rows, f"{len(blocks)} blocks of dev")
    return titled("ablation", [table], ablation_arrays(rows)), rows
