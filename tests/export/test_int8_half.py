"""INT8 for TensorRT: what is not INT8 is FP16 in the graph itself, but what would overflow."""

import numpy as np
import onnx
import precision_nets as nets
import pytest
from onnx import TensorProto, helper, numpy_helper

ort = pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from livecut.engine.errors import ModelError
from livecut.export.int8 import quantise
from livecut.export.int8_half import LEAST_SCALE, HalfAudit, count_layers, half_scale

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def quantised(made, tmp_path, **options):
    out = tmp_path / "int8.onnx"
    source = nets.saved(made, tmp_path / "source.onnx")
    report = quantise(source, out, samples=nets.inputs(4), flavour="tensorrt", **options)
    return report, onnx.load(out)


def types_of(made):
    graph = onnx.shape_inference.infer_shapes(made).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def makers(made):
    return {name: node for node in made.graph.node for name in node.output}


def node_of(made, name):
    return next(node for node in made.graph.node if node.name == name)


def two_readers():
    """``y`` is read by one convolution that stays small and by one whose result no half holds."""
    look, own = nets.conv("look", "image", "x", np.full((2, 3, 3, 3), 0.1))
    small, more = nets.conv("small", "y", "logit", [[[[1.0]], [[-0.5]]]])
    large, most = nets.conv("large", "y", "far", np.full((1, 2, 1, 1), 2e4))
    nodes = [
        look,
        helper.make_node("Relu", ["x"], ["y"], name="relu"),
        small,
        large,
        helper.make_node("Mul", ["far", "tiny"], ["back"], name="down"),
        helper.make_node("Add", ["logit", "back"], ["sum"], name="add"),
        helper.make_node("Sigmoid", ["sum"], ["alpha"], name="sigmoid"),
    ]
    return nets.model(nodes, [*own, *more, *most, nets.tensor("tiny", np.float32(1 / 6e4))])


def test_everything_between_the_bytes_is_half(tmp_path):
    report, made = quantised(nets.cutter(), tmp_path)
    assert report.layers == dict(count_layers(made)) == {"int8": 3, "fp16": 6, "fp32": 0}
    assert (report.found, report.why_single) == ("int8", {})
    types = types_of(made)
    assert all(types[name] == HALF for name in ("a", "ar", "b", "sum", "down", "up", "logit"))
    assert [node.op_type for node in made.graph.node].count("Cast") == 1  # to the float32 alpha
    for node in made.graph.node:
        if node.op_type == "DequantizeLinear":
            assert types[node.output[0]] == types[node.input[1]] == HALF
    for value in (*made.graph.input, *made.graph.output):
        assert value.type.tensor_type.elem_type == SINGLE
    assert report.parity["mean_abs"] < 0.004


def test_the_picture_becomes_bytes_from_float32_without_a_cast(tmp_path):
    _, made = quantised(nets.cutter(), tmp_path)
    first = next(node for node in made.graph.node if node.input[0] == "image")
    assert first.op_type == "QuantizeLinear"
    assert types_of(made)[first.input[1]] == SINGLE


def test_a_layer_kept_out_of_int8_is_half(tmp_path):
    report, made = quantised(nets.cutter(), tmp_path, keep=["middle"])
    assert report.layers == {"int8": 2, "fp16": 7, "fp32": 0}
    assert types_of(made)[node_of(made, "middle").input[1]] == HALF


def test_what_would_overflow_stays_float32_and_is_named(tmp_path):
    report, made = quantised(two_readers(), tmp_path)
    assert set(report.why_single) == {"large", "down"}
    assert "large.weight_float reaches 2e+04" in report.why_single["large"]
    assert report.layers == {"int8": 3, "fp16": 3, "fp32": 1}
    types, made_by = types_of(made), makers(made)
    for name, kind in (("small", HALF), ("large", SINGLE)):
        node = node_of(made, name)
        for source in node.input[:2]:  # its own: a cast would part the two
            assert (made_by[source].op_type, types[source]) == ("DequantizeLinear", kind)
        assert types[node.output[0]] == kind
    assert report.parity["mean_abs"] < 0.01


def test_what_comes_out_of_a_float32_layer_becomes_bytes_as_float32(tmp_path):
    look, own = nets.conv("look", "image", "far", np.full((1, 3, 1, 1), 6e4))
    judge, more = nets.conv("judge", "far", "back", [[[[1 / 6e4]]]])
    sigmoid = helper.make_node("Sigmoid", ["back"], ["alpha"], name="sigmoid")
    report, made = quantised(nets.model([look, judge, sigmoid], [*own, *more]), tmp_path)
    assert set(report.why_single) == {"look", "judge"}
    types, made_by = types_of(made), makers(made)
    read = made_by[node_of(made, "judge").input[0]]
    written = made_by[read.input[0]]
    assert (written.op_type, written.input[0]) == ("QuantizeLinear", "far")
    assert {types[name] for name in ("far", written.input[1], read.input[1], read.output[0])} == {SINGLE}


def test_an_overflow_that_was_not_foreseen_is_found_before_anything_is_written(tmp_path, monkeypatch):
    from livecut.export import int8_half

    monkeypatch.setattr(int8_half, "layers_to_keep", lambda model, ranges: {})
    ample = np.full((1, 2, 1, 1), 60.0)
    monkeypatch.setattr(int8_half, "half_scale", lambda scale: np.asarray(scale))
    made = two_readers()
    for tensor in made.graph.initializer:
        if tensor.name == "large.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(ample * 1e4), tensor.name))
    with pytest.raises(ModelError, match="in FP16, 'far' overflows"):
        quantised(made, tmp_path, force=True)
    assert not (tmp_path / "int8.onnx").exists()


def test_ranges_seen_on_more_samples_count(tmp_path):
    source = nets.saved(nets.cutter(), tmp_path / "source.onnx")
    model, samples = onnx.load(source), nets.inputs(2)
    known = HalfAudit(model, samples, {}).ranges["ar"]
    known.high = 5e4
    assert HalfAudit(model, samples, {"ar": known}).ranges["ar"].largest == 5e4


def test_scales_are_halves_that_clip_no_more_than_before(rng):
    wanted = np.append(2.0 ** rng.uniform(-19, 15, 500), [0.01, 1.0])
    got = half_scale(wanted)
    np.testing.assert_array_equal(got, got.astype(np.float16).astype(np.float64))
    assert (got >= wanted * (1 - 2.0**-10)).all()
    assert (got <= wanted * 1.13).all()
    assert half_scale(0.0) == LEAST_SCALE
    assert half_scale(1e6) == 1e6  # only a float32 layer has it


def test_tensorrt_builds_it_in_three_precisions(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")
    from livecut.engine.tensorrt import build_engine, load

    report, _ = quantised(two_readers(), tmp_path)
    built = build_engine(
        report.out,
        tmp_path / "x.plan",
        precision="int8",
        profiles={"image": ((1, 3, 32, 48),) * 3},
        compute_capability="8.6",
        api=load("tensorrt_rtx"),
    )
    assert built.precisions.found == "int8"
    kinds = built.precisions.kinds
    assert kinds["convolution"] == {"int8": 3}
    assert kinds["activation"] == {"fp16": 2}
    assert kinds["elementwise"] == {"fp16": 1, "fp32": 1}
