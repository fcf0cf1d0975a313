"""OpenVINO files: what is stored in them, and what a compiled model then computes in."""

import numpy as np
import precision_nets as nets
import pytest

openvino = pytest.importorskip("openvino", reason="needs openvino")
pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from livecut.engine.errors import ModelError, UsageError
from livecut.engine.openvino_core import openvino_core
from livecut.export.int8 import quantise
from livecut.export.openvino import to_openvino


@pytest.fixture
def source(tmp_path):
    return nets.saved(nets.cutter(channels=16), tmp_path / "source.onnx")


def test_fp32_is_stored_and_computed_in_fp32(source, tmp_path):
    report = to_openvino(source, tmp_path / "m.xml", precision="fp32", samples=nets.inputs())
    assert report.layers == {"fp32": 3}
    assert (report.precision_found, report.kept_higher) == ("fp32", [])
    assert set(report.stored) == {"fp32"}
    assert report.parity["max_abs"] < 1e-5
    assert sorted(path.name for path in tmp_path.glob("m.*")) == ["m.bin", "m.xml"]


def test_fp16_halves_the_weights_and_says_what_it_is_computed_in(source, tmp_path):
    full = to_openvino(source, tmp_path / "full.xml", precision="fp32")
    report = to_openvino(source, tmp_path / "half.xml", precision="fp16", samples=nets.inputs())
    assert report.weights.stat().st_size < 0.6 * full.weights.stat().st_size
    assert report.stored["fp16"] > 2000
    assert report.precision_found.startswith("fp16 weights, computed in ")
    assert sum(report.layers.values()) == 3
    assert report.parity["max_abs"] < 5e-3


def test_int8_is_read_back_layer_by_layer(source, tmp_path):
    quantise(source, tmp_path / "q.onnx", samples=nets.inputs(8), keep=["middle"])
    report = to_openvino(tmp_path / "q.onnx", tmp_path / "m.xml", precision="int8")
    assert report.precision_found == "int8"
    assert report.layers["int8"] == 2
    assert sum(report.layers.values()) == 3
    assert len(report.kept_higher) == 1
    assert "middle" in report.kept_higher[0]
    assert report.stored["int8"] > 500


def test_int8_that_is_none_is_refused_and_leaves_what_was_there(source, tmp_path):
    (tmp_path / "m.xml").write_text("the one before")
    with pytest.raises(ModelError, match=r"none of its 3 multiplying layers is INT8 .* --calibrate FOLDER"):
        to_openvino(source, tmp_path / "m.xml", precision="int8")
    assert (tmp_path / "m.xml").read_text() == "the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.xml", "source.onnx"]


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [("m.onnx", "fp32", "NAME.xml and NAME.bin"), ("m.xml", "int4", "expected one of fp32, fp16, int8")],
)
def test_arguments_that_make_no_sense_are_named(source, tmp_path, name, precision, message):
    with pytest.raises(UsageError, match=message):
        to_openvino(source, tmp_path / name, precision=precision)


def test_a_file_that_is_no_model_is_one_line(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"x\.onnx: openvino cannot read it: ") as caught:
        to_openvino(tmp_path / "x.onnx", tmp_path / "m.xml", precision="fp32")
    assert "\n" not in str(caught.value)


def test_the_files_run_as_the_source_does(source, tmp_path):
    to_openvino(source, tmp_path / "m.xml", precision="fp32")
    core = openvino_core()
    sample = nets.inputs(1)[0]
    got, expected = (
        core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(sample)[0]
        for path in (tmp_path / "m.xml", source)
    )
    np.testing.assert_allclose(got, expected, atol=1e-6)
