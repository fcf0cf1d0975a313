"""How good a network with a clean plate is: held-out renders, in a still scene and after changes to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import metrics
from .data.cache import Packed
from .data.plates import shifted
from .predictors import Predictor

NOISE = 2.0  # standard deviation of what the sensor adds to each of the two, in 0..255
SHIFT_PX = 8
CHANGES = ("still", "brighter", "darker", "warmer", "cooler", "shifted")
_GAINS = {
    "brighter": (1.3, 1.3, 1.3),
    "darker": (0.7, 0.7, 0.7),
    "warmer": (1.12, 1.0, 0.88),
    "cooler": (0.88, 1.0, 1.12),
}
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def cases(packed: Packed, change: str) -> Iterator[Case]:
    """Picture and plate (H, W, 3) and alpha (H, W), uint8, at its own size, of each held-out render.

    ``change``, one of ``CHANGES``, happens to the picture's light after the plate was taken, or to the
    camera's place by ``SHIFT_PX`` pixels of the picture, right and down.
    """
    rng = np.random.default_rng(7)
    plates = {item.image.name: index for index, item in enumerate(packed.items) if item.kind == "plate"}
    for index, item in enumerate(packed.items):
        plate = plates.get(item.image.name.replace("_i.", "_p."))
        if item.folder != "renders" or item.kind != "pair" or plate is None:
            continue
        rgba, bare = packed[index], packed[plate]
        image = rgba[..., :3]
        if change == "shifted":
            bare = shifted(bare, SHIFT_PX, SHIFT_PX)
        elif change != "still":
            image = np.clip(image * np.array(_GAINS[change], np.float32), 0, 255).astype(np.uint8)
        yield _noisy(image, rng), _noisy(bare, rng), rgba[..., 3]


def _noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8)


def validate(
    predict: Predictor, packed: Packed, changes: tuple[str, ...] = CHANGES
) -> dict[str, dict[str, float]]:
    """Mean absolute error, IoU and boundary F for each of ``changes``, and ``all``: the mean over them.

    A predictor that takes no plate is shown the pictures alone: what the plate is worth is the difference.
    """
    summary: dict[str, dict[str, float]] = {}
    for change in changes:
        rows = []
        for image, plate, alpha in cases(packed, change):
            predict.reset()
            if predict.begins_with_plate:
                predict(plate)
            made, true = predict(image), alpha.astype(np.float32) / 255
            rows.append((metrics.mae(made, true), metrics.iou(made, true), metrics.boundary_f(made, true)))
        if rows:
            mae, iou, boundary_f = np.mean(rows, 0)
            summary[change] = {
                "pictures": len(rows),
                "mae": float(mae),
                "iou": float(iou),
                "boundary_f": float(boundary_f),
            }
    if summary:
        names = ("mae", "iou", "boundary_f")
        means = {name: float(np.mean([row[name] for row in summary.values()])) for name in names}
        summary["all"] = {"pictures": sum(row["pictures"] for row in summary.values()), **means}
    return summary
