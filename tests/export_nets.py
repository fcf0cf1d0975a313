"""Tiny networks to export: graphs with something to fold, and modules with and without state."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MANIFEST = {
    "format": 1,
    "name": "tiny",
    "version": "1.0",
    "input": {
        "name": "image",
        "layout": "NCHW",
        "dtype": "float32",
        "color": "RGB",
        "mean": [0.0, 0.0, 0.0],
        "std": [255.0, 255.0, 255.0],
        "sizes_wh": [[64, 32], [32, 64]],
        "multiple_of": 32,
        "fit": "letterbox",
        "pad_value": [114, 114, 114],
    },
    "output": {"name": "alpha", "range": [0, 1]},
    "state": [],
    "licence": "Apache-2.0",
}


def weights(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, initialisers, *, inputs=None, outputs=None, opset=17, ir_version=8, domains=()):
    graph = helper.make_graph(
        nodes,
        "net",
        inputs or [value("image", [1, 3, "height", "width"])],
        outputs or [value("alpha", [1, 1, "height", "width"])],
        initialisers,
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def foldable(rng):
    """Convolution, batch normalisation, ReLU, another one, a constant that is computed, a sigmoid."""
    return model(
        [
            helper.make_node("Constant", [], ["two"], value=weights("", 2.0)),
            helper.make_node("Mul", ["kernel", "two"], ["kernel2"]),
            helper.make_node("Conv", ["image", "kernel2"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["b"]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["d"]),
            helper.make_node("Dropout", ["d"], ["e"]),
            helper.make_node("Identity", ["e"], ["f"]),
            helper.make_node("Conv", ["f", "last"], ["g"], kernel_shape=[1, 1]),
            helper.make_node("Sigmoid", ["g"], ["alpha"]),
            helper.make_node("Relu", ["g"], ["nobody wants this"]),
        ],
        [
            weights("kernel", rng.normal(0, 0.3, (4, 3, 3, 3))),
            weights("gamma", rng.uniform(0.5, 1.5, 4)),
            weights("beta", rng.normal(0, 1, 4)),
            weights("mean", rng.normal(0, 1, 4)),
            weights("variance", rng.uniform(0.5, 1.5, 4)),
            weights("last", rng.normal(0, 0.5, (1, 4, 1, 1))),
        ],
    )


def upsampling(size=None):
    """Halves the picture, and enlarges it to a size that is read off the input, as exporters write it."""
    sides = list(size) if size else ["height", "width"]
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "sides"], ["hw"]),
        helper.make_node("Concat", ["nc", "hw"], ["target"], axis=0),
        helper.make_node("Conv", ["image", "pick"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["small", "", "", "target"], ["large"], mode="linear"),
        helper.make_node("Clip", ["large", "zero", "one"], ["alpha"]),
    ]
    return model(
        nodes,
        [
            weights("sides", [2, 3], np.int64),
            weights("nc", [1, 1], np.int64),
            weights("pick", np.full((1, 3, 2, 2), 1 / 12)),
            weights("zero", 0.0),
            weights("one", 1.0),
        ],
        inputs=[value("image", [1, 3, *sides])],
        outputs=[value("alpha", [1, 1, *sides])],
    )


def write(path, net, *, checked=True):
    if checked:
        onnx.checker.check_model(net)
    onnx.save(net, str(path))
    return path
