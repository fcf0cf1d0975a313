"""Builders of engines in a process of their own: a real engine, errors in a line, deaths, and stopping."""

import json
import sys
import threading
from dataclasses import replace

import bundles
import pytest
from engines import SIZE_WH

from livecut.engine.errors import BackendError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.tensorrt.locks import Cancelled
from livecut.engine.tensorrt.wanted import Place, find_wanted


def wanted_from(tmp_path, source=None):
    """What TensorRT-RTX can build here, of the tiny model or of another file."""
    manifest = Manifest.load(bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha()))
    wanted = find_wanted(manifest, SIZE_WH, "fp32", Place("tensorrt_rtx", "1", None, "8.6"))
    return replace(wanted, source=source or wanted.source)


@pytest.mark.slow
def test_the_builders_process_builds_a_real_engine(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")
    from livecut.engine.tensorrt.rebuild import build_in_process

    wanted, seen = wanted_from(tmp_path), []
    path = tmp_path / "out" / wanted.file_name
    build_in_process(wanted, path, lambda step, share: seen.append(share), threading.Event())
    passport = Passport.read(path)
    assert passport.damage(path) == []
    assert (passport.compute_capability, passport.precision_found) == ("8.6", "fp32")
    assert passport.check(path, wanted.manifest.model_path) == []
    assert passport.differences(shapes=wanted.shapes) == []
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.slow
def test_what_fails_in_the_builders_process_comes_out_as_one_line(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")
    from livecut.engine.tensorrt.rebuild import build_in_process

    source = tmp_path / "broken.onnx"
    source.write_bytes(b"not ONNX" * 10)
    with pytest.raises(
        BackendError, match=r"^broken.onnx: TensorRT-RTX .* cannot read it: .*Failed to parse"
    ):
        build_in_process(
            wanted_from(tmp_path, source), tmp_path / "x.plan", lambda *_: None, threading.Event()
        )
    assert not (tmp_path / "x.plan").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "its process was ended by SIGABRT"),
        (
            "import sys; print('noise'); sys.exit('out of luck')",
            "its process ended with exit code 1: out of luck",
        ),
        ("pass", "its process ended with exit code 0"),
    ],
)
def test_a_builders_process_that_dies_takes_nothing_with_it(code, message, tmp_path, monkeypatch):
    from livecut.engine.tensorrt import rebuild

    monkeypatch.setattr(rebuild, "COMMAND", [sys.executable, "-c", code])
    with pytest.raises(BackendError, match=message):
        rebuild.build_in_process(
            wanted_from(tmp_path, tmp_path / "x.onnx"),
            tmp_path / "x.plan",
            lambda *_: None,
            threading.Event(),
        )


@pytest.mark.slow
def test_a_builders_process_is_ended_when_asked_to_stop(tmp_path, monkeypatch):
    from livecut.engine.tensorrt import rebuild

    line = json.dumps({"step": "build", "share": 0.1})
    monkeypatch.setattr(
        rebuild,
        "COMMAND",
        [sys.executable, "-c", f"import signal; print({line!r}, flush=True); signal.pause()"],
    )
    stop = threading.Event()
    with pytest.raises(Cancelled):
        rebuild.build_in_process(
            wanted_from(tmp_path, tmp_path / "x.onnx"), tmp_path / "x.plan", lambda *_: stop.set(), stop
        )


def test_building_in_this_process_stops_when_asked_to(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")
    from livecut.engine.tensorrt.rebuild import build_here

    wanted = wanted_from(tmp_path)
    stop = threading.Event()
    with pytest.raises(Cancelled):
        build_here(wanted, tmp_path / "x.plan", lambda *_: stop.set(), stop)
    assert not (tmp_path / "x.plan").exists()
    build_here(wanted, tmp_path / "x.plan", lambda *_: None, threading.Event())
    assert Passport.read(tmp_path / "x.plan").compute_capability == "8.6"
