"""Outlines drawn by eye, for pictures whose data folder has no mask of them, or a wrong one.

``outlines/FOLDER.json`` in this package says for each picture of that data folder what is subject:

    {"format": 1,
     "pictures": {"NAME.jpg": {"size_wh": [W, H], "subject": [[[x, y], ...], ...], "not_subject": []}},
     "left_out": {"NAME.jpg": "why neither its mask nor an outline is any good"}}

Polygons are in pixels of a picture of ``size_wh``, whose upper left corner is (0, 0). What lies in one of
``not_subject`` is background whatever else it lies in: a finger before a product, a table between legs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FOLDER = Path(__file__).parent / "outlines"
SUFFIX = ".json"
FINER = 4  # an edge pixel's alpha is how many of so many by so many parts are inside


@dataclass(frozen=True)
class Outlines:
    """What ``path`` says of one data folder; both tables are empty where it does not exist."""

    path: Path
    pictures: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@cache
def read_outlines(path: Path) -> Outlines:
    """The outlines in ``path``.

    Raises
    ------
    ValueError
        If the file is of another format.
    """
    if not path.is_file():
        return Outlines(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != 1:
        raise ValueError(f"{path}: expected format 1, got {content.get('format')}")
    return Outlines(path, content["pictures"], content.get("left_out", {}))


def outlines_for(data_folder: str) -> Outlines:
    """The outlines that come with livecut for the pictures of the data folder of this name."""
    return read_outlines(FOLDER / f"{data_folder}{SUFFIX}")


def second_outlines_for(data_folder: str) -> Outlines:
    """The second outlines of held-out pictures of the data folder of this name."""
    return read_outlines(FOLDER / "second" / f"{data_folder}{SUFFIX}")


def outlined_mask(path: Path, name: str, size_wh: tuple[int, int]) -> np.ndarray:
    """The mask of picture ``name``, uint8 (H, W), 0 background to 255 subject.

    Parameters
    ----------
    path : Path
        The file with its outline.
    size_wh : tuple of int
        Of the picture as it is at hand: it may be smaller than the one that was outlined.

    Raises
    ------
    ValueError
        If there is no such outline, or the picture's shape is another one.
    """
    drawn = read_outlines(path).pictures.get(name)
    if drawn is None:
        raise ValueError(f"{path}: no outline of {name}")
    width, height = size_wh
    scale = width / drawn["size_wh"][0]
    if abs(drawn["size_wh"][1] * scale - height) > 1:
        raise ValueError(f"{path}: outlined {name} as {drawn['size_wh']}, the picture is {width}x{height}")
    fine = np.zeros((height * FINER, width * FINER), np.uint8)
    for polygons, value in ((drawn["subject"], 255), (drawn["not_subject"], 0)):
        for polygon in polygons:
            corners = np.rint(np.array(polygon) * (scale * FINER) - 0.5).astype(np.int32)
            cv2.fillPoly(fine, [corners], value)
    return cv2.resize(fine, size_wh, interpolation=cv2.INTER_AREA)
