"""How commands end: exit codes, one line, signals."""

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest
import typer

from livecut.cli.outcome import StopSignals, configure_logging, ends_with_exit_code, said_once
from livecut.engine import errors


def test_what_many_streams_log_alike_is_shown_once_and_warnings_always(capsys):
    configure_logging()
    log = logging.getLogger("livecut")
    with said_once():
        for stream in (1, 1, 2):
            log.info("stream on %d thread", stream)
            log.warning("late")
    log.info("stream on %d thread", 1)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "thread" in line] == [
        "livecut: stream on 1 thread", "livecut: stream on 2 thread", "livecut: stream on 1 thread",
    ]  # fmt: skip
    assert lines.count("livecut: warning: late") == 3


def outcome_of(error, capsys, **options):
    @ends_with_exit_code
    def command(verbose=0, quiet=False):
        raise error

    with pytest.raises(typer.Exit) as ended:
        command(**options)
    return ended.value.exit_code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.UsageError("x"), 2),
        (errors.PartialFailure("x"), 3),
        (errors.ModelError("x"), 4),
        (errors.ManifestError("x"), 4),
        (errors.BackendError("x"), 4),
        (errors.DeviceUnavailable("x"), 4),
        (errors.SourceError("x"), 5),
        (errors.PictureError("x"), 5),
        (errors.SinkError("x"), 5),
        (errors.GateMissed("x"), 6),
        (MemoryError(), 1),
        (RuntimeError("odd\nthing"), 1),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(error, exit_code, capsys):
    code, text = outcome_of(error, capsys)
    assert code == exit_code
    assert text.startswith("livecut: error: ")
    assert text.count("\n") == 1


def test_an_unexpected_error_says_how_to_see_more(capsys):
    _, text = outcome_of(RuntimeError("odd"), capsys)
    assert text == "livecut: error: internal: RuntimeError: odd (LIVECUT_TRACEBACK=1 shows where)\n"


def test_tracebacks_come_when_asked_for(capsys, monkeypatch):
    assert "Traceback" in outcome_of(RuntimeError("odd"), capsys, verbose=2)[1]
    monkeypatch.setenv("LIVECUT_TRACEBACK", "1")
    assert "Traceback" in outcome_of(errors.SourceError("gone"), capsys)[1]


def test_ctrl_c_is_130(capsys):
    assert outcome_of(KeyboardInterrupt(), capsys) == (130, "")


def test_logs_go_to_stderr_at_the_level_asked_for(capsys):
    import logging

    log = logging.getLogger("livecut")
    for options, expected in (
        ({}, "livecut: here\nlivecut: warning: there\n"),
        ({"quiet": True}, ""),
        ({"verbose": 1}, "livecut: deep\nlivecut: here\nlivecut: warning: there\n"),
    ):
        configure_logging(**options)
        log.debug("deep")
        log.info("here")
        log.warning("there")
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_to_stop_and_gives_the_exit_code(number, exit_code, capsys):
    stopped = threading.Event()
    before = signal.getsignal(number)
    with StopSignals(stopped.set) as signals:
        assert not signals.was_stopped
        os.kill(os.getpid(), number)
        assert stopped.wait(10)
    assert signal.getsignal(number) is before
    with pytest.raises(typer.Exit) as ended:
        signals.exit_if_stopped()
    assert ended.value.exit_code == exit_code


def test_without_a_signal_nothing_is_stopped():
    with StopSignals(lambda: pytest.fail("was stopped")) as signals:
        pass
    signals.exit_if_stopped()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stream_drains_on_a_signal_and_leaves_a_whole_report(number, exit_code, tmp_path):
    """The first frame on standard output says that the stream runs; then it is told to stop."""
    report = tmp_path / "report.json"
    command = ["stream", "synthetic://64x48@100", "-", "--backend", "null", "--json", str(report)]
    with subprocess.Popen(
        [sys.executable, "-m", "livecut", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert len(process.stdout.read(64 * 48 * 4)) == 64 * 48 * 4
        process.send_signal(number)
        _, text = process.communicate(timeout=30)
    assert process.returncode == exit_code, text
    assert b"Traceback" not in text
    import json

    assert json.loads(report.read_text())["frames_out"] >= 1


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path):
    code = (
        "import os, signal, threading\n"
        "from livecut.cli.outcome import StopSignals\n"
        "with StopSignals(lambda: os.kill(os.getpid(), signal.SIGINT)):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Event().wait(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=50, capture_output=True)
    assert done.returncode == 143, done.stderr
