"""Small alpha to full resolution, foreground decontamination and compositing, in one pass over the frame."""

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
    """Enlarge the network's alpha along the frame's edges, clean the foreground's colour and composite.

    *Refine*: bilinear alpha, plus the slope of a fast guided filter (He and Sun 2015) times the luma that the
    small picture lacks: ``A * luma + B``, where ``A`` is the box mean of ``cov(luma, alpha) / (var(luma) +
    eps)`` within +-7 and ``B = alpha - A * luma`` at each cell. The filter's own mean is left out, because it
    softens edges that the luma does not show. The result stays within the least and greatest alpha of the
    cells around (one cell each way), so no texture leaks into the background and none pierces the foreground.
    Alpha below 1/255 counts as 0 and above 254/255 as 1: where all cells around are sure the result is
    exactly 0 or 255.

    *Decontaminate*: blur fusion (Forte 2021). ``F^`` and ``B^`` are box means of the picture weighted by the
    fourth powers of alpha and of 1 - alpha, and ``F = clip(F^ + a (I - a F^ - (1 - a) B^))``, which is ``I``
    where alpha is 1.

    *Composite*: ``background + a (F - background)``. Straight outputs (RGBA, BGRA, YUVA420) hold ``F`` and
    alpha; where alpha is 0 they hold ``F^`` in blocks that touch an edge, so that resizing draws no rim, and
    black further away, which compresses best. I420 and YUVA420 blend in YUV, chroma by the mean alpha of its
    pixels, and a planar frame stays planar.

    Parameters
    ----------
    planes : ndarray or tuple of ndarray, uint8
        The frame, as `preprocess` takes it. Alpha of RGBA and BGRA is ignored: pass it as ``input_alpha``.
    alpha_small : ndarray of float32, shape (h, w)
        The network's output, 0..1, over its whole input. Outside 0..1 is clipped and NaN counts as 0.
    format : {"BGR", "RGB", "RGBA", "BGRA", "I420", "NV12"}
    geometry : Geometry
        Where the frame lies in the network's input; padding is not read.
    output : {"RGB", "BGR", "RGBA", "BGRA", "ALPHA", "I420", "YUVA420"}
    out : ndarray or tuple of ndarray, uint8
        ``(H, W, 3)``; ``(H, W, 4)``; ALPHA ``(H, W)``; I420: Y ``(H, W)``, U and V ``(ceil(H/2),
        ceil(W/2))``; YUVA420: those and A ``(H, W)``. Any row stride. May be the frame in the same format, or
        the background; a partial overlap is not checked.
    small : ndarray of uint8, shape (h, w, 3), optional
        The frame at the network's size, RGB, as `preprocess` fills it; made for the call when omitted.
    background : (r, g, b) or ndarray of uint8 (H, W, 3) or tuple of planes
        For RGB, BGR and I420 alone. A picture has the channel order of a packed output, and is RGB, or Y, U
        and V planes, for I420.
    input_alpha : ndarray of uint8, shape (H, W), optional
        Multiplied into alpha, which is rounded to 8 bits first; the product is rounded exactly.
    refine, decontaminate : bool
        Without refining alpha is plain bilinear.
    radius, eps
        Of the guided filter: 1 to 31 cells of the network's input, and 1e-6 to 1 of squared luma in 0..1.
    fusion_radius : int
        Of the colour means: 1 to 31, in cells twice as wide.
    matrix : {"bt709", "bt601"}
    full_range : bool
        Both of the planar side, and of both sides where both are planar; a packed frame's luma follows
        ``matrix``.
    scratch : RefineScratch, optional
        Work buffers; made for the call when omitted, so pass one in the frame loop.
    threads : int
        Rows are shared out; the result does not depend on it.

    Returns
    -------
    ndarray or tuple of ndarray
        ``out``

    Raises
    ------
    TypeError
        If an array is not one, has another dtype, or ``out`` has another number of planes.
    ValueError
        If a shape, stride, number or word does not fit, or a background is missing or has no use.

    Notes
    -----
    Releases the GIL. The frame is read once and written once; blocks of 32 pixels in which only one side
    shows are copied, so the time depends on how much of the frame is edge. Results are the same on every
    chip, and within 2 of 255 of `reference_refine.refine_and_composite`.
    """
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
            make_guide(planes, format, geometry, small, matrix, full_range, threads)
        _checks.check_array("small", small, np.uint8, (small_h, small_w, 3))
        _checks.check_rows("small", small)
    else:
        small = None
    _refine.refine_and_composite(
        planes, alpha_small, format, geometry.frame_wh, geometry.roi, output, results, small, backdrop,
        colour, input_alpha, refine, decontaminate, radius, eps, fusion_radius, matrix == "bt601", full_range,
        scratch.work(geometry.frame_wh, geometry.roi[2:], threads), threads,
    )  # fmt: skip
    return out


def make_guide(
    planes: tuple[np.ndarray, ...],
    format: str,
    geometry: Geometry,
    small: np.ndarray,
    matrix: str,
    full_range: bool,
    threads: int,
) -> None:
    """Fill ``small`` with the frame at the network's size, RGB."""
    preprocess(
        planes, format=format, geometry=geometry, layout="NHWC", matrix=matrix, full_range=full_range,
        out=small[None], threads=threads,
    )  # fmt: skip


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
