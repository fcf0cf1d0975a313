"""``python -m benchmarks [NAMES] [--json FILE] [--quick] [--gate]``: measure, print a table, write JSON.

Exit codes: 0 measured (missed goals are printed as MISS); 1 a benchmark failed or computed something
wrong; 2 usage; 6 a goal was missed and ``--gate`` was given.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from . import machine, results
from .measure import Warn
from .options import Options
from .results import MISS, PASS, UNSURE, Row

# name -> module and function; imported when asked for, so that a broken room does not hide the others
BENCHMARKS = {
    "preprocess": ("bench_preprocess", "run"),
    "composite": ("bench_composite", "run_composite"),
    "refine": ("bench_composite", "run_refine"),
    "loop": ("bench_loop", "run"),
    "rembg": ("bench_rembg", "run"),
    "precision": ("bench_precision", "run"),
    "pipeline": ("bench_pipeline", "run"),
    "open-loop": ("bench_open_loop", "run"),
    "first-cut": ("bench_first_cut", "run"),
    "memory": ("bench_memory", "run"),
    "train-step": ("bench_train_step", "run"),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure livecut beside its references."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {' '.join(BENCHMARKS)}; all when none"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="default: benchmarks/results/<date>-...; - for none"
    )
    parser.add_argument(
        "--quick", action="store_true", help="prove that the benchmarks work; figures are no results"
    )
    parser.add_argument("--gate", action="store_true", help="exit 6 unless every goal passes")
    parser.add_argument("--model", default="livecut-s", help="name or folder of a model bundle")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="labelled pictures, for the row precision"
    )
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {' '.join(BENCHMARKS)}")
    options = Options(quick=chosen.quick, model=chosen.model, data=chosen.data)
    described = machine.describe()
    print(headline(described))
    rows, failures = measure_all(chosen.names or list(BENCHMARKS), options, described)
    data = results.report(rows, described, quick=options.quick, failures=failures)
    if str(chosen.json) != "-" and (chosen.json or not options.quick):
        path = chosen.json or results.default_path(described, machine.short_name(), chosen.names)
        results.write(path, data)
        print(f"written: {path}")
    print(summary(rows, failures))
    if failures:
        return 1
    passed = all(goal.verdict not in (MISS, UNSURE) for row in rows for goal in row.goals)
    return 0 if passed or not chosen.gate else 6


def measure_all(names: list[str], options: Options, described: dict) -> tuple[list[Row], dict[str, str]]:
    """Run the benchmarks, printing each as it is done; what fails is reported and the others go on."""
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for name in names:
        print(f"\n{name} ...", flush=True)
        module, function = BENCHMARKS[name]
        try:
            run: Callable[[Options], list[Row]] = getattr(
                importlib.import_module(f".{module}", __package__), function
            )
            found = run(options)
        except (
            Exception
        ) as error:  # reported, and the exit code says so: the other rows are still worth having
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"  FAILED: {failures[name]}", flush=True)
            traceback.print_exc()
            continue
        for row in found:
            row.warnings += [Warn.DIRTY] * bool(described["dirty"]) + [Warn.QUICK] * options.quick
            show(row)
        rows += found
    return rows, failures


def headline(described: dict) -> str:
    """The machine in a line."""
    libraries = " ".join(f"{name} {version}" for name, version in described["libraries"].items() if version)
    dirty = " (dirty)" if described["dirty"] else ""
    return (
        f"{described['cpu']}, {described['cores_allowed']} cores, Linux {described['kernel']}, "
        f"Python {described['python']}, commit {described['commit']}{dirty}\n"
        f"{libraries}"
    )


def show(row: Row) -> None:
    """A row's goals, contenders and warnings, on the terminal or in a file alike."""
    print(f"\n== {row.title}")
    for line in results.contender_lines(row):
        print(f"   {line}")
    print(f"   {'':64}{'goal':>10} {'measured':>10} {'bound':>10}")
    for what, target, measured, bound, verdict in results.lines(row):
        print(f"   {what:64}{target:>10} {measured:>10} {bound:>10}  {verdict}")
    for check in row.checks:
        print(f"   checked: {check.what}: {check.error:.3g} (limit {check.limit:g})")
    for warning in dict.fromkeys(row.warnings):
        print(f"   warning: {warning.value}: {warning.meaning}", flush=True)


def summary(rows: list[Row], failures: dict[str, str]) -> str:
    """How many goals passed, and which did not."""
    judged = [(row, goal) for row in rows for goal in row.goals if goal.target is not None]
    passed = sum(goal.verdict == PASS for _, goal in judged)
    text = [f"\n{passed} of {len(judged)} goals passed"]
    text += [
        f"   {goal.verdict}: {row.name}: {goal.what}: {results.number(goal.measured.value, goal.unit)}, goal "
        f"{'>=' if goal.at_least else '<='} {results.number(goal.target, goal.unit)}"
        for row, goal in judged
        if goal.verdict != PASS
    ]
    return "\n".join(text + [f"   FAILED: {name}: {why}" for name, why in failures.items()])


if __name__ == "__main__":
    sys.exit(main())
