"""Validation of a network on the held-out pictures: a table, JSON, and the worst pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from . import metrics
from .data import geometry
from .data.cache import Packed
from .data.dataset import to_network

# The sizes (width, height) the engine offers; a picture goes to the one whose shape is nearest.
SIZES_WH = ((512, 288), (448, 320), (384, 384), (320, 448), (288, 512))
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass
class Result:
    """One validated picture, at its own size: what was measured, and what to show."""

    name: str
    folder: str
    image: np.ndarray
    alpha: np.ndarray
    predicted: np.ndarray
    values: dict[str, float]


def nearest_size(frame_wh: tuple[int, int]) -> tuple[int, int]:
    """The engine's size whose aspect is nearest to the frame's."""
    aspect = np.log(frame_wh[0] / frame_wh[1])
    return min(SIZES_WH, key=lambda size: abs(np.log(size[0] / size[1]) - aspect))


def torch_predictor(network: nn.Module, *, bfloat16: bool = False) -> Predict:
    """Wrap a network: uint8 picture (H, W, 3) RGB to alpha float32 (H, W), both of the network's input size."""

    def predict(image: np.ndarray) -> np.ndarray:
        x = to_network(torch.from_numpy(image).permute(2, 0, 1)[None])
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return network(x)[0, 0].float().numpy()

    return predict


def matte(predict: Predict, image: np.ndarray) -> np.ndarray:
    """Alpha of ``image``, uint8 (H, W, 3) RGB, at its own size: letterboxed in, enlarged out, not refined."""
    height, width = image.shape[:2]
    size = nearest_size((width, height))
    framed, _ = geometry.letterbox(image, np.zeros((height, width), np.uint8), size)
    x, y, w, h = geometry.fit_inside((width, height), size)
    alpha = predict(framed)[y : y + h, x : x + w]
    return np.clip(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def results(predict: Predict, packed: Packed, names: Sequence[str] = ("mae", "iou", "boundary_f")) -> Iterator[Result]:
    """Measure each pair of ``packed`` with the metrics called ``names``."""
    for index, item in enumerate(packed.items):
        rgba = packed[index]
        image, alpha = rgba[..., :3], rgba[..., 3].astype(np.float32) / 255
        predicted = matte(predict, image)
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
            **{name: float(np.mean([member.values[name] for member in members])) for name in members[0].values},
        }
        for group, members in groups.items()
        if members
    }
