"""INT8 with FP16 around it, for TensorRT 8.6: the same network in float32, its half layers told by flags."""

import numpy as np
import onnx
import pytest
import versions_of_tensorrt
from onnx import TensorProto, helper, numpy_helper
from small_networks import write_network

from livecut.engine.errors import ModelError
from livecut.engine.tensorrt import build as build_module
from livecut.engine.tensorrt import build_engine
from livecut.engine.tensorrt.api import Api
from livecut.engine.tensorrt.inspect import summarise
from livecut.engine.tensorrt.targets import Gpu
from livecut.engine.tensorrt.weak import float32_form

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
PROFILES = {"image": ((1, 3, 32, 32), (1, 3, 32, 64), (1, 3, 64, 64))}


@pytest.fixture
def mixed(tmp_path):
    """INT8 convolutions; the first gives half numbers, the second, whose result is too large, float32."""

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def quantised(index, value, kind, shape):
        scales = [constant(f"s{index}", kind(0.02)), constant(f"z{index}", np.int8(0))]
        nodes.append(helper.make_node("QuantizeLinear", [value, *scales], [f"q{index}"], name=f"q{index}"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"q{index}", *scales], [f"d{index}"], name=f"d{index}")
        )
        bytes_ = constant(f"w{index}", np.full(shape, 3, np.int8))
        nodes.append(helper.make_node("DequantizeLinear", [bytes_, *scales], [f"v{index}"], name=f"v{index}"))
        return [f"d{index}", f"v{index}"]

    nodes, weights = [], []
    nodes.append(helper.make_node("Cast", ["image"], ["image_half"], name="down", to=HALF))
    first = quantised(0, "image_half", np.float16, (4, 3, 3, 3))
    nodes.append(helper.make_node("Conv", first, ["a"], name="first", pads=[1] * 4))
    nodes.append(helper.make_node("Relu", ["a"], ["r"], name="relu"))
    nodes.append(helper.make_node("Cast", ["r"], ["r_single"], name="up", to=SINGLE))
    second = quantised(1, "r_single", np.float32, (1, 4, 3, 3))
    nodes.append(helper.make_node("Conv", second, ["far"], name="large", pads=[1] * 4))
    nodes.append(
        helper.make_node("Mul", ["far", constant("tiny", np.float32(1e-4))], ["near"], name="shrink")
    )
    nodes.append(helper.make_node("Cast", ["near"], ["near_half"], name="back", to=HALF))
    nodes.append(helper.make_node("Sigmoid", ["near_half"], ["alpha_half"], name="sigmoid"))
    nodes.append(helper.make_node("Cast", ["alpha_half"], ["alpha"], name="out", to=SINGLE))
    size = ("height", "width")
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("image", SINGLE, (1, 3, *size))],
        [helper.make_tensor_value_info("alpha", SINGLE, (1, 1, *size))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(tmp_path / "mixed.onnx"))
    return tmp_path / "mixed.onnx"


def test_the_float32_form_computes_the_same_without_a_half(mixed):
    data, half = float32_form(mixed)
    made = onnx.load_from_string(data)
    onnx.checker.check_model(made, full_check=True)
    assert half == {"first", "relu", "sigmoid"}
    assert HALF not in {tensor.data_type for tensor in made.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(made).graph.value_info
    assert HALF not in {value.type.tensor_type.elem_type for value in inferred}
    assert [node.name for node in made.graph.node if node.op_type == "Cast"] == ["out"]
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    image = np.random.default_rng(1).uniform(-1, 1, (1, 3, 32, 64)).astype(np.float32)
    got, wanted = (
        ort.InferenceSession(each, options, providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]
        for each in (data, mixed.read_bytes())
    )
    np.testing.assert_allclose(got, wanted, atol=2e-3)


def test_other_graphs_are_read_as_they_are(tmp_path):
    for precision in ("fp32", "fp16", "int8"):
        assert float32_form(write_network(tmp_path / f"{precision}.onnx", precision)) is None
    (tmp_path / "broken.onnx").write_bytes(b"not ONNX" * 8)
    assert float32_form(tmp_path / "broken.onnx") is None


def test_half_inputs_are_refused(mixed):
    model = onnx.load(str(mixed))
    model.graph.input[0].type.tensor_type.elem_type = HALF
    onnx.save(model, str(mixed))
    with pytest.raises(ModelError, match=r"mixed.onnx: image is fp16; an INT8 graph has fp32 inputs"):
        float32_form(mixed)


@pytest.mark.parametrize("version", ["8.6", "10.3", "10.16", "11.4"])
def test_every_version_is_told_the_three_precisions(version, mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(
        build_module, "engine_precisions", lambda api, engine: summarise([], "engine inspector")
    )
    monkeypatch.setattr(build_module, "present_gpu", lambda: Gpu("Orin", "8.7", "L4T 36.4.3"))
    api = Api(versions_of_tensorrt.make(version))
    networks = []
    create = build_module.network_precisions
    monkeypatch.setattr(
        build_module,
        "network_precisions",
        lambda network, half: networks.append(network) or create(network, half),
    )
    report = build_engine(mixed, tmp_path / "x.plan", precision="int8", profiles=PROFILES, api=api)
    assert report.precisions.layers == {"fp16": 2, "fp32": 1, "int8": 2}
    flags = api.trt.fake.config._flags - {"TF32"}
    assert flags == ({"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"} if version == "8.6" else set())
    (network,) = networks
    held = {layer.name for layer in map(network.get_layer, range(network.num_layers)) if layer._constraint}
    assert held == ({"shrink"} if version == "8.6" else set())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed.onnx", "x.plan"]
