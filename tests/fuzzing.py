"""What fuzzers may throw at the readers: for each reader, a function of bytes that may raise no other error.

A reader may accept its input or refuse it with a `PokemonGenError`; anything else is a fault. The tests throw
inputs of Hypothesis (`test_fuzz.py`), and `eval/benchmarks/fuzz.py` those of a coverage-guided fuzzer.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pokemon_gen import submission
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import fault_of, log_history
from pokemon_gen.sprites.palette_files import read_palette_file
from pokemon_gen.sprites.pictures import read_pictures
from pokemon_gen.sprites.sources import PALETTE_FILES
from pokemon_gen.text_rows import parse_rows, read_prompts_or_sprites
from tests.builders import make_run

Target = Callable[[bytes, Path], None]
"""Takes an input and an empty folder that it may write to."""
SUFFIXES = sorted(PALETTE_FILES)


def read_text(data: bytes, folder: Path) -> None:
    """Read rows of tokens: what was read has the right form, and each fault has a place in the file."""
    file = folder / "rows.txt"
    file.write_bytes(data)
    for exact in (False, True):
        rows, faults = parse_rows(file, 167, (3, 4), exact)
        assert all(fault.line >= 1 and fault.column >= 1 for fault in faults)
        if not faults:
            assert all(len(row) in (3, 4) and all(0 <= token < 167 for token in row) for row in rows)
    read_prompts_or_sprites(file, 167)


def check_submission(data: bytes, folder: Path) -> None:
    """Check a submission with its sidecar; the first NUL byte separates them."""
    text, _, sidecar = data.partition(b"\0")
    (folder / "mine.txt").write_bytes(text)
    (folder / "mine.json").unlink(missing_ok=True)
    if sidecar:
        (folder / "mine.json").write_bytes(sidecar)
    str(submission.check(folder / "mine.txt"))


def load_config(data: bytes, folder: Path) -> None:
    """Load the settings of a run."""
    file = folder / "run.yaml"
    file.write_bytes(data)
    load_settings(file)


def read_palette(data: bytes, folder: Path) -> None:
    """Read a palette; the first byte chooses its format."""
    file = folder / f"colours{SUFFIXES[data[0] % len(SUFFIXES)]}" if data else folder / "colours.hex"
    file.write_bytes(data[1:])
    assert 2 <= len(read_palette_file(file)) <= 4096


def read_picture(data: bytes, folder: Path) -> None:
    """Read a picture."""
    file = folder / "picture.png"
    file.write_bytes(data)
    read = read_pictures([file])
    assert read.rgb.shape[1:] == (20, 20, 3)


def read_checkpoint_files(data: bytes, folder: Path) -> None:
    """Read the state and the manifest of a checkpoint; one without faults has a log."""
    checkpoint = folder / "checkpoint-4"
    if not checkpoint.exists():
        make_run(folder, {4: 1.0}, [4])
    accepted = 0
    for name in ("trainer_state.json", "manifest.json"):
        kept = checkpoint / name
        before = kept.read_bytes() if kept.exists() else None
        kept.write_bytes(data)
        if fault_of(checkpoint) is None:
            assert all(entry["step"] >= 0 for entry in log_history(checkpoint))
        accepted += fault_of(checkpoint) is None
        kept.unlink() if before is None else kept.write_bytes(before)
    if not accepted:
        raise PokemonGenError("each of the files is refused")


TARGETS: dict[str, Target] = {
    "text": read_text,
    "submission": check_submission,
    "settings": load_config,
    "palette": read_palette,
    "picture": read_picture,
    "checkpoint": read_checkpoint_files,
}


def throw(target: Target, data: bytes, folder: Path) -> bool:
    """Throw an input at a reader; return whether it was accepted."""
    try:
        target(data, folder)
    except PokemonGenError:
        return False
    return True


def _pictures() -> list[bytes]:
    """Return a small picture in each format, and animated, transparent and rotated ones."""
    rgba = np.random.default_rng(0).integers(0, 256, (20, 20, 4), dtype=np.uint8)
    image, drawn = Image.fromarray(rgba), []
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    for kind, options in (
        ("PNG", {}), ("PNG", {"exif": exif}), ("GIF", {}), ("JPEG", {}), ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {"save_all": True, "append_images": [image.rotate(90)]}),
        ("PNG", {"save_all": True, "append_images": [image.rotate(90)]}),
    ):  # fmt: skip
        file = io.BytesIO()
        (image.convert("RGB") if kind in ("JPEG", "BMP") else image).save(file, kind, **options)
        drawn.append(file.getvalue())
    for mode in ("1", "L", "P", "LA", "I;16"):
        file = io.BytesIO()
        image.convert("L" if mode == "I;16" else mode).convert(mode).save(file, "PNG")
        drawn.append(file.getvalue())
    return drawn


def _palette_seed(suffix: str, text: str) -> bytes:
    return bytes([SUFFIXES.index(suffix)]) + text.encode()


SEEDS: dict[str, list[bytes]] = {
    "text": [
        b"1 2 3\n4 5 6\n", b"1 2 3 4\r\n0 0 0 0\r\n", b"\xef\xbb\xbf1\t2  3\n", b"\n\n",
        "٣ 1_0 +1\n".encode(),
    ],
    "submission": [
        b"0 " * 399 + b"0\n",
        b"0 0\n\0" + b'{"palette_size": 167, "sha256": "0", "prompt_hashes": ["ab"], "prompt_length": 2}',
    ],
    "settings": [
        b"name: mine\nsprites: {source: procedural}\nmodel: {model_type: gpt2, n_embd: 32}\n",
        b"extends: fast\ntraining: {max_steps: 4, learning_rate: 1e-3}\ncompletion: {candidates: 2}\n",
        b"a: &a [1, 2]\nb: [*a, *a]\n", b"{x: !!python/object:os.system {}}\n", b"<<: {a: 1}\n? [1]\n: 2\n",
    ],
    "palette": [
        _palette_seed(".hex", "ff0000\n00ff00\n"),
        _palette_seed(".gpl", "GIMP Palette\nName: x\nColumns: 2\n#\n255 0 0 red\n0 255 0 green\n"),
        _palette_seed(".pal", "JASC-PAL\n0100\n2\n255 0 0\n0 255 0\n"),
        _palette_seed(".txt", "255 0 0\n0 255 0\n"),
        _palette_seed(".json", '{"rgb": [[255, 0, 0], [0, 255, 0]]}'),
        *(bytes([SUFFIXES.index(".png")]) + picture for picture in _pictures()[:1]),
    ],
    "picture": _pictures(),
    "checkpoint": [
        b'{"files": {"config.json": {"bytes": 2, "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc2"}}}',
        b'{"global_step": 4, "log_history": [{"step": 2, "loss": 1.5}, {"step": 4, "eval_nll": NaN}]}',
    ],
}  # fmt: skip
"""Valid inputs and odd ones, from which a fuzzer starts."""
