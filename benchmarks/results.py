"""The shape of a result: rows, goals, verdicts; as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .measure import Measurement, Ratio, Summary, Warn

FORMAT = 1
FOLDER = Path(__file__).resolve().parent / "results"
PASS, UNSURE, MISS, SHOWN = "pass", "unsure", "MISS", "shown"


@dataclass(frozen=True)
class Goal:
    """One figure beside what it must reach. ``target`` None: reported for comparison, judged by nobody."""

    what: str
    measured: Ratio
    target: float | None = None
    at_least: bool = True
    unit: str = "x"

    @property
    def bound(self) -> float:
        """The pessimistic end of the interval: what may be claimed."""
        return self.measured.low if self.at_least else self.measured.high

    @property
    def verdict(self) -> str:
        """``pass``: the pessimistic end reaches the target; ``unsure``: only the median does; else MISS."""
        if self.target is None:
            return SHOWN
        sign = 1 if self.at_least else -1
        if sign * self.bound >= sign * self.target:
            return PASS
        return UNSURE if sign * self.measured.value >= sign * self.target else MISS

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "unit": self.unit,
            "target": self.target,
            "at_least": self.at_least,
            "measured": self.measured.value,
            "low": self.measured.low,
            "high": self.measured.high,
            "verdict": self.verdict,
        }


def exact(value: float) -> Ratio:
    """A figure that was counted rather than sampled."""
    return Ratio(float(value), float(value), float(value))


@dataclass(frozen=True)
class Check:
    """A correctness check that came before the timing: ``error`` had to be at most ``limit``."""

    what: str
    error: float
    limit: float


class WrongResult(Exception):
    """A contender or livecut computes something else than it should: its speed means nothing."""


def checked(what: str, error: float, limit: float) -> Check:
    """The check, or WrongResult if it fails."""
    if not error <= limit:
        raise WrongResult(f"{what}: error {error:.4g} is above the limit {limit:.4g}; nothing was timed")
    return Check(what, float(error), float(limit))


@dataclass
class Row:
    """One line group of the table: a benchmark's goals with everything they rest on."""

    name: str
    title: str
    conditions: dict[str, Any]
    goals: list[Goal]
    contenders: dict[str, Summary] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    warnings: list[Warn] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, title: str, measurement: Measurement, **rest: Any) -> Row:
        """A row from one measurement."""
        return cls(
            name, title, contenders=measurement.contenders, warnings=list(measurement.warnings), **rest
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "conditions": self.conditions,
            "checks": [vars(check) for check in self.checks],
            "contenders": {name: summary.to_json() for name, summary in self.contenders.items()},
            "goals": [goal.to_json() for goal in self.goals],
            "warnings": [warning.value for warning in dict.fromkeys(self.warnings)],
            "details": self.details,
        }


def report(
    rows: Iterable[Row], machine: dict[str, Any], *, quick: bool, failures: dict[str, str]
) -> dict[str, Any]:
    """The whole result file as an object."""
    return {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine,
        "rows": [row.to_json() for row in rows],
        "failures": failures,
    }


def default_path(machine: dict[str, Any], short_name: str, names: Sequence[str] = ()) -> Path:
    """``benchmarks/results/<date>-<machine>-<commit>.json``; with ``names`` of rows where not all ran."""
    date = datetime.date.today().isoformat()
    dirty = "-dirty" if machine.get("dirty") else ""
    some = "".join(f"-{name}" for name in names)
    return FOLDER / f"{date}-{short_name}-{machine.get('commit') or 'nocommit'}{dirty}{some}.json"


def write(path: Path, data: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """A result file; ValueError if it is not one this version reads."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as a result file: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(
            f"{path}: expected a result file of format {FORMAT}; measure again with this checkout"
        )
    return data


def number(value: float, unit: str) -> str:
    """A figure with two or three telling digits and its unit."""
    text = f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
    return f"{text}{unit}" if unit in ("x", "%") else f"{text} {unit}".rstrip()


def lines(row: Row) -> list[tuple[str, str, str, str, str]]:
    """Cells of the table: what, goal, measured, may be claimed, verdict."""
    cells = []
    for goal in row.goals:
        sign = ">=" if goal.at_least else "<="
        target = "" if goal.target is None else f"{sign} {number(goal.target, goal.unit)}"
        cells.append(
            (
                goal.what,
                target,
                number(goal.measured.value, goal.unit),
                number(goal.bound, goal.unit),
                goal.verdict,
            )
        )
    return cells


def contender_lines(row: Row) -> list[str]:
    """One line per contender: median and spread."""
    return [
        f"{name}: {number(summary.median, summary.unit)} "
        f"(p5 {summary.percentile(5):.3g}, p95 {summary.percentile(95):.3g}, n={len(summary.samples)})"
        for name, summary in row.contenders.items()
    ]
