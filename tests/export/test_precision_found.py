"""What a graph computes in, by the graph: every form in which files say INT8, and those that only look so."""

import foreign_nets as nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="exports are proved with onnxruntime")

from livecut.export import Options, export_model, open_source
from livecut.export.foreign_bundle import precision_of


def quantised(name):
    nodes = [helper.make_node("DequantizeLinear", [f"{name}_bytes", "step", "origin"], [f"{name}_floats"])]
    if name == "x":
        nodes.insert(0, helper.make_node("QuantizeLinear", ["x", "step", "origin"], ["x_bytes"]))
    return nodes


def graph(*nodes, dtype=np.float32):
    """``nodes`` from x to y, with a weight as floats (w) and as bytes (w_bytes)."""
    weights = [
        nets.tensor("w", np.ones((3, 3, 1, 1)), dtype),
        nets.tensor("w_bytes", np.ones((3, 3, 1, 1)), np.int8),
        nets.tensor("step", 0.1, dtype),
        nets.tensor("origin", 0, np.int8),
        nets.tensor("as_it_is", [3, 3, 1, 1], np.int64),
    ]
    kind = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    ends = [nets.info("x", [1, 3, 4, 4], kind)], [nets.info("y", [1, 3, 4, 4], kind)]
    made = helper.make_graph(list(nodes), "net", *ends, weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], **attributes)


CASES = {
    "floats": ([node("Conv", "x w", "y")], "fp32"),
    "both in bytes": ([*quantised("x"), *quantised("w"), node("Conv", "x_floats w_floats", "y")], "int8"),
    "weights alone in bytes compute in float": ([*quantised("w"), node("Conv", "x w_floats", "y")], "fp32"),
    "activations alone": ([*quantised("x"), node("Conv", "x_floats w", "y")], "fp32"),
    "the weight is moved on its way": (
        [
            *quantised("x"),
            *quantised("w"),
            node("Transpose", "w_floats", "turned", perm=[1, 0, 2, 3]),
            node("Reshape", "turned as_it_is", "flat"),
            node("Conv", "x_floats flat", "y"),
        ],
        "int8",
    ),
    "the picture is moved on its way": (
        [
            *quantised("x"),
            *quantised("w"),
            node("MaxPool", "x_floats", "most", kernel_shape=[1, 1]),
            node("Conv", "most w_floats", "y"),
        ],
        "int8",
    ),
    "a weight that the file quantises itself": (
        [
            *quantised("x"),
            node("QuantizeLinear", "w step origin", "w_made"),
            node("DequantizeLinear", "w_made step origin", "w_floats"),
            node("Conv", "x_floats w_floats", "y"),
        ],
        "int8",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_precision_is_what_the_layers_compute_in(case):
    nodes, expected = CASES[case]
    assert precision_of(graph(*nodes)) == (expected, {expected: 1})


def test_half_weights_are_half_also_where_they_are_kept_in_bytes():
    assert precision_of(graph(node("Conv", "x w", "y"), dtype=np.float16)) == ("fp16", {"fp16": 1})
    kept = graph(*quantised("w"), node("Conv", "x w_floats", "y"), dtype=np.float16)
    assert precision_of(kept) == ("fp16", {"fp16": 1})


def test_the_most_layers_decide_and_all_are_counted():
    nodes = [*quantised("x"), *quantised("w"), node("Conv", "x_floats w_floats", "a")]
    nodes += [node("Conv", "a w", "b"), node("Conv", "b w", "y")]
    assert precision_of(graph(*nodes)) == ("fp32", {"int8": 1, "fp32": 2})


@pytest.fixture(scope="module")
def int8_files(tmp_path_factory):
    quantization = pytest.importorskip("onnxruntime.quantization", reason="makes the int8 files")
    folder = tmp_path_factory.mktemp("int8")
    source = nets.modnet(folder / "m.onnx")
    rng = np.random.default_rng(7)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [{"input": rng.normal(0, 1, (1, 3, 64, 64)).astype(np.float32)} for _ in range(2)]

        def get_next(self):
            return self.left.pop() if self.left else None

    for name, form in (
        ("qdq", quantization.QuantFormat.QDQ),
        ("operators", quantization.QuantFormat.QOperator),
    ):
        out = str(folder / f"{name}.onnx")
        quantization.quantize_static(str(source), out, Reader(), quant_format=form, per_channel=True)
    kind = quantization.QuantType.QUInt8
    quantization.quantize_dynamic(str(source), str(folder / "dynamic.onnx"), weight_type=kind)
    return folder


@pytest.mark.parametrize(("form", "found"), [("qdq", "int8"), ("operators", "int8"), ("dynamic", "fp32")])
def test_an_import_says_what_it_computes_in_and_how_far_it_is_from_the_file(
    int8_files, tmp_path, form, found
):
    source = open_source(int8_files / f"{form}.onnx", recipe="modnet")
    (made,) = export_model(source, tmp_path / form, options=Options(size_wh=(64, 64)))
    passport = made.passport
    assert passport.precision_found == found
    assert passport.layers == {found: 3}
    before = passport.extra["parity_before"]["wrapped graph against the file"]
    assert passport.parity["max_abs"] >= before["max_abs"]
    assert passport.parity["mean_abs"] >= before["mean_abs"]
    assert passport.parity["alpha_mad"] >= before["mean_abs"]
    told = [note for note in passport.extra["notes"] if note.startswith("dynamic int8 was undone")]
    if form == "dynamic":
        assert before["mean_abs"] > 0
        assert f"{before['max_abs']:.1e} at most and {before['mean_abs']:.1e} on average" in told[0]
    else:
        assert not told
