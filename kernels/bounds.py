"""Where the product is in a matte: for cropping, and for judging a cut-out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _checks, _matte


@dataclass(frozen=True)
class Bounds:
    """What of a matte reaches a threshold."""

    box: tuple[int, int, int, int] | None
    """Smallest ``(x, y, width, height)`` around it, in pixels; None when there is nothing."""
    coverage: float
    """Its share of the area, 0..1."""
    border_contact: tuple[float, float, float, float]
    """Its share of the top, right, bottom and left border, each 0..1."""


def bounds(alpha: np.ndarray, *, threshold: int = 8, threads: int = 1) -> Bounds:
    """Measure the pixels of ``alpha`` that are at least ``threshold``.

    Parameters
    ----------
    alpha : ndarray of uint8, shape (H, W)
        Rows contiguous, any row stride.
    threshold : int
        1 to 255. The default leaves out the faint haze of a network.
    threads : int

    Returns
    -------
    Bounds

    Raises
    ------
    TypeError
        If ``alpha`` is not uint8, or ``threshold`` is not an int.
    ValueError
        If ``alpha`` is empty, not two-dimensional or not contiguous in its rows, or ``threshold`` is out of
        range.

    Notes
    -----
    Releases the GIL. Reads every pixel once.

    Examples
    --------
    >>> alpha = np.zeros((4, 8), np.uint8)
    >>> alpha[1:3, 6:] = 255
    >>> bounds(alpha)
    Bounds(box=(6, 1, 2, 2), coverage=0.125, border_contact=(0.0, 0.5, 0.0, 0.0))
    """
    _checks.check_array("alpha", alpha, np.uint8, (None, None))
    _checks.check_rows("alpha", alpha)
    _checks.check_int("threshold", threshold, 1, 255)
    _checks.check_threads(threads)
    height, width = alpha.shape
    count, (left, top, right, bottom), (on_top, on_right, on_bottom, on_left) = _matte.bounds(
        alpha, threshold, threads
    )
    return Bounds(
        box=(left, top, right - left, bottom - top) if count else None,
        coverage=count / (height * width),
        border_contact=(on_top / width, on_right / height, on_bottom / width, on_left / height),
    )
