"""What a stream measured of itself, in bounded memory however long it runs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

STAGES = ("capture", "preprocess", "infer", "postprocess", "output")
_STEPS = 128  # buckets in each doubling: a bucket is at most 0.8 % wide, so its middle is off by 0.4 %
_SMALLEST = 2.0**-20  # seconds; what is shorter counts as about a microsecond
_OCTAVES = 34  # up to 2**13 seconds


class Histogram:
    """Counts of durations in log-linear buckets: any percentile to within 0.5 %, in 35 kB, for ever."""

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self._counts = [0] * (_OCTAVES * _STEPS)
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        self.total += seconds
        if seconds > self.maximum:
            self.maximum = seconds
        if seconds <= _SMALLEST:
            self._counts[0] += 1
            return
        mantissa, exponent = math.frexp(seconds / _SMALLEST)  # mantissa in 0.5..1
        bucket = (exponent - 1) * _STEPS + int((mantissa - 0.5) * 2 * _STEPS)
        self._counts[min(bucket, _OCTAVES * _STEPS - 1)] += 1

    def percentile(self, q: float) -> float:
        """The duration that ``q`` per cent of all do not exceed, in seconds; 0 without any."""
        if not self.count:
            return 0.0
        wanted = max(1, math.ceil(self.count * q / 100))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                octave, step = divmod(bucket, _STEPS)
                middle = _SMALLEST * 2.0**octave * (1 + (step + 0.5) / _STEPS)
                return min(middle, self.maximum)
        return self.maximum

    @property
    def mean(self) -> float:
        """Mean in seconds; 0 without any."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True)
class StreamReport:
    """What a stream did. Times in milliseconds unless the name says otherwise."""

    frames_in: int
    """Frames of the source, those included that it lost before they could be read (gaps in its index)."""
    frames_out: int
    """Frames written to the sink, repeats of the last good frame included."""
    dropped: int
    """Frames of the source that were not written."""
    late: int
    """Frames of a live source written more than one frame time after they were due."""
    fps: float
    """Frames written a second, from the first to the last."""
    latency_ms: dict[str, float]
    """p50 p95 p99 p999 max, from the moment the frame was due at the camera until the sink had it."""
    jitter_ms: float
    """99th percentile of how far the time between two outputs differs from that between their due times."""
    stages: dict[str, dict[str, float]]
    """p50 and p99 of each stage's own time, waiting not counted."""
    backend: dict[str, Any]
    """name, device, precision, threads: as read back from the runtime."""
    cpu_seconds_per_frame: float
    rss_mb: dict[str, float]
    """Resident memory at the start, at the end and at most."""

    def to_json(self) -> dict[str, Any]:
        """A dict of plain numbers and strings, rounded to what the measurement can bear."""
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "dropped": self.dropped,
            "late": self.late,
            "fps": round(self.fps, 3),
            "latency_ms": {key: round(value, 3) for key, value in self.latency_ms.items()},
            "jitter_ms": round(self.jitter_ms, 3),
            "stages": {
                name: {key: round(value, 3) for key, value in times.items()}
                for name, times in self.stages.items()
            },
            "backend": dict(self.backend),
            "cpu_seconds_per_frame": round(self.cpu_seconds_per_frame, 6),
            "rss_mb": {key: round(value, 1) for key, value in self.rss_mb.items()},
        }


@dataclass(frozen=True)
class Progress:
    """What a stream tells while it runs; see ``Pipeline``."""

    frames_in: int
    frames_out: int
    dropped: int
    frames: int | None
    """How many are expected in all, where the source knows."""
    seconds: float
    """Since the first frame was written."""
    latency_ms: float
    """Of the frame just written."""


@dataclass
class StreamStats:
    """Collects the figures of one stream. The capturing thread calls ``frame_read`` and counts ``dropped``;
    the writing one calls the rest."""

    frame_seconds: float | None = None
    """One frame time of a live source; None where no frame can be late."""
    lost: int = 0
    read: int = 0
    dropped: int = 0
    written: int = 0
    late: int = 0
    latency: Histogram = field(default_factory=Histogram)
    jitter: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in STAGES})

    def __post_init__(self) -> None:
        self._next_index: int | None = None
        self._first_out = self._last_out = 0.0
        self._last_due = 0.0
        self._cpu_start = time.process_time()
        self._memory = _Memory()

    def frame_read(self, index: int) -> None:
        """A frame came from the source; a jump in its index is frames that the source lost."""
        self.read += 1
        if self._next_index is not None and index > self._next_index:
            self.lost += index - self._next_index
        self._next_index = index + 1

    def frame_written(self, due: float, now: float) -> float:
        """A frame reached the sink at ``now``; returns its latency in seconds."""
        latency = now - due
        self.latency.add(latency)
        if self.written:
            self.jitter.add(abs((now - self._last_out) - (due - self._last_due)))
        else:
            self._first_out = now
        if self.frame_seconds is not None and latency > self.frame_seconds:
            self.late += 1
        self._last_out, self._last_due = now, due
        self.written += 1
        self._memory.sample()
        return latency

    @property
    def seconds(self) -> float:
        """From the first frame written to the last."""
        return self._last_out - self._first_out

    def progress(self, frames: int | None, latency: float) -> Progress:
        """A snapshot for the caller."""
        frames_in, dropped = self.read + self.lost, self.dropped + self.lost
        return Progress(frames_in, self.written, dropped, frames, self.seconds, latency * 1e3)

    def report(self, backend: dict[str, Any]) -> StreamReport:
        """The figures of a stream that has ended: what was read and not written was dropped."""
        self._memory.sample(force=True)
        latency = {f"p{name}": self.latency.percentile(q) * 1e3 for name, q in _PERCENTILES}
        return StreamReport(
            frames_in=self.read + self.lost,
            frames_out=self.written,
            dropped=self.read + self.lost - self.written,
            late=self.late,
            fps=(self.written - 1) / self.seconds if self.written > 1 and self.seconds > 0 else 0.0,
            latency_ms={**latency, "max": self.latency.maximum * 1e3},
            jitter_ms=self.jitter.percentile(99) * 1e3,
            stages={
                name: {"p50": times.percentile(50) * 1e3, "p99": times.percentile(99) * 1e3}
                for name, times in self.stages.items()
            },
            backend=backend,
            cpu_seconds_per_frame=(time.process_time() - self._cpu_start) / max(1, self.written),
            rss_mb=self._memory.to_json(),
        )


_PERCENTILES = (("50", 50.0), ("95", 95.0), ("99", 99.0), ("999", 99.9))


class _Memory:
    """Resident memory, looked at twice a second at most: a look costs about 20 microseconds."""

    EVERY_SECONDS = 0.5

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._next = 0.0
        self.start = self.end = self.maximum = 0.0
        self.sample(force=True)
        self.start = self.end

    def sample(self, force: bool = False) -> None:
        now = time.perf_counter()
        if force or now >= self._next:
            self._next = now + self.EVERY_SECONDS
            self.end = self._process.memory_info().rss / 2**20
            self.maximum = max(self.maximum, self.end)

    def to_json(self) -> dict[str, float]:
        return {"start": self.start, "end": self.end, "max": self.maximum}
