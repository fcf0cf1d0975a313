"""Weight tables of the resize in preprocess: which samples of an axis each output takes, in fixed point."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

GROUP = 8  # output pixels per step of the horizontal loops, LC_GROUP
FEW_TAPS = 16  # LC_FEW_TAPS: longer filters take the wide loops
WINDOW_SAMPLES = 64  # what one AVX-512 instruction picks from
MAX_WINDOW_PIXELS = {1: 16, 3: 5, 4: 5}  # by channels: 16 sums, three a pixel where there are colours
MAX_WINDOW_TABLE_BYTES = 8192  # of picks; the weights take as much again
MAX_WHOLE = 127  # what a signed byte and, times 255, a signed 16-bit word hold
SAMPLE_ONE = 256  # what a level of 1 is in a sample, unless the weights are whole numbers
ROW_ONE, ROW_ONE_WIDE, COLUMN_ONE = 1 << 16, 1 << 24, 1 << 14  # what a weight of 1 is


def axis(source: float, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``start (target,)`` and float64 ``weights (target, taps)`` for one axis.

    Area when shrinking, bilinear with half-pixel centres when enlarging. ``source`` may end in a half: a
    chroma axis whose last sample counts for only half its width.
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


def whole(source: float, target: int, weights: np.ndarray) -> int | None:
    """The sum of the whole numbers that are exactly ``weights`` times it, at most 127; None if there is none.

    15 where 1080 rows become 288, which is 15 to 4: four output rows take 15 source rows in quarters.
    """
    scale = Fraction(round(2 * source), 2 * target)
    one = scale.numerator if scale >= 1 else 2 * scale.denominator
    if one > MAX_WHOLE or np.abs(weights * one - np.rint(weights * one)).max() > 1e-6:
        return None
    return one


def row_table(source: float, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """``start``, ``count``, ``weights`` and ``one`` of the vertical pass (struct lc_rows)."""
    start, weights = axis(source, target)
    wide = weights.shape[1] > FEW_TAPS
    one = None if wide else whole(source, target, weights)
    if one:
        table = np.rint(weights * one).astype(np.int64)
    else:
        table = quantise(weights, ROW_ONE_WIDE if wide else ROW_ONE)
    # Taps that rounded to nothing at either end go: a row that is read alone needs no weight.
    used = table > 0
    skipped = used.argmax(axis=1)
    count = table.shape[1] - used[:, ::-1].argmax(axis=1) - skipped
    taps = np.arange(-(-int(count.max()) // 2) * 2)
    table = np.take_along_axis(table, np.minimum(skipped[:, None] + taps, table.shape[1] - 1), axis=1)
    table[taps >= count[:, None]] = 0
    if not one:
        table[count == 1] = 0  # its weight, 1, need not fit in 16 bits
    dtype = np.uint8 if one else np.uint32 if wide else np.uint16
    return (
        (start + skipped).astype(np.int32),
        count.astype(np.int32),
        np.ascontiguousarray(table, dtype),
        one or SAMPLE_ONE,
    )


def column_table(source: float, target: int, channels: int) -> tuple:
    """``target``, ``taps``, ``start``, ``weights`` and windows of the horizontal pass (struct lc_columns)."""
    start, weights = axis(source, target)
    padded = -(-target // GROUP) * GROUP
    starts = np.zeros(padded, np.int32)
    starts[:target] = start
    if weights.shape[1] > FEW_TAPS:
        return target, weights.shape[1], starts, np.ascontiguousarray(weights.ravel(), np.float32), None
    step = 2 if channels >= 3 else 8
    taps = -(-weights.shape[1] // step) * step
    table = np.zeros((padded, taps), np.int16)
    exact = quantise(weights, COLUMN_ONE)
    table[:target, : weights.shape[1]] = exact
    if channels >= 3:  # (group, pixel, pair, 2) -> (group, pair, pixel, 2)
        table = table.reshape(-1, GROUP, taps // 2, 2).swapaxes(1, 2)
    return target, taps, starts, np.ascontiguousarray(table).ravel(), _windows(start, exact, channels)


def _windows(start: np.ndarray, weights: np.ndarray, channels: int) -> tuple | None:
    """``pixels, pairs, first, start, to, pick, weights`` of struct lc_windows, or None.

    None where fewer than two pixels fit in a window, or where the ratio repeats so rarely that the tables
    would not stay in the first-level cache.
    """
    pixels = min(MAX_WINDOW_PIXELS[channels], len(start))
    while pixels >= 2:
        tables = _window_tables(start, weights, channels, pixels)
        if tables is not None:
            return tables if tables[5].nbytes <= MAX_WINDOW_TABLE_BYTES else None
        pixels -= 1
    return None


def _window_tables(start: np.ndarray, weights: np.ndarray, channels: int, pixels: int) -> tuple | None:
    sums = 3 if channels >= 3 else 1  # per pixel; alpha is left out
    pairs = -(-weights.shape[1] // 2)
    groups = -(-len(start) // pixels)
    taps = np.zeros((groups * pixels, 2 * pairs), np.int64)
    taps[: len(start), : weights.shape[1]] = weights
    first = start[::pixels]
    offset = np.zeros(groups * pixels, np.int64)
    offset[: len(start)] = start - np.repeat(first, pixels)[: len(start)]
    sample = (offset[:, None] + np.arange(2 * pairs))[:, None, :] * channels + np.arange(sums)[:, None]
    sample[np.broadcast_to(taps[:, None, :] == 0, sample.shape)] = 0  # (pixel, sum, tap); anything will do
    if sample.max() >= WINDOW_SAMPLES:
        return None
    taps = np.broadcast_to(taps[:, None, :], sample.shape)
    lanes = np.zeros((2, groups, pairs, 16, 2), np.int16)  # picks and weights
    for kind, values in enumerate((sample, taps)):
        values = values.reshape(groups, pixels * sums, pairs, 2).swapaxes(1, 2)
        lanes[kind, :, :, : pixels * sums] = values
    unique, table = np.unique(lanes.swapaxes(0, 1).reshape(groups, -1), axis=0, return_inverse=True)
    pick, weight = unique.reshape(len(unique), 2, -1).swapaxes(0, 1)
    by_table = np.argsort(table.ravel(), kind="stable")
    return (
        pixels,
        pairs,
        np.searchsorted(table.ravel()[by_table], np.arange(len(unique) + 1)).astype(np.int32),
        (first * channels)[by_table].astype(np.int32),
        (np.arange(groups) * pixels)[by_table].astype(np.int32),
        np.ascontiguousarray(pick).ravel().view(np.uint16),
        np.ascontiguousarray(weight).ravel(),
    )
