"""FP16: half where that is safe, float32 and named where it is not, and the same file to whoever runs it."""

import numpy as np
import onnx
import precision_nets as nets
import pytest
from onnx import TensorProto, helper

ort = pytest.importorskip("onnxruntime", reason="FP16 is proved with onnxruntime")

from livecut.engine.errors import ModelError, UsageError
from livecut.export.fp16 import HALF_MAX, convert_fp16, count_types
from livecut.export.ranges import TensorRange, collect_ranges, edge_samples


def converted(made, tmp_path, **options):
    options.setdefault("samples", nets.inputs())
    out = tmp_path / "half.onnx"
    return convert_fp16(nets.saved(made, tmp_path / "source.onnx"), out, **options), onnx.load(out)


def types_of(made):
    graph = onnx.shape_inference.infer_shapes(made).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}


def run(path, feed):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)[0]


def test_every_layer_is_half_and_inputs_and_outputs_stay_float32(tmp_path):
    report, half = converted(nets.cutter(), tmp_path)
    assert (report.half, report.single, report.casts, report.kept) == (9, 0, 2, {})
    assert report.layers == {"fp16": 9, "fp32": 0}
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    types = types_of(half)
    assert all(types[name] == TensorProto.FLOAT16 for name in ("a", "b", "sum", "up", "logit"))
    sizes = {t.name: t.data_type for t in half.graph.initializer}
    assert sizes["half"] == TensorProto.FLOAT  # Resize takes its scales in float32 only
    assert report.parity["max_abs"] < 0.01


def test_what_would_overflow_stays_float32_and_is_named_with_its_value(tmp_path):
    """ONNX Runtime on a CPU computes this chain rightly even in half: only the audit sees the overflow."""
    node, weights = nets.conv("look", "image", "seen", np.full((1, 3, 1, 1), 0.3))
    made = nets.model(
        [
            node,
            helper.make_node("Mul", ["seen", "huge"], ["far"], name="up"),
            helper.make_node("Mul", ["far", "tiny"], ["back"], name="down"),
            helper.make_node("Sigmoid", ["back"], ["alpha"], name="sigmoid"),
        ],
        [*weights, nets.tensor("huge", np.float32(6e4)), nets.tensor("tiny", np.float32(1 / 6e4))],
    )
    report, half = converted(made, tmp_path)
    assert set(report.kept) == {"up", "down"}
    assert "far reaches" in report.kept["up"]
    assert types_of(half)["far"] == TensorProto.FLOAT
    assert report.layers == {"fp16": 2, "fp32": 2}
    assert next(iter(report.largest)) == "far"
    assert report.parity["max_abs"] < 1e-3


def test_the_headroom_counts_and_not_only_what_was_seen(tmp_path):
    node, weights = nets.conv("look", "image", "seen", np.full((1, 3, 1, 1), HALF_MAX / 6))
    sigmoid = helper.make_node("Sigmoid", ["seen"], ["alpha"], name="sigmoid")
    report, _ = converted(nets.model([node, sigmoid], weights), tmp_path)
    assert set(report.kept) == {"look", "sigmoid"}


def test_a_mean_over_many_values_stays_float32_where_its_sum_could_overflow(tmp_path):
    node, weights = nets.conv("look", "image", "seen", np.full((1, 3, 1, 1), 60.0))
    made = nets.model(
        [
            node,
            helper.make_node("ReduceMean", ["seen"], ["level"], name="mean", axes=[2, 3], keepdims=1),
            helper.make_node("Sub", ["seen", "level"], ["odd"], name="sub"),
            helper.make_node("Sigmoid", ["odd"], ["alpha"], name="sigmoid"),
        ],
        weights,
    )
    report, _ = converted(made, tmp_path)
    assert list(report.kept) == ["mean"]
    assert "sum of 1536 terms could reach" in report.kept["mean"]


def test_weights_that_no_half_can_hold_keep_their_layer(tmp_path):
    node, weights = nets.conv("look", "image", "seen", np.full((1, 3, 1, 1), 1e-3))
    made = nets.model(
        [
            node,
            helper.make_node("Min", ["seen", "top"], ["low"], name="cap"),
            helper.make_node("Sigmoid", ["low"], ["alpha"], name="sigmoid"),
        ],
        [*weights, nets.tensor("top", np.float32(1e6))],
    )
    report, _ = converted(made, tmp_path)
    assert "its weight top reaches 1e+06" in report.kept["cap"]


def test_layers_are_kept_by_name_or_pattern(tmp_path):
    report, half = converted(nets.cutter(), tmp_path, keep=["last", "s*"])
    assert set(report.kept) == {"last", "shrink", "sigmoid", "steepen"}
    assert set(report.kept.values()) == {"asked for"}
    assert types_of(half)["logit"] == TensorProto.FLOAT


def test_a_layer_that_is_not_there_cannot_be_kept(tmp_path):
    with pytest.raises(
        UsageError, match=r"keep: no layer is called 'lst'; the graph has first, relu, middle"
    ):
        converted(nets.cutter(), tmp_path, keep=["lst"])
    assert not (tmp_path / "half.onnx").exists()


def test_an_output_that_is_read_inside_too_stays_float32_outside(tmp_path):
    samples = [{**sample, "memory": np.zeros((1, 1, 32, 48), np.float32)} for sample in nets.inputs()]
    report, half = converted(nets.remembering(), tmp_path, samples=samples)
    assert report.single == 0
    assert [v.type.tensor_type.elem_type for v in half.graph.output] == [TensorProto.FLOAT] * 2
    got = run(tmp_path / "half.onnx", samples[0])
    np.testing.assert_allclose(got, run(tmp_path / "source.onnx", samples[0]), atol=2e-3)


def test_nodes_without_names_and_constants_as_nodes_are_fine(tmp_path):
    made = nets.cutter()
    for node in made.graph.node:
        node.name = ""
    scales = made.graph.initializer[-1]
    made.graph.node.insert(0, helper.make_node("Constant", [], ["gain"], value=scales))
    del made.graph.initializer[-1]
    report, _ = converted(made, tmp_path)
    assert report.half == 9


def test_a_model_that_is_not_finite_by_itself_is_refused(tmp_path):
    node, weights = nets.conv("look", "image", "seen", np.full((1, 3, 1, 1), -1.0))
    made = nets.model([node, helper.make_node("Sqrt", ["seen"], ["alpha"], name="root")], weights)
    with pytest.raises(ModelError, match="'alpha' is NaN or infinite in float32 already"):
        converted(made, tmp_path)
    assert not (tmp_path / "half.onnx").exists()


def test_without_samples_there_is_nothing_to_audit(tmp_path):
    with pytest.raises(ModelError, match="looks at the ranges of real inputs, and got none"):
        converted(nets.cutter(), tmp_path, samples=[])


def test_progress_is_told_by_step(tmp_path):
    told = []
    converted(nets.cutter(), tmp_path, progress=lambda step, share: told.append((step, share)))
    assert ("audit of ranges", 1.0) in told
    assert ("check of the FP16 graph", 1.0) in told


def test_strongly_typed_tensorrt_finds_nothing_but_half(tmp_path):
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    converted(nets.cutter(), tmp_path)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((tmp_path / "half.onnx").read_bytes())
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    assert len(convolutions) == 3
    assert {layer.get_output(0).dtype for layer in convolutions} == {trt.DataType.HALF}


# -- ranges


def test_ranges_hold_the_extremes_of_every_tensor():
    samples = nets.inputs()
    ranges = collect_ranges(nets.cutter(), samples)
    assert ranges["image"].high == max(float(s["image"].max()) for s in samples)
    assert ranges["ar"].low == 0
    assert 0 <= ranges["alpha"].low <= ranges["alpha"].high <= 1
    assert ranges["a"].elements == 8 * 32 * 48


def test_values_that_are_not_finite_are_counted_and_left_out():
    seen = TensorRange()
    seen.add(np.float32([1, np.nan, np.inf, -3]), histogram=True)
    assert (seen.low, seen.high, seen.not_finite) == (-3, 1, 2)
    assert seen.histogram.sum() == 2


def test_a_histogram_keeps_every_value_when_a_larger_one_widens_it(rng):
    seen = TensorRange()
    values = [rng.normal(0, scale, 1000).astype(np.float32) for scale in (0.01, 1, 300)]
    for array in values:
        seen.add(array, histogram=True)
    assert seen.histogram.sum() == 3000
    assert seen.limit >= seen.largest > seen.limit / 2
    below = seen.histogram[: len(seen.histogram) // 2].sum()
    assert abs(below - sum((array < 0).sum() for array in values)) <= 2


def test_channel_means_are_those_of_axis_1():
    seen = TensorRange()
    for level in (0.0, 2.0):
        seen.add(np.float32([[[[level]], [[10 + level]]]]), histogram=True)
    np.testing.assert_allclose(seen.channel_mean, [1, 11])


def test_edge_samples_are_within_the_span_and_leave_state_alone():
    first = {"image": nets.inputs(1)[0]["image"], "memory": np.zeros((1, 1, 32, 48), np.float32)}
    made = list(edge_samples([first]))
    assert len(made) == 6
    low, high = first["image"].min(), first["image"].max()
    assert all(low <= s["image"].min() and s["image"].max() <= high + 1e-6 for s in made)
    assert all(s["memory"] is first["memory"] for s in made)
    assert list(edge_samples([])) == []


def test_types_are_counted_from_the_graph_and_casts_are_no_layers():
    assert count_types(nets.cutter()) == {"fp32": 9}


@pytest.mark.parametrize("name", ["a_half", "a_single", "gain_half"])
def test_names_that_a_graph_has_already_keep_their_meaning(name, tmp_path):
    source = nets.cutter()
    for tensor in source.graph.initializer:
        tensor.name = name if tensor.name == "last.bias" else tensor.name
    for node in source.graph.node:
        node.input[:] = [name if known == "last.bias" else known for known in node.input]
    report = convert_fp16(
        nets.saved(source, tmp_path / "s.onnx"), tmp_path / "h.onnx", samples=nets.inputs(), keep=["relu"]
    )
    assert list(report.kept) == ["relu"]
    plain = ort.InferenceSession(nets.cutter().SerializeToString(), providers=["CPUExecutionProvider"])
    half = ort.InferenceSession(str(tmp_path / "h.onnx"), providers=["CPUExecutionProvider"])
    for sample in nets.inputs():
        np.testing.assert_allclose(half.run(None, sample)[0], plain.run(None, sample)[0], atol=0.01)
