"""What a stage found, as an object and as JSON: figures beside their floors and goals, and checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measure import Ratio, median_interval, paired_ratio
from benchmarks.results import MISS, PASS, SHOWN, UNSURE, Goal

FORMAT = 1
PASSED, FAILED, NOT_RUN, CRASHED, TIMED_OUT, BAD_RESULT = (
    "passed", "failed", "not run", "crashed", "timed out", "bad result",
)  # fmt: skip
STATUSES = (PASSED, FAILED, NOT_RUN, CRASHED, TIMED_OUT, BAD_RESULT)
NO_DEVICE = "no CUDA device"


@dataclass(frozen=True)
class Wanted:
    """One of the check's goals: every figure of ``stage`` that ends in ``figure`` is held to it."""

    goal: str
    stage: str
    figure: str


GOALS = (
    Wanted("whole pipeline >= 0.95x the engine's own throughput", "pipeline",
           "throughput over the engine's own"),
    Wanted("host to host p50 <= 1.15x (copy in + engine + copy out)", "pipeline",
           "host to host over copies and engine"),
    Wanted("one graph p50 >= 1.3x lower than stream launches", "graph", "stream launches over one graph"),
    Wanted("pre and post add <= 12 % of the engine's time or 30 us at 1080p", "pipeline",
           "1080p: added by pre and post"),
    Wanted(">= 40x a serial eager-PyTorch FP16 loop", "torch", "the loop's time over livecut's"),
)  # fmt: skip


class NotRun(Exception):
    """A stage cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Figure:
    """One measured value. Nothing makes one but samples that were taken in this run."""

    what: str
    unit: str
    value: float
    low: float
    high: float
    samples: int
    floor: float | None = None
    """The best that is possible, in the same unit."""
    floor_what: str = ""
    """What the floor is made of."""
    target: float | None = None
    at_least: bool = True

    @property
    def verdict(self) -> str:
        """``pass``: the pessimistic end of the interval reaches the target; ``unsure``: the value does."""
        goal = Goal(self.what, Ratio(self.value, self.low, self.high), self.target, self.at_least, self.unit)
        return goal.verdict

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Check:
    """Something that holds or does not. ``error`` has to be at most ``limit`` where they are numbers."""

    what: str
    passed: bool
    error: float | None = None
    limit: float | None = None
    said: str = ""


def figure(what: str, unit: str, samples: Sequence[float], **rest: Any) -> Figure:
    """The median of samples, with its interval. ValueError without samples: nothing was measured."""
    if not len(samples) or not all(math.isfinite(value) for value in samples):
        raise ValueError(f"{what}: expected finite samples, got {list(samples)[:4]}")
    found = median_interval(samples)
    return Figure(what, unit, found.value, found.low, found.high, len(samples), **rest)


def ratio(what: str, over: Sequence[float], under: Sequence[float], **rest: Any) -> Figure:
    """How many times ``under`` fits into ``over``: medians of samples that were taken in turns."""
    found = paired_ratio(over, under)
    return Figure(what, "x", found.value, found.low, found.high, len(over), **rest)


@dataclass
class Report:
    """One stage."""

    name: str
    title: str
    status: str = PASSED
    reason: str = ""
    """Why it did not pass, or did not run."""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def judged(self) -> Report:
        """The report with the status its checks give it; a missed goal is no failure, it is a missed goal."""
        wrong = [check for check in self.checks if not check.passed]
        if wrong and self.status == PASSED:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            self.status, self.reason = FAILED, f"{wrong[0].what}{more}"
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "title": self.title, "status": self.status, "reason": self.reason,
            "seconds": round(self.seconds, 2), "facts": self.facts,
            "checks": [asdict(check) for check in self.checks],
            "figures": [each.to_json() for each in self.figures],
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Any) -> Report:
        """ValueError if it is not what ``to_json`` writes."""
        try:
            figures = [{k: v for k, v in each.items() if k != "verdict"} for each in data["figures"]]
            report = cls(
                str(data["name"]), str(data["title"]), str(data["status"]), str(data["reason"]),
                float(data["seconds"]), dict(data["facts"]), [Check(**each) for each in data["checks"]],
                [Figure(**each) for each in figures],
            )  # fmt: skip
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"not a stage's report: {type(error).__name__}: {error}") from None
        if report.status not in STATUSES:
            raise ValueError(f"not a stage's report: status {report.status!r}")
        for each in report.figures:
            if not all(
                isinstance(v, (int, float)) and math.isfinite(v) for v in (each.value, each.low, each.high)
            ):
                raise ValueError(f"not a stage's report: figure {each.what!r} is no number")
        return report


def goals_of(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """A line for each goal: the worst of its figures with its verdict, or why there is none."""
    lines: list[dict[str, Any]] = []
    for wanted in GOALS:
        report = next((each for each in reports if each.name == wanted.stage), None)
        line = {"goal": wanted.goal, "stage": wanted.stage, "verdict": NOT_RUN, "reason": "", "figures": []}
        lines.append(line)
        if report is None:
            line["reason"] = "its stage was not asked for"
            continue
        found = [each for each in report.figures if each.what.endswith(wanted.figure)]
        line["reason"] = report.reason
        if found:
            line["verdict"] = max((each.verdict for each in found), key=(PASS, UNSURE, MISS).index)
            line["figures"] = [each.to_json() for each in found]
        elif not report.reason:
            line["reason"] = f"the stage {report.status} without that figure"
    return lines


def whole(reports: Sequence[Report], machine: dict[str, Any], date: str, quick: bool) -> dict[str, Any]:
    """The whole run as one object."""
    goals = [each for report in reports for each in report.figures if each.verdict != SHOWN]
    return {
        "format": FORMAT, "date": date, "quick": quick, "machine": machine,
        "summary": {
            **{status: sum(report.status == status for report in reports) for status in STATUSES},
            "goals": {name: sum(each.verdict == name for each in goals) for name in (PASS, UNSURE, MISS)},
        },
        "goals": goals_of(reports),
        "stages": [report.to_json() for report in reports],
    }  # fmt: skip
