"""``python -m benchmarks.gpu_check [--out FOLDER] [STAGES]``: prove the GPU path on this machine.

Nothing is downloaded. Each stage runs in its own process with a time limit; what cannot run here says why.
Writes ``gpu-check.json``, ``gpu-check.html`` and ``gpu-check.md``. Exit codes: 0 nothing that ran failed; 1 a
stage failed; 2 usage; 6 a goal was missed and ``--gate`` was given; 7 there is no GPU and ``--require-gpu``.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.results import MISS, UNSURE, write

from . import page
from .results import CRASHED, FAILED, NO_DEVICE, NOT_RUN, PASSED, TIMED_OUT, NotRun, Report, whole
from .runner import run_stage
from .stages import BUILD_SECONDS, STAGES, Stage, stage_named


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__.split("\n\n")[1]
    )
    parser.add_argument("names", nargs="*", metavar="STAGE", help="default: all; --list shows them")
    parser.add_argument("--out", type=Path, default=Path("out/gpu-check"), metavar="FOLDER")
    parser.add_argument("--model", default="livecut-s", help="name or folder of a model bundle")
    parser.add_argument("--quick", action="store_true", help="fewer samples: proves that it works")
    parser.add_argument("--gate", action="store_true", help="exit 6 unless every goal passes")
    parser.add_argument("--require-gpu", action="store_true", help="exit 7 where there is no GPU")
    parser.add_argument("--list", action="store_true", help="name the stages and leave")
    for hidden in ("--stage", "--result", "--settings"):  # how a stage's own process is started
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.stage:
        return run_here(stage_named(chosen.stage), json.loads(chosen.settings or "{}"), Path(chosen.result))
    if chosen.list:
        for stage in STAGES:
            print(f"{stage.name:14}{'GPU  ' if stage.needs_gpu else '     '}{stage.title}")
        return 0
    try:
        stages = [stage_named(name) for name in chosen.names] or list(STAGES)
    except ValueError as error:
        parser.error(str(error))
    settings = {"model": chosen.model, "quick": chosen.quick}
    described = machine.describe()
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

    def keep(reports: list[Report]) -> dict[str, Any]:
        """Write what is known so far: a run that is broken off has its results."""
        data = whole(reports, described, date, chosen.quick)
        write(chosen.out / "gpu-check.json", data)
        page.write(chosen.out, data)
        return data

    reports = run_all(stages, settings, keep)
    data = keep(reports)
    print(f"\n{page.headline(data)}\nwritten: {chosen.out}/gpu-check.json, .html, .md")
    if any(report.status not in (PASSED, NOT_RUN) for report in reports):
        return 1
    if chosen.require_gpu and any(NO_DEVICE in report.reason for report in reports):
        return 7
    missed = any(figure.verdict in (MISS, UNSURE) for report in reports for figure in report.figures)
    return 6 if chosen.gate and missed else 0


def run_all(
    stages: list[Stage], settings: dict[str, object], keep: Callable[[list[Report]], object]
) -> list[Report]:
    """Run the stages one after the other, a line each; ``keep`` gets the reports after each."""
    reports: list[Report] = []
    engine: Report | None = None  # what became of it, once that is known
    for stage in stages:
        print(f"{stage.name:14}", end="", flush=True)
        if stage.needs_engine and engine and engine.status in (TIMED_OUT, CRASHED):
            why = f"the stage engine {engine.status}: {engine.reason}"
            report = Report(stage.name, stage.title, NOT_RUN, why)  # it would only wait for the same again
        else:
            first = stage.needs_engine and engine is None  # it may have to build what it needs
            report = run_stage(
                stage, settings, limit_seconds=stage.limit_seconds + (BUILD_SECONDS if first else 0)
            )
        engine = report if stage.name == "engine" else engine
        reports.append(report)
        keep(reports)
        detail = report.reason or f"{len(report.checks)} checks, {len(report.figures)} figures"
        print(f"{report.status:11}{report.seconds:7.1f} s  {detail}", flush=True)
    return reports


def run_here(stage: Stage, settings: dict[str, object], result: Path) -> int:
    """The stage's own process: run it, and write its report whole or not at all.

    What was measured before an error, or before time was up, is kept.
    """
    faulthandler.enable()
    report = Report(stage.name, stage.title)

    def write_report() -> None:
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps(report.to_json(), default=str), encoding="utf-8")
        partial.replace(result)

    def time_is_up(number: int, frame: object) -> None:
        report.status = TIMED_OUT
        write_report()
        os._exit(0)

    signal.signal(signal.SIGTERM, time_is_up)
    try:
        stage.run(settings, report)
    except (NotRun, ModuleNotFoundError) as why:
        report.reason = str(why) if isinstance(why, NotRun) else f"the package {why.name} is missing"
        report.checks, report.figures = [each for each in report.checks if not each.passed], []
        report.status = FAILED if report.checks else NOT_RUN
    except Exception as error:
        traceback.print_exc()
        report.status, report.reason = FAILED, f"{type(error).__name__}: {error}"
    write_report()
    sys.stdout.flush()
    sys.stderr.flush()
    # A GPU library may hang or crash while the interpreter winds down; the result is already safe.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
