"""A frame to the network's input in one pass: resize, letterbox, colour order, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import _checks, _preprocess
from ._tables import column_table, row_table

OUT_DTYPES = {np.dtype(name): name for name in ("float32", "float16", "uint8")}


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
        if (
            min(x, y) < 0
            or min(width, height) < 1
            or x + width > self.input_wh[0]
            or y + height > self.input_wh[1]
        ):
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
        raise ValueError(
            f"sizes: expected at least 1x1, got frame {frame_w}x{frame_h}, input {input_w}x{input_h}"
        )
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
    """Resize, letterbox and normalise a frame straight into the network's input.

    Each axis is resized by exact pixel area when it shrinks and bilinearly (half-pixel centres, edges
    repeated) when it grows; planar formats are resized plane by plane, then converted and clipped to 0..255.
    Then every channel is ``(value - mean) / std``, unrounded unless ``out`` is uint8.

    Parameters
    ----------
    planes : ndarray or tuple of ndarray, uint8
        ``BGR RGB``: ``(H, W, 3)``; ``BGRA RGBA``: ``(H, W, 4)``, alpha ignored; ``I420``: Y ``(H, W)``, U and
        V ``(ceil(H/2), ceil(W/2))``; ``NV12``: Y and UV ``(ceil(H/2), ceil(W/2), 2)``. Rows contiguous, any
        row stride. Chroma samples lie in the middle of their two by two luma samples.
    format : {"BGR", "RGB", "BGRA", "RGBA", "I420", "NV12"}
    geometry : Geometry
        From `fit`; its ``frame_wh`` is the size of the frame.
    mean, std : three floats
        In 0..255, in the order of the channels of ``out``.
    order : {"RGB", "BGR"}
        Channel order of ``out``.
    layout : {"NCHW", "NHWC"}
    pad_value : three floats
        Colour around a letterboxed frame: 0..255, RGB, before normalisation.
    matrix : {"bt709", "bt601"}
    full_range : bool
        Whether luma spans 0..255 rather than 16..235. Both for planar formats only.
    out : ndarray of float32, float16 or uint8, shape (1, 3, h, w) or (1, h, w, 3)
        C-contiguous; may be the backend's own buffer. uint8 is rounded and clipped.
    small : ndarray of uint8, shape (h, w, 3), optional
        Also receives the resized frame as RGB, rounded, not normalised, from the same pass. Rows contiguous.
    threads : int
        The rows of the input are shared out; the result does not depend on it.

    Returns
    -------
    ndarray
        ``out``

    Raises
    ------
    TypeError
        If an array is not one, or has another dtype.
    ValueError
        If a shape, stride, size or word does not fit, or ``out`` or ``small`` overlap a plane or each other.

    Notes
    -----
    Releases the GIL; reads every source byte once, in order. Before normalisation values are within 0.1 of
    the exact ones (of 255), and of YUV sources within 0.3: weights are fixed point, whole numbers down the
    rows where the ratio allows (1080 to 288: quarters), 14 bits along them. The tables of the last 64
    combinations of arguments are kept, so a steady stream allocates nothing.
    """
    planes = _checks.check_planes(planes, format, geometry.frame_wh)
    width, height = geometry.input_wh
    _checks.check_choice("layout", layout, ("NCHW", "NHWC"))
    dtype = getattr(out, "dtype", None)
    if dtype not in OUT_DTYPES:
        raise TypeError(f"out: expected a float32, float16 or uint8 array, got {dtype or type(out).__name__}")
    _checks.check_array(
        "out", out, dtype, (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    )
    if not out.flags.c_contiguous:
        raise ValueError(f"out: expected a C-contiguous array, got strides {out.strides}")
    _checks.check_writable("out", out)
    _checks.check_threads(threads)
    if small is not None:
        _checks.check_array("small", small, _checks.UINT8, (height, width, 3))
        _checks.check_rows("small", small)
        _checks.check_writable("small", small)
        _checks.check_apart("small", small, "out", out)
    for plane in planes:
        _checks.check_apart("out", out, "a plane of the frame", plane)
        if small is not None:
            _checks.check_apart("small", small, "a plane of the frame", plane)
    plan = _plan(
        format,
        geometry,
        tuple(mean),
        tuple(std),
        order,
        layout,
        OUT_DTYPES[dtype],
        tuple(pad_value),
        matrix,
        full_range,
    )
    plan.run(planes, out, small, threads)
    return out


@lru_cache(maxsize=64)
def _plan(
    format, geometry, mean, std, order, layout, dtype, pad_value, matrix, full_range
) -> _preprocess.Plan:
    """Weight tables and constants of one combination of arguments, checked."""
    _checks.check_choice("order", order, ("RGB", "BGR"))
    for name, value in (("mean", mean), ("std", std), ("pad_value", pad_value)):
        if len(value) != 3 or not np.all(np.isfinite(value)):
            raise ValueError(f"{name}: expected three finite numbers, got {value}")
    if 0 in std:
        raise ValueError(f"std: expected numbers other than 0, got {std}")
    if min(pad_value) < 0 or max(pad_value) > 255:
        raise ValueError(f"pad_value: expected numbers in 0..255, got {pad_value}")
    (frame_w, frame_h), (_, _, width, height) = geometry.frame_wh, geometry.roi
    tables = [(row_table(frame_h, height), column_table(frame_w, width, _checks.CHANNELS.get(format, 1)))]
    if format in _checks.PLANAR:
        tables.append((row_table(frame_h / 2, height), column_table(frame_w / 2, width, 1)))
    luma, offset, *chroma = _checks.yuv_constants(matrix, full_range)
    source_of = (0, 1, 2) if order == "RGB" else (2, 1, 0)
    return _preprocess.Plan(
        tables,
        channels={"I420": 1, "NV12": 2}.get(format) or _checks.CHANNELS[format],
        red_first=format in ("RGB", "RGBA"),
        input_wh=geometry.input_wh,
        roi=geometry.roi,
        yuv=(luma, offset + 128 * luma - 128, *chroma),
        scale=[1 / s for s in std],
        offset=[(128 - m) / s for m, s in zip(mean, std, strict=True)],
        source_of=source_of,
        pad=[(pad_value[c] - m) / s for c, m, s in zip(source_of, mean, std, strict=True)],
        pad_small=pad_value,
        dtype=dtype,
        nhwc=layout == "NHWC",
    )
