"""A frame to the network's input in one pass: resize, letterbox, colour order, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import _checks, reference


@dataclass(frozen=True)
class Geometry:
    """Where a frame lies inside the network's input. All in whole pixels."""

    frame_wh: tuple[int, int]
    """Size of the frame."""
    input_wh: tuple[int, int]
    """Size of the network's input."""
    roi: tuple[int, int, int, int]
    """``(x, y, width, height)`` of the resized frame inside the input; the rest is padding."""

    def __post_init__(self) -> None:
        x, y, width, height = self.roi
        if min(*self.frame_wh, *self.input_wh) < 1:
            raise ValueError(f"geometry: expected sizes of at least 1x1, got {self}")
        if min(x, y) < 0 or min(width, height) < 1 or x + width > self.input_wh[0] or y + height > self.input_wh[1]:
            raise ValueError(f"geometry: expected roi inside input {self.input_wh}, got {self.roi}")


def fit(frame_wh: tuple[int, int], input_wh: tuple[int, int], mode: str = "letterbox") -> Geometry:
    """Place a frame inside the network's input.

    Parameters
    ----------
    frame_wh, input_wh : (int, int)
        Width and height in pixels.
    mode : {"letterbox", "stretch"}
        ``letterbox`` keeps the aspect and centres the frame; ``stretch`` fills the input.

    Raises
    ------
    ValueError
        If a size is smaller than 1x1, or ``mode`` is another word.

    Examples
    --------
    >>> fit((1920, 1080), (384, 384)).roi
    (0, 84, 384, 216)
    """
    _checks.check_choice("mode", mode, ("letterbox", "stretch"))
    (frame_w, frame_h), (input_w, input_h) = frame_wh, input_wh
    if min(frame_w, frame_h, input_w, input_h) < 1:
        raise ValueError(f"sizes: expected at least 1x1, got frame {frame_w}x{frame_h}, input {input_w}x{input_h}")
    width, height = input_w, input_h
    if mode == "letterbox":
        scale = min(input_w / frame_w, input_h / frame_h)
        width = min(max(round(frame_w * scale), 1), input_w)
        height = min(max(round(frame_h * scale), 1), input_h)
    roi = ((input_w - width) // 2, (input_h - height) // 2, width, height)
    return Geometry((int(frame_w), int(frame_h)), (int(input_w), int(input_h)), roi)


def preprocess(
    planes: np.ndarray | tuple[np.ndarray, ...],
    *,
    format: str,
    geometry: Geometry,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    order: str = "RGB",
    layout: str = "NCHW",
    pad_value: Sequence[float] = (114, 114, 114),
    matrix: str = "bt709",
    full_range: bool = False,
    out: np.ndarray,
    small: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Resize, letterbox and normalise a frame into ``out``."""
    planes = _checks.check_planes(planes, format, geometry.frame_wh)
    result, rgb = reference.preprocess(
        planes, format=format, geometry=geometry, mean=mean, std=std, order=order, layout=layout, dtype=out.dtype,
        pad_value=pad_value, matrix=matrix, full_range=full_range,
    )  # fmt: skip
    out[...] = result
    if small is not None:
        small[...] = rgb
    return out
