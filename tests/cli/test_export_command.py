"""``livecut export``: weights to a folder the engine runs, its lines, its JSON, its exit codes."""

import json

import bundles
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.manifest import Manifest
from livecut.engine.pictures import write_picture


@pytest.fixture
def model(tmp_path):
    return bundles.write_bundle(tmp_path / "soft", bundles.sigmoid_of_sum())


@pytest.fixture
def pictures(tmp_path, rng):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        write_picture(folder / f"{index}.png", rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return folder


def test_a_model_is_exported_and_cuts(livecut, tmp_path, model, pictures):
    out = tmp_path / "out"
    result = livecut("export", model, "--to", "fp16", "--calibrate", pictures, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("ok onnx")
    assert second.startswith("ok fp16")
    assert "model-fp16.onnx" in second
    assert (
        livecut("export", model, "--to", "fp16", "--calibrate", pictures, "-o", out).stderr.count("==") == 2
    )
    cut = livecut("cut", pictures / "0.png", tmp_path / "cut.png", "--model", out)
    assert cut.exit_code == 0, cut.stderr


def test_json_has_a_passport_for_every_step(livecut, tmp_path, model):
    result = livecut("export", model, "-o", tmp_path / "out", "--json")
    assert result.stderr == ""
    (step,) = json.loads(result.stdout)["steps"]
    assert (step["step"], step["reused"]) == ("onnx", False)
    assert step["passport"]["target"] == "onnx"
    assert step["passport"]["command"].split()[0] == "livecut"


def test_a_shipped_model_is_known_by_its_name(livecut, tmp_path, model, monkeypatch):
    monkeypatch.setenv("LIVECUT_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    model.rename(tmp_path / "home" / "models" / "soft")
    assert livecut("export", "soft", "--size", "32x32", "-o", tmp_path / "out").exit_code == 0
    assert Manifest.load(tmp_path / "out").sizes_wh == ((32, 32),)
    result = livecut("export", "sofd", "-o", tmp_path / "other")
    assert (result.exit_code, "did you mean soft?" in result.stderr) == (4, True)


def test_inspect_is_a_command_of_its_own(livecut, tmp_path, model):
    livecut("export", model, "-o", tmp_path / "out")
    result = livecut("export", "inspect", tmp_path / "out" / "model.onnx")
    assert result.exit_code == 0, result.stderr
    assert "made from" in result.stdout
    (tmp_path / "out" / "model.onnx").write_bytes(b"damaged")
    assert livecut("export", "inspect", tmp_path / "out" / "model.onnx").exit_code == 4
    assert "--layers" in livecut("export", "inspect", "--help").stdout
    assert "livecut export inspect FILE" in livecut("export", "--help").stdout.replace("\n  ", " ")


def test_a_file_called_inspect_is_reached_by_a_path(livecut, tmp_path, monkeypatch):
    (tmp_path / "inspect").write_text("no weights", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = livecut("export", "./inspect", "-o", tmp_path / "out")
    assert result.exit_code == 4
    assert "not an ONNX model" in result.stderr


USAGE = {
    "no folder": ((), "-o: give a folder to write to"),
    "an unknown target": (("--to", "coreml", "-o", "out"), "--to: expected one of onnx, fp16"),
    "a size": (("--size", "big", "-o", "out"), "--size: expected WIDTHxHEIGHT"),
    "a size the model has not": (
        ("--size", "33x33", "-o", "out"),
        "takes multiples of 32, got 33x33; near it is 32x32",
    ),
    "a device without TensorRT": (("--device", "sm_86", "-o", "out"), "--device: is for --to tensorrt"),
    "an unknown device": (("--to", "tensorrt", "--device", "sm_1", "-o", "out"), "expected such as sm_86"),
    "workspace": (
        ("--to", "tensorrt", "--workspace", "lots", "-o", "out"),
        "--workspace: expected GiB, such as 4",
    ),
    "workspace without TensorRT": (("--workspace", "4", "-o", "out"), "--workspace: is for --to tensorrt"),
    "precision": (("--to", "fp16", "--precision", "int8", "-o", "out"), "--to fp16 is fp16"),
    "INT8 without pictures": (("--to", "int8", "-o", "out"), "--calibrate FOLDER"),
    "a recipe for our own": (("--recipe", "u2net", "-o", "out"), "says itself how it is fed"),
    "a colour": (("--key", "1", "2", "300", "-o", "out"), "--key: expected three numbers from 0 to 255"),
    "no pictures": (("--calibrate", "nowhere", "-o", "out"), "--calibrate nowhere: no such folder"),
}


@pytest.mark.parametrize("case", USAGE)
def test_what_makes_no_sense_is_refused_with_2(livecut, tmp_path, model, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = USAGE[case]
    result = livecut("export", model, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_said_with_4(livecut, tmp_path, model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = livecut("export", model, "-o", tmp_path / "out")
    assert result.exit_code == 4
    assert "onnxruntime is not installed: pip install livecut[export]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_is_said_when_asked_to_be_quiet(livecut, tmp_path, model):
    result = livecut("export", model, "-o", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
