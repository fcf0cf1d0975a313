"""A contact sheet: each picture, its alpha, and its cut-out over checkers and over a loud colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ("picture", "alpha", "over checkers", "over a loud colour")
LOUD = (255, 0, 200)
"""A colour no product and no room has: a rim of the old background shows at once."""
_GAP, _CAPTION, _SQUARE = 8, 24, 12
_PAPER, _INK = (250, 250, 250), (40, 40, 40)


@dataclass(frozen=True)
class Row:
    """One line of the sheet."""

    title: str
    image: np.ndarray
    """The picture as it came, uint8 ``(H, W, 3)`` RGB."""
    cutout: np.ndarray
    """What was made of it, uint8 ``(H, W, 4)`` straight RGBA, the same size."""


def make_contact_sheet(rows: Sequence[Row], *, cell_wh: tuple[int, int] = (420, 300)) -> np.ndarray:
    """Draw the sheet.

    Parameters
    ----------
    rows : sequence of Row
        At least one.
    cell_wh : (int, int)
        Room for each picture in pixels; pictures are shrunk to fit, never enlarged beyond it.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.
    """
    from PIL import Image, ImageDraw, ImageFont

    width = cell_wh[0]
    lines = [tuple(_cells(row, cell_wh)) for row in rows]
    heights = [line[0].height + _CAPTION + _GAP for line in lines]
    size = len(COLUMNS) * (width + _GAP) + _GAP, sum(heights) + _CAPTION + _GAP
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for column, title in enumerate(COLUMNS):
        draw.text((_GAP + column * (width + _GAP), _GAP), title, _INK, font)
    top = _CAPTION + _GAP
    for row, line, height in zip(rows, lines, heights, strict=True):
        for column, cell in enumerate(line):
            left = _GAP + column * (width + _GAP)
            sheet.paste(cell, (left + (width - cell.width) // 2, top))
        draw.text((_GAP, top + line[0].height + 3), row.title, _INK, font)
        top += height
    return np.asarray(sheet)


def _cells(row: Row, cell_wh: tuple[int, int]) -> Iterator[Image]:
    from PIL import Image

    scale = min(cell_wh[0] / row.image.shape[1], cell_wh[1] / row.image.shape[0])
    size = max(1, round(row.image.shape[1] * scale)), max(1, round(row.image.shape[0] * scale))
    # Pillow resizes RGBA premultiplied, so no background colour leaks into the rim of the shrunk cut-out.
    cutout = Image.fromarray(row.cutout).resize(size, Image.Resampling.LANCZOS)
    yield Image.fromarray(row.image).resize(size, Image.Resampling.LANCZOS)
    yield cutout.getchannel("A").convert("RGB")
    for behind in (_checkers(size), Image.new("RGBA", size, (*LOUD, 255))):
        yield Image.alpha_composite(behind, cutout).convert("RGB")


def _checkers(size: tuple[int, int]) -> Image:
    from PIL import Image

    rows, columns = np.mgrid[: size[1], : size[0]] // _SQUARE
    grey = np.where((rows + columns) % 2, 204, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGBA")
