"""The peers' table, and its place in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from livecut.engine.atomic import replacing

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def table(row: dict[str, Any], missing: dict[str, str]) -> str:
    """Markdown: each contender's rate with its spread, its ratio to livecut, and what it computes."""
    ratios = {goal["what"].split(" against ", 1)[-1]: goal for goal in row["goals"]}
    lines = [
        "| | frames a second | ms a frame: median (5 % to 95 %) | CPU ms a frame | livecut is faster by "
        "| computes |",
        "|---|---|---|---|---|---|",
    ]
    for name, summary in row["contenders"].items():
        ratio = ratios.get(name)
        faster = (
            f"{_short(ratio['measured'])}x ({_short(ratio['low'])} to {_short(ratio['high'])})"
            if ratio
            else ""
        )
        spread = f"{_short(summary['median'])} ({_short(summary['p5'])} to {_short(summary['p95'])})"
        rate, cpu = _short(1e3 / summary["median"]), _short(row["details"]["cpu_ms"][name])
        computes = row["details"]["computes"][name]
        lines.append(f"| {name} | {rate} | {spread} | {cpu} | {faster} | {computes} |")
    return "\n".join([*lines, *(f"\n{name}: not measured: {reason}" for name, reason in missing.items())])


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def replace_table(path: Path, text: str, machine: dict[str, Any], date: str) -> None:
    """Put the table between the markers of a file.

    Raises
    ------
    ValueError
        If the file has not exactly one pair of markers.
    """
    before = path.read_text(encoding="utf-8")
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise ValueError(f"{path}: expected one {BEGIN} and one {END}")
    where = f"{machine['cpu']}, {machine['cores_allowed']} cores, commit {machine['commit']}, {date[:10]}"
    said = f"Measured by `make bench-peers` on {where}; intervals are 95 %.\n\n{text}"
    pattern = re.escape(BEGIN) + r".*?" + re.escape(END)
    after = re.sub(pattern, lambda _: f"{BEGIN}\n{said}\n{END}", before, flags=re.DOTALL)
    with replacing(path) as partial:
        partial.write_text(after, encoding="utf-8")
