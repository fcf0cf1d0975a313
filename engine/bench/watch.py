"""Watches the machine while something is measured: other processes, stolen time, the speed of the clock."""

from __future__ import annotations

import hashlib
import os
import time

from .warn import CLOCK_CHANGE, OTHER_LOAD_CORES, STOLEN_SHARE, Warn


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
        if wall > 0.5 and self.stolen > STOLEN_SHARE:
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
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
