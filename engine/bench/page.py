"""A result as one self-contained HTML page: loads nothing from anywhere, light and dark, on any width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..atomic import replacing
from . import plots

WIDE, NARROW = 860, 360
"""Widths in CSS pixels that each plot is drawn for; the style sheet shows the one that fits."""
STYLE = Path(__file__).with_name("page.css")
DETAILED = 16
"""So many runs are drawn in detail; of more only the table's line is shown."""


def write_page(path: str | Path, data: dict[str, Any]) -> None:
    """Write ``page(data)`` whole or not at all."""
    with replacing(Path(path)) as partial:
        partial.write_text(page(data), encoding="utf-8")


def page(data: dict[str, Any]) -> str:
    """The page of a result of ``livecut bench``."""
    runs = data["runs"]
    names = short_names(runs)
    title = runs[0]["name"] if len(runs) == 1 else f"{len(runs)} runs"
    body = [
        f"<header><p class='eyebrow'>livecut bench</p><h1>{escape(title)}</h1>",
        f"<p class='where'>{escape(machine_line(data))}</p></header>",
        _warnings(data),
    ]
    if data["search"]:
        search = data["search"]
        body.append(
            f"<section><p class='answer'><b>{search['answer']}</b> streams hold {search['fps']:g} fps at "
            f"p99 &le; {search['p99_ms']:g} ms</p></section>"
        )
    if len(runs) == 1:
        body.append(_tiles(runs[0]))
    elif runs:
        body.append(_section("Runs", _runs_table(runs, names)))
    body.append(
        _figure(
            "Streams against p99",
            "Filled: held. Hollow: missed the bound, dropped frames, or was wrong.",
            lambda width: plots.streams_against_p99(data, width),
        )
    )
    body.append(
        _figure(
            "Quality against speed",
            "Towards the top left is better. The scene is drawn, so its alpha is known; it is no shop.",
            lambda width: plots.quality_against_speed(data, names, width),
        )
    )
    for run, name in list(zip(runs, names, strict=True))[:DETAILED]:
        body.append(_run(run, name, data, is_open=len(runs) == 1))
    body.append(_section("Machine", _machine_table(data)))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>livecut bench: {escape(title)}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def machine_line(data: dict[str, Any]) -> str:
    """The machine, the version and the day in a line."""
    machine = data["machine"]
    gpus = ", ".join(gpu["name"] or "GPU" for gpu in machine.get("gpus") or [])
    what = machine.get("board") or machine.get("cpu") or machine.get("architecture")
    parts = [str(what), f"{machine.get('cores_allowed')} cores", gpus, f"Linux {machine.get('kernel')}"]
    version = (machine.get("livecut") or {}).get("version")
    parts += [f"livecut {version}", f"commit {machine['commit']}" if machine.get("commit") else ""]
    return " \u00b7 ".join(part for part in [*parts, data["date"]] if part)


def short_names(runs: list[dict[str, Any]]) -> list[str]:
    """Each run by what sets it apart from the others."""
    keys = [
        key
        for key in (runs[0]["settings"] if runs else {})
        if any(run["settings"][key] != runs[0]["settings"][key] for run in runs)
    ]
    if not keys:
        return [run["name"] for run in runs]
    return [", ".join(_setting(key, run["settings"][key]) for key in keys) for run in runs]


def _setting(key: str, value: Any) -> str:
    if isinstance(value, list):
        size = "x".join(map(str, value))
        return f"network {size}" if key == "input_size_wh" else size
    counted = {"threads": "thread", "streams": "stream"}
    if key in counted and isinstance(value, int):
        return f"{value} {counted[key]}{'' if value == 1 else 's'}"
    return str(value)


def _section(title: str, content: str, note: str = "") -> str:
    if not content:
        return ""
    told = f"<p class='note'>{note}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{content}{told}</section>"


def _figure(title: str, note: str, draw: Callable[[int], str]) -> str:
    wide = draw(WIDE)
    if not wide:
        return ""
    both = f"<div class='wide'>{wide}</div><div class='narrow'>{draw(NARROW)}</div>"
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{both}<p class='note'>{escape(note)}</p></figure>"
    )


def _warnings(data: dict[str, Any]) -> str:
    meanings = {warning["name"]: warning["meaning"] for run in data["runs"] for warning in run["warnings"]}
    lines = [f"<b>{escape(name)}</b>: {escape(meaning)}" for name, meaning in meanings.items()]
    lines += [f"<b>not run</b>: {escape(name)}: {escape(why)}" for name, why in data["not_run"].items()]
    if not lines:
        return "<p class='good'>No warnings.</p>" if data["runs"] else ""
    return f"<ul class='warnings'>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _tiles(run: dict[str, Any]) -> str:
    latency, energy, frames = run["latency_ms"], run["energy"], run["frames"]
    doubt = "" if run["reliable"]["p99"] else " (too few frames)"
    tiles = [
        (f"{run['fps']:.1f}", "frames a second"),
        (f"{latency['p50']:.1f} ms", "latency, p50"),
        (f"{latency['p99']:.1f} ms", f"latency, p99{doubt}"),
        (f"{latency['max']:.1f} ms", "latency, worst"),
        (f"{frames['dropped']}", f"dropped of {frames['offered']}"),
        (f"{1e3 * run['cpu']['seconds_per_frame']:.1f} ms", "CPU time a frame"),
        (
            "\u2014" if energy["joules_per_frame"] is None else f"{energy['joules_per_frame']:.3f} J",
            "energy a frame" if energy["joules_per_frame"] is not None else "energy: not readable here",
        ),
        ("equal" if run["gate"]["passed"] else "WRONG", f"{run['gate']['checked']} outputs checked"),
    ]
    made = "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in tiles
    )
    return f"<section class='tiles'>{made}</section>"


def _runs_table(runs: list[dict[str, Any]], names: list[str]) -> str:
    head = ("run", "fps", "p50 ms", "p99 ms", "worst", "dropped", "CPU ms", "J", "MB", "IoU", "outputs")
    rows = []
    for run, name in zip(runs, names, strict=True):
        latency, joules, iou = run["latency_ms"], run["energy"]["joules_per_frame"], run["quality"]["iou"]
        rows.append(
            (
                name,
                f"{run['fps']:.1f}",
                f"{latency['p50']:.1f}",
                f"{latency['p99']:.1f}",
                f"{latency['max']:.1f}",
                str(run["frames"]["dropped"]),
                f"{1e3 * run['cpu']['seconds_per_frame']:.1f}",
                "\u2014" if joules is None else f"{joules:.3f}",
                f"{run['memory']['rss_mb']['max']:.0f}",
                "\u2014" if iou is None else f"{iou:.3f}",
                "right" if run["gate"]["passed"] else "WRONG",
            )
        )
    return table(head, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls sideways where it does not fit."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    header = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f"<div class='scroll'><table>{header}<tbody>{lines}</tbody></table></div>"


def _run(run: dict[str, Any], name: str, data: dict[str, Any], *, is_open: bool) -> str:
    content = "".join(
        (
            _figure(
                "Latency over time",
                "From when a frame was due at the camera until the sink had it. The warm-up is left out.",
                lambda width: plots.latency_over_time(run, width),
            ),
            _figure(
                "Histogram",
                "The count is logarithmic: a single slow frame is seen.",
                lambda width: plots.histogram(run, width),
            ),
            _figure(
                "Latency by percentile",
                "Each further nine is as wide as the one before: the tail, which a mean hides.",
                lambda width: plots.by_percentile(run, width),
            ),
            _figure(
                "Where a frame's time goes",
                "Each stage's own median, one after the other; thin: up to its 99th percentile. Waiting is "
                "what is left of the median latency. Stages of different frames overlap.",
                lambda width: plots.waterfall(run, width),
            ),
            _figure(
                "Memory over time",
                "Of the whole process.",
                lambda width: plots.memory_over_time(run, width),
            ),
            _facts(run, data),
        )
    )
    if is_open:
        return f"<section>{content}</section>"
    return f"<details><summary>{escape(name)}</summary>{content}</details>"


def _facts(run: dict[str, Any], data: dict[str, Any]) -> str:
    latency, warm, memory = run["latency_ms"], run["warm_up_latency_ms"], run["memory"]
    gate, start, cold = run["gate"], run["start"], data["cold_start"]
    slope = memory["slope_mb_per_hour"]
    wrong = gate["wrong_index"]
    index = "no index to be read" if wrong is None else f"{wrong} of another picture"
    index += f", {gate['out_of_order']} out of order"
    percentiles = ", ".join(f"{n.replace('p999', 'p99.9')} {value:.2f}" for n, value in latency.items())
    interval = run["p99_interval_ms"]
    rows = [
        ("ran on", "{name}, {device}, {precision}, {threads} threads, {details}".format(**run["backend"])),
        ("latency, ms", percentiles),
        ("p99, 95 % interval", f"{interval[0]:.2f} to {interval[1]:.2f} ms" if interval else "\u2014"),
        ("warm-up latency, ms", f"p50 {warm['p50']:.2f}, max {warm['max']:.2f}"),
        ("jitter, p99", f"{run['jitter_ms']:.2f} ms"),
        ("late", f"{run['frames']['late']} frames came after the next was due"),
        ("session", f"{max(start['session_seconds']):.2f} s from nothing to warm"),
    ]
    if start["first_frame_seconds"] is not None:
        text = (
            f"{start['first_frame_seconds']:.2f} s after starting, {start['first_frame_latency_ms']:.1f} ms"
        )
        rows.append(("first frame", text))
    if cold:
        text = f"{cold['total']:.2f} s for a fresh process to its first frame, {cold['backend']}"
        rows.append(("cold start", text))
    rows += [
        ("memory", f"{memory['rss_mb']['start']:.0f} to {memory['rss_mb']['end']:.0f} MB"),
        ("memory's slope", "too short" if slope is None else f"{slope:.1f} MB an hour"),
        ("energy", _energy(run, data)),
        ("outputs", f"{gate['checked']} compared with an offline run, {gate['failed']} differ; {index}"),
    ]
    rows += [
        (f"temperature, {key}", f"{v['start']:.0f} to {v['end']:.0f}, at most {v['max']:.0f} \u00b0C")
        for key, v in run["temperature_c"].items()
    ]
    rows += [
        (f"clock, {key}", f"{v['min']:.0f} to {v['max']:.0f} MHz") for key, v in run["clock_mhz"].items()
    ]
    slowed = [f"{key} +{count:.0f}" for key, count in run["throttled"]["counters"].items()]
    if slowed or run["throttled"]["reasons"]:
        rows.append(("slowed down", "; ".join(slowed + run["throttled"]["reasons"])))
    return table((), rows)


def _energy(run: dict[str, Any], data: dict[str, Any]) -> str:
    energy = run["energy"]
    if energy["watts"] is None:
        return "not readable here: " + "; ".join(f"{n}: {w}" for n, w in data["sensors_not_readable"].items())
    text = f"{energy['watts']:.2f} W, {energy['joules_per_frame'] or 0:.3f} J a frame"
    if energy["joules_per_frame_above_idle"] is not None:
        text += f", {energy['joules_per_frame_above_idle']:.3f} above idle"
    return f"{text} ({', '.join(energy['watts_of'])})"


def _machine_table(data: dict[str, Any]) -> str:
    rows = []
    for key, value in data["machine"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items() if item)
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        if value not in (None, ""):
            rows.append((key.replace("_", " "), str(value)))
    rows += [
        (f"sensor {name}", f"not readable here: {why}") for name, why in data["sensors_not_readable"].items()
    ]
    return table((), rows)
