"""The network of an ONNX file in eager PyTorch: the same network, or its speed means nothing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch's side of the GPU check")
onnxruntime = pytest.importorskip("onnxruntime", reason="the same network is what ONNX Runtime computes")

import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.gpu_check.engine_stages import inputs
from benchmarks.gpu_check.results import NotRun
from benchmarks.gpu_check.torch_graph import TorchGraph
from benchmarks.gpu_check.torch_stage import SerialLoop
from livecut.engine import registry


def both(path, feeds):
    """Outputs by PyTorch and by ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    graph = TorchGraph(path, "cpu", half=False)
    found = graph({name: graph.tensor(value) for name, value in feeds.items()})
    wanted = dict(zip(graph.outputs, session.run(graph.outputs, feeds), strict=True))
    return {name: value.numpy() for name, value in found.items()}, wanted


def test_the_shipped_network_is_the_same_in_pytorch():
    manifest = registry.load_manifest(registry.DEFAULT_MODEL)
    size_wh = manifest.sizes_wh[0]
    state = {each.input: np.zeros(each.shape_for(size_wh), np.float32) for each in manifest.state}
    found, wanted = both(manifest.model_path, {manifest.input_name: inputs(manifest, size_wh, 1)[0], **state})
    for name, value in wanted.items():
        # Sums in another order, through some sixty layers.
        assert np.abs(found[name] - value).max() <= 2e-3, name


def model(tmp_path, nodes, constants=(), size=(1, 4, 8, 6)):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(size))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


F, INT = np.float32, np.int64
OPERATORS = {
    "ConvTranspose": ({"strides": [2, 2]}, [("w", np.ones((4, 3, 2, 2), F))]),
    "MaxPool": ({"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    "AveragePool": ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, []),
    "GlobalAveragePool": ({}, []),
    "SpaceToDepth": ({"blocksize": 2}, []),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Reshape": ({}, [("s", np.array([1, 2, -1], INT))]),
    "Slice": ({}, [("a", np.array([1], INT)), ("b", np.array([99], INT)), ("c", np.array([2], INT))]),
    "Clip": ({}, [("low", np.array(-0.1, F)), ("high", np.array(0.3, F))]),
    "Sub": ({}, [("b", np.array(0.5, F))]),
    "Div": ({}, [("b", np.array(3.0, F))]),
    "Max": ({}, [("b", np.array(0.1, F))]),
    "Min": ({}, [("b", np.array(0.1, F))]),
    "HardSigmoid": ({"alpha": 0.25}, []),
    "HardSwish": ({}, []),
    "PRelu": ({}, [("b", np.full((4, 1, 1), 0.2, F))]),
    "Tanh": ({}, []),
    "Abs": ({}, []),
    "Neg": ({}, []),
    "Resize": ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
               [("roi", np.zeros(0, F)), ("scales", np.array([1, 1, 2, 2], F))]),
}  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_is_what_onnx_says(rng, tmp_path, operator):
    attributes, constants = OPERATORS[operator]
    names = ["x", *(name for name, _ in constants)]
    path = model(tmp_path, [helper.make_node(operator, names, ["y"], **attributes)], constants)
    found, wanted = both(path, {"x": rng.normal(0, 1, (1, 4, 8, 6)).astype(F)})
    np.testing.assert_allclose(found["y"], wanted["y"], atol=1e-6)


def test_an_operator_that_is_not_written_is_named(tmp_path):
    path = model(tmp_path, [helper.make_node("Erf", ["x"], ["y"])])
    with pytest.raises(NotRun, match="PyTorch's side has no Erf"):
        TorchGraph(path, "cpu", half=False)


def test_uneven_padding_is_refused(rng, tmp_path):
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    graph = TorchGraph(model(tmp_path, [node]), "cpu", half=False)
    with pytest.raises(NotRun, match="uneven padding"):
        graph({"x": graph.tensor(rng.normal(0, 1, (1, 4, 8, 6)).astype(F))})


def test_the_serial_loop_carries_its_state(rng, tiny_stateful_model):
    """Alpha is half of red and half of the alpha before: the second frame shows more than the first."""
    manifest = registry.load_manifest(tiny_stateful_model)
    loop = SerialLoop(manifest, (64, 32), "cpu")
    red = np.zeros((64, 128, 3), np.uint8)
    red[..., 2] = 255
    green = np.zeros_like(red)
    green[..., 1] = 200
    first, second = loop.frame(red, green), loop.frame(red, green)
    assert first[0, 0].tolist() == [0, 100, 128]
    assert second[0, 0].tolist() == [0, 50, 191]
