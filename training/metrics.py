"""How good an alpha is. Arrays are float, shape (H, W), 0..1; predicted first, true second."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.008  # of the diagonal, as the DAVIS benchmark has it


def sad(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """Sum of absolute differences, in thousands."""
    return float(np.abs(predicted - alpha).sum() / 1000)


def mae(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """Mean absolute difference."""
    return float(np.abs(predicted - alpha).mean())


def mse(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """Mean squared difference."""
    return float(np.square(predicted - alpha).mean())


def iou(predicted: np.ndarray, alpha: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of both alphas cut at ``threshold``; two empty ones agree fully."""
    a, b = predicted >= threshold, alpha >= threshold
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def boundary_f(
    predicted: np.ndarray, alpha: np.ndarray, threshold: float = 0.5, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """F-measure of the outlines of both alphas cut at ``threshold``.

    An outline pixel counts as found when the other outline passes within ``tolerance`` of the picture's
    diagonal, rounded up. Two empty alphas agree fully, one empty alone not at all.
    """
    a, b = outline(predicted >= threshold), outline(alpha >= threshold)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    reach = int(np.ceil(tolerance * np.hypot(*alpha.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    precision = (a & (cv2.dilate(b.astype(np.uint8), disc) > 0)).sum() / a.sum()
    recall = (b & (cv2.dilate(a.astype(np.uint8), disc) > 0)).sum() / b.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a boolean mask with one of their 4 neighbours outside it; the border is no outline."""
    inner = cv2.erode(
        mask.astype(np.uint8),
        cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)),
        borderType=cv2.BORDER_REPLICATE,
    )
    return mask & (inner == 0)


def grad(predicted: np.ndarray, alpha: np.ndarray, sigma: float = 1.4) -> float:
    """Squared difference of the gradients' sizes, summed, in thousands (Rhemann 2009)."""
    difference = _gradient_size(predicted, sigma) - _gradient_size(alpha, sigma)
    return float(np.square(difference).sum() / 1000)


def conn(predicted: np.ndarray, alpha: np.ndarray, step: float = 0.1) -> float:
    """Difference in how firmly pixels hang together with the main subject, in thousands (Rhemann 2009)."""
    levels = np.arange(0, 1 + step, step)
    reached = np.full(alpha.shape, -1.0)
    for below, level in itertools.pairwise(levels):
        # A hair under each level: rounding of 0.1 + 0.1 + ... must not cut off an alpha of exactly that.
        both = (predicted >= level - 1e-9) & (alpha >= level - 1e-9)
        reached[(reached == -1) & ~_largest_region(both)] = below
    reached[reached == -1] = 1
    return float(np.abs(_firmness(predicted - reached) - _firmness(alpha - reached)).sum() / 1000)


def _gradient_size(x: np.ndarray, sigma: float) -> np.ndarray:
    half = int(np.ceil(sigma * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * sigma * 1e-2))))
    reach = np.arange(-half, half + 1, dtype=np.float64)
    bell = np.exp(-(reach**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    slope = -reach * bell / sigma**2
    kernel = np.outer(bell, slope)
    kernel /= np.sqrt(np.square(kernel).sum())
    x = x.astype(np.float64)
    across = cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    down = cv2.filter2D(x, -1, np.ascontiguousarray(kernel.T), borderType=cv2.BORDER_REPLICATE)
    return np.hypot(across, down)


def _largest_region(mask: np.ndarray) -> np.ndarray:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros(mask.shape, bool)
    return labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))


def _firmness(excess: np.ndarray) -> np.ndarray:
    return 1 - excess * (excess >= 0.15)
