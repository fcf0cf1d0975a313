"""The result for people: one self-contained HTML page, and the same as Markdown."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from benchmarks.results import MISS, PASS, UNSURE, number

from .results import FAILED, NOT_RUN, PASSED, STATUSES

_MARK = {PASSED: "ok", NOT_RUN: "none", PASS: "ok", UNSURE: "unsure", MISS: "bad", "shown": "none"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
:root { --ok: #16803c; --bad: #c62828; --unsure: #a86400; }
@media (prefers-color-scheme: dark) { :root { --ok: #5fd38a; --bad: #ff8a80; --unsure: #ffc46b; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0; display: inline; }
p.lead { margin: .3rem 0 1.2rem; opacity: .8; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 1.6rem; }
.tile { border: 1px solid var(--line); border-radius: .6rem; padding: .5rem .9rem; min-width: 7rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
section { border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1rem; margin: .7rem 0; }
section.quiet { padding: .45rem 1rem; }
.time { float: right; opacity: .6; font-variant-numeric: tabular-nums; }
.why { margin: .3rem 0 0; } .status { font-weight: 600; margin-left: .6rem; }
.ok { color: var(--ok); } .bad { color: var(--bad); } .unsure { color: var(--unsure); }
.none { opacity: .65; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: .6rem 0 .2rem; }
th { text-align: left; font-weight: 600; opacity: .7; font-size: .85rem; }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { min-width: 11rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr:last-child td { border-bottom: 0; } details summary { cursor: pointer; opacity: .75; margin-top: .4rem; }
pre { white-space: pre-wrap; background: var(--soft); padding: .6rem; border-radius: .4rem; font-size: .8rem;
  overflow-wrap: anywhere; }
small { opacity: .65; }
"""


def write(folder: Path, data: dict[str, Any]) -> None:
    """Write ``gpu-check.html`` and ``gpu-check.md``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("gpu-check.html", as_html(data)), ("gpu-check.md", as_markdown(data))):
        partial = folder / f".{name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)


def headline(data: dict[str, Any]) -> str:
    """One line: stages by status, goals by verdict."""
    summary = data["summary"]
    stages = ", ".join(f"{summary[status]} {status}" for status in STATUSES if summary[status])
    goals = ", ".join(f"{count} {name}" for name, count in summary["goals"].items() if count)
    return f"{stages}; goals: {goals or 'none measured'}"


def title(data: dict[str, Any]) -> str:
    """What the check was run on."""
    facts = next((each["facts"] for each in data["stages"] if each["name"] == "environment"), {})
    return str(facts.get("gpu", "GPU not looked for"))


def figure_row(figure: dict[str, Any]) -> list[str]:
    """Cells: what, measured, interval, floor, times the floor, goal, verdict."""
    unit = figure["unit"]
    floor = figure["floor"]
    return [
        figure["what"],
        number(figure["value"], unit),
        f"{number(figure['low'], '')} to {number(figure['high'], '')}".strip(),
        "" if floor is None else f"{number(floor, unit)} ({figure['floor_what']})",
        "" if not floor else f"{figure['value'] / floor:.2f}",
        "" if figure["target"] is None
        else f"{'>=' if figure['at_least'] else '<='} {number(figure['target'], unit)}",
        "" if figure["target"] is None else figure["verdict"],
    ]  # fmt: skip


FIGURE_HEADS = ("Figure", "Measured", "95 % interval", "Floor", "x floor", "Goal", "Verdict")


def goal_row(goal: dict[str, Any]) -> list[str]:
    """Cells: the goal, what was measured, verdict, why not."""
    measured = "; ".join(
        f"{each['what']}: {number(each['value'], each['unit'])} "
        f"({number(each['low'], '').strip()} to {number(each['high'], '').strip()})"
        for each in goal["figures"]
    )
    return [goal["goal"], measured or f"stage {goal['stage']}", goal["verdict"], goal["reason"]]


GOAL_HEADS = ("Goal", "Measured", "Verdict", "")


def check_row(check: dict[str, Any]) -> list[str]:
    """Cells: what, error, limit, said, verdict."""
    shown = ["" if check[name] is None else f"{check[name]:.4g}" for name in ("error", "limit")]
    return [check["what"], *shown, check["said"], "ok" if check["passed"] else "WRONG"]


CHECK_HEADS = ("Check", "Error", "Limit", "", "")


def as_markdown(data: dict[str, Any]) -> str:
    """The page as Markdown."""
    lines = [f"# GPU check: {title(data)}", "", f"{_when(data)}. {headline(data)}.", ""]
    lines += ["## Goals", "", *_table(GOAL_HEADS, [goal_row(each) for each in data["goals"]])]
    for stage in data["stages"]:
        lines += [f"## {stage['title']}: {stage['status']}", ""]
        if stage["reason"]:
            lines += [f"{stage['status']}: {stage['reason']}", ""]
        if stage["figures"]:
            lines += _table(FIGURE_HEADS, [figure_row(each) for each in stage["figures"]])
        if stage["checks"]:
            lines += _table(CHECK_HEADS, [check_row(each) for each in stage["checks"]])
        facts = {name: value for name, value in stage["facts"].items() if name != "output"}
        lines += [f"- {name}: {value}" for name, value in facts.items()] + [""] * bool(facts)
    return "\n".join(lines).rstrip() + "\n"


def _when(data: dict[str, Any]) -> str:
    machine = data["machine"]
    quick = "; a quick run, whose figures are no results" if data["quick"] else ""
    dirty = " with changes" if machine.get("dirty") else ""
    return f"{data['date']}, commit {machine.get('commit')}{dirty}, {machine.get('cpu')}{quick}"


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(heads), ["---"] * len(heads), *body]] + [""]


def as_html(data: dict[str, Any]) -> str:
    """The page: nothing is loaded from anywhere."""
    summary = data["summary"]
    tiles = [(summary[status], status, _MARK.get(status, "bad")) for status in STATUSES if summary[status]]
    tiles += [(count, f"goals: {name}", _MARK[name]) for name, count in summary["goals"].items() if count]
    shown = "".join(
        f'<div class="tile"><b class="{mark}">{count}</b>{html.escape(name)}</div>'
        for count, name, mark in tiles
    )
    goals = _html_table(GOAL_HEADS, [goal_row(each) for each in data["goals"]], set())
    sections = "\n".join(_section(stage) for stage in data["stages"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>GPU check: {html.escape(title(data))}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>GPU check</h1><p class=lead>GPU: {html.escape(title(data))}<br>{html.escape(_when(data))}</p>\n"
        f'<div class="tiles">{shown}</div>\n<section><h2>Goals</h2>{goals}</section>\n'
        f"{sections}\n</body></html>\n"
    )


def _section(stage: dict[str, Any]) -> str:
    mark = _MARK.get(stage["status"], "bad")
    parts = [
        f'<section class="{"quiet" if stage["status"] == NOT_RUN else ""}">'
        f'<span class="time">{stage["seconds"]:.1f} s</span>'
        f"<h2>{html.escape(stage['title'])}</h2>"
        f'<span class="status {mark}">{html.escape(stage["status"])}</span>'
    ]
    missed = [each["verdict"] for each in stage["figures"] if each["verdict"] in (MISS, UNSURE)]
    if missed:
        worst = MISS if MISS in missed else UNSURE
        parts.append(f'<span class="status {_MARK[worst]}">goals: {len(missed)} not reached</span>')
    if stage["reason"]:
        parts.append(f'<p class="why">{html.escape(stage["reason"])}</p>')
    if stage["figures"]:
        parts.append(_html_table(FIGURE_HEADS, [figure_row(each) for each in stage["figures"]], {1, 2, 4, 5}))
    if stage["checks"]:
        wrong = stage["status"] == FAILED
        table = _html_table(CHECK_HEADS, [check_row(each) for each in stage["checks"]], {1, 2})
        passed = sum(each["passed"] for each in stage["checks"])
        parts.append(
            f"<details{' open' if wrong else ''}>"
            f"<summary>{passed} of {len(stage['checks'])} checks passed</summary>{table}</details>"
        )
    facts = {name: value for name, value in stage["facts"].items() if name != "output"}
    if facts:
        rows = [[name, str(value)] for name, value in facts.items()]
        parts.append(f"<details><summary>facts</summary>{_html_table(('', ''), rows, set())}</details>")
    if stage["facts"].get("output"):
        parts.append(
            f"<details><summary>output</summary><pre>{html.escape(stage['facts']['output'])}</pre></details>"
        )
    return "".join(parts) + "</section>"


def _html_table(heads: tuple[str, ...], rows: list[list[str]], numeric: set[int]) -> str:
    def cell(tag: str, index: int, text: str) -> str:
        mark = _MARK.get(text, {"ok": "ok", "WRONG": "bad"}.get(text, ""))
        classes = " ".join(name for name in ("n" if index in numeric else "", mark) if name)
        return (
            f'<{tag} class="{classes}">{html.escape(text)}</{tag}>'
            if classes
            else f"<{tag}>{html.escape(text)}</{tag}>"
        )

    head = "".join(cell("th", index, text) for index, text in enumerate(heads)) if any(heads) else ""
    body = "".join(f"<tr>{''.join(cell('td', i, text) for i, text in enumerate(row))}</tr>" for row in rows)
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'
