"""Tables of what ``livecut bench`` measured."""

from __future__ import annotations

from typing import Any

from .console import new_table, show


def show_result(data: dict[str, Any]) -> None:
    """Print a result file: one run in full, several as a line each, then what is wrong with them."""
    runs = data["runs"]
    if len(runs) == 1:
        show_run(runs[0], data)
    elif runs:
        show_runs(runs)
    if data["search"]:
        show_search(data["search"])
    for name, reason in data["not_run"].items():
        print(f"not run: {name}: {reason}")
    warnings = {warning["name"]: warning["meaning"] for run in runs for warning in run["warnings"]}
    for name, meaning in warnings.items():
        print(f"warning: {name}: {meaning}")


def show_run(run: dict[str, Any], data: dict[str, Any]) -> None:
    """One run: every figure, then the stages."""
    from rich.markup import escape

    table = new_table("run", "", title=run["name"])
    table.columns[1].justify = "left"
    for name, text in run_lines(run, data):
        table.add_row(name, escape(text))
    show(table)
    stages = new_table("stage", "p50 ms", "p99 ms")
    for name, times in run["stages"].items():
        stages.add_row(name, f"{times['p50']:.2f}", f"{times['p99']:.2f}")
    show(stages)


def run_lines(run: dict[str, Any], data: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each line of one run's table."""
    frames, backend, cold = run["frames"], run["backend"], data["cold_start"]
    threads = f"{backend['threads']} thread{'' if backend['threads'] == 1 else 's'}"
    lines = [
        (
            "ran on",
            f"{backend['name']}, {backend['device']}, {backend['precision']}, {threads}",
        )
    ]
    if shared := run.get("shared"):
        counts = ", ".join(f"{n}: {times}" for n, times in shared["frames_in_one_inference"].items())
        lines.append(("streams", f"{shared['how']}; inferences by number of frames: {counts or 'none'}"))
    if cold:
        lines.append(
            (
                "cold start",
                f"{cold['total']:.2f} s for a process to its first frame, {cold['backend']}: import "
                f"{cold['import']:.2f}, session {cold['session']:.2f}, first frame {cold['first_frame']:.3f}",
            )
        )
    start = run["start"]
    if start["first_frame_seconds"] is not None:
        lines.append(
            (
                "first frame",
                f"{start['first_frame_seconds']:.2f} s after the pipeline was started, latency "
                f"{start['first_frame_latency_ms']:.1f} ms",
            )
        )
    lines += [
        (
            "frames",
            f"{frames['offered']} offered in {run['seconds']:.1f} s, {frames['written']} out; "
            f"{frames['warm_up_written']} before, to warm up",
        ),
        ("dropped, late", f"{frames['dropped']}, {frames['late']}"),
        ("frames per second", f"{run['fps']:.2f}"),
        ("latency, ms", f"{_percentiles(run)} (from when a frame was due)"),
    ]
    if run["p99_interval_ms"]:
        low, high = run["p99_interval_ms"]
        lines.append(("p99, 95 % interval", f"{low:.1f} to {high:.1f}"))
    memory = run["memory"]["rss_mb"]
    slope = run["memory"]["slope_mb_per_hour"]
    rising = "too short for a slope" if slope is None else f"slope {slope:.1f} MB an hour"
    lines += [
        ("jitter, ms", f"{run['jitter_ms']:.1f}"),
        (
            "CPU seconds a frame",
            f"{run['cpu']['seconds_per_frame']:.4f} ({run['cpu']['cores']:.2f} cores busy)",
        ),
        ("energy", energy_text(run, data)),
        *_sensor_lines(run),
        (
            "memory, MB",
            f"start {memory['start']:.0f}, end {memory['end']:.0f}, max {memory['max']:.0f}; {rising}",
        ),
        ("outputs checked", gate_text(run["gate"])),
    ]
    quality = run["quality"]
    if quality["iou"] is not None:
        near = f"IoU {quality['iou']:.3f}, alpha MAD {quality['alpha_mad_1000']:.1f}e-3"
        lines.append(("quality", f"{near}, on this camera's scene"))
    return lines


def _percentiles(run: dict[str, Any]) -> str:
    names = {"p50": "p50", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "max"}
    doubted = {name for name, enough in run["reliable"].items() if not enough}
    return ", ".join(
        f"{label} {run['latency_ms'][name]:.1f}{'?' if name in doubted else ''}"
        for name, label in names.items()
    )


def energy_text(run: dict[str, Any], data: dict[str, Any]) -> str:
    """Watts and joules a frame, or why there are none."""
    energy = run["energy"]
    if energy["watts"] is None:
        reasons = "; ".join(f"{name}: {why}" for name, why in data["sensors_not_readable"].items())
        return f"not readable here ({reasons})" if reasons else "not readable here"
    text = f"{energy['watts']:.2f} W"
    if energy["joules_per_frame"] is not None:
        text += f", {energy['joules_per_frame']:.3f} J a frame"
    if energy.get("joules_per_frame_above_idle") is not None:
        text += f" ({energy['joules_per_frame_above_idle']:.3f} above idle)"
    return f"{text}, of {', '.join(energy['watts_of'])}"


def _sensor_lines(run: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    hot = [
        f"{name} {values['start']:.0f} to {values['end']:.0f}, max {values['max']:.0f}"
        for name, values in run["temperature_c"].items()
    ]
    if hot:
        lines.append(("temperature, C", "; ".join(hot[:6])))
    clocks = [f"{name} {v['min']:.0f} to {v['max']:.0f}" for name, v in run["clock_mhz"].items()]
    if clocks:
        lines.append(("clocks, MHz", "; ".join(clocks[:6])))
    throttled = run["throttled"]
    said = [f"{name} +{count:.0f}" for name, count in throttled["counters"].items()] + throttled["reasons"]
    if said:
        lines.append(("slowed down", "; ".join(said)))
    return lines


def gate_text(gate: dict[str, Any]) -> str:
    """What the correctness gate found, in words."""
    shown = (
        "no index to be read at this size"
        if gate["wrong_index"] is None
        else f"{gate['wrong_index']} with another's picture or alpha"
    )
    if gate["passed"]:
        return (
            f"{gate['checked']} against an offline run: equal; {shown}, {gate['out_of_order']} out of order"
        )
    if not gate["checked"]:
        return f"none came out to compare with an offline run; {gate['out_of_order']} out of order"
    return (
        f"WRONG: {gate['failed']} of {gate['checked']} differ from an offline run (first: frame "
        f"{gate['first_failed']}); {shown}, {gate['out_of_order']} out of order"
    )


def show_runs(runs: list[dict[str, Any]]) -> None:
    """A line for each run of a sweep."""
    table = new_table(
        "run", "fps", "p50 ms", "p99 ms", "p99.9", "dropped", "CPU s", "J", "MB", "IoU", "outputs"
    )
    for run in runs:
        latency, energy = run["latency_ms"], run["energy"]["joules_per_frame"]
        iou = run["quality"]["iou"]
        table.add_row(
            run["name"],
            f"{run['fps']:.1f}",
            f"{latency['p50']:.1f}",
            f"{latency['p99']:.1f}",
            f"{latency['p999']:.1f}",
            str(run["frames"]["dropped"]),
            f"{run['cpu']['seconds_per_frame']:.4f}",
            "-" if energy is None else f"{energy:.3f}",
            f"{run['memory']['rss_mb']['max']:.0f}",
            "-" if iou is None else f"{iou:.3f}",
            "right" if run["gate"]["passed"] else "WRONG",
        )
    show(table)


def show_search(search: dict[str, Any]) -> None:
    """How many streams hold, and what was tried."""
    title = f"streams that hold {search['fps']:g} fps at p99 <= {search['p99_ms']:g} ms: {search['answer']}"
    table = new_table("streams", "fps in all", "worst p99 ms", "dropped", "", title=title)
    for trial in search["trials"]:
        table.add_row(
            str(trial["streams"]),
            "-" if trial["fps"] is None else f"{trial['fps']:.1f}",
            "-" if trial["p99_ms"] is None else f"{trial['p99_ms']:.1f}",
            "-" if trial["dropped_share"] is None else f"{trial['dropped_share']:.2%}",
            "held" if trial["held"] else trial["why"],
        )
    show(table)
