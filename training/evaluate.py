"""Measures a model on pictures with known alpha."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import metrics, sheets
from .data.cache import Packed, pack
from .data.catalogue import read_catalogue
from .predictors import Predictor

METRICS = ("mae", "mse", "sad", "grad", "conn", "iou", "boundary_f")
WORST = 24


@dataclass
class Result:
    """One validated picture, at its own size: what was measured, and what to show."""

    name: str
    folder: str
    image: np.ndarray
    alpha: np.ndarray
    predicted: np.ndarray
    values: dict[str, float]


def results(predict: Predictor, packed: Packed, names: Sequence[str] = METRICS) -> Iterator[Result]:
    """Measure each pair of ``packed`` with the metrics called ``names``."""
    for index, item in enumerate(packed.items):
        rgba = packed[index]
        image, alpha = rgba[..., :3], rgba[..., 3].astype(np.float32) / 255
        predict.reset()
        predicted = predict(image)
        values = {name: getattr(metrics, name)(predicted, alpha) for name in names}
        yield Result(item.image.name, item.folder, image, alpha, predicted, values)


def summarise(measured: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Mean of every metric and the number of pictures: over each folder, and over ``all``."""
    groups: dict[str, list[Result]] = {"all": list(measured)}
    for result in measured:
        groups.setdefault(result.folder, []).append(result)
    return {
        group: {
            "pictures": len(members),
            **{
                name: float(np.mean([member.values[name] for member in members]))
                for name in members[0].values
            },
        }
        for group, members in groups.items()
        if members
    }


def table(summary: dict[str, dict[str, float]]) -> str:
    """A summary as a Markdown table, one row for each folder."""
    names = list(next(iter(summary.values())))
    lines = ["| data | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for group, values in summary.items():
        cells = [f"{value:d}" if name == "pictures" else f"{value:.4f}" for name, value in values.items()]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_worst(measured: Sequence[Result], path: Path, count: int = WORST) -> None:
    """A sheet of the pictures with the lowest IoU: picture, mask, prediction, cut-out over magenta."""
    worst = sorted(measured, key=lambda result: result.values["iou"])[:count]
    rows = [
        [r.image, sheets.grey(r.alpha), sheets.grey(r.predicted), sheets.over(r.image, r.predicted)]
        for r in worst
    ]
    labels = [f"{r.name} iou {r.values['iou']:.2f}" for r in worst]
    sheets.sheet(rows, path, labels=labels)


def validation_pairs(data: Path, cache: Path) -> Packed:
    """The held-out pairs of a data folder, decoded."""
    items = read_catalogue(data).items
    return pack([item for item in items if item.validation and item.kind == "pair"], cache)
