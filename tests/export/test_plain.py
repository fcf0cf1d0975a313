"""Special operators said in plain ones: the same values, or those of the weights without the rounding."""

import foreign_nets as nets
import numpy as np
import onnx
import pytest
from onnx import helper

ort = pytest.importorskip("onnxruntime", reason="runs the operators that are rewritten")
quantization = pytest.importorskip("onnxruntime.quantization", reason="makes the int8 files")

from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.export.foreign import import_foreign
from livecut.export.plain import DYNAMIC, is_byte_wise, made_plain


class Reader(quantization.CalibrationDataReader):
    """Noise in the range a normalised picture has."""

    def __init__(self):
        rng = np.random.default_rng(7)
        self.left = [{"input": rng.normal(0, 1, (1, 3, 64, 64)).astype(np.float32)} for _ in range(4)]

    def get_next(self):
        return self.left.pop() if self.left else None


def run(model, **feed):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def kinds(model):
    return {(node.domain, node.op_type) for node in model.graph.node}


def bytewise(tmp_path, form):
    """A MODNet-like file in int8: operators on bytes, or dynamic."""
    source, out = nets.modnet(tmp_path / "m.onnx"), tmp_path / f"{form}.onnx"
    if form == "dynamic":
        quantization.quantize_dynamic(str(source), str(out), weight_type=quantization.QuantType.QUInt8)
    else:
        operators = quantization.QuantFormat.QOperator
        quantization.quantize_static(
            str(source), str(out), Reader(), quant_format=operators, per_channel=True,
            reduce_range=True,  # weights of 7 bits: onnxruntime saturates with 8 where a chip has no VNNI
        )  # fmt: skip
    return source, out


@pytest.fixture
def noise(rng):
    return rng.normal(0, 1, (1, 3, 48, 64)).astype(np.float32)


def test_operators_on_bytes_become_qdq_and_compute_the_same(tmp_path, noise):
    _, path = bytewise(tmp_path, "operators")
    model = onnx.load(str(path))
    assert is_byte_wise(model)
    plain, notes = made_plain(model)
    assert not is_byte_wise(plain)
    assert {domain for domain, _ in kinds(plain)} == {""}
    assert {entry.domain for entry in plain.opset_import} == {""}
    assert ("", "DequantizeLinear") in kinds(plain)
    assert "QLinearConv" in notes[0]
    np.testing.assert_allclose(run(plain, input=noise), run(model, input=noise), atol=2 / 255)


def test_dynamic_int8_becomes_float_with_the_weights_of_the_bytes(tmp_path, noise):
    source, path = bytewise(tmp_path, "dynamic")
    model = onnx.load(str(path))
    plain, notes = made_plain(model)
    assert notes == [DYNAMIC]
    assert not {kind for _, kind in kinds(plain)} & {"ConvInteger", "DynamicQuantizeLinear"}
    whole, rounded = run(onnx.load(str(source)), input=noise), run(model, input=noise)
    got = run(plain, input=noise)
    assert np.abs(got - whole).mean() <= np.abs(rounded - whole).mean()
    assert np.abs(got - rounded).mean() < 0.01


def test_dynamic_int8_that_goes_elsewhere_too_is_left_alone(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("ConvInteger", ["q", "w", "z"], ["c"]),
        helper.make_node("Cast", ["c"], ["f"], to=nets.FLOAT),
        helper.make_node("Cast", ["q"], ["seen"], to=nets.FLOAT),
        helper.make_node("Add", ["f", "seen"], ["y"]),
    ]
    weights = [nets.tensor("w", np.ones((1, 3, 1, 1)), np.uint8)]
    inputs, outputs = [nets.info("x", [1, 3, 4, 4])], [nets.info("y", [1, 3, 4, 4])]
    model = onnx.load(str(nets.save(tmp_path / "d.onnx", nodes, inputs, outputs, weights)))
    assert made_plain(model) == (model, [])


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("opset", [17, 18])
def test_layer_normalisation_is_said_in_means(tmp_path, rng, axis, bias, opset):
    names = ["x", "scale", "bias"][: 3 if bias else 2]
    nodes = [helper.make_node("LayerNormalization", names, ["y"], axis=axis, epsilon=1e-4)]
    shape = (4, 6)[axis:]
    weights = [nets.tensor(name, rng.normal(size=shape)) for name in names[1:]]
    inputs, outputs = [nets.info("x", [2, 4, 6])], [nets.info("y", [2, 4, 6])]
    path = nets.save(tmp_path / "l.onnx", nodes, inputs, outputs, weights, opset=opset)
    model = onnx.load(str(path))
    plain, _ = made_plain(model)
    onnx.checker.check_model(plain, full_check=True)
    assert ("", "LayerNormalization") not in kinds(plain)
    x = rng.normal(size=(2, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(run(plain, x=x), run(model, x=x), atol=1e-5)


def test_a_plain_model_is_returned_as_it_is(tmp_path):
    model = onnx.load(str(nets.modnet(tmp_path / "m.onnx")))
    assert made_plain(model)[0] is model


@pytest.mark.slow
@pytest.mark.parametrize("form", ["operators", "dynamic"])
def test_int8_files_of_both_forms_are_imported_and_run(tmp_path, form):
    source, path = bytewise(tmp_path, form)
    report = import_foreign(path, "modnet", tmp_path / form, size=(64, 64))
    import_foreign(source, "modnet", tmp_path / "whole", size=(64, 64))
    assert report.runtime == "onnxruntime"  # openvino computes some operators on bytes wrongly
    assert report.precision == ("int8" if form == "operators" else "fp32")
    # What a rounding of activations makes of a black or a white picture, another makes otherwise.
    assert report.parity["inputs"] == (4 if form == "operators" else 2)
    Manifest.load(tmp_path / form).validate_against_onnx()
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    alphas = []
    for name in (form, "whole"):
        with Session(tmp_path / name, precision="fp32", threads=1, refine=False) as session:
            alphas.append(session.matte(image, foreground=False).alpha / 255)
    assert np.abs(alphas[0] - alphas[1]).mean() < 0.03
