"""Samples, medians, percentiles, and how sure a ratio is: the arithmetic behind every figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 4000
BLOCK_RESAMPLES = 1000
"""Of whole runs, which are long; fewer where they are very long."""
CONFIDENCE = 0.95
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


@dataclass(frozen=True)
class Summary:
    """One contender: its samples and what they come to, all in ``unit``."""

    samples: tuple[float, ...]
    unit: str = "ms"

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    def percentile(self, percent: float) -> float:
        """The ``percent``-th percentile of the samples."""
        return float(np.percentile(self.samples, percent))

    @property
    def spread(self) -> float:
        """Interquartile range over the median: 0 is perfectly repeatable."""
        return (self.percentile(75) - self.percentile(25)) / self.median if self.median else 0.0

    @property
    def drift(self) -> float:
        """Median of the last third over that of the first third, minus one; 0 with fewer than six samples."""
        third = len(self.samples) // 3
        if third < 2:
            return 0.0
        first = float(np.median(self.samples[:third]))
        return float(np.median(self.samples[-third:])) / first - 1 if first else 0.0

    def to_json(self) -> dict[str, Any]:
        keys = {"p5": 5, "p25": 25, "p75": 75, "p95": 95}
        return {
            "unit": self.unit,
            "median": self.median,
            **{key: self.percentile(percent) for key, percent in keys.items()},
            "samples": [float(f"{value:.6g}") for value in self.samples],
        }


@dataclass(frozen=True)
class Ratio:
    """A ratio (or difference) of medians with the two ends of its confidence interval."""

    value: float
    low: float
    high: float


def paired_ratio(numerator: Any, denominator: Any, *, seed: int = 0) -> Ratio:
    """Ratio of the medians of samples taken in the same rounds, with a bootstrap interval over rounds.

    Rounds are drawn with replacement, both samples of a round together, so noise that both share cancels.

    Raises
    ------
    ValueError
        If the numbers of samples differ or are 0.
    """
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    if top.shape != bottom.shape or top.size == 0:
        raise ValueError(f"expected two equally long runs of samples, got {top.size} and {bottom.size}")
    rounds = np.random.default_rng(seed).integers(0, top.size, (RESAMPLES, top.size))
    return _interval(
        np.median(top) / np.median(bottom), np.median(top[rounds], 1) / np.median(bottom[rounds], 1)
    )


def paired_difference(minuend: Any, subtrahend: Any, *, seed: int = 0) -> Ratio:
    """Difference of the medians of samples taken in the same rounds, with a bootstrap interval."""
    top, bottom = np.asarray(minuend, float), np.asarray(subtrahend, float)
    if top.shape != bottom.shape or top.size == 0:
        raise ValueError(f"expected two equally long runs of samples, got {top.size} and {bottom.size}")
    rounds = np.random.default_rng(seed).integers(0, top.size, (RESAMPLES, top.size))
    return _interval(
        np.median(top) - np.median(bottom), np.median(top[rounds], 1) - np.median(bottom[rounds], 1)
    )


def unpaired_ratio(numerator: Any, denominator: Any, *, seed: int = 0) -> Ratio:
    """Ratio of the medians of two runs of samples taken apart, such as in two result files."""
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    if top.size == 0 or bottom.size == 0:
        raise ValueError(f"expected samples on both sides, got {top.size} and {bottom.size}")
    rng = np.random.default_rng(seed)
    tops = np.median(top[rng.integers(0, top.size, (RESAMPLES, top.size))], 1)
    bottoms = np.median(bottom[rng.integers(0, bottom.size, (RESAMPLES, bottom.size))], 1)
    return _interval(np.median(top) / np.median(bottom), tops / bottoms)


def median_interval(samples: Any, *, seed: int = 0) -> Ratio:
    """The median of ``samples`` with its bootstrap interval."""
    values = np.asarray(samples, float)
    draws = np.random.default_rng(seed).integers(0, values.size, (RESAMPLES, values.size))
    return _interval(np.median(values), np.median(values[draws], 1))


def frames_for(percent: float, confidence: float = 0.99) -> int:
    """How many frames it takes until the slowest of them is beyond this percentile with ``confidence``.

    Fewer say next to nothing of it: 90 for p95, 459 for p99, 4603 for p99.9. (MLPerf's early stopping starts
    from the same numbers.)
    """
    return math.ceil(math.log(1 - confidence) / math.log(percent / 100))


def percentiles(values: Any) -> dict[str, float]:
    """p50, p95, p99, p999 and max; zeros without values. Of every value, not of a histogram."""
    array = np.asarray(values, float)
    if not array.size:
        return dict.fromkeys((*PERCENTILES, "max"), 0.0)
    found = {name: float(np.percentile(array, percent)) for name, percent in PERCENTILES.items()}
    return {**found, "max": float(array.max())}


def by_second(values: Any, seconds: Any) -> list[np.ndarray]:
    """Values grouped by the whole second of their time; seconds without any are left out."""
    array, times = np.asarray(values, float), np.asarray(seconds, float)
    if array.shape != times.shape:
        raise ValueError(f"expected as many times as values, got {times.size} and {array.size}")
    if not array.size:
        return []
    number = np.floor(times - times.min()).astype(int)
    return [array[number == second] for second in np.unique(number)]


def percentile_interval(blocks: Sequence[np.ndarray], percent: float, *, seed: int = 0) -> Ratio:
    """A percentile with its bootstrap interval over blocks.

    Latencies of neighbouring frames depend on each other (one stall delays several), so whole seconds are
    drawn, not frames.

    Raises
    ------
    ValueError
        Without any value.
    """
    draws = _block_percentiles(blocks, percent, np.random.default_rng(seed))
    return _interval(np.percentile(np.concatenate(blocks), percent), draws)


def percentile_ratio(
    numerator: Sequence[np.ndarray], denominator: Sequence[np.ndarray], percent: float, *, seed: int = 0
) -> Ratio:
    """Ratio of a percentile of two runs, with its bootstrap interval over blocks, as above."""
    rng = np.random.default_rng(seed)
    tops = _block_percentiles(numerator, percent, rng)
    bottoms = _block_percentiles(denominator, percent, rng)
    draws = min(len(tops), len(bottoms))
    top, bottom = (np.percentile(np.concatenate(blocks), percent) for blocks in (numerator, denominator))
    return _interval(top / bottom, tops[:draws] / bottoms[:draws])


def _block_percentiles(blocks: Sequence[np.ndarray], percent: float, rng: np.random.Generator) -> np.ndarray:
    size = sum(block.size for block in blocks)
    if not size:
        raise ValueError("expected at least one value, got none")
    draws = int(min(BLOCK_RESAMPLES, max(200, 4e6 // size)))
    found = np.empty(draws)
    for index in range(draws):
        chosen = rng.integers(0, len(blocks), len(blocks))
        found[index] = np.percentile(np.concatenate([blocks[number] for number in chosen]), percent)
    return found


def slope(values: Any, times: Any) -> float:
    """Median slope over all pairs (Theil and Sen), which one jump does not tilt; 0 without any pair."""
    y, x = np.asarray(values, float), np.asarray(times, float)
    if y.size > 600:  # thinned: the pairs grow with the square
        keep = np.linspace(0, y.size - 1, 600).astype(int)
        y, x = y[keep], x[keep]
    first, second = np.triu_indices(y.size, 1)
    apart = x[second] - x[first]
    usable = apart > 0
    if not usable.any():
        return 0.0
    return float(np.median((y[second] - y[first])[usable] / apart[usable]))


def _interval(value: Any, resampled: np.ndarray) -> Ratio:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Ratio(float(value), float(low), float(high))
