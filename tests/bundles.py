"""Tiny model bundles, a few kilobytes each, made where a test needs them."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_bundle(folder, graph, *, state=(), **changes):
    """Write ``graph`` and a fitting manifest; ``changes`` replaces keys (``input__mean`` sets one)."""
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    manifest = {
        "format": 1,
        "name": folder.name,
        "version": "1.0",
        "file": "model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input": {
            "name": "image",
            "layout": "NCHW",
            "dtype": "float32",
            "color": "RGB",
            "mean": [0, 0, 0],
            "std": [255, 255, 255],
            "sizes_wh": [[64, 32], [32, 32], [32, 64]],
            "multiple_of": 32,
            "fit": "letterbox",
            "pad_value": [114, 114, 114],
        },
        "output": {"name": "alpha", "range": [0, 1]},
        "state": list(state),
        "licence": "Apache-2.0",
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        place = manifest
        for step in path:
            place = place[step]
        place[last] = value
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def with_free_batch(graph):
    """The same graph for any number of pictures at once."""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return graph


def picture_input(name="image"):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "height", "width"])


def plane(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "height", "width"])


def weights(name, values):
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def red_as_alpha():
    """alpha = clip(red, 0, 1): a 1x1 convolution that picks the first channel."""
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "pick"], ["red"], kernel_shape=[1, 1]),
            helper.make_node("Clip", ["red", "zero", "one"], ["alpha"]),
        ],
        "red_as_alpha",
        [picture_input()],
        [plane("alpha")],
        [weights("pick", [[[[1]], [[0]], [[0]]]]), weights("zero", 0), weights("one", 1)],
    )


def red_as_alpha_unclipped():
    """alpha = 2 * red: outside 0..1, against what a manifest promises."""
    return helper.make_graph(
        [helper.make_node("Conv", ["image", "pick"], ["alpha"], kernel_shape=[1, 1])],
        "red_as_alpha_unclipped",
        [picture_input()],
        [plane("alpha")],
        [weights("pick", [[[[2]], [[0]], [[0]]]])],
    )


def sigmoid_of_sum():
    """alpha = sigmoid(sum of channels): every channel counts."""
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "sum"], ["logit"], kernel_shape=[1, 1]),
            helper.make_node("Sigmoid", ["logit"], ["alpha"]),
        ],
        "sigmoid_of_sum",
        [picture_input()],
        [plane("alpha")],
        [weights("sum", np.ones((1, 3, 1, 1)))],
    )


def half_of_before():
    """alpha = clip(red / 2 + memory / 2); memory of the next frame = alpha."""
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "pick"], ["half_red"], kernel_shape=[1, 1]),
            helper.make_node("Mul", ["memory", "half"], ["half_memory"]),
            helper.make_node("Add", ["half_red", "half_memory"], ["alpha"]),
            helper.make_node("Identity", ["alpha"], ["memory_after"]),
        ],
        "half_of_before",
        [picture_input(), plane("memory")],
        [plane("alpha"), plane("memory_after")],
        [weights("pick", [[[[0.5]], [[0]], [[0]]]]), weights("half", 0.5)],
    )


HALF_STATE = ({"input": "memory", "output": "memory_after", "shape": [1, 1, "height", "width"]},)


def red_beside_the_others():
    """alpha = red less the mean of red over the whole batch: a picture that comes out alike alone and not."""
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "pick"], ["red"], kernel_shape=[1, 1]),
            helper.make_node("ReduceMean", ["red"], ["mean"], axes=[0, 2, 3], keepdims=1),
            helper.make_node("Sub", ["red", "mean"], ["alpha"]),
        ],
        "red_beside_the_others",
        [picture_input()],
        [plane("alpha")],
        [weights("pick", [[[[1]], [[0]], [[0]]]])],
    )


def red_beside_the_plate():
    """alpha = |red of the picture - red of the plate|; the plate is the first picture of a stream."""
    one = [1, 1, 1, 1]
    known = [helper.make_tensor_value_info(name, TensorProto.FLOAT, one) for name in ("known", "known_kept")]
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "pick"], ["red"], kernel_shape=[1, 1]),
            helper.make_node("Sub", ["plate", "red"], ["older"]),
            helper.make_node("Mul", ["older", "known"], ["kept"]),
            helper.make_node("Add", ["red", "kept"], ["plate_kept"]),
            helper.make_node("Sub", ["red", "plate_kept"], ["change"]),
            helper.make_node("Abs", ["change"], ["alpha"]),
            helper.make_node("Mul", ["known", "nothing"], ["zero"]),
            helper.make_node("Add", ["zero", "one"], ["known_kept"]),
        ],
        "red_beside_the_plate",
        [picture_input(), plane("plate"), known[0]],
        [plane("alpha"), plane("plate_kept"), known[1]],
        [
            weights("pick", [[[[1]], [[0]], [[0]]]]),
            weights("nothing", np.zeros(one)),
            weights("one", np.ones(one)),
        ],
    )


PLATE_STATE = (
    {"input": "plate", "output": "plate_kept", "shape": [1, 1, "height", "width"]},
    {"input": "known", "output": "known_kept", "shape": [1, 1, 1, 1]},
)


def root_of_red():
    """alpha = sqrt(red - 0.5): NaN where red is below a half."""
    return helper.make_graph(
        [
            helper.make_node("Conv", ["image", "pick", "shift"], ["shifted"], kernel_shape=[1, 1]),
            helper.make_node("Sqrt", ["shifted"], ["alpha"]),
        ],
        "root_of_red",
        [picture_input()],
        [plane("alpha")],
        [weights("pick", [[[[1]], [[0]], [[0]]]]), weights("shift", [-0.5])],
    )


def quantised_red():
    """red_as_alpha with its input and weights through int8, in QDQ form."""

    def byte(name, value):
        return numpy_helper.from_array(np.asarray(value, np.int8), name)

    return helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["image", "step", "origin"], ["image_q"]),
            helper.make_node("DequantizeLinear", ["image_q", "step", "origin"], ["image_d"]),
            helper.make_node("DequantizeLinear", ["pick_q", "one_step", "origin"], ["pick"]),
            helper.make_node("Conv", ["image_d", "pick"], ["alpha"], kernel_shape=[1, 1]),
        ],
        "quantised_red",
        [picture_input()],
        [plane("alpha")],
        [
            weights("step", 1 / 127),
            weights("one_step", 1.0),
            byte("origin", 0),
            byte("pick_q", [[[[1]], [[0]], [[0]]]]),
        ],
    )
