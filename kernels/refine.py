"""Small alpha to full resolution, foreground decontamination and compositing, fused into one pass over the frame."""

from __future__ import annotations

import numpy as np

from . import _checks, _refine
from .preprocess import Geometry, preprocess

OUTPUTS = ("RGB", "BGR", "RGBA", "BGRA", "ALPHA", "I420", "YUVA420")
COMPOSITED = ("RGB", "BGR", "I420")
MAX_RADIUS = 31
RADIUS = 2
EPS = 1e-3
FUSION_RADIUS = 4
"""In cells of the colour grid, which has half the size of the network's input."""


class RefineScratch:
    """Work buffers of `refine_and_composite`, kept by a caller that composites frame after frame.

    They grow when a call needs more (another size, more threads) and are otherwise reused, so a steady stream
    allocates nothing. One scratch serves one call at a time.

    Parameters
    ----------
    frame_wh, small_wh : (int, int)
        Size of the frames and of the network's input.
    threads : int
        The most threads that calls will ask for.

    Examples
    --------
    >>> RefineScratch((64, 36), (32, 18)).small.shape
    (18, 32, 3)
    """

    def __init__(self, frame_wh: tuple[int, int], small_wh: tuple[int, int], threads: int = 1) -> None:
        _checks.check_threads(threads)
        self._work = np.empty(0, np.uint8)
        self.small = np.empty((small_wh[1], small_wh[0], 3), np.uint8)
        """uint8 ``(h, w, 3)`` RGB: the guide, when a call has to make one."""
        self.work(frame_wh, small_wh, threads)

    def work(self, frame_wh: tuple[int, int], roi_wh: tuple[int, int], threads: int) -> np.ndarray:
        """Return the work buffer, large enough for a call of this size."""
        needed = _refine.scratch_bytes(*frame_wh, *roi_wh, threads)
        if self._work.nbytes < needed:
            self._work = np.empty(needed, np.uint8)
        return self._work

    def guide(self, small_wh: tuple[int, int]) -> np.ndarray:
        """Return the buffer for a guide of this size."""
        if self.small.shape[:2] != small_wh[::-1]:
            self.small = np.empty((small_wh[1], small_wh[0], 3), np.uint8)
        return self.small


def refine_and_composite(
    planes: np.ndarray | tuple[np.ndarray, ...],
    alpha_small: np.ndarray,
    *,
    format: str,
    geometry: Geometry,
    output: str,
    out: np.ndarray | tuple[np.ndarray, ...],
    small: np.ndarray | None = None,
    background: np.ndarray | tuple | None = None,
    input_alpha: np.ndarray | None = None,
    refine: bool = True,
    decontaminate: bool = True,
    radius: int = RADIUS,
    eps: float = EPS,
    fusion_radius: int = FUSION_RADIUS,
    matrix: str = "bt709",
    full_range: bool = False,
    scratch: RefineScratch | None = None,
    threads: int = 1,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """Enlarge the network's alpha along the frame's edges, clean the foreground's colour and composite."""
    planes = _checks.check_planes(planes, format, geometry.frame_wh)
    _checks.check_choice("output", output, OUTPUTS)
    _checks.check_choice("matrix", matrix, _checks.MATRICES)
    _checks.check_threads(threads)
    (width, height), (small_w, small_h) = geometry.frame_wh, geometry.input_wh
    check_alpha_small(alpha_small, geometry)
    for name, value in (("radius", radius), ("fusion_radius", fusion_radius)):
        if not 1 <= value <= MAX_RADIUS:
            raise ValueError(f"{name}: expected 1 to {MAX_RADIUS}, got {value}")
    if not 1e-6 <= eps <= 1:
        raise ValueError(f"eps: expected 1e-6 to 1, got {eps}")
    results = _check_out(out, output, width, height)
    backdrop, colour = _check_background(background, output, width, height)
    if input_alpha is not None:
        _checks.check_array("input_alpha", input_alpha, np.uint8, (height, width))
        _checks.check_rows("input_alpha", input_alpha)
    decontaminate = decontaminate and output != "ALPHA"
    if scratch is None:
        scratch = RefineScratch(geometry.frame_wh, geometry.roi[2:], threads)
    if refine or decontaminate:
        if small is None:
            small = scratch.guide(geometry.input_wh)
            preprocess(planes, format=format, geometry=geometry, layout="NHWC", matrix=matrix, full_range=full_range,
                       out=small[None], threads=threads)  # fmt: skip
        _checks.check_array("small", small, np.uint8, (small_h, small_w, 3))
        _checks.check_rows("small", small)
    else:
        small = None
    _refine.refine_and_composite(
        planes, alpha_small, format, geometry.frame_wh, geometry.roi, output, results, small, backdrop, colour,
        input_alpha, refine, decontaminate, radius, eps, fusion_radius, matrix == "bt601", full_range,
        scratch.work(geometry.frame_wh, geometry.roi[2:], threads), threads,
    )  # fmt: skip
    return out


def check_alpha_small(alpha_small: object, geometry: Geometry) -> None:
    """``alpha_small`` is the output of the network for ``geometry``."""
    width, height = geometry.input_wh
    _checks.check_array("alpha_small", alpha_small, np.float32, (height, width))
    assert isinstance(alpha_small, np.ndarray)
    _checks.check_rows("alpha_small", alpha_small)
    if alpha_small.strides[0] % 4:
        raise ValueError(
            f"alpha_small: expected a row stride in whole floats, got {alpha_small.strides[0]} bytes"
        )


def _plane_shapes(output: str, width: int, height: int) -> tuple[tuple[int, ...], ...]:
    half = ((height + 1) // 2, (width + 1) // 2)
    if output in _checks.CHANNELS:
        return ((height, width, _checks.CHANNELS[output]),)
    return {
        "ALPHA": ((height, width),),
        "I420": ((height, width), half, half),
        "YUVA420": ((height, width), half, half, (height, width)),
    }[output]


def _check_out(out: object, output: str, width: int, height: int) -> tuple[np.ndarray, ...]:
    shapes = _plane_shapes(output, width, height)
    results = (out,) if isinstance(out, np.ndarray) else out
    if not isinstance(results, (tuple, list)) or len(results) != len(shapes):
        got = len(results) if isinstance(results, (tuple, list)) else type(out).__name__
        raise TypeError(f"out: expected {len(shapes)} array(s) for {output}, got {got}")
    for index, (array, shape) in enumerate(zip(results, shapes, strict=True)):
        name = "out" if len(shapes) == 1 else f"out[{index}]"
        _checks.check_array(name, array, np.uint8, shape)
        _checks.check_rows(name, array)
        _checks.check_writable(name, array)
    return tuple(results)


def _check_background(background: object, output: str, width: int, height: int) -> tuple:
    """Return ``(planes or None, colour or None)``."""
    if output not in COMPOSITED:
        if background is not None:
            raise ValueError(f"background: expected None, as {output} is not composited, got a background")
        return None, None
    if background is None:
        raise ValueError(f"background: expected a colour or a picture for {output}, got None")
    if isinstance(background, np.ndarray):
        _checks.check_array("background", background, np.uint8, (height, width, 3))
        _checks.check_rows("background", background)
        return (background,), None
    if not isinstance(background, (tuple, list)) or len(background) != 3:
        raise TypeError("background: expected an (r, g, b) colour, an array, or Y, U, V planes for I420")
    if isinstance(background[0], np.ndarray):
        if output != "I420":
            raise ValueError(f"background: expected a packed picture for {output}, got planes")
        for index, (plane, shape) in enumerate(
            zip(background, _plane_shapes("I420", width, height), strict=True)
        ):
            _checks.check_array(f"background[{index}]", plane, np.uint8, shape)
            _checks.check_rows(f"background[{index}]", plane)
        return tuple(background), None
    colour = tuple(int(value) for value in background)
    if min(colour) < 0 or max(colour) > 255:
        raise ValueError(f"background: expected a colour in 0..255, got {background}")
    return None, colour
