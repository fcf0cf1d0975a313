"""Runs each stage in a process of its own: one that crashes, hangs or writes rubbish costs only itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .results import BAD_RESULT, CRASHED, FAILED, TIMED_OUT, Report
from .stages import Stage

ROOT = Path(__file__).resolve().parents[2]
TAIL_LINES = 12
GRACE_SECONDS = 5.0


def run_stage(stage: Stage, settings: dict[str, object], *, limit_seconds: float | None = None) -> Report:
    """Run one stage and read what it wrote; never raises for what the stage does.

    Parameters
    ----------
    stage : Stage
    settings : dict
        Passed on to the stage as JSON.
    limit_seconds : float, optional
        Default: the stage's own.
    """
    limit = limit_seconds if limit_seconds is not None else stage.limit_seconds
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="livecut-gpu-check-") as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu_check",
            "--stage",
            stage.name,
            "--result",
            str(result),
        ]
        command += ["--settings", json.dumps(settings)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end_group(process)
        report = _read(stage, result, code, limit, _tail(log))
    report.seconds = time.perf_counter() - started
    return report


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the stage and whatever it started: first politely, then not."""
    for sign, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-TAIL_LINES:])


def _read(stage: Stage, result: Path, code: int | None, limit: float, tail: str) -> Report:
    facts = {"output": tail} if tail else {}
    if code is None:
        report = Report(stage.name, stage.title, TIMED_OUT, f"not done after {limit:g} s, ended", facts=facts)
        if result.is_file():  # what it had when its time was up
            with suppress(OSError, ValueError):
                so_far = Report.from_json(json.loads(result.read_text(encoding="utf-8")))
                report.figures, report.checks = so_far.figures, so_far.checks
                report.facts = {**so_far.facts, **facts}
        return report
    if code < 0:
        name = signal.Signals(-code).name
        return Report(stage.name, stage.title, CRASHED, f"the process died of {name}", facts=facts)
    if code or not result.is_file():
        last = tail.splitlines()[-1] if tail else "no output"
        return Report(stage.name, stage.title, CRASHED, f"exit code {code}: {last}", facts=facts)
    try:
        report = Report.from_json(json.loads(result.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        return Report(stage.name, stage.title, BAD_RESULT, str(error), facts=facts)
    if report.name != stage.name:
        return Report(stage.name, stage.title, BAD_RESULT, f"a report of {report.name!r}", facts=facts)
    if report.status == FAILED:
        report.facts |= facts
    return report
