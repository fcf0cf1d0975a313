"""Looks at memory, CPU time and sensors every second or more, while something else is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .sensors import Reading, Sensor
from .statistics import slope

EVERY_SECONDS = 1.0
MOST_SAMPLES = 600
"""Longer runs are looked at less often: what is kept must not look like a leak."""


@dataclass(frozen=True)
class Sample:
    """One look."""

    seconds: float
    """On the clock of the frames."""
    rss_mb: float
    cpu_seconds: float
    """Of all threads of this process so far."""
    readings: dict[str, Reading]
    """By the sensor's name."""


class Sampler:
    """Takes samples on a thread of its own between ``start`` and ``stop``, one at each end included.

    A look takes well under a millisecond, most of it outside the interpreter.

    Parameters
    ----------
    sensors : iterable of Sensor
    lasting : float
        How many seconds it will be, about.
    clock, cpu, rss_mb : callable
        Time, CPU seconds and resident memory; replaced in tests.
    """

    def __init__(
        self,
        sensors: Iterable[Sensor] = (),
        *,
        lasting: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
        rss_mb: Callable[[], float] | None = None,
    ) -> None:
        self.sensors = list(sensors)
        self._every = max(EVERY_SECONDS, lasting / MOST_SAMPLES)
        self.samples: list[Sample] = []
        self._clock, self._cpu = clock, cpu
        self._rss_mb = rss_mb or _resident_mb()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def sample(self) -> None:
        """Look now."""
        readings = {sensor.name: sensor.read() for sensor in self.sensors}
        self.samples.append(Sample(self._clock(), self._rss_mb(), self._cpu(), readings))

    def __enter__(self) -> Sampler:
        self.sample()
        self._thread = threading.Thread(target=self._run, name="livecut-sampler", daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._end.wait(self._every):
            self.sample()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self.sample()


def _resident_mb() -> Callable[[], float]:
    import psutil

    process = psutil.Process()
    return lambda: process.memory_info().rss / 2**20


def _growth(values: list[float]) -> float:
    half = len(values) // 2
    return max(values[half:]) - max(values[:half]) if half else 0.0


def _slope(points: list[tuple[float, float]]) -> float:
    """An hour's, of values over seconds."""
    return 3600 * slope([value for _, value in points], [seconds for seconds, _ in points])


class Window:
    """The samples between two moments, and what they come to."""

    def __init__(self, sampler: Sampler, start: float, end: float) -> None:
        self.start, self.end = start, end
        self._all = sampler.samples
        self._sensors = sampler.sensors
        inside = [sample for sample in self._all if start <= sample.seconds <= end]
        self.samples = inside or self._all[-1:]

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(self.end - self.start, 1e-9)

    def cpu_seconds(self) -> float:
        """CPU time of the process in it."""
        return self._between([(sample.seconds, sample.cpu_seconds) for sample in self._all])

    def rss_mb(self) -> dict[str, float]:
        """Resident memory at its start, its end, and at most."""
        values = [sample.rss_mb for sample in self.samples]
        return {"start": values[0], "end": values[-1], "max": max(values)}

    def rss_slope_mb_per_hour(self) -> float:
        """How fast resident memory rises, by the median of all pairs of samples."""
        return _slope([(sample.seconds, sample.rss_mb) for sample in self.samples])

    def rss_growth_mb(self) -> float:
        """How much higher the peak of its second half is than that of its first."""
        return _growth([sample.rss_mb for sample in self.samples])

    def grows_by(self, growth_mb: float, mb_per_hour: float) -> bool:
        """Whether resident memory, or that of a device, rose by more than both."""
        series = [[(sample.seconds, sample.rss_mb) for sample in self.samples]]
        for sensor in self._sensors:
            for points in self._series(sensor.name, "memory_mb").values():
                series.append([each for each in points if self.start <= each[0] <= self.end])
        return any(
            _growth([value for _, value in points]) > growth_mb and _slope(points) > mb_per_hour
            for points in series
        )

    def watts(self) -> dict[str, dict[str, float]]:
        """Mean power of each rail, by sensor: from its energy counter where it has one."""
        found: dict[str, dict[str, float]] = {}
        for sensor in self._sensors:
            rails: dict[str, float] = {}
            for rail, points in self._series(sensor.name, "joules").items():
                rails[rail] = self._between(points) / self.seconds
            for rail, points in self._series(sensor.name, "watts").items():
                rails.setdefault(rail, self._mean(points))
            if rails:
                found[sensor.name] = rails
        return found

    def total_watts(self) -> tuple[float | None, list[str]]:
        """Mean power of everything that is measured, each watt once, and the rails that are in it."""
        total, names = 0.0, []
        for sensor in self._sensors:
            rails = self.watts().get(sensor.name, {})
            for rail in sensor.total_of(list(rails)):
                total += rails[rail]
                names.append(f"{sensor.name} {rail}")
        return (total, names) if names else (None, [])

    def spread(self, kind: str) -> dict[str, dict[str, float]]:
        """Start, end, lowest and highest of every value of one kind of reading, by name."""
        found = {}
        for name, values in self._values(kind).items():
            found[name] = {"start": values[0], "end": values[-1], "min": min(values), "max": max(values)}
        return found

    def thirds(self, kind: str) -> dict[str, tuple[float, float]]:
        """Mean of the first and of the last third of every value; without fewer than three samples."""
        found = {}
        for name, values in self._values(kind).items():
            third = len(values) // 3
            if third:
                found[name] = (float(np.mean(values[:third])), float(np.mean(values[-third:])))
        return found

    def risen(self) -> dict[str, float]:
        """Counters of slowing down that rose, and by how much."""
        values = self._values("throttled").items()
        return {name: series[-1] - series[0] for name, series in values if series[-1] > series[0]}

    def reasons(self) -> list[str]:
        """Why clocks were held down, as the devices said at any sample."""
        said = [
            reason
            for sample in self.samples
            for reading in sample.readings.values()
            for reason in reading.reasons
        ]
        return sorted(set(said))

    def _values(self, kind: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for sample in self.samples:
            for reading in sample.readings.values():
                for name, value in getattr(reading, kind).items():
                    found.setdefault(name, []).append(value)
        return found

    def _series(self, sensor: str, kind: str) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for sample in self._all:
            reading: Any = sample.readings.get(sensor)
            for rail, value in getattr(reading, kind, {}).items():
                found.setdefault(rail, []).append((sample.seconds, value))
        return found

    def _between(self, points: list[tuple[float, float]]) -> float:
        """How far a counter rose in the window, straight lines between its samples."""
        times, values = zip(*points, strict=True)
        return float(np.interp(self.end, times, values) - np.interp(self.start, times, values))

    def _mean(self, points: list[tuple[float, float]]) -> float:
        """Mean of a momentary value over the window, straight lines between its samples."""
        times, values = (np.array(column) for column in zip(*points, strict=True))
        inside = (times > self.start) & (times < self.end)
        x = np.concatenate([[self.start], times[inside], [self.end]])
        y = np.interp(x, times, values)
        return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / self.seconds)
