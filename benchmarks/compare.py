"""Two result files side by side: faster, slower, or no significant difference.

    python -m benchmarks.compare BEFORE.json AFTER.json

A difference is significant when the confidence interval of the ratio of medians leaves out 1 and it is above
2 %. The files come from different processes: where the references changed too, so did the machine, and a
caution says so.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from livecut.engine.bench.compare import FASTER, SAME, SLOWER, machine_cautions, verdict_of

from .measure import Ratio, unpaired_ratio
from .results import read

__all__ = ["FASTER", "SAME", "SLOWER", "Difference", "cautions", "compare", "control_shift"]
CONTROL_LIMIT = 0.05


@dataclass(frozen=True)
class Difference:
    """One contender in both files; ``ratio`` is time before over time after: above 1 means faster now."""

    row: str
    contender: str
    before: float
    after: float
    unit: str
    ratio: Ratio

    @property
    def verdict(self) -> str:
        return verdict_of(self.ratio)

    @property
    def is_ours(self) -> bool:
        """Whether it times livecut; the others serve as controls."""
        return self.contender.startswith("livecut")


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """Every contender that both reports timed in the same row and the same unit of time."""
    found = []
    earlier = {row["name"]: row["contenders"] for row in before["rows"]}
    for row in after["rows"]:
        for name, summary in row["contenders"].items():
            old = earlier.get(row["name"], {}).get(name)
            if old is None or old["unit"] != summary["unit"]:
                continue
            ratio = unpaired_ratio(old["samples"], summary["samples"])
            found.append(
                Difference(row["name"], name, old["median"], summary["median"], summary["unit"], ratio)
            )
    return found


def control_shift(differences: list[Difference]) -> float:
    """How much faster (positive) or slower the contenders that are not livecut became; 0 without any."""
    controls = [difference.ratio.value for difference in differences if not difference.is_ours]
    return float(np.median(controls)) - 1 if controls else 0.0


def cautions(before: dict[str, Any], after: dict[str, Any], differences: list[Difference]) -> list[str]:
    """Why the verdicts may not be livecut's doing."""
    found = machine_cautions(before["machine"], after["machine"])
    if before["quick"] or after["quick"]:
        found.append("a quick run is among them")
    shift = control_shift(differences)
    if abs(shift) > CONTROL_LIMIT:
        found.append(
            f"the references themselves are {abs(shift):.0%} {'faster' if shift > 0 else 'slower'} now"
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        before, after = read(chosen.before), read(chosen.after)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differences = compare(before, after)
    if not differences:
        print("the two files have no row in common")
        return 0
    for caution in cautions(before, after, differences):
        print(f"caution: {caution}")
    for item in differences:
        print(
            f"{item.row:22} {item.contender:40} {item.before:9.3f} -> {item.after:9.3f} {item.unit:3} "
            f"{item.ratio.value:5.2f}x [{item.ratio.low:.2f}, {item.ratio.high:.2f}]  {item.verdict}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
