"""Contact sheets, for looking: a few pictures in full, or many cut-outs over a loud colour, small."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

COLUMNS = ("picture", "alpha", "over checkers", "over a loud colour")
LOUD = (255, 0, 200)
"""A colour no product and no room has: a rim of the old background shows at once."""
_GAP, _CAPTION, _SQUARE = 8, 24, 12
_PAPER, _INK = (250, 250, 250), (40, 40, 40)
ACROSS, DOWN = 4, 6
"""Cut-outs on one sheet of many."""
_LARGE_PX, _SMALL_PX, _LINE_PX = 300, 176, 20


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

    size = _fitted(row.image, cell_wh)
    cutout = _shrunk(row.cutout, size)
    yield _shrunk(row.image, size)
    yield cutout.getchannel("A").convert("RGB")
    yield Image.alpha_composite(_checkers(size), cutout).convert("RGB")
    yield _over_loud(cutout)


def _fitted(image: np.ndarray, room_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of ``image`` scaled into ``room_wh``."""
    height, width = image.shape[:2]
    scale = min(room_wh[0] / width, room_wh[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(pixels: np.ndarray, size: tuple[int, int]) -> Image:
    """RGB or RGBA pixels as a picture of ``size``."""
    from PIL import Image

    # Pillow resizes RGBA premultiplied, so no background colour leaks into the rim of the shrunk cut-out.
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _over_loud(cutout: Image) -> Image:
    from PIL import Image

    behind = Image.new("RGBA", cutout.size, (*LOUD, 255))
    return Image.alpha_composite(behind, cutout).convert("RGB")


def _that_fits(text: str, width_px: int, draw: ImageDraw, font: FreeTypeFont | BitmapFont) -> str:
    """``text`` for drawing, its middle left out where it is wider than ``width_px``."""
    text = os.fsencode(text).decode(errors="replace").replace("\n", " ")  # a file name may be any bytes
    shown, kept = text, len(text)
    while kept > 2 and draw.textlength(shown, font) > width_px:
        kept -= 1
        shown = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return shown


def _checkers(size: tuple[int, int]) -> Image:
    from PIL import Image

    rows, columns = np.mgrid[: size[1], : size[0]] // _SQUARE
    grey = np.where((rows + columns) % 2, 204, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGBA")


@dataclass(frozen=True)
class Cell:
    """One cut-out on a sheet of many, already as small as it is drawn."""

    name: str
    picture: Image
    cutout: Image
    """RGB: the cut-out over ``LOUD``."""


def make_cell(row: Row) -> Cell:
    """Shrink a row to what a sheet of many shows, so that the large pictures need not be kept."""
    picture = _shrunk(row.image, _fitted(row.image, (_SMALL_PX, _LARGE_PX)))
    cutout = _shrunk(row.cutout, _fitted(row.cutout, (_LARGE_PX, _LARGE_PX)))
    return Cell(row.title, picture, _over_loud(cutout))


def make_cutout_sheet(cells: Sequence[Cell], heading: str) -> np.ndarray:
    """Draw cut-outs over a loud colour, each beside its small picture and over its name.

    Parameters
    ----------
    cells : sequence of Cell
        ``ACROSS * DOWN`` at most.
    heading : str
        Drawn along the top.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, 1984 pixels wide and at most 1998 high.
    """
    from PIL import Image, ImageDraw, ImageFont

    cell_wh = _LARGE_PX + _SMALL_PX + 2 * _GAP + 4, _LARGE_PX + _LINE_PX + 4
    rows = -(-len(cells) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * cell_wh[0] + _GAP, _LINE_PX + _GAP + rows * cell_wh[1]), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    draw.text((_GAP, 5), _that_fits(heading, sheet.width - 2 * _GAP, draw, font), _INK, font)
    for place, cell in enumerate(cells):
        left = _GAP + place % ACROSS * cell_wh[0]
        top = _LINE_PX + _GAP + place // ACROSS * cell_wh[1]
        sheet.paste(cell.cutout, (left, top))
        sheet.paste(cell.picture, (left + _LARGE_PX + 4, top))
        name = _that_fits(cell.name, cell_wh[0] - _GAP, draw, font)
        draw.text((left, top + _LARGE_PX + 2), name, _INK, font)
    return np.asarray(sheet)
