"""The harness of the GPU check: stages that crash, hang or write rubbish, verdicts, and the page."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check import runner
from benchmarks.gpu_check.results import (
    BAD_RESULT,
    CRASHED,
    FAILED,
    NOT_RUN,
    PASSED,
    TIMED_OUT,
    Check,
    Figure,
    NotRun,
    Report,
    figure,
)
from benchmarks.gpu_check.stages import BUILD_SECONDS, STAGES, Stage, stage_named

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """
import json, os, signal, sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
result, settings = arguments["--result"], json.loads(arguments["--settings"])
def write(text):
    with open(result, "w") as file:
        file.write(text)
{body}
"""
GOOD = {
    "name": "stand-in", "title": "Stand-in", "status": "passed", "reason": "", "seconds": 0.0,
    "facts": {}, "checks": [], "figures": [],
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a stage whose process is a script of ours."""

    def run_script(body, *, limit=30.0, settings=None):
        script = tmp_path / "stage.py"
        script.write_text(STAND_IN.format(body=body), encoding="utf-8")
        real = subprocess.Popen

        def started(arguments, **rest):
            at = arguments.index("--stage")
            return real([sys.executable, str(script), *arguments[at:]], **rest)

        monkeypatch.setattr(runner.subprocess, "Popen", started)
        monkeypatch.setattr(runner, "GRACE_SECONDS", 0.3)
        return runner.run_stage(Stage("stand-in", "Stand-in", "none:none", limit), settings or {})

    return run_script


def test_a_stage_that_reports_is_read(run):
    report = run(f"write({json.dumps(json.dumps({**GOOD, 'facts': {'seen': 1}}))})")
    assert (report.status, report.facts) == (PASSED, {"seen": 1})
    assert report.seconds > 0


def test_settings_reach_the_stage(run):
    body = f"good = {GOOD!r}; good['facts'] = settings; write(json.dumps(good))"
    assert run(body, settings={"quick": True, "model": "m"}).facts == {"quick": True, "model": "m"}


def test_a_stage_that_dies_of_a_signal_is_named(run):
    report = run("os.kill(os.getpid(), signal.SIGSEGV)")
    assert (report.status, report.reason) == (CRASHED, "the process died of SIGSEGV")


def test_a_stage_that_raises_gives_its_last_line(run):
    report = run("print('on the way'); raise RuntimeError('no such kernel')")
    assert report.status == CRASHED
    assert report.reason == "exit code 1: RuntimeError: no such kernel"
    assert "on the way" in report.facts["output"]


def test_a_stage_that_ends_without_a_result_has_crashed(run):
    assert run("pass").reason == "exit code 0: no output"


def test_a_stage_that_hangs_is_ended_with_all_it_started(run, tmp_path):
    body = """
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open({path!r}, "w") as file:
    file.write(str(child.pid))
signal.pause()
while True:
    signal.pause()
""".format(path=str(tmp_path / "pid"))
    report = run(body, limit=3.0)
    assert (report.status, report.reason) == (TIMED_OUT, "not done after 3 s, ended")
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while not is_gone(pid):  # what is killed ends when the kernel gets to it
        assert time.monotonic() < deadline, "what the stage had started still runs"
        os.sched_yield()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"  # ended; whoever adopted it has not looked yet


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("no json", "Expecting value"),
        ("[1, 2]", "not a stage's report"),
        (json.dumps({**GOOD, "status": "splendid"}), "status 'splendid'"),
        (json.dumps({**GOOD, "name": "another"}), "a report of 'another'"),
        (json.dumps({**GOOD, "figures": [{"what": "speed"}]}), "not a stage's report"),
        (json.dumps({**GOOD, "figures": [{"what": "speed", "unit": "ms", "value": "fast", "low": 1, "high": 2,
                                          "samples": 3}]}), "figure 'speed' is no number"),
        ('{"name": "stand-in"', "Expecting"),
    ],
)  # fmt: skip
def test_rubbish_for_a_result_is_told_as_such(run, written, said):
    report = run(f"write({written!r})")
    assert report.status == BAD_RESULT
    assert said in report.reason


def test_every_stage_of_the_issue_is_there_and_has_a_limit():
    names = {stage.name for stage in STAGES}
    wanted = "emulated compile kernels parity copies graph overlap pipeline streams leaks faults torch"
    assert set(wanted.split()) <= names
    assert all(0 < stage.limit_seconds <= 2100 for stage in STAGES)
    with pytest.raises(ValueError, match="expected one of environment, "):
        stage_named("speed")


def test_an_engine_that_took_too_long_is_not_built_again_by_every_stage(monkeypatch):
    limits, kept = {}, []

    def runs(status):
        def run(stage, settings, *, limit_seconds):
            limits[stage.name] = limit_seconds
            return Report(stage.name, stage.title, status if stage.name == "engine" else PASSED, "slow")

        return run

    stages = [stage_named(name) for name in ("copies", "engine", "graph", "batches")]
    monkeypatch.setattr(command, "run_stage", runs(TIMED_OUT))
    found = {
        each.name: each for each in command.run_all(stages, {}, lambda reports: kept.append(len(reports)))
    }
    assert kept == [1, 2, 3, 4], "what is known is kept after each stage"
    assert found["graph"].status == NOT_RUN
    assert "engine timed out: slow" in found["graph"].reason
    assert found["batches"].status == PASSED, "it builds another one"
    monkeypatch.setattr(command, "run_stage", runs(PASSED))
    command.run_all(stages, {}, len)
    assert limits["graph"] == stage_named("graph").limit_seconds
    command.run_all(stages[2:], {}, len)
    assert limits["graph"] >= BUILD_SECONDS, "by itself it may have to build"


def test_every_stage_can_be_found():
    import importlib

    for stage in STAGES:
        module, _, name = stage.function.partition(":")
        assert callable(getattr(importlib.import_module(module, "benchmarks.gpu_check"), name))


@pytest.fixture
def stand_ins(monkeypatch):
    def reports(*found):
        monkeypatch.setattr(command, "run_all", lambda stages, settings, keep: list(found))

    return reports


@pytest.mark.parametrize(
    ("reports", "flags", "code"),
    [
        ([Report("a", "A"), Report("b", "B", NOT_RUN, "no CUDA device: none")], [], 0),
        ([Report("a", "A", CRASHED, "gone")], [], 1),
        ([Report("b", "B", NOT_RUN, "no CUDA device: none")], ["--require-gpu"], 7),
        ([Report("a", "A", figures=[Figure("x", "x", 1.0, 0.9, 1.1, 9, target=1.3)])], [], 0),
        ([Report("a", "A", figures=[Figure("x", "x", 1.0, 0.9, 1.1, 9, target=1.3)])], ["--gate"], 6),
    ],
)
def test_exit_codes(stand_ins, tmp_path, reports, flags, code, capsys):
    stand_ins(*reports)
    assert command.main(["--out", str(tmp_path), *flags]) == code
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"gpu-check.json", "gpu-check.html", "gpu-check.md"}
    assert "written" in capsys.readouterr().out


def test_without_a_gpu_nothing_is_measured(tmp_path):
    """The real command where libcuda is not to be found: stages for a GPU say so, and give no figure."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    names = ["copies", "kernel-times", "graph"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", "--quick", "--out", str(tmp_path), *names],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gpu-check.json").read_text(encoding="utf-8"))
    for stage in data["stages"]:
        assert (stage["status"], stage["figures"], stage["checks"]) == (NOT_RUN, [], [])
        assert stage["reason"].startswith("no CUDA device")
    text = (tmp_path / "gpu-check.md").read_text(encoding="utf-8")
    stages = text.partition("## Pinned against pageable copies")[2]  # behind the goals, which say numbers
    assert "no CUDA device" in stages
    assert not re.search(r"\d+(\.\d+)? (ms|us|GB/s|fps)", stages)


def test_a_stage_in_its_own_process_writes_its_report_whole(tmp_path):
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", "--stage", "environment", "--result", str(result)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = Report.from_json(json.loads(result.read_text(encoding="utf-8")))
    assert report.status == PASSED
    assert {"gpu", "nvcc", "torch", "pycuda"} <= set(report.facts)


def test_not_run_is_for_what_is_missing(monkeypatch, tmp_path):
    def missing(report, settings):
        raise NotRun("no such thing")

    found = run_stage_here(monkeypatch, tmp_path, missing)
    assert (found.status, found.reason) == (NOT_RUN, "no such thing")


def run_stage_here(monkeypatch, tmp_path, function):
    from benchmarks.gpu_check import host_stages

    monkeypatch.setattr(host_stages, "environment", function)
    monkeypatch.setattr(command.os, "_exit", lambda code: None)
    monkeypatch.setattr(command.signal, "signal", lambda number, handler: None)
    command.run_here(stage_named("environment"), {}, tmp_path / "result.json")
    return Report.from_json(json.loads((tmp_path / "result.json").read_text(encoding="utf-8")))


def test_what_was_measured_before_an_error_is_kept(monkeypatch, tmp_path, capfd):
    def breaks(report, settings):
        report.figures.append(figure("time", "ms", [1.0, 2.0, 3.0]))
        raise TypeError("a null pointer")

    found = run_stage_here(monkeypatch, tmp_path, breaks)
    assert (found.status, found.reason) == (FAILED, "TypeError: a null pointer")
    assert [each.what for each in found.figures] == ["time"]
    assert "in breaks" in capfd.readouterr().err


def test_a_package_that_is_missing_is_a_stage_that_is_not_run(monkeypatch, tmp_path):
    def needs(report, settings):
        import no_such_package  # noqa: F401

    found = run_stage_here(monkeypatch, tmp_path, needs)
    assert (found.status, found.reason) == (NOT_RUN, "the package no_such_package is missing")


def test_a_bug_that_was_seen_is_not_hidden_by_not_running(monkeypatch, tmp_path):
    def seen(report, settings):
        report.checks += [Check("fine", True), Check("a bug", False)]
        raise NotRun("nothing is left to try")

    found = run_stage_here(monkeypatch, tmp_path, seen)
    assert (found.status, found.reason) == (FAILED, "nothing is left to try")
    assert [check.what for check in found.checks] == ["a bug"]


def test_what_a_stage_had_when_its_time_was_up_is_kept(run):
    """A stage that is asked to end writes what it has; its process is a stand-in."""
    had = {**GOOD, "status": TIMED_OUT, "facts": {"seen": 1}, "checks": [CHECK]}
    body = f"""
signal.signal(signal.SIGTERM, lambda *_: (write({json.dumps(json.dumps(had))}), os._exit(0)))
print("ready", flush=True)
while True:
    signal.pause()
"""
    report = run(body, limit=3.0)
    assert (report.status, report.reason) == (TIMED_OUT, "not done after 3 s, ended")
    assert [check.what for check in report.checks] == ["it holds"]
    assert report.facts == {"seen": 1, "output": "ready"}


CHECK = {"what": "it holds", "passed": True, "error": None, "limit": None, "said": ""}


def test_the_real_process_writes_what_it_has_when_it_is_ended(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(ENDLESS.format(root=str(ROOT), result=str(tmp_path / "result.json")), encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    found = Report.from_json(json.loads((tmp_path / "result.json").read_text(encoding="utf-8")))
    assert (found.status, found.facts) == (TIMED_OUT, {"seen": 1})


ENDLESS = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.gpu_check import __main__ as command, host_stages
from benchmarks.gpu_check.stages import stage_named
def endless(report, settings):
    report.facts["seen"] = 1
    print("ready", flush=True)
    while True:
        signal.pause()
host_stages.environment = endless
command.run_here(stage_named("environment"), {{}}, Path({result!r}))
"""
