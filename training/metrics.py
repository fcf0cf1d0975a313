"""How good an alpha is. Arrays are float, shape (H, W), 0..1; predicted first, true second."""

from __future__ import annotations

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
    """Pixels of a boolean mask that touch a pixel outside it (4-neighbours); the picture's border does not count."""
    inner = cv2.erode(
        mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), borderType=cv2.BORDER_REPLICATE
    )
    return mask & (inner == 0)
