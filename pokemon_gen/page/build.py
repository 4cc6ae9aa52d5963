"""Building the live page: one HTML file with a model, its palette, sprites to start from, and a program.

The file is complete in itself, so that it opens from a disk, in a notebook's cell or on any static host,
offline and for ever. Its Content-Security-Policy forbids every request. The program consists of plain scripts
in `ui/` and of the engine, which runs in a worker, so that the page stays responsive while it computes.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.page.export import PageModel
from pokemon_gen.palette import Palette
from pokemon_gen.settings import CompletionSettings

HERE = Path(__file__).parent
UI = HERE / "ui"
SCRIPTS = ("state.js", "pictures.js", "app.js")
"""The scripts of the page, in the order in which they need each other."""
WORKER = ("engine.js", "worker.js")
"""The scripts of the worker."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: inline scripts and WebAssembly run, and nothing can be requested."""
LARGEST = 100_000_000
"""The largest page in bytes. Browsers become slow to open larger files, and hosts refuse them."""
TOOLS = (
    ("b", "Paint", "Paint pixels"),
    ("f", "Fill", "Fill an area of one colour"),
    ("p", "Pick", "Pick a colour from the picture"),
    ("e", "Erase", "Open this pixel and all that follow it"),
    ("i", "Ask", "Ask what the model expects at a pixel"),
)
"""The key, the name and the purpose of each tool."""


@dataclass(frozen=True)
class Start:
    """A sprite to start from: its name, and 240 or 400 tokens."""

    name: str
    tokens: NDArray[np.int64]


def build_page(
    name: str,
    models: Sequence[PageModel],
    palette: Palette,
    completion: CompletionSettings,
    starts: Sequence[Start],
    about: str,
) -> str:
    """Return the live page of a run as HTML.

    Args:
        name: of the run.
        models: one model, or the members of an ensemble.
        palette: the colours of their tokens.
        completion: the settings that the page begins with.
        starts: sprites to start from.
        about: a sentence about the model and its training.

    Raises:
        PokemonGenError: if the page would be larger than 100 MB.
    """
    size = sum(len(model.weights) for model in models) * 4 // 3
    if size > LARGEST:
        raise PokemonGenError(
            f"{name}: the page would have {size / 1e6:.0f} MB, but a page has at most "
            f"{LARGEST / 1e6:.0f} MB. Use a smaller model, fewer members, or `pokemon-gen report {name}`."
        )
    data = {
        "name": name,
        "palette": palette.rgb.tolist(),
        "palette_fingerprint": palette.fingerprint,
        "members": [model.spec for model in models],
        "completion": _completion_fields(completion),
        "starts": [{"name": start.name, "tokens": start.tokens.tolist()} for start in starts],
    }
    environment = Environment(loader=FileSystemLoader(UI), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2").render(
        title=name,
        policy=POLICY,
        tools=TOOLS,
        colours=len(palette),
        members=len(models),
        about=about,
        style=Markup((UI / "style.css").read_text(encoding="utf-8")),
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        weights=[Markup(base64.b64encode(model.weights).decode()) for model in models],
        worker=_scripts(HERE / file for file in WORKER),
        script=_scripts(UI / file for file in SCRIPTS),
    )


def _completion_fields(completion: CompletionSettings) -> dict[str, Any]:
    """Return the settings of a completion as the page's form has them; temperature 0 is greedy."""
    return {
        "temperature": completion.temperature if completion.do_sample else 0,
        "top_k": completion.top_k,
        "top_p": completion.top_p,
        "seed": completion.seed,
    }


def _scripts(files: Iterable[Path]) -> Markup:
    """Return scripts as one text that is safe inside a `<script>` element."""
    return Markup(_script_text("\n".join(file.read_text(encoding="utf-8") for file in files)))


def _script_text(text: str) -> str:
    """Return JavaScript that cannot end the `<script>` element around it, with the same meaning."""
    return text.replace("</", "<\\/").replace("<!--", "<\\!--")
