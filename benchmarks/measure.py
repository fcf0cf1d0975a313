"""Timing: warm-up, interleaved rounds, medians with spread, a confidence interval of each ratio.

Contenders take turns in one process. Even rounds go through them in the given order and odd rounds in reverse
(A B B A), so a machine that slows down does so to all. A sample is one turn: ``calls`` calls in a row, over
``calls``, which the warm-up sets so that a turn lasts about ``turn_seconds``.
"""

from __future__ import annotations

import enum
import gc
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RESAMPLES = 4000
CONFIDENCE = 0.95
# Limits of the warnings.
ENOUGH_ROUNDS = 20
NOISY_SPREAD = 0.15
DRIFT = 0.07
CLOCK_CHANGE = 0.05
OTHER_LOAD_CORES = 0.10


class Warn(str, enum.Enum):
    """Everything a measurement can complain of; the list is closed."""

    FEW_SAMPLES = "few-samples"
    NOISY = "noisy"
    DRIFT = "drift"
    CLOCK = "clock-changed"
    OTHER_LOAD = "other-load"
    STOLEN = "stolen-time"
    DIRTY = "dirty-checkout"
    QUICK = "quick"

    @property
    def meaning(self) -> str:
        """What it says, and how to get rid of it."""
        return _MEANINGS[self]


_MEANINGS = {
    Warn.FEW_SAMPLES: f"fewer than {ENOUGH_ROUNDS} rounds: the intervals are wide; run without --quick",
    Warn.NOISY: f"the middle half of a contender's samples spans more than {NOISY_SPREAD:.0%} of its median",
    Warn.DRIFT: f"a contender's last third differs from its first third by more than {DRIFT:.0%}",
    Warn.CLOCK: f"a fixed computation took more than {CLOCK_CHANGE:.0%} longer or shorter after than before",
    Warn.OTHER_LOAD: f"other processes used more than {OTHER_LOAD_CORES:.2f} of a core: close them",
    Warn.STOLEN: "the hypervisor took CPU time away",
    Warn.DIRTY: "tracked files differ from the commit: the figures belong to no commit",
    Warn.QUICK: "a quick run: proves that the benchmark works, not a result",
}


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


@dataclass
class Measurement:
    """Samples of every contender, taken in the same rounds, and what was wrong with the machine meanwhile."""

    contenders: dict[str, Summary]
    warnings: list[Warn] = field(default_factory=list)

    def ratio(self, slower: str, faster: str) -> Ratio:
        """How many times longer ``slower`` takes than ``faster``."""
        return paired_ratio(self.contenders[slower].samples, self.contenders[faster].samples)


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


def _interval(value: Any, resampled: np.ndarray) -> Ratio:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Ratio(float(value), float(low), float(high))


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    turn_seconds: float = 0.02,
    watch: Watch | None = None,
) -> Measurement:
    """Time every contender in turn, ``rounds`` times, in ABBA order; samples are milliseconds a call.

    Garbage collection is off meanwhile: a collection would land on whoever happened to be running.
    """
    watch = watch or Watch()
    calls = {name: _warm_up(call, turn_seconds) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with watch:
            for index in range(rounds):
                order = list(contenders) if index % 2 == 0 else list(reversed(contenders))
                for name in order:
                    samples[name].append(1e3 * _turn(contenders[name], calls[name]))
    finally:
        if collecting:
            gc.enable()
    summaries = {name: Summary(tuple(values)) for name, values in samples.items()}
    return Measurement(summaries, watch.warnings + sample_warnings(summaries))


def sample_warnings(summaries: Mapping[str, Summary]) -> list[Warn]:
    """What the samples themselves complain of."""
    found = []
    if any(len(summary.samples) < ENOUGH_ROUNDS for summary in summaries.values()):
        found.append(Warn.FEW_SAMPLES)
    if any(summary.spread > NOISY_SPREAD for summary in summaries.values()):
        found.append(Warn.NOISY)
    if any(abs(summary.drift) > DRIFT for summary in summaries.values()):
        found.append(Warn.DRIFT)
    return found


def _turn(call: Callable[[], object], calls: int) -> float:
    call()  # brings code and buffers back into the caches that the previous contender filled; not counted
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _warm_up(call: Callable[[], object], turn_seconds: float) -> int:
    """Run for at least a turn and three calls; return how many calls fill a turn."""
    fastest, spent, runs = float("inf"), 0.0, 0
    while runs < 3 or (spent < turn_seconds and runs < 1000):
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        fastest, spent, runs = min(fastest, took), spent + took, runs + 1
    return max(1, round(turn_seconds / max(fastest, 1e-9)))


class Watch:
    """Watches the machine meanwhile: other processes, stolen time, the speed of the clock."""

    def __init__(self) -> None:
        self.warnings: list[Warn] = []
        self.other_cores = 0.0
        self.stolen = 0.0
        self.clock_ratio = 1.0

    def __enter__(self) -> Watch:
        self._yardstick = yardstick()
        self._wall, self._busy, self._steal, self._own = (
            time.perf_counter(),
            *_machine_seconds(),
            _own_seconds(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        wall = max(time.perf_counter() - self._wall, 1e-9)
        busy, steal = _machine_seconds()
        own = _own_seconds() - self._own
        self.other_cores = max(0.0, (busy - self._busy - own) / wall)
        self.stolen = (steal - self._steal) / wall
        self.clock_ratio = yardstick() / self._yardstick
        # The kernel counts in hundredths of a second: a short measurement cannot tell.
        if wall > 0.5 and self.other_cores > OTHER_LOAD_CORES:
            self.warnings.append(Warn.OTHER_LOAD)
        if wall > 0.5 and self.stolen > 0.01:
            self.warnings.append(Warn.STOLEN)
        if abs(self.clock_ratio - 1) > CLOCK_CHANGE:
            self.warnings.append(Warn.CLOCK)


def yardstick() -> float:
    """Seconds that a fixed computation takes at best: it changes only with the core's clock."""
    block, best = bytes(1 << 16), float("inf")
    for _ in range(25):
        start = time.perf_counter()
        hashlib.sha256(block).digest()
        best = min(best, time.perf_counter() - start)
    return best


def _machine_seconds() -> tuple[float, float]:
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    steal = getattr(times, "steal", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(
        times, "guest_nice", 0.0
    )  # Linux counts it in user time too
    return sum(times) - idle - steal - guest, steal


def _own_seconds() -> float:
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
