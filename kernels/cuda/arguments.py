"""Argument blocks of the CUDA kernels, field by field as in types.cuh, and what a launch is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FORMATS = (
    "BGR",
    "RGB",
    "BGRA",
    "RGBA",
    "I420",
    "NV12",
    "ALPHA",
    "YUVA420",
)  # in the order of the enumeration
NO_BACKGROUND, COLOUR, PACKED, PLANES, BLURRED = range(5)
DTYPES = {np.dtype("float32"): 0, np.dtype("float16"): 1, np.dtype("uint8"): 2}
NOT_FINITE, OUT_OF_RANGE = 1, 2
"""Bits of the status word: alpha was NaN or infinite, or lay outside 0..1 by more than the slack."""

_P, _I, _F, _S = np.uint64, np.int32, np.float32, np.int64
_PLANES = np.dtype([("at", _P, 4), ("stride", _S, 4)])


def _block(*fields: tuple) -> np.dtype:
    return np.dtype(list(fields), align=True)


def _ints(names: str) -> list[tuple]:
    return [(name, _I) for name in names.split()]


def _floats(names: str) -> list[tuple]:
    return [(name, _F) for name in names.split()]


PREPROCESS = _block(
    ("in", _PLANES), ("out", _P), ("small", _P), ("small_stride", _S),
    *_ints("format frame_w frame_h input_w input_h x y w h dtype nhwc bgr words"),
    ("scale", _F, 3), ("offset", _F, 3), ("pad", _F, 3), ("pad_small", _F, 3), ("yuv", _F, 6),
)  # fmt: skip
SMALL = _block(
    ("alpha", _P), ("alpha_stride", _S), ("small", _P), ("small_stride", _S),
    ("slope", _P), ("coefficients", _P), ("rows", _P), ("colours", _P), ("status", _P),
    *_ints("alpha_half rw rh fw fh refine decontaminate radius fusion_radius"), ("luma", _I, 3),
    ("guide_blocks", _I), ("eps", _F), ("slack", _F), ("to_yuv", _F, 12), ("colours_yuv", _I),
)  # fmt: skip
SMOOTH = _block(
    ("alpha", _P), ("alpha_stride", _S), ("small", _P), ("small_stride", _S),
    ("out", _P), ("previous", _P), ("luma", _P), ("seen", _P), ("status", _P),
    *_ints("alpha_half w h"), *_floats("base still moving steady jump slack"),
)  # fmt: skip
COMPOSITE = _block(
    ("in", _PLANES), ("out", _PLANES), ("background", _PLANES),
    ("input_alpha", _P), ("input_alpha_stride", _S), ("coefficients", _P), ("colours", _P), ("blurred", _P),
    *_ints("in_format out_format background_kind width height rw rh fw fh decontaminate"),
    *_ints("in_words out_words background_words"),
    ("colour", _F, 3), ("luma", _F, 3), ("guide_scale", _F), ("guide_offset", _F),
    ("yuv", _F, 6), ("to_yuv", _F, 12),
)  # fmt: skip
BLUR = _block(("small", _P), ("small_stride", _S), ("from", _P), ("to", _P), *_ints("rw rh radius down"))
OVER = _block(
    *((name, _P) for name in ["image", "background", "alpha", "out"]),
    *((f"{name}_stride", _S) for name in ["image", "background", "alpha", "out"]), *_ints("width height"),
)  # fmt: skip

KERNELS: dict[str, np.dtype] = {
    "lc_preprocess": PREPROCESS,
    "lc_measure": SMALL,
    "lc_solve": SMALL,
    "lc_smooth": SMOOTH,
    "lc_remember": SMOOTH,
    "lc_blur": BLUR,
    "lc_composite_packed": COMPOSITE,
    "lc_composite_straight": COMPOSITE,
    "lc_composite_alpha": COMPOSITE,
    "lc_composite_planar": COMPOSITE,
    "lc_over": OVER,
}
"""Entry points of the module, and the one argument that each takes by value."""


@dataclass(frozen=True)
class Launch:
    """One kernel, ready to be queued, or captured, again and again: the pointers are in it."""

    kernel: str
    """Entry point, a key of ``KERNELS``."""
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[np.generic, ...]
    """One ``np.void``: the argument block."""
    shared_bytes: int = 0
    """Dynamic shared memory."""
    floor_bytes: int = 0
    """What has to be read and written at the least; over the memory's bandwidth, the shortest time."""


@dataclass(frozen=True)
class Planes:
    """A picture in device memory: the address of each plane, and the bytes from one row to the next."""

    pointers: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def packed(cls, pointer: int, format: str, size_wh: tuple[int, int]) -> Planes:
        """Planes one after the other from ``pointer``, rows without gaps, as ``plane_shapes`` has them."""
        pointers, strides = [], []
        for shape in plane_shapes(format, size_wh):
            row = int(np.prod(shape[1:]))
            pointers.append(pointer)
            strides.append(row)
            pointer += shape[0] * row
        return cls(tuple(pointers), tuple(strides))

    @property
    def words(self) -> bool:
        """Whether every row starts on a multiple of four bytes."""
        return all(value % 4 == 0 for value in (*self.pointers, *self.strides))

    def record(self) -> tuple[list[int], list[int]]:
        """As ``struct lc_planes``."""
        rest = [0] * (4 - len(self.pointers))
        return [*self.pointers, *rest], [*self.strides, *rest]


NO_PLANES = Planes((), ())


def plane_shapes(format: str, size_wh: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """Shapes of the uint8 planes of a picture."""
    width, height = size_wh
    half = ((height + 1) // 2, (width + 1) // 2)
    channels = {"BGR": 3, "RGB": 3, "BGRA": 4, "RGBA": 4}
    if format in channels:
        return ((height, width, channels[format]),)
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "ALPHA": ((height, width),),
        "I420": ((height, width), half, half),
        "NV12": ((height, width), (*half, 2)),
        "YUVA420": ((height, width), half, half, (height, width)),
    }
    if format not in shapes:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    return shapes[format]


def picture_bytes(format: str, size_wh: tuple[int, int]) -> int:
    """Bytes of a picture whose rows have no gaps."""
    return sum(int(np.prod(shape)) for shape in plane_shapes(format, size_wh))


def block_of(dtype: np.dtype, values: dict[str, Any]) -> np.void:
    """An argument block; fields that are not named are 0. ValueError for a field that it does not have."""
    unknown = set(values) - set(dtype.names or ())
    if unknown:
        raise ValueError(f"arguments: expected fields of the block, got {', '.join(sorted(unknown))}")
    block = np.zeros(1, dtype)
    for name, value in values.items():
        if isinstance(value, Planes):
            block[name][0]["at"], block[name][0]["stride"] = value.record()
        elif isinstance(value, Sequence):
            block[name][0][:] = value
        else:
            block[name][0] = value
    return block[0]
