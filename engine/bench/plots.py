"""The plots of a result page: each a function of the result and of how wide it may be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .svg import Plot, ticks

MOST_DOTS = 2500
_SERIAL = ("capture", "preprocess", "infer", "postprocess", "output")


def latency_over_time(run: dict[str, Any], width: int) -> str:
    """Every frame's latency by when it was due; of long runs the range and median of each stretch."""
    samples = run["samples"]
    due = np.concatenate([np.asarray(values, float) for values in samples["due_seconds"]])
    latency = np.concatenate([np.asarray(values, float) for values in samples["latency_ms"]])
    frame_ms = 1e3 / run["settings"]["fps"]
    top = max(float(latency.max(initial=0.0)), frame_ms if run["settings"]["paced"] else 0.0) * 1.08
    plot = Plot(
        (width, 240), (0.0, float(due.max(initial=0.1))), (0.0, top),
        x_label="seconds, when the frame was due", y_label="latency, ms",
    )  # fmt: skip
    if due.size <= MOST_DOTS:
        plot.dots(zip(due, latency, strict=True), "a")
        described = "latency of every frame over time"
    else:
        stretches = np.array_split(np.argsort(due, kind="stable"), min(width // 3, due.size // 8))
        rows = [(float(due[s].mean()), latency[s]) for s in stretches if s.size]
        plot.band(((x, float(part.min()), float(part.max())) for x, part in rows), "a")
        plot.line(((x, float(np.percentile(part, 99))) for x, part in rows), "b")
        plot.line(((x, float(np.median(part))) for x, part in rows), "a")
        described = "range, 99th percentile and median of latency over time"
    if run["settings"]["paced"]:
        plot.level(frame_ms, f"one frame, {frame_ms:.1f} ms", "limit")
    plot.level(run["latency_ms"]["p99"], f"p99 {run['latency_ms']['p99']:.1f}", "b")
    return plot.render(described)


def histogram(run: dict[str, Any], width: int) -> str:
    """How many frames had which latency; a logarithmic count, so that the few slow ones are seen."""
    latency = np.concatenate([np.asarray(values, float) for values in run["samples"]["latency_ms"]])
    if not latency.size:
        return ""
    low, high = float(latency.min()), float(latency.max())
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, edges = np.histogram(latency, bins=max(12, min(60, width // 10)), range=(low, high))
    plot = Plot(
        (width, 240), (low, high), (0.7, max(2.0, counts.max() * 1.6)),
        x_label="latency, ms", y_label="frames", y_log=True,
    )  # fmt: skip
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            plot.bar(
                (float(left), float(right) - 0.08 * float(right - left)), (0.7, float(count)), "a",
                f"{left:.2f} to {right:.2f} ms: {count} frames",
            )  # fmt: skip
    for row, (name, label) in enumerate((("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))):
        value = run["latency_ms"][name]
        enough = run["reliable"].get(name, True)
        if enough:
            plot.upright(value, f"{label} {value:.1f}", "b", row)
    return plot.render("histogram of latency")


def by_percentile(run: dict[str, Any], width: int) -> str:
    """Latency by percentile, each further nine as wide as the one before: the tail, which a mean hides."""
    latency = np.sort(np.concatenate([np.asarray(values, float) for values in run["samples"]["latency_ms"]]))
    if latency.size < 10:
        return ""
    beyond = 1 - (np.arange(latency.size) + 0.5) / latency.size
    nines = -np.log10(beyond)
    last = float(nines[-1])
    kept = np.unique(
        np.searchsorted(nines, np.linspace(nines[0], last, width // 3)).clip(0, latency.size - 1)
    )
    named = {0.0: "0", 1.0: "90", 2.0: "99", 3.0: "99.9", 4.0: "99.99", 5.0: "99.999"}
    named |= {} if width < 480 else {-math.log10(0.5): "50", -math.log10(0.05): "95"}
    plot = Plot(
        (width, 240), (0.0, last), (0.0, float(latency[-1]) * 1.08),
        x_label="percentile", y_label="latency, ms",
        x_ticks={place: name for place, name in named.items() if place <= last},
    )  # fmt: skip
    plot.line(((float(nines[i]), float(latency[i])) for i in kept), "a")
    if run["settings"]["paced"]:
        frame_ms = 1e3 / run["settings"]["fps"]
        plot.level(frame_ms, f"one frame, {frame_ms:.1f} ms", "limit")
    return plot.render("latency by percentile")


def memory_over_time(run: dict[str, Any], width: int) -> str:
    """Resident memory and, where it is known, the hottest temperature of a long run; else empty."""
    series = run["series"]
    times, memory, celsius = series["sampled_at"], series["rss_mb"], series["celsius"]
    if len(times) < 20:
        return ""
    hot = [value for value in celsius if value is not None]
    low, high = min([*memory, *hot]), max([*memory, *hot])
    margin = max(2.0, 0.1 * (high - low))
    plot = Plot(
        (width, 200), (times[0], times[-1]), (max(0.0, low - margin), high + margin),
        x_label="seconds", y_label="resident MB; hottest \u00b0C" if hot else "resident MB",
    )  # fmt: skip
    plot.line(zip(times, memory, strict=True), "a")
    plot.line(((x, value) for x, value in zip(times, celsius, strict=True) if value is not None), "b")
    return plot.render("resident memory over time")


def waterfall(run: dict[str, Any], width: int) -> str:
    """A frame's way through the stages, each as long as its median, with a whisker to its p99."""
    stages = run["stages"]
    rows: list[tuple[str, float, float, float]] = []  # name, begin, end of the median, end of the p99
    begin = 0.0
    for name in _SERIAL:
        rows.append((name, begin, begin + stages[name]["p50"], begin + stages[name]["p99"]))
        begin += stages[name]["p50"]
    high = 1.02 * max(begin, run["latency_ms"]["p50"])
    far = max(whisker for *_, whisker in rows)
    high = min(max(high, far * 1.02), 3 * high)  # one stage's worst moment must not flatten the rest
    wait = max(0.0, run["latency_ms"]["p50"] - begin)
    plot = Plot(
        (width, 54 + 28 * (len(rows) + 1)), (0.0, high), (0.0, len(rows) + 1.0),
        x_label="ms", y_label="", x_ticks=ticks(0.0, high, 3 if width < 480 else 8),
        margins=(88, 122) if width < 480 else (100, 140),
    )  # fmt: skip
    for row, (name, start, end, whisker) in enumerate(rows):
        y = len(rows) - row + 0.5
        plot.bar((end, min(max(whisker, end), high)), (y - 0.06, y + 0.06), "soft")
        plot.bar((start, end), (y - 0.3, y + 0.3), "a", f"{name}: p50 {end - start:.2f} ms")
        plot.beside(y, name, f"{end - start:.2f} ms, p99 {whisker - start:.1f}")
    plot.bar((begin, begin + wait), (0.2, 0.8), "wait", f"waiting: {wait:.2f} ms")
    plot.beside(0.5, "waiting", f"{wait:.2f} ms")
    return plot.render("stages of a frame, one after the other", y_ticks=False)


def streams_against_p99(data: dict[str, Any], width: int) -> str:
    """Worst p99 by number of streams: of a search, or of runs that differ in it; empty without two."""
    search = data["search"]
    if search:
        trials = [trial for trial in search["trials"] if trial["p99_ms"] is not None]
        points = [(t["streams"], t["p99_ms"], t["held"], t["why"]) for t in trials]
        bound: float | None = search["p99_ms"]
    else:
        runs = data["runs"]
        if len({run["settings"]["streams"] for run in runs}) < 2:
            return ""
        points = [
            (
                run["settings"]["streams"],
                max(stream["latency_ms"]["p99"] for stream in run["streams"]),
                run["gate"]["passed"],
                run["name"],
            )
            for run in runs
        ]
        bound = None
    if not points:
        return ""
    most = max(streams for streams, *_ in points)
    top = max([p99 for _, p99, *_ in points] + [bound or 0.0])
    low = min([p99 for _, p99, *_ in points] + ([bound] if bound else []))
    log = top > 12 * low > 0
    plot = Plot(
        (width, 260), (0.5, most + 0.5), (low * 0.7 if log else 0.0, top * (1.6 if log else 1.12)),
        x_label="streams at the same time", y_label="worst p99, ms", y_log=log,
        x_ticks=_whole_numbers(most, 8 if width < 480 else 16),
    )  # fmt: skip
    best: dict[int, float] = {}
    for streams, p99, *_ in points:
        best[streams] = max(p99, best.get(streams, 0.0))
    plot.line(sorted(best.items()), "thin")
    for streams, p99, held, why in points:
        plot.mark(streams, p99, "held" if held else "missed", title=f"{streams}: p99 {p99:.1f} ms {why}")
    if bound is not None:
        plot.level(bound, f"bound {bound:g} ms", "limit")
    return plot.render("worst p99 latency by number of streams")


def _whole_numbers(most: int, count: int) -> list[float]:
    step = max(1, math.ceil(most / count))
    return [float(number) for number in range(1, most + 1) if number % step == 0 or number == 1]


def quality_against_speed(data: dict[str, Any], names: list[str], width: int) -> str:
    """IoU on the camera's scene by what a frame costs; empty without two runs that differ in either."""
    rows = [
        (run["stages"]["infer"]["p50"], run["quality"]["iou"], name, run)
        for run, name in zip(data["runs"], names, strict=True)
        if run["quality"]["iou"] is not None and run["gate"]["passed"]
    ]
    if len(rows) < 2 or data["search"]:
        return ""
    low, high = min(iou for _, iou, *_ in rows), max(iou for _, iou, *_ in rows)
    margin = max(0.004, 0.25 * (high - low))
    slowest = max(ms for ms, *_ in rows)
    plot = Plot(
        (width, 280), (0.0, slowest * 1.25), (max(0.0, low - margin), min(1.0, high + margin)),
        x_label="network, median ms a frame", y_label="IoU on this camera's scene",
    )  # fmt: skip
    for ms, iou, name, run in rows:
        plot.mark(ms, iou, "held", name if width >= 480 else "", f"{run['name']}: {ms:.2f} ms, IoU {iou:.3f}")
    return plot.render("quality against speed")
