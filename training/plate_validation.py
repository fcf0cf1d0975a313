"""How good a network with a clean plate is: held-out renders, in a still scene and after changes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from . import metrics
from .config import SIZES_WH
from .data import geometry
from .data.cache import Packed
from .data.dataset import to_network
from .data.plates import shifted
from .device import autocast

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
Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cases(packed: Packed, change: str) -> Iterator[Case]:
    """Picture and plate (H, W, 3) and alpha (H, W), uint8, at the network's size, of each held-out render.

    ``change``, one of ``CHANGES``, happens to the picture's light after the plate was taken, or to the
    camera's place by ``SHIFT_PX`` pixels of the network's input, right and down.
    """
    rng = np.random.default_rng(7)
    plates = {item.image.name: index for index, item in enumerate(packed.items) if item.kind == "plate"}
    for index, item in enumerate(packed.items):
        plate = plates.get(item.image.name.replace("_i.", "_p."))
        if item.folder != "renders" or item.kind != "pair" or plate is None:
            continue
        rgba, bare = packed[index], packed[plate]
        aspect = rgba.shape[1] / rgba.shape[0]
        size = min(SIZES_WH, key=lambda wh: abs(np.log(wh[0] / wh[1] / aspect)))
        image, alpha = geometry.letterbox(
            np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]), size
        )
        bare, _ = geometry.letterbox(bare, np.zeros(bare.shape[:2], np.uint8), size)
        if change == "shifted":
            bare = shifted(bare, SHIFT_PX, SHIFT_PX)
        elif change != "still":
            image = np.clip(image * np.array(_GAINS[change], np.float32), 0, 255).astype(np.uint8)
        yield _noisy(image, rng), _noisy(bare, rng), alpha


def _noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8)


def answer_of(network: nn.Module, device: torch.device, *, bfloat16: bool = False) -> Answer:
    """Picture and plate, uint8 (H, W, 3), to alpha float32 (H, W)."""

    def answer(image: np.ndarray, plate: np.ndarray) -> np.ndarray:
        pair = np.stack([image, plate])
        x = to_network(torch.from_numpy(pair).permute(0, 3, 1, 2).to(device))
        with torch.inference_mode(), autocast(device, bfloat16):
            return network(x[:1], x[1:])[0, 0].float().cpu().numpy()

    return answer


def validate(
    answer: Answer, packed: Packed, changes: tuple[str, ...] = CHANGES
) -> dict[str, dict[str, float]]:
    """Mean absolute error and IoU for each of ``changes``, and ``all``: the mean over them."""
    summary: dict[str, dict[str, float]] = {}
    for change in changes:
        rows = []
        for image, plate, alpha in cases(packed, change):
            made, true = answer(image, plate), alpha.astype(np.float32) / 255
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
