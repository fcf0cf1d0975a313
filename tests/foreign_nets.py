"""Tiny networks in the shapes of those that people bring: their inputs, outputs, layouts and states.

What they answer is simple on purpose: each test can compute it again from the picture.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def save(path, nodes, inputs, outputs, weights, *, opset=17, domains=(), checked=True):
    graph = helper.make_graph(nodes, "foreign", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    if checked:
        onnx.checker.check_model(model, full_check=not domains)
    onnx.save(model, str(path))
    return path


def pick(red, green=0.0, blue=0.0):
    """Weights (1, 3, 1, 1) of a convolution that mixes the channels."""
    return [[[[red]], [[green]], [[blue]]]]


def u2net(path, *, size=(320, 320), opset=11, names=("1959", "1960", "1961", "1962", "1963", "1964", "1965")):
    """Seven sigmoids; the first is the fused one and answers with red, the others with nothing."""
    width, height = size
    nodes = [
        helper.make_node("Conv", ["input.1", "outconv.weight"], ["fused"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["fused"], [names[0]]),
        helper.make_node("Conv", ["input.1", "side6.weight"], ["side"], kernel_shape=[1, 1]),
        *(helper.make_node("Sigmoid", ["side"], [name]) for name in names[1:]),
    ]
    weights = [tensor("outconv.weight", pick(1)), tensor("side6.weight", pick(0))]
    outputs = [info(name, [1, 1, height, width]) for name in names]
    return save(path, nodes, [info("input.1", [1, 3, height, width])], outputs, weights, opset=opset)


def isnet(path, *, size=(64, 64)):
    """A dozen outputs: alpha first, features after it."""
    width, height = size
    nodes = [
        helper.make_node("Conv", ["input", "conv_in.weight"], ["d1"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["d1"], ["out"]),
        helper.make_node("Conv", ["input", "side6.weight"], ["features"], kernel_shape=[1, 1]),
    ]
    weights = [tensor("conv_in.weight", pick(0, 2)), tensor("side6.weight", np.ones((4, 3, 1, 1)))]
    outputs = [info("out", [1, 1, height, width]), info("features", [1, 4, height, width])]
    return save(path, nodes, [info("input", ["batch", 3, height, width])], outputs, weights)


def birefnet(path, *, size=(64, 64), sigmoid=False):
    """Logits of blue; with ``sigmoid`` already activated, as in some exports. Earlier outputs come first."""
    width, height = size
    nodes = [
        helper.make_node("Conv", ["input_image", "bb.weight"], ["logits"], kernel_shape=[1, 1]),
        helper.make_node("Neg", ["logits"], ["stage_1"]),
        helper.make_node("Sigmoid" if sigmoid else "Identity", ["logits"], ["output_image"]),
    ]
    weights = [tensor("bb.weight", pick(0, 0, 3)), tensor("squeeze_module.0.bias", [0])]
    outputs = [info(name, [1, 1, height, width]) for name in ("stage_1", "output_image")]
    return save(path, nodes, [info("input_image", [1, 3, height, width])], outputs, weights)


def modnet(path, *, dtype=FLOAT, opset=17):
    """Free sizes and batch; the matte ends in a sigmoid. ``dtype`` is that of input, weights and output."""
    real = np.float16 if dtype == HALF else np.float32
    nodes = [
        helper.make_node("Conv", ["input", "lr_branch.weight"], ["lr"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Conv", ["lr", "hr_branch.weight"], ["hr"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["hr", "f_branch.weight"], ["fused"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["fused"], ["output"]),
    ]
    rng = np.random.default_rng(3)
    weights = [
        tensor("lr_branch.weight", rng.normal(0, 0.4, (4, 3, 3, 3)), real),
        tensor("hr_branch.weight", rng.normal(0, 0.6, (4, 4, 1, 1)), real),
        tensor("f_branch.weight", rng.normal(0, 0.6, (1, 4, 1, 1)), real),
    ]
    free = ["batch_size", 1, "height", "width"]
    inputs = [info("input", ["batch_size", 3, "height", "width"], dtype)]
    return save(path, nodes, inputs, [info("output", free, dtype)], weights, opset=opset)


def selfie(path, *, size=(256, 256), nhwc=True):
    """One channel in, one out, channels last."""
    width, height = size
    shape = [1, height, width, 3] if nhwc else [1, 3, height, width]
    out = [1, height, width, 1] if nhwc else [1, 1, height, width]
    turn = "Transpose" if nhwc else "Identity"
    nodes = [
        helper.make_node(turn, ["input_1:0"], ["nchw"], **_perm(nhwc, 0, 3, 1, 2)),
        helper.make_node("Conv", ["nchw", "filter"], ["logit"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["logit"], ["mask"]),
        helper.make_node(turn, ["mask"], ["activation_10"], **_perm(nhwc, 0, 2, 3, 1)),
    ]
    return save(
        path,
        nodes,
        [info("input_1:0", shape)],
        [info("activation_10", out)],
        [tensor("filter", pick(4, 0, -4))],
    )


def _perm(needed, *order):
    return {"perm": list(order)} if needed else {}


def two_classes(path, *, size=(192, 192), name="x", softmax=True, argmax=False, opset=11):
    """Background and person, as PP-HumanSeg and SINet have them."""
    width, height = size
    weights = [tensor("w", np.array([[[-2.0], [0.5], [0.0]], [[3.0], [0.0], [-1.0]]])[..., None])]
    nodes = [helper.make_node("Conv", [name, "w"], ["logits"], kernel_shape=[1, 1])]
    outputs = [info("out", [1, 2, height, width])]
    if argmax:
        nodes += [helper.make_node("ArgMax", ["logits"], ["out"], axis=1, keepdims=0)]
        outputs = [info("out", [1, height, width], TensorProto.INT64)]
    elif softmax:  # channels last, as before opset 13 softmax flattens what follows its axis
        nodes += [
            helper.make_node("Transpose", ["logits"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node("Softmax", ["last"], ["soft"], axis=3),
            helper.make_node("Transpose", ["soft"], ["out"], perm=[0, 3, 1, 2]),
        ]
    else:
        nodes += [helper.make_node("Identity", ["logits"], ["out"])]
    return save(path, nodes, [info(name, [1, 3, height, width])], outputs, weights, opset=opset)


def rvm(path, *, dtype=FLOAT, ratio_input=True, channels=(2, 3, 3, 4), opset=12):
    """Four gated memories at 1/2 to 1/16 of ``src`` times ``downsample_ratio``, then back to full size.

    As in the published file, every size of src and of the states is free, states of 1x1x1x1 spread over what
    they are added to, and the alpha is the red of the small picture mixed with the memory.
    """
    real = np.float16 if dtype == HALF else np.float32
    rng = np.random.default_rng(11)
    weights = [
        tensor("ones", [1, 1], np.float32),
        tensor("nothing", [], np.float32),  # opset 11 to 12 want roi and scales, if only empty
        tensor("pair", [1, 1], np.int64),
        tensor("zero", 0, real),
        tensor("one", 1, real),
        tensor("axes", [2], np.int64),
        tensor("ends", [4], np.int64),
    ]
    nodes = []
    ratio = "downsample_ratio" if ratio_input else "ratio"
    if not ratio_input:
        weights.append(tensor("ratio", [1], np.float32))
    nodes += [
        helper.make_node("Concat", ["ones", ratio, ratio], ["scales"], axis=0),
        helper.make_node("Resize", ["src", "nothing", "scales"], ["x0"], mode="linear"),
    ]
    x, before = "x0", 3
    for level, count in enumerate(channels, start=1):
        weights += [
            tensor(f"down{level}", rng.normal(0, 0.5, (count, before, 3, 3)), real),
            tensor(f"gate{level}", rng.normal(0, 0.3, (count, count, 1, 1)), real),
            tensor(f"new{level}", rng.normal(0, 0.5, (count, count, 1, 1)), real),
        ]
        size, old = f"size{level}", f"old{level}"
        nodes += [
            helper.make_node("Conv", [x, f"down{level}"], [f"c{level}"], pads=[1] * 4, strides=[2, 2]),
            helper.make_node("Shape", [f"c{level}"], [size]),
            helper.make_node("Expand", [f"r{level}i", size], [old]),
            helper.make_node("Conv", [f"c{level}", f"gate{level}"], [f"g{level}"]),
            helper.make_node("Sigmoid", [f"g{level}"], [f"z{level}"]),
            helper.make_node("Conv", [f"c{level}", f"new{level}"], [f"n{level}"]),
            helper.make_node("Tanh", [f"n{level}"], [f"h{level}"]),
            helper.make_node("Sub", ["one", f"z{level}"], [f"k{level}"]),
            helper.make_node("Mul", [f"k{level}", old], [f"kept{level}"]),
            helper.make_node("Mul", [f"z{level}", f"h{level}"], [f"added{level}"]),
            helper.make_node("Add", [f"kept{level}", f"added{level}"], [f"r{level}o"]),
        ]
        x, before = f"r{level}o", count
    weights += [tensor("head", rng.normal(0, 1.0, (1, channels[0], 1, 1)), real)]
    nodes += [
        helper.make_node("Conv", ["r1o", "head"], ["logit"]),
        helper.make_node("Shape", ["src"], ["full"]),
        helper.make_node("Slice", ["full", "axes", "ends"], ["hw"]),
        helper.make_node("Concat", ["pair", "hw"], ["target"], axis=0),
        helper.make_node("Resize", ["logit", "nothing", "nothing", "target"], ["big"], mode="linear"),
        helper.make_node("Clip", ["big", "zero", "one"], ["pha"]),
        helper.make_node("Mul", ["src", "pha"], ["fgr"]),
    ]
    free = ["batch", "channels", "height", "width"]
    inputs = [info("src", ["batch", 3, "height", "width"], dtype)]
    inputs += [info(f"r{n}i", [f"{side}{n}" for side in free], dtype) for n in range(1, 5)]
    inputs += [info("downsample_ratio", [1])] if ratio_input else []
    outputs = [
        info("fgr", ["batch", 3, "height", "width"], dtype),
        info("pha", ["batch", 1, "height", "width"], dtype),
    ]
    outputs += [info(f"r{n}o", ["batch", None, None, None], dtype) for n in range(1, 5)]
    return save(path, nodes, inputs, outputs, weights, opset=opset)
