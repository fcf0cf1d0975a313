"""Neighbours of `refine_and_composite`: plain enlarging, a full-size alpha, a blurred background."""

from __future__ import annotations

import numpy as np

from . import _checks, _refine
from .preprocess import Geometry
from .refine import MAX_RADIUS, RefineScratch, check_alpha_small, make_guide


def composite_over(
    image: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    *,
    out: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Blend ``image`` over ``background`` with a full-size straight alpha.

    Each channel is ``round((image * alpha + background * (255 - alpha)) / 255)``, exactly.

    Parameters
    ----------
    image, background : ndarray of uint8, shape (H, W, 3)
        Same channel order as each other. Rows contiguous, any row stride.
    alpha : ndarray of uint8, shape (H, W)
        0 is all background, 255 is all image.
    out : ndarray of uint8, shape (H, W, 3), optional
        Written in place and returned; may be ``image`` or ``background`` itself. Allocated when omitted.
    threads : int
        Rows are shared out; the result does not depend on it.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    TypeError
        If an array is not one, or is not uint8.
    ValueError
        If a shape or stride does not fit, or ``out`` is read-only.

    Notes
    -----
    Releases the GIL. One pass, no temporaries.

    Examples
    --------
    >>> white = np.full((1, 1, 3), 255, np.uint8)
    >>> black = np.zeros((1, 1, 3), np.uint8)
    >>> composite_over(white, np.full((1, 1), 64, np.uint8), black).tolist()
    [[[64, 64, 64]]]
    """
    _checks.check_array("image", image, np.uint8, (None, None, 3))
    height, width = image.shape[:2]
    _checks.check_array("alpha", alpha, np.uint8, (height, width))
    _checks.check_array("background", background, np.uint8, (height, width, 3))
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    _checks.check_array("out", out, np.uint8, (height, width, 3))
    for name, array in (("image", image), ("alpha", alpha), ("background", background), ("out", out)):
        _checks.check_rows(name, array)
    _checks.check_writable("out", out)
    _checks.check_threads(threads)
    _refine.composite_over(image, alpha, background, out, threads)
    return out


def upsample_alpha(
    alpha_small: np.ndarray,
    *,
    geometry: Geometry,
    out: np.ndarray | None = None,
    scratch: RefineScratch | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Enlarge the network's alpha to the frame bilinearly, half-pixel centres, without looking at the frame.

    Parameters
    ----------
    alpha_small : ndarray of float32, shape (h, w)
        0..1, over the network's whole input; outside 0..1 is clipped and NaN is 0.
    geometry : Geometry
        Where the frame lies in it.
    out : ndarray of uint8, shape (H, W), optional
        Written and returned; allocated when omitted.
    scratch : RefineScratch, optional
        Work buffers; made for the call when omitted.
    threads : int

    Returns
    -------
    ndarray of uint8, shape (H, W)

    Raises
    ------
    TypeError, ValueError
        If an array does not fit; the message names it.

    Examples
    --------
    >>> from livecut.kernels import fit
    >>> alpha = np.array([[0.0, 1.0]], np.float32)
    >>> upsample_alpha(alpha, geometry=fit((4, 1), (2, 1), "stretch")).tolist()
    [[0, 64, 191, 255]]
    """
    check_alpha_small(alpha_small, geometry)
    _checks.check_threads(threads)
    width, height = geometry.frame_wh
    if out is None:
        out = np.empty((height, width), np.uint8)
    _checks.check_array("out", out, np.uint8, (height, width))
    _checks.check_rows("out", out)
    _checks.check_writable("out", out)
    if scratch is None:
        scratch = RefineScratch(geometry.frame_wh, geometry.roi[2:], threads)
    work = scratch.work(geometry.frame_wh, geometry.roi[2:], threads)
    _refine.refine_and_composite(
        (), alpha_small, "RGB", geometry.frame_wh, geometry.roi, "ALPHA", (out,), None, None, None, None,
        False, False, 1, 1e-3, 1, False, False, work, threads,
    )  # fmt: skip
    return out


def blur_background(
    planes: np.ndarray | tuple[np.ndarray, ...],
    *,
    format: str,
    geometry: Geometry,
    small: np.ndarray | None = None,
    radius: int = 8,
    order: str = "RGB",
    out: np.ndarray,
    matrix: str = "bt709",
    full_range: bool = False,
    scratch: RefineScratch | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Blur a frame for use as its own background: three box blurs at the network's size, enlarged bilinearly.

    Parameters
    ----------
    planes : ndarray or tuple of ndarray
        The frame; only read when ``small`` is None.
    format : {"BGR", "RGB", "BGRA", "RGBA", "I420", "NV12"}
    geometry : Geometry
    small : ndarray of uint8, shape (h, w, 3), optional
        The frame at the network's size, RGB, as `preprocess` fills it; made for the call when omitted.
    radius : int
        Of each box, in pixels of the network's input, 1 to 31.
    order : {"RGB", "BGR"}
        Channel order of ``out``.
    out : ndarray of uint8, shape (H, W, 3)
    matrix, full_range
        Of a planar frame.
    scratch : RefineScratch, optional
    threads : int

    Returns
    -------
    ndarray
        ``out``

    Raises
    ------
    TypeError, ValueError
        If an array or number does not fit; the message names it.
    """
    planes = _checks.check_planes(planes, format, geometry.frame_wh)
    _checks.check_choice("order", order, ("RGB", "BGR"))
    _checks.check_choice("matrix", matrix, _checks.MATRICES)
    _checks.check_threads(threads)
    (width, height), (small_w, small_h) = geometry.frame_wh, geometry.input_wh
    if not 1 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius: expected 1 to {MAX_RADIUS}, got {radius}")
    _checks.check_array("out", out, np.uint8, (height, width, 3))
    _checks.check_rows("out", out)
    _checks.check_writable("out", out)
    if scratch is None:
        scratch = RefineScratch(geometry.frame_wh, geometry.roi[2:], threads)
    if small is None:
        small = scratch.guide(geometry.input_wh)
        make_guide(planes, format, geometry, small, matrix, full_range, threads)
    _checks.check_array("small", small, np.uint8, (small_h, small_w, 3))
    _checks.check_rows("small", small)
    work = scratch.work(geometry.frame_wh, geometry.roi[2:], threads)
    _refine.blur_background(small, geometry.frame_wh, geometry.roi, radius, order, out, work, threads)
    return out
