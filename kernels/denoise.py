"""Light denoise of a frame before anything else looks at it."""

from __future__ import annotations

import numpy as np

from . import _checks, _matte

MAX_STRENGTH = 31


def denoise(
    image: np.ndarray, *, strength: int, out: np.ndarray | None = None, threads: int = 1
) -> np.ndarray:
    """Average each sample with those of its eight neighbours that differ little from it.

    Every channel on its own: ``here + round(sum(taper(there - here)) / 9)``, where ``taper(d)`` is ``d`` up
    to ``strength``, falls back to 0 at twice ``strength`` and stays there. Flat noise is averaged over 3x3;
    an edge higher than twice ``strength`` is left as it is. Beyond the border the nearest sample repeats.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 1 to 4)
        Rows contiguous, any row stride.
    strength : int
        1 to 31, in levels of 255: differences up to here are taken for noise.
    out : ndarray of uint8, shape (H, W, C), optional
        Memory of its own, as neighbours are read after a sample is written. Allocated when omitted.
    threads : int

    Returns
    -------
    ndarray of uint8, shape (H, W, C)

    Raises
    ------
    TypeError
        If an array is not uint8, or ``strength`` is not an int.
    ValueError
        If ``strength`` is outside 1..31, shapes differ, or ``out`` overlaps ``image``.

    Notes
    -----
    Releases the GIL. One pass: every row is read three times, from cache, and written once.
    """
    _checks.check_array("image", image, np.uint8, (None, None, None))
    _checks.check_rows("image", image)
    if not 1 <= image.shape[2] <= 4:
        raise ValueError(f"image: expected 1 to 4 channels, got shape {image.shape}")
    _checks.check_int("strength", strength, 1, MAX_STRENGTH)
    _checks.check_threads(threads)
    if out is None:
        out = np.empty(image.shape, np.uint8)
    _checks.check_array("out", out, np.uint8, image.shape)
    _checks.check_rows("out", out)
    _checks.check_writable("out", out)
    _checks.check_apart("out", out, "image", image)
    _matte.denoise(image, out, strength, threads)
    return out
