"""How good an alpha is. Arrays are float, shape (H, W), 0..1; predicted first, true second."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

BOUNDARY_TOLERANCE = 0.008  # of the diagonal, as the DAVIS benchmark has it
_TINY = np.spacing(1.0)


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
    across = np.square(np.arange(-reach, reach + 1))
    disc = (across[:, None] + across <= reach**2).astype(np.uint8)
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


def f_curve(predicted: np.ndarray, alpha: np.ndarray, beta_squared: float = 0.3) -> np.ndarray:
    """F-measure of ``predicted`` cut at 255/255 ... 0/255, against ``alpha`` cut at a half: float (256,).

    Achanta 2009. A cut that finds nothing where there is nothing agrees fully.
    """
    truth = alpha >= 0.5
    levels = (np.clip(predicted, 0, 1) * 255).astype(np.uint8)
    inside = np.bincount(levels[truth], minlength=256)[::-1].cumsum()
    found = np.bincount(levels.ravel(), minlength=256)[::-1].cumsum()
    wanted = int(truth.sum())
    if wanted == 0:
        return (found == 0).astype(np.float64)
    precision, recall = inside / np.maximum(found, 1), inside / wanted
    bottom = beta_squared * precision + recall
    return np.divide((1 + beta_squared) * precision * recall, bottom, out=np.zeros(256), where=bottom > 0)


def max_f(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """The best F-measure over all cuts of one picture; of several, that of the mean ``f_curve``."""
    return float(f_curve(predicted, alpha).max())


def s_measure(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """Structure measure of Fan 2017, half object and half region, against ``alpha`` cut at a half."""
    truth = alpha >= 0.5
    share = float(truth.mean())
    if share in (0.0, 1.0):
        return float(predicted.mean()) if share else 1 - float(predicted.mean())
    predicted = predicted.astype(np.float64)
    object_score = share * _object_score(predicted[truth]) + (1 - share) * _object_score(
        1 - predicted[~truth]
    )
    return max(0.0, (object_score + _region_score(predicted, truth)) / 2)


def dtssd(predicted: np.ndarray, alpha: np.ndarray) -> float:
    """How far changes from frame to frame differ from the true ones, times 100 (Erofeev 2015).

    The mean over neighbouring frames of the root of the mean squared difference between both changes.
    Both are (T, H, W), 0..1, with at least two frames.
    """
    if len(alpha) < 2:
        raise ValueError(f"clip: expected at least 2 frames, got {len(alpha)}")
    error = predicted.astype(np.float64) - alpha
    return float(np.mean([flicker(now, before) for before, now in itertools.pairwise(error)]))


def flicker(error: np.ndarray, before: np.ndarray) -> float:
    """One step of ``dtssd``: from the errors (predicted minus true alpha, (H, W)) of two frames in a row."""
    return float(100 * np.sqrt(np.square(error.astype(np.float64) - before).mean()))


def _object_score(values: np.ndarray) -> float:
    mean, spread = values.mean(), values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + spread + _TINY))


def _region_score(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Similarity in the four blocks around the truth's centre of mass, each by its share of the area."""
    height, width = truth.shape
    rows, columns = np.nonzero(truth)
    row, column = round(float(rows.mean())) + 1, round(float(columns.mean())) + 1
    score = 0.0
    for high in (slice(0, row), slice(row, height)):
        for wide in (slice(0, column), slice(column, width)):
            block = truth[high, wide]
            if block.size:
                score += _similarity(predicted[high, wide], block) * block.size / truth.size
    return score


def _similarity(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Luminance, contrast and structure of a block, as in SSIM without its constants."""
    truth = truth.astype(np.float64)
    mean_p, mean_t = predicted.mean(), truth.mean()
    norm = max(predicted.size - 1, 1)
    variance_p = np.square(predicted - mean_p).sum() / norm
    variance_t = np.square(truth - mean_t).sum() / norm
    covariance = ((predicted - mean_p) * (truth - mean_t)).sum() / norm
    top = 4 * mean_p * mean_t * covariance
    bottom = (mean_p**2 + mean_t**2) * (variance_p + variance_t)
    if top != 0:
        return float(top / (bottom + _TINY))
    return 1.0 if bottom == 0 else 0.0
