"""Tables of a stream's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import new_table, show

if TYPE_CHECKING:
    from ..engine.stats import StreamReport


def show_report(report: StreamReport, title: str, *, stderr: bool = False) -> None:
    """Print frames, latency and stages as tables."""
    latency, memory = report.latency_ms, report.rss_mb
    table = new_table("stream", "", title=title)
    table.columns[1].justify = "left"
    table.add_row("ran on", "{name}, {device}, {precision}, {threads} threads".format(**report.backend))
    table.add_row("frames", f"{report.frames_in} in, {report.frames_out} out")
    table.add_row("dropped, late", f"{report.dropped}, {report.late}")
    table.add_row("frames per second", f"{report.fps:.2f}")
    figures = ", ".join(f"{name} {latency[name]:.1f}" for name in ("p50", "p95", "p99", "p999", "max"))
    table.add_row("latency, ms", f"{figures} (from when a frame was due)")
    table.add_row("jitter, ms", f"{report.jitter_ms:.1f}")
    table.add_row("CPU seconds a frame", f"{report.cpu_seconds_per_frame:.4f}")
    table.add_row(
        "memory, MB", f"start {memory['start']:.0f}, end {memory['end']:.0f}, max {memory['max']:.0f}"
    )
    show(table, stderr=stderr)
    stages = new_table("stage", "p50 ms", "p99 ms")
    for name, times in report.stages.items():
        stages.add_row(name, f"{times['p50']:.2f}", f"{times['p99']:.2f}")
    show(stages, stderr=stderr)
