"""INT8: what the graph says, what a runtime makes of it, and what is refused."""

import json

import bundles
import numpy as np
import onnx
import precision_nets as nets
import pytest
from onnx import TensorProto, numpy_helper

ort = pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from livecut.engine.errors import GateMissed, ModelError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.openvino_core import openvino_core
from livecut.export import int8, sensitivity
from livecut.export.growth import Growth, dtssd
from livecut.export.int8 import quantise, quantise_folders
from livecut.export.int8_graph import best_span, channel_scales, step_for
from livecut.export.openvino import layers_of
from livecut.export.ranges import TensorRange

INPUT = {"input__mean": [127.5] * 3, "input__std": [127.5] * 3}


def bundle(folder, made, **changes):
    return bundles.write_bundle(folder, made.graph, **INPUT, **changes)


def quantised(made, tmp_path, **options):
    options.setdefault("samples", nets.inputs(8))
    out = tmp_path / "int8.onnx"
    return quantise(nets.saved(made, tmp_path / "source.onnx"), out, **options), onnx.load(out)


def kinds(made):
    return [node.op_type for node in made.graph.node]


def weights_of(made):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}


@pytest.mark.parametrize("flavour", ["openvino", "tensorrt"])
def test_every_product_is_in_bytes_with_one_scale_a_channel(flavour, tmp_path):
    report, made = quantised(nets.cutter(), tmp_path, flavour=flavour)
    others = {"fp16": 6} if flavour == "tensorrt" else {}
    assert (report.layers, report.kept_higher) == ({"int8": 3, "fp32": 0, **others}, [])
    held = weights_of(made)
    for name, channels in (("first", 8), ("middle", 8), ("last", 1)):
        assert held[f"{name}.weight_int8"].dtype == np.int8
        assert np.abs(held[f"{name}.weight_int8"]).max() == 127
        scale = held[f"{name}.weight_scale{'_half' if flavour == 'tensorrt' else ''}"]
        assert scale.shape == (channels,)
        assert not held.get(f"{name}.weight_zero", np.zeros(1)).any()
        assert (f"{name}.weight_zero" in held) == (flavour == "tensorrt")
    assert f"{name}.weight" not in held
    assert not [t for t in made.graph.initializer if t.data_type == TensorProto.INT32]
    for before, after in zip(nets.cutter().graph.output, made.graph.output, strict=True):
        assert before == after


def test_openvinos_activations_are_unsigned_and_tensorrts_symmetric(tmp_path):
    zeros = {}
    for flavour in ("openvino", "tensorrt"):
        _, made = quantised(nets.cutter(), tmp_path, flavour=flavour)
        zeros[flavour] = {
            k: v for k, v in weights_of(made).items() if k.endswith("_zero") and "weight" not in k
        }
        opset = made.opset_import[0].version
        assert opset >= (19 if flavour == "tensorrt" else 13)
    assert {zero.dtype for zero in zeros["openvino"].values()} == {np.dtype(np.uint8)}
    assert {zero.dtype for zero in zeros["tensorrt"].values()} == {np.dtype(np.int8)}
    assert not any(zero.any() for zero in zeros["tensorrt"].values())
    assert zeros["openvino"]["image_zero"] > 0  # the picture is in -1..1
    assert "ar_zero" not in zeros["openvino"]  # behind a ReLU every step is spent on what is there


@pytest.mark.parametrize("flavour", ["openvino", "tensorrt"])
def test_the_result_is_near_the_float_one(flavour, tmp_path):
    report, _ = quantised(nets.cutter(), tmp_path, flavour=flavour)
    assert report.parity["mean_abs"] < 0.004
    assert report.calibrated_on == 8


def test_openvino_really_multiplies_in_int8(tmp_path):
    pytest.importorskip("openvino", reason="needs openvino")
    quantised(nets.cutter(channels=16), tmp_path)
    core = openvino_core()
    network = core.read_model(str(tmp_path / "int8.onnx"))
    network.reshape([1, 3, 32, 48])
    layers = layers_of(core.compile_model(network, "CPU"))
    assert [layer.precision for layer in layers if layer.computes] == ["int8"] * 3


def test_tensorrt_takes_the_graph(tmp_path):
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    quantised(nets.cutter(), tmp_path, flavour="tensorrt")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((tmp_path / "int8.onnx").read_bytes())
    found = [network.get_layer(index) for index in range(network.num_layers)]
    bytes_made = [layer for layer in found if layer.type == trt.LayerType.QUANTIZE]
    assert len(bytes_made) == 3
    assert {layer.get_output(0).dtype for layer in bytes_made} == {trt.DataType.INT8}


def test_layers_kept_by_name_read_and_give_floats(tmp_path):
    report, made = quantised(nets.cutter(), tmp_path, keep=["mid*"])
    assert report.kept_higher == report.asked_to_keep == ["middle"]
    middle = next(node for node in made.graph.node if node.name == "middle")
    assert list(middle.input) == ["ar", "middle.weight", "middle.bias"]


def test_the_layer_that_int8_ruins_is_found_and_kept(tmp_path):
    """One channel of ``last``'s input is 5000 times as large as the others: in bytes they are gone."""
    report, made = quantised(nets.cutter(spoilt=5000.0), tmp_path)
    assert next(iter(report.sensitivity)) == "last"
    assert report.kept_higher == ["last"]
    assert report.parity["mean_abs"] < 0.01
    assert kinds(made).count("QuantizeLinear") == 2


def test_a_result_past_the_limit_is_not_written_unless_forced(tmp_path):
    source = nets.saved(nets.cutter(spoilt=5000.0), tmp_path / "source.onnx")
    out = tmp_path / "int8.onnx"
    out.write_bytes(b"the one before")
    options = {"samples": nets.inputs(8), "judge": _Hard()}
    with pytest.raises(GateMissed, match=r"source\.onnx: INT8 for openvino refused: MAE grows by 50\.0%"):
        quantise(source, out, **options)
    assert out.read_bytes() == b"the one before"
    report = quantise(source, out, force=True, **options)
    assert report.forced
    assert "MAE grows by 50.0%" in report.problems[0]
    onnx.checker.check_model(onnx.load(out))


class _Hard:
    """A judge that nothing pleases."""

    def growth(self, candidate):
        return Growth(0.3, 0.1, 0.2, 0.1, 0.1, 1, 1, True)

    def distance(self, candidate, most):
        return 1.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"samples": []}, UsageError, "calibrated on real pictures, and got none; give a folder"),
        ({"flavour": "ncnn"}, UsageError, "flavour: expected openvino or tensorrt, got 'ncnn'"),
        (
            {"keep": ["nothing"]},
            UsageError,
            "keep: no layer is called 'nothing'; the graph has first, middle",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_named(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        quantised(nets.cutter(), tmp_path, **options)


def test_a_model_without_products_has_nothing_to_quantise(tmp_path):
    nodes = [onnx.helper.make_node("ReduceMax", ["image"], ["alpha"], axes=[1], keepdims=1, name="max")]
    with pytest.raises(ModelError, match="nothing in it can be INT8"):
        quantised(nets.model(nodes, []), tmp_path)


# -- judged on pictures


def test_folders_calibrate_and_judge(tmp_path):
    folder = bundle(tmp_path / "m", nets.cutter())
    pictures = nets.write_pictures(tmp_path / "data")
    manifest = Manifest.load(folder)
    report = quantise_folders(manifest.model_path, tmp_path / "int8.onnx", [pictures], manifest)
    assert report.growth.labelled
    assert (report.growth.stills, report.growth.clips) == (4, 4)
    assert report.calibrated_on == 20
    assert report.growth.mae_growth < 0.05
    assert json.loads(json.dumps(report.parity))["alpha_mad"] < 0.01


def test_pictures_without_masks_judge_by_the_float_models_own_alpha(tmp_path):
    folder = bundle(tmp_path / "m", nets.cutter())
    pictures = nets.write_pictures(tmp_path / "data", masks=False)
    manifest = Manifest.load(folder)
    report = quantise_folders(manifest.model_path, tmp_path / "int8.onnx", [pictures], manifest)
    assert not report.growth.labelled
    assert (report.growth.stills, report.growth.clips) == (0, 4)
    assert report.growth.float_mae > 0  # a panning, noisy camera is not the picture at rest


def test_a_model_with_state_is_calibrated_and_judged_frame_by_frame(tmp_path):
    folder = bundle(tmp_path / "m", nets.remembering(), state=nets.STATE)
    pictures = nets.write_pictures(tmp_path / "data", count=12)
    manifest = Manifest.load(folder)
    report = quantise_folders(manifest.model_path, tmp_path / "int8.onnx", [pictures], manifest)
    assert report.calibrated_on == 10 * 3
    assert report.layers == {"int8": 2, "fp32": 0}
    made = onnx.load(report.out)
    assert [value.name for value in made.graph.input] == ["image", "memory"]
    held = weights_of(made)
    assert held["memory_scale"] * 255 > 0.5  # not only the zeros a stream begins with were seen


@pytest.mark.parametrize(
    ("instructions", "runtime"), [("AVX-512 VNNI", "openvino"), ("", "onnxruntime")], ids=["vnni", "none"]
)
def test_a_chip_that_would_saturate_does_not_judge(instructions, runtime, tmp_path, monkeypatch):
    folder = bundle(tmp_path / "m", nets.remembering(), state=nets.STATE)
    pictures = nets.write_pictures(tmp_path / "data", count=12)
    manifest = Manifest.load(folder)
    monkeypatch.setattr(int8, "int8_instructions", lambda: instructions)
    asked = []

    class Asked(int8.Judge):
        def __init__(self, source, frames, manifest, runtime):
            asked.append(runtime)
            super().__init__(source, frames, manifest, "onnxruntime")

    monkeypatch.setattr(int8, "Judge", Asked)
    quantise_folders(manifest.model_path, tmp_path / "int8.onnx", [pictures], manifest)
    assert asked == [runtime]


# -- the parts


def test_a_span_gives_up_rare_extremes_for_finer_steps(rng):
    seen = TensorRange()
    seen.add(np.append(rng.uniform(0, 1, 100_000), 40).astype(np.float32), histogram=True)
    low, high = best_span(seen, symmetric=False)
    assert low == 0
    assert 16 <= high < 40
    even = TensorRange()
    even.add(rng.uniform(0, 1, 100_000).astype(np.float32), histogram=True)
    assert best_span(even, symmetric=False)[1] > 0.97


def test_steps_map_zero_to_a_byte_exactly(rng):
    seen = TensorRange()
    seen.add(rng.uniform(-1, 3, 10_000).astype(np.float32), histogram=True)
    step = step_for(seen, "openvino")
    assert not step.signed
    assert 60 <= step.zero <= 68
    signed = step_for(seen, "tensorrt")
    assert (signed.signed, signed.zero) == (True, 0)
    assert signed.scale * 127 > 2.5


def test_a_channel_of_zeros_has_a_scale_that_divides():
    scales = channel_scales(np.float32([[[[0.0]]], [[[2.54]]]]), 0)
    np.testing.assert_allclose(scales, [1, 0.02])


def test_dtssd_is_zero_for_what_moves_alike_and_not_for_flicker():
    truth = [np.full((4, 4), level) for level in (0.0, 0.5, 1.0)]
    assert dtssd([frame * 0.5 + 0.2 for frame in truth], [frame * 0.5 for frame in truth]) == pytest.approx(0)
    flickering = [frame + (0.1 if index % 2 else 0) for index, frame in enumerate(truth)]
    assert dtssd(flickering, truth) == pytest.approx(0.1)


def test_growth_names_what_grew_and_by_how_much():
    fine = Growth(0.0209, 0.01, 0.02, 0.01, 0.001, 9, 3, True)
    assert fine.problems() == []
    bad = Growth(0.02, 0.012, 0.02, 0.01, 0.001, 9, 3, True)
    assert bad.problems() == ["dtSSD grows by 20.0%, from 0.01000 to 0.01200; the limit is 5%"]
    assert len(Growth(float("nan"), 0.01, 0.02, 0.01, 0, 9, 3, True).problems()) == 1


def test_sensitivity_ranks_layers_and_groups_those_of_large_networks():
    errors = sensitivity.measure(["a", "b", "c"], lambda layers: {"a": 1.0, "b": 3.0, "c": 2.0}[layers[0]])
    assert list(errors) == ["b", "c", "a"]
    many = [f"l{index}" for index in range(200)]
    asked = []
    sensitivity.measure(many, lambda layers: asked.append(list(layers)) or 1.0)
    assert [name for group in asked for name in group] == many
    assert len(asked) <= sensitivity.MOST_GROUPS
    assert sensitivity.keep_counts(58, 0.5) == [1, 2, 4, 8, 16]


def crossed(other):
    """A tensor ``y`` that a convolution reads, and beside it a weight called ``other``."""
    look, own = nets.conv("look", "image", "x", np.full((2, 3, 3, 3), 0.1))
    judge, more = nets.conv("judge", "y", "logit", [[[[1.0]], [[-0.5]]]])
    scale = nets.tensor(other, np.float32([[[[2.0]], [[0.5]]]]))
    nodes = [look, onnx.helper.make_node("Mul", ["x", other], ["y"], name="spread"), judge]
    nodes.append(onnx.helper.make_node("Sigmoid", ["logit"], ["alpha"], name="sigmoid"))
    return nets.model(nodes, [*own, *more, scale])


@pytest.mark.parametrize("other", ["y_scale", "y_zero", "y_bytes", "judge.weight_scale"])
@pytest.mark.parametrize("flavour", ["openvino", "tensorrt"])
def test_names_that_a_graph_has_already_keep_their_meaning(other, flavour, tmp_path):
    """Normalisation that could not be folded leaves a weight called ``y_scale``; so is the step of ``y``."""
    report, made = quantised(crossed(other), tmp_path, flavour=flavour)
    assert report.layers["int8"] == 2
    assert report.layers["fp32"] == 0
    assert report.parity["mean_abs"] < 0.01
    names = [tensor.name for tensor in made.graph.initializer]
    assert len(names) == len(set(names))
    held = weights_of(made)
    assert held[f"{other}_half" if flavour == "tensorrt" else other].shape == (1, 2, 1, 1)
