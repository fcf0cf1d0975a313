"""Smoothing of the small alpha over time, where nothing moves."""

from __future__ import annotations

import numpy as np

from . import _checks, _matte

STEADY_ALPHA, JUMP_ALPHA = 0.06 * 255, 0.3 * 255
"""Mean change of alpha over 3x3, in 255ths: up to here it may be flicker, from there on it is believed."""


class TemporalSmoother:
    """Holds a still matte still, and lets a moving edge move.

    The new alpha is mixed with the one put out for the frame before:
    ``alpha = previous + weight * (alpha - previous)``. The weight is ``1 - strength`` where the 3x3
    neighbourhood neither moved in the picture nor jumped in alpha, and 1 where it did:

    ====================================  =========================================
    mean change over 3x3                  weight
    ====================================  =========================================
    luma up to 1.5 ``noise``              ``1 - strength``
    luma from 4 ``noise`` on              1
    alpha up to 0.06                      ``1 - strength``
    alpha from 0.3 on                     1
    ====================================  =========================================

    with a smooth step between, and the larger of the two. One object serves one stream, one call at a time.

    Parameters
    ----------
    small_wh : (int, int), optional
        Width and height of the network's output; taken from the first alpha when omitted. An alpha of
        another size later starts afresh.
    strength : float
        0 (off) up to, but not, 1. The default quarters each frame's share in a still scene, which cuts the
        variance of a flickering alpha to a seventh.
    noise : float
        Typical change of luma between two frames of a still scene, in levels of 255, at the small size.

    Raises
    ------
    ValueError
        If a size or number is out of range.
    """

    def __init__(
        self, small_wh: tuple[int, int] | None = None, *, strength: float = 0.75, noise: float = 2.0
    ) -> None:
        width, height = small_wh or (1, 1)
        if min(width, height) < 1:
            raise ValueError(f"small_wh: expected at least 1x1, got {width}x{height}")
        if not 0 <= strength < 1:
            raise ValueError(f"strength: expected 0 <= strength < 1, got {strength}")
        if not 0 < noise <= 64:
            raise ValueError(f"noise: expected 0 < noise <= 64, got {noise}")
        self.strength = strength
        self.noise = noise
        self._start((height, width))

    def _start(self, shape: tuple[int, int]) -> None:
        height, width = shape
        self._previous = np.zeros((height, width), np.float32)
        self._luma = np.zeros((height, width), np.uint8)
        self._changes = np.zeros((2, height, width + 2), np.uint8)
        self._is_first = True

    def reset(self) -> None:
        """Forget the frames so far: the next alpha passes unchanged."""
        self._is_first = True

    def smooth(self, alpha: np.ndarray, small: np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Smooth ``alpha`` in place.

        Parameters
        ----------
        alpha : ndarray of float32, shape (h, w)
            The network's output. Values are clipped to 0..1; a NaN counts as 0. Rows contiguous.
        small : ndarray of uint8, shape (h, w, 3)
            The same frame as RGB at the same size, from `preprocess`. Rows contiguous.
        threads : int

        Returns
        -------
        ndarray of float32, shape (h, w)
            ``alpha``

        Raises
        ------
        TypeError
            If a dtype differs.
        ValueError
            If a shape or stride does not fit.

        Notes
        -----
        Releases the GIL; allocates nothing but for the first alpha of a size.
        """
        _checks.check_array("alpha", alpha, np.float32, (None, None))
        height, width = alpha.shape
        _checks.check_rows("alpha", alpha)
        _checks.check_writable("alpha", alpha)
        _checks.check_array("small", small, np.uint8, (height, width, 3))
        _checks.check_rows("small", small)
        _checks.check_apart("alpha", alpha, "small", small)
        _checks.check_threads(threads)
        if alpha.shape != self._luma.shape:
            self._start(alpha.shape)
        _matte.smooth(
            alpha, small, self._previous, self._luma, self._changes, self._is_first,
            1 - self.strength, 1.5 * self.noise, 4 * self.noise, STEADY_ALPHA, JUMP_ALPHA, threads,
        )  # fmt: skip
        self._is_first = False
        return alpha
