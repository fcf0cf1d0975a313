"""Timing: warm-up, interleaved rounds, medians with spread, a confidence interval of each ratio.

Contenders take turns in one process. Even rounds go through them in the given order and odd rounds in reverse
(A B B A), so a machine that slows down does so to all. A sample is one turn: ``calls`` calls in a row, over
``calls``, which the warm-up sets so that a turn lasts about ``turn_seconds``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from livecut.engine.bench.statistics import (
    Ratio,
    Summary,
    median_interval,
    paired_difference,
    paired_ratio,
    unpaired_ratio,
)
from livecut.engine.bench.warn import DRIFT, ENOUGH_ROUNDS, NOISY_SPREAD, Warn
from livecut.engine.bench.watch import Watch

__all__ = [
    "Measurement",
    "Ratio",
    "Summary",
    "Warn",
    "Watch",
    "interleave",
    "median_interval",
    "paired_difference",
    "paired_ratio",
    "sample_warnings",
    "unpaired_ratio",
]


@dataclass
class Measurement:
    """Samples of every contender, taken in the same rounds, and what was wrong with the machine meanwhile."""

    contenders: dict[str, Summary]
    warnings: list[Warn] = field(default_factory=list)

    def ratio(self, slower: str, faster: str) -> Ratio:
        """How many times longer ``slower`` takes than ``faster``."""
        return paired_ratio(self.contenders[slower].samples, self.contenders[faster].samples)


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
