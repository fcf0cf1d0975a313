"""The small pictures that go with a model card: a run's curves, and some held-out pictures cut out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import sheets
from .evaluate import Result

if TYPE_CHECKING:
    from PIL.Image import Image

CURVE, SAMPLES = "curve.png", "samples.jpg"
MOST_BYTES = 290_000
"""Of both together: they ship with the model."""
SHOWN_FOLDERS = ("clothing_cc0", "renders")
"""Whose pictures may be shown: nobody is in them, and their licences allow it; the ledger has the credit."""
SHOWN, TILE_PX = 24, 128
QUALITIES = (85, 75, 65, 55, 45)
TELLS = {
    CURVE: "The curves of the run",
    SAMPLES: "Held-out pictures (credit: `LEDGER.json`), two a line: picture, mask, alpha, and over magenta",
}


def card_pictures(run: Path, measured: Sequence[Result]) -> dict[str, bytes]:
    """Names and contents of files: the curves that the folder ``run`` has, samples of the ``measured``."""
    from PIL import Image

    made: dict[str, bytes] = {}
    if (run / CURVE).is_file():
        with Image.open(run / CURVE) as image:  # lines and letters: few colours say it all
            made[CURVE] = _encoded(image.convert("RGB").quantize(32), "PNG", optimize=True)
    chosen: list[Result] = []
    for folder in SHOWN_FOLDERS:
        inside = [result for result in measured if result.folder == folder]
        count = SHOWN // len(SHOWN_FOLDERS)
        chosen += inside[:: max(1, len(inside) // count)][:count]
    if chosen:
        pixels = sheets.grid(sheets.doubled([sheets.tiles(result) for result in chosen]), TILE_PX)
        made[SAMPLES] = _fitted(Image.fromarray(pixels), MOST_BYTES - len(made.get(CURVE, b"")))
    return made


def links(names: Sequence[str]) -> str:
    """Markdown that shows the pictures ``names``."""
    return "\n\n".join(f"{TELLS[name]}:\n\n![{name}]({name})" for name in names)


def _fitted(image: Image, room: int) -> bytes:
    """JPEG of at most ``room`` bytes: first by its quality, then by its size."""
    while True:
        for quality in QUALITIES:
            encoded = _encoded(image, "JPEG", quality=quality)
            if len(encoded) <= room or max(image.size) <= TILE_PX:
                return encoded
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))


def _encoded(image: Image, format: str, *, optimize: bool = False, quality: int = 85) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, optimize=optimize, quality=quality)
    return stream.getvalue()
