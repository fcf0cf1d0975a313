"""From what a run left behind to its figures: latencies, frames, energy, temperatures, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends.base import BackendInfo
from ..manifest import Manifest
from ..stats import STAGES, StreamReport
from .gate import GateReport, GateSink
from .sampler import Sampler, Window
from .settings import Settings
from .statistics import by_second, frames_for, percentile_interval, percentiles
from .warn import (
    CLOCK_DROP,
    DRIFT,
    GROWTH_MB,
    GROWTH_MB_PER_HOUR,
    NOISY_SPREAD,
    Warn,
)
from .watch import Watch

MANY_SECONDS = 8
"""So many seconds it takes until their medians say something of noise and drift."""
SLOPE_SECONDS = 30.0
"""Shorter, the slope of resident memory says nothing."""


@dataclass(frozen=True)
class Stream:
    """What one stream left behind."""

    sink: GateSink
    report: StreamReport
    gate: GateReport


@dataclass
class Figures:
    """One run as it stands in the result file; see docs/bench-format.md for every key."""

    data: dict[str, Any]
    warnings: list[Warn] = field(default_factory=list)
    gate_passed: bool = True

    @property
    def latency_ms(self) -> dict[str, float]:
        """Percentiles of the steady state, of all streams together."""
        return self.data["latency_ms"]

    @property
    def dropped(self) -> int:
        """Frames of the steady state that never came out."""
        return self.data["frames"]["dropped"]

    @property
    def worst_p99_ms(self) -> float:
        """p99 of the stream for which it is highest."""
        return max(stream["latency_ms"]["p99"] for stream in self.data["streams"])

    def count_idle(self, idle: dict[str, Any] | None) -> None:
        """Tell also what a frame costs above the power of the idle machine."""
        energy, written = self.data["energy"], self.data["frames"]["written"]
        above = None
        if idle is not None and written and energy["watts"] is not None and idle["watts"] is not None:
            above = (energy["watts"] - idle["watts"]) * self.data["seconds"] / written
        energy["joules_per_frame_above_idle"] = above

    def to_json(self) -> dict[str, Any]:
        named = [{"name": warning.value, "meaning": warning.meaning} for warning in self.warnings]
        return {**self.data, "warnings": named}


def figures(
    settings: Settings,
    streams: Sequence[Stream],
    *,
    manifest: Manifest,
    input_wh: tuple[int, int],
    info: BackendInfo,
    info_before: BackendInfo,
    opening_seconds: Sequence[float],
    started: float,
    watch: Watch,
    sampler: Sampler,
    shared: dict[str, Any] | None = None,
) -> Figures:
    """Put a run's figures together.

    Parameters
    ----------
    settings, manifest, input_wh, info, info_before
        What ran, in the end and at the start.
    opening_seconds : sequence of float
        How long each session took from nothing to warm.
    started : float
        When the pipelines were started, on the clock of the frames.
    watch, sampler
        What the machine did meanwhile.
    shared : dict, optional
        How streams that share an engine went through it, see ``StreamGroup.to_json``.
    """
    told = [_stream(settings, stream) for stream in streams]
    latency = np.concatenate([part["latency"] for part in told])
    due = np.concatenate([part["due"] for part in told])
    done = np.concatenate([part["done"] for part in told])
    warm_up = np.concatenate([part["warm_up"] for part in told])
    start = min((part["due"].min() for part in told if part["due"].size), default=started)
    end = max((part["done"].max() for part in told if part["done"].size), default=started)
    window = Window(sampler, start, end)
    blocks = by_second(latency, due - start)
    count = max(1, latency.size)
    written = int(latency.size)
    first = min(
        (stream.sink for stream in streams if stream.sink.count), key=lambda sink: sink.done[0], default=None
    )
    gates = [stream.gate for stream in streams]
    p99 = percentile_interval(blocks, 99) if blocks else None
    data: dict[str, Any] = {
        "name": run_name(settings, info, input_wh, shared),
        "settings": settings.to_json(),
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": manifest.sha256,
            "input_wh": list(input_wh),
        },
        "backend": {**info.to_json(), "details": info.details},
        "shared": shared,
        "start": {
            "session_seconds": list(opening_seconds),
            "first_frame_seconds": first.done[0] - started if first else None,
            "first_frame_latency_ms": 1e3 * (first.done[0] - first.due[0]) if first else None,
        },
        "frames": {key: sum(part["frames"][key] for part in told) for key in told[0]["frames"]},
        "fps": sum(part["fps"] for part in told),
        "latency_ms": percentiles(latency),
        "p99_interval_ms": [p99.low, p99.high] if p99 else None,
        "reliable": {name: written >= frames_for(q) for name, q in _RELIABLE.items()},
        "warm_up_latency_ms": percentiles(warm_up),
        "jitter_ms": max(part["jitter_ms"] for part in told),
        "stages": _stages([stream.report for stream in streams]),
        "gate": _gates(gates),
        "quality": _quality(gates),
        "cpu": {
            "seconds_per_frame": window.cpu_seconds() / count,
            "cores": window.cpu_seconds() / window.seconds,
        },
        "energy": _energy(window, written),
        "temperature_c": window.spread("celsius"),
        "clock_mhz": window.spread("mhz"),
        "throttled": {"counters": window.risen(), "reasons": window.reasons()},
        "memory": {
            "rss_mb": window.rss_mb(),
            "growth_mb": window.rss_growth_mb(),
            "slope_mb_per_hour": window.rss_slope_mb_per_hour() if window.seconds >= SLOPE_SECONDS else None,
            "device_mb": window.spread("memory_mb"),
        },
        "machine": {
            "other_cores": watch.other_cores,
            "stolen_share": watch.stolen,
            "clock_ratio": watch.clock_ratio,
        },
        "streams": [_stream_json(part) for part in told],
        "series": _series(blocks, window),
        "samples": {
            "latency_ms": [_rounded(part["latency"]) for part in told],
            "due_seconds": [_rounded(part["due"] - start) for part in told],
        },
    }
    span = (float(np.min(done)), float(np.max(done))) if done.size else (start, end)
    data["seconds"] = span[1] - span[0]
    warnings = find_warnings(latency, blocks, window, watch, gates)
    if (info.name, info.device, info.precision) != (
        info_before.name,
        info_before.device,
        info_before.precision,
    ):
        warnings.append(Warn.BACKEND_CHANGED)
    return Figures(data, warnings, gate_passed=all(gate.passed for gate in gates))


_RELIABLE = {"p95": 95.0, "p99": 99.0, "p999": 99.9}


def run_name(
    settings: Settings, info: BackendInfo, input_wh: tuple[int, int], shared: dict[str, Any] | None = None
) -> str:
    """One run in words, such as for a table: what differs between runs of a sweep."""
    width, height = settings.size_wh
    rate = f"@{settings.fps:g}" if settings.paced else " unpaced"
    threads = f", {info.threads} thread{'' if info.threads == 1 else 's'}" if info.threads else ""
    streams = f", {settings.streams} streams" if settings.streams > 1 else ""
    if shared is not None:
        streams += ", batched" if shared["batched"] else ", in turns"
    return (
        f"{settings.model} {width}x{height}{rate}, network {input_wh[0]}x{input_wh[1]}, "
        f"{info.name} {info.precision}{threads}{streams}"
    )


def _stream(settings: Settings, stream: Stream) -> dict[str, Any]:
    """One stream's frames, those of the warm-up apart."""
    sink = stream.sink
    index, due, done = (values[: sink.count] for values in (sink.index, sink.due, sink.done))
    steady = index >= settings.warm_up_frames
    latency = 1e3 * (done - due)
    # A run that was stopped early never came to its last frames: nothing is known of them.
    last = settings.frames if stream.report.frames_in >= settings.frames else int(index.max(initial=-1)) + 1
    offered = max(0, last - settings.warm_up_frames)
    written = int(steady.sum())
    gaps = np.abs(np.diff(done[steady]) - np.diff(due[steady]))
    span = float(np.ptp(done[steady])) if written else 0.0
    late = int(np.sum(latency[steady] > 1e3 / settings.fps)) if settings.paced else 0
    return {
        "latency": latency[steady],
        "warm_up": latency[~steady],
        "due": due[steady],
        "done": done[steady],
        "fps": (written - 1) / span if span > 0 else 0.0,
        "jitter_ms": 1e3 * float(np.percentile(gaps, 99)) if gaps.size else 0.0,
        "frames": {
            "offered": offered,
            "written": written,
            "dropped": max(0, offered - written),
            "late": late,
            "warm_up_written": int(sink.count - written),
        },
    }


def _stream_json(part: dict[str, Any]) -> dict[str, Any]:
    return {
        "fps": part["fps"],
        "frames": part["frames"],
        "latency_ms": percentiles(part["latency"]),
        "jitter_ms": part["jitter_ms"],
    }


def _stages(reports: Sequence[StreamReport]) -> dict[str, dict[str, float]]:
    """Each stage's own time: the median stream's p50, the worst stream's p99."""
    return {
        name: {
            "p50": float(np.median([report.stages[name]["p50"] for report in reports])),
            "p99": max(report.stages[name]["p99"] for report in reports),
        }
        for name in STAGES
    }


def _gates(gates: Sequence[GateReport]) -> dict[str, Any]:
    unread = any(gate.wrong_index is None for gate in gates)
    return {
        "passed": all(gate.passed for gate in gates),
        "checked": sum(gate.checked for gate in gates),
        "failed": sum(gate.failed for gate in gates),
        "worst_mean": max(gate.worst_mean for gate in gates),
        "worst_far_share": max(gate.worst_far for gate in gates),
        "first_failed": next((g.first_failed for g in gates if g.first_failed is not None), None),
        "wrong_index": None if unread else sum(gate.wrong_index or 0 for gate in gates),
        "out_of_order": sum(gate.out_of_order for gate in gates),
    }


def _quality(gates: Sequence[GateReport]) -> dict[str, Any]:
    mads = [gate.alpha_mad for gate in gates if gate.alpha_mad is not None]
    ious = [gate.alpha_iou for gate in gates if gate.alpha_iou is not None]
    return {
        "of": "checked outputs against the synthetic scene's true alpha",
        "alpha_mad_1000": float(np.mean(mads)) if mads else None,
        "iou": float(np.mean(ious)) if ious else None,
    }


def _energy(window: Window, frames: int) -> dict[str, Any]:
    watts, rails = window.total_watts()
    joules = watts * window.seconds if watts is not None else None
    return {
        "rails_watts": window.watts(),
        "watts": watts,
        "watts_of": rails,
        "joules_per_frame": joules / frames if joules is not None and frames else None,
        "joules_per_frame_above_idle": None,
    }


def _series(blocks: Sequence[np.ndarray], window: Window) -> dict[str, list[Any]]:
    """Second by second: what the page draws, and what tells a drift from a spread."""
    samples = window.samples
    return {
        "p50_ms": [round(float(np.median(block)), 4) for block in blocks],
        "p99_ms": [round(float(np.percentile(block, 99)), 4) for block in blocks],
        "max_ms": [round(float(block.max()), 4) for block in blocks],
        "sampled_at": [round(sample.seconds - window.start, 3) for sample in samples],
        "rss_mb": [round(sample.rss_mb, 2) for sample in samples],
        "celsius": [
            max((v for r in sample.readings.values() for v in r.celsius.values()), default=None)
            for sample in samples
        ],
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def find_warnings(
    latency: np.ndarray,
    blocks: Sequence[np.ndarray],
    window: Window,
    watch: Watch,
    gates: Sequence[GateReport],
) -> list[Warn]:
    """What is wrong with a run, from the closed list, in its order."""
    found = set(watch.warnings)
    if latency.size < frames_for(99):
        found.add(Warn.FEW_SAMPLES)
    if len(blocks) >= MANY_SECONDS:
        medians = np.array([np.median(block) for block in blocks])
        low, middle, high = np.percentile(medians, [25, 50, 75])
        third = len(medians) // 3
        if middle > 0 and (high - low) / middle > NOISY_SPREAD:
            found.add(Warn.NOISY)
        first, last = float(np.median(medians[:third])), float(np.median(medians[-third:]))
        if first > 0 and abs(last / first - 1) > DRIFT:
            found.add(Warn.DRIFT)
    risen = window.risen()
    if any("quota" in name for name in risen):
        found.add(Warn.QUOTA)
    if window.reasons() or any("quota" not in name for name in risen):
        found.add(Warn.THROTTLED)
    if any(last < first * (1 - CLOCK_DROP) for first, last in window.thirds("mhz").values()):
        found.add(Warn.CLOCKS_DOWN)
    if window.seconds >= SLOPE_SECONDS and window.grows_by(GROWTH_MB, GROWTH_MB_PER_HOUR):
        found.add(Warn.MEMORY_GROWS)
    if not all(gate.passed for gate in gates):
        found.add(Warn.WRONG_OUTPUT)
    return [warning for warning in Warn if warning in found]
