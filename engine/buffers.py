"""Host memory that backends read and write: aligned, made once, reused for every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector load of the kernels and backends."""

Allocator = Callable[[tuple[int, ...], Any], np.ndarray]
"""``(shape, dtype) -> array`` of zeros. A device backend gives one that returns page-locked memory."""


def aligned_zeros(shape: tuple[int, ...], dtype: Any, alignment: int = ALIGNMENT) -> np.ndarray:
    """C-contiguous zeros whose first byte lies on a multiple of ``alignment`` bytes."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.zeros(count + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + count].view(dtype).reshape(shape)


class HostBuffer:
    """The network's input and output of one frame in flight.

    Attributes
    ----------
    input : ndarray of float32, shape (1, 3, h, w)
        Filled by the preprocess kernel, read by the backend.
    alpha : ndarray of float32, shape (h, w)
        Filled by the backend; 0 is background, 1 is product.
    binding : object
        What the backend made of this memory (bound tensors, an infer request, device pointers).
    """

    __slots__ = ("__weakref__", "alpha", "alpha_nchw", "binding", "input")

    def __init__(self, size_wh: tuple[int, int], allocate: Allocator = aligned_zeros) -> None:
        width, height = size_wh
        self.input = allocate((1, 3, height, width), np.float32)
        self.alpha_nchw = allocate((1, 1, height, width), np.float32)
        self.alpha = self.alpha_nchw[0, 0]
        self.binding: Any = None


@dataclass(slots=True, eq=False)
class Slot:
    """All that one frame needs on its way from the source to its alpha. Made once, reused for ever.

    ``Session.preprocess`` fits it to the frame; it is made anew only when the size of the frames changes.
    """

    frame: Any = None
    """The frame in flight; its pixels belong to the source that made it."""
    recycled: Any = None
    """The frame to offer the source as ``out`` when it fills this slot again."""
    fitted: Any = None
    """A frame of our own that an odd-sized frame is fitted into, see ``fitting``."""
    frame_wh: tuple[int, int] | None = None
    """The frame size ``geometry``, ``buffer`` and ``small`` are made for."""
    engine: Any = None
    """The opened backend that ``buffer`` belongs to."""
    buffer: HostBuffer | None = None
    in_flight: bool = False
    """Between ``Session.submit`` and ``Session.collect``: ``buffer`` belongs to the device."""
    whole: Any = None
    """Who does this frame as a whole on the device, see ``whole_frame``; None where only the network is."""
    lane: Any = None
    """Its memory there."""
    geometry: Any = None
    small: np.ndarray | None = None
    """The frame at network size, uint8 ``(h, w, 3)`` RGB: the guide for refining."""
    durations: list[float] = field(default_factory=lambda: [0.0] * 3)
    """Seconds in capture, preprocess, infer."""


def planes_for(format: str, size_wh: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """New aligned uint8 planes of a frame of ``size_wh`` in ``format`` (see ``Frame.format``)."""
    width, height = size_wh
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "RGB": ((height, width, 3),),
        "BGR": ((height, width, 3),),
        "RGBA": ((height, width, 4),),
        "BGRA": ((height, width, 4),),
        "ALPHA": ((height, width),),
        "I420": ((height, width), half, half),
        "YUVA420": ((height, width), half, half, (height, width)),
        "NV12": ((height, width), (*half, 2)),
    }
    if format not in shapes:
        raise ValueError(f"format: expected one of {', '.join(shapes)}, got {format!r}")
    return tuple(aligned_zeros(shape, np.uint8) for shape in shapes[format])
