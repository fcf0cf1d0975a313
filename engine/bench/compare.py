"""Two results of ``livecut bench``: faster, slower, or no significant difference.

A difference counts when the 95 % interval of the ratio leaves out 1 and the ratio is above 2 %. Intervals are
bootstrapped over whole seconds, since neighbouring frames share their stalls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .statistics import Ratio, by_second, percentile_ratio

FLOOR = 0.02
FEW_SECONDS = 8
FASTER, SLOWER, SAME = "faster", "slower", "no significant difference"
MACHINE_KEYS = (
    "cpu",
    "cores_allowed",
    "governor",
    "python",
    "libraries",
    "kernel",
)


def verdict_of(ratio: Ratio) -> str:
    """What a ratio of time before over time after says; above 1 is faster now."""
    if ratio.low > 1 and ratio.value > 1 + FLOOR:
        return FASTER
    if ratio.high < 1 and ratio.value < 1 / (1 + FLOOR):
        return SLOWER
    return SAME


def machine_cautions(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two machine descriptions, and is not livecut's doing."""
    pairs = [(key, before.get(key), after.get(key)) for key in MACHINE_KEYS]
    return [f"{key} differs: {old} before, {new} after" for key, old, new in pairs if old != new]


@dataclass(frozen=True)
class Change:
    """One figure of one run in both files; ``ratio`` above 1 means better now."""

    run: str
    figure: str
    unit: str
    before: float
    after: float
    ratio: Ratio

    @property
    def verdict(self) -> str:
        return verdict_of(self.ratio)


def compare(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[Change], list[str]]:
    """Every run that both files have, and cautions about what else may have changed.

    Runs are matched by name; where no name is in both and each file holds one run, those two are compared.
    """
    changes: list[Change] = []
    cautions = machine_cautions(before["machine"], after["machine"])
    if before["machine"].get("gpus") != after["machine"].get("gpus"):
        cautions.append("the GPUs differ")
    for name, old, new in _pairs(before["runs"], after["runs"], cautions):
        for which, run in (("before", old), ("after", new)):
            cautions += [f"{name}, {which}: {warning['name']}" for warning in run["warnings"]]
        if not (old["gate"]["passed"] and new["gate"]["passed"]):
            cautions.append(f"{name}: not compared, as an output was wrong")
            continue
        changes += _changes(name, old, new, cautions)
    return changes, list(dict.fromkeys(cautions))


def _pairs(
    before: list[dict[str, Any]], after: list[dict[str, Any]], cautions: list[str]
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    earlier = {run["name"]: run for run in before}
    found = [(run["name"], earlier[run["name"]], run) for run in after if run["name"] in earlier]
    if found or len(before) != 1 or len(after) != 1:
        return found
    cautions.append(f"different runs are compared: {before[0]['name']}; and {after[0]['name']}")
    return [(after[0]["name"], before[0], after[0])]


def _changes(name: str, old: dict[str, Any], new: dict[str, Any], cautions: list[str]) -> list[Change]:
    if old["settings"]["paced"] != new["settings"]["paced"]:
        cautions.append(f"{name}: one run was paced and the other was not")
        return []
    parts = [_seconds(run) for run in (old, new)]
    if not all(parts):
        cautions.append(f"{name}: a run without a single frame")
        return []
    if min(len(blocks) for blocks in parts) < FEW_SECONDS:
        cautions.append(f"{name}: fewer than {FEW_SECONDS} seconds; intervals are wide or too narrow")
    found = []
    if old["settings"]["paced"]:
        for key, percent in (("p50", 50.0), ("p99", 99.0)):
            ratio = percentile_ratio(parts[0], parts[1], percent)
            before, after = (run["latency_ms"][key] for run in (old, new))
            found.append(Change(name, f"latency {key}", "ms", before, after, ratio))
    else:
        ratio = percentile_ratio(_gaps(old), _gaps(new), 50)
        found.append(Change(name, "frames per second", "", old["fps"], new["fps"], ratio))
    return found


def _seconds(run: dict[str, Any]) -> list[np.ndarray]:
    """Latencies by second, of all streams together."""
    samples = run["samples"]
    latency = np.concatenate([np.asarray(values, float) for values in samples["latency_ms"]])
    due = np.concatenate([np.asarray(values, float) for values in samples["due_seconds"]])
    return by_second(latency, due)


def _gaps(run: dict[str, Any]) -> list[np.ndarray]:
    """Milliseconds from one output to the next, by second, of the first stream."""
    samples = run["samples"]
    done = np.asarray(samples["due_seconds"][0]) + np.asarray(samples["latency_ms"][0]) / 1e3
    gaps = 1e3 * np.diff(done)
    return by_second(gaps, done[1:]) or [np.ones(1)]
