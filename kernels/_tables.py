"""Weight tables of the resize in preprocess: which samples of an axis each output takes, in fixed point."""

from __future__ import annotations

import numpy as np

GROUP = 8  # output pixels per step of the horizontal loops, LC_GROUP
FEW_TAPS = 16  # LC_FEW_TAPS: longer filters take the wide loops
ROW_ONE, ROW_ONE_WIDE, COLUMN_ONE = 1 << 16, 1 << 24, 1 << 14  # what a weight of 1 is


def axis(source: float, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``start (target,)`` and float64 ``weights (target, taps)`` for one axis.

    Area when shrinking, bilinear with half-pixel centres when enlarging. ``source`` may end in a half: a chroma axis
    whose last sample counts for only half its width.
    """
    samples = int(np.ceil(source))
    scale = source / target
    index = np.arange(target)
    if scale < 1:
        centre = np.clip((index + 0.5) * scale - 0.5, 0, samples - 1)
        start = np.minimum(centre.astype(np.int64), max(samples - 2, 0))
        right = (centre - start)[:, None]
        return start, np.hstack([1 - right, right]) if samples > 1 else np.ones((target, 1))
    low, high = index * scale, (index + 1) * scale
    start = np.minimum(np.floor(low + 1e-9).astype(np.int64), samples - 1)
    end = np.maximum(np.minimum(np.ceil(high - 1e-9).astype(np.int64), samples), start + 1)
    edges = start[:, None] + np.arange(int((end - start).max()) + 1)
    weights = np.diff(np.clip(edges, low[:, None], high[:, None]), axis=1)
    return start, weights / weights.sum(axis=1, keepdims=True)


def quantise(weights: np.ndarray, one: int) -> np.ndarray:
    """Integers ``(target, taps)`` nearest to ``weights * one`` whose rows sum to exactly ``one``."""
    exact = weights * one
    rounded = np.floor(exact)
    missing = one - rounded.sum(axis=1, keepdims=True)
    rank = np.argsort(np.argsort(rounded - exact, axis=1, kind="stable"), axis=1, kind="stable")
    return (rounded + (rank < missing)).astype(np.int64)


def row_table(source: float, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``start``, ``count`` and ``weights`` of the vertical pass (struct lc_rows)."""
    start, weights = axis(source, target)
    wide = weights.shape[1] > FEW_TAPS
    table = quantise(weights, ROW_ONE_WIDE if wide else ROW_ONE)
    # Taps that rounded to nothing at either end go: a row that is read alone needs no weight.
    used = table > 0
    skipped = used.argmax(axis=1)
    count = table.shape[1] - used[:, ::-1].argmax(axis=1) - skipped
    take = np.minimum(skipped[:, None] + np.arange(int(count.max())), table.shape[1] - 1)
    table = np.take_along_axis(table, take, axis=1)
    table[np.arange(table.shape[1]) >= count[:, None]] = 0
    table[count == 1] = 0  # its weight, 1, need not fit in 16 bits
    return (
        (start + skipped).astype(np.int32),
        count.astype(np.int32),
        np.ascontiguousarray(table, np.uint32 if wide else np.uint16),
    )


def column_table(source: float, target: int, channels: int) -> tuple[int, int, np.ndarray, np.ndarray]:
    """``target``, ``taps``, ``start`` and ``weights`` of the horizontal pass (struct lc_columns)."""
    start, weights = axis(source, target)
    padded = -(-target // GROUP) * GROUP
    starts = np.zeros(padded, np.int32)
    starts[:target] = start
    if weights.shape[1] > FEW_TAPS:
        return target, weights.shape[1], starts, np.ascontiguousarray(weights.ravel(), np.float32)
    step = 2 if channels >= 3 else 8
    taps = -(-weights.shape[1] // step) * step
    table = np.zeros((padded, taps), np.int16)
    table[:target, : weights.shape[1]] = quantise(weights, COLUMN_ONE)
    if channels >= 3:  # (group, pixel, pair, 2) -> (group, pair, pixel, 2)
        table = table.reshape(-1, GROUP, taps // 2, 2).swapaxes(1, 2)
    return target, taps, starts, np.ascontiguousarray(table).ravel()
