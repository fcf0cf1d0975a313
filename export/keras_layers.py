"""Keras layers as ONNX nodes, channels first, with TensorFlow's arithmetic: its paddings above all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import ModelError
from .keras_lambdas import Channel, Resize

if TYPE_CHECKING:
    import onnx

Settings = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]


class Graph:
    """Collects nodes; ``values`` maps a layer's name to the value it gives."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.values: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.numbers = itertools.count()

    def start(self, name: str, shape: Any) -> None:
        """An input of Keras's ``shape`` (batch, height, width, channels), None where a size is free."""
        from onnx import TensorProto, helper

        if not isinstance(shape, list) or len(shape) != 4 or shape[3] is None:
            raise ModelError(
                f"{self.where}: the input {name!r} is {shape}; expected (batch, height, width, channels)"
            )
        sizes = [1, shape[3], shape[1] or "height", shape[2] or "width"]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))
        self.values[name] = name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{kind.lower()}_{next(self.numbers)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"weight_{next(self.numbers)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def finish(self, ends: list[str]) -> onnx.ModelProto:
        """The model whose outputs are the layers ``ends``, under their names."""
        import onnx
        from onnx import TensorProto, helper

        for end in ends:
            self.nodes.append(helper.make_node("Identity", [self.values[end]], [end], name=end))
        outputs = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, None, None, None]) for end in ends
        ]
        graph = helper.make_graph(self.nodes, "keras", self.inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)


def _pair(value: Any) -> list[int]:
    return [int(value)] * 2 if isinstance(value, int) else [int(side) for side in value]


def _windows(settings: Settings, size: Any) -> dict[str, Any]:
    """Attributes of a window over the picture. TensorFlow's "same" puts the odd pixel at the end."""
    attributes: dict[str, Any] = {
        "kernel_shape": _pair(size),
        "strides": _pair(settings.get("strides") or size),
    }
    if "dilation_rate" in settings:
        attributes["dilations"] = _pair(settings["dilation_rate"])
    if settings["padding"] != "same":
        return attributes
    if attributes["strides"] == [1, 1]:  # the same at every size, and with dilation, which auto_pad has not
        rates = attributes.get("dilations", [1, 1])
        total = [(side - 1) * rate for side, rate in zip(attributes["kernel_shape"], rates, strict=True)]
        attributes["pads"] = [*(side // 2 for side in total), *(side - side // 2 for side in total)]
    else:
        attributes["auto_pad"] = "SAME_UPPER"
    return attributes


def activation(graph: Graph, x: str, name: Any) -> str:
    """A Keras activation by name. Raises ModelError for one that is not known here."""
    if isinstance(name, dict):
        name = name.get("config", name.get("class_name"))
    plain = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu", "softplus": "Softplus"}
    if name in (None, "linear"):
        return x
    if name in plain:
        return graph.op(plain[name], x)
    if name == "relu6":
        return graph.op("Clip", x, graph.number(0), graph.number(6))
    if name == "hard_sigmoid":
        return graph.op("HardSigmoid", x, alpha=0.2, beta=0.5)
    if name in ("swish", "silu"):
        return graph.op("Mul", x, graph.op("Sigmoid", x))
    if name == "softmax":
        return graph.op("Softmax", x, axis=1)
    raise ModelError(f"{graph.where}: the activation {name!r} is not known here")


def _with_bias(graph: Graph, settings: Settings, arrays: Arrays) -> list[str]:
    return [graph.constant(arrays["bias"])] if settings.get("use_bias", True) else []


def _conv(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    kernel = graph.constant(arrays["kernel"].transpose(3, 2, 0, 1))
    groups = settings.get("groups", 1)
    bias = _with_bias(graph, settings, arrays)
    windows = _windows(settings, settings["kernel_size"])
    return activation(
        graph, graph.op("Conv", inputs[0], kernel, *bias, group=groups, **windows), settings["activation"]
    )


def _depthwise_kernel(kernel: np.ndarray) -> np.ndarray:
    """(h, w, channels, multiplier) to ONNX's (channels * multiplier, 1, h, w)."""
    return kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])


def _depthwise(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    kernel = arrays["depthwise_kernel"]
    weight, bias = graph.constant(_depthwise_kernel(kernel)), _with_bias(graph, settings, arrays)
    windows = _windows(settings, settings["kernel_size"])
    x = graph.op("Conv", inputs[0], weight, *bias, group=kernel.shape[2], **windows)
    return activation(graph, x, settings["activation"])


def _separable(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    kernel = arrays["depthwise_kernel"]
    windows = _windows(settings, settings["kernel_size"])
    weight = graph.constant(_depthwise_kernel(kernel))
    x = graph.op("Conv", inputs[0], weight, group=kernel.shape[2], **windows)
    point = graph.constant(arrays["pointwise_kernel"].transpose(3, 2, 0, 1))
    x = graph.op("Conv", x, point, *_with_bias(graph, settings, arrays), kernel_shape=[1, 1])
    return activation(graph, x, settings["activation"])


def _conv_transpose(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    kernel = graph.constant(arrays["kernel"].transpose(3, 2, 0, 1))
    sizes, strides = _pair(settings["kernel_size"]), _pair(settings["strides"])
    if _pair(settings.get("dilation_rate", 1)) != [1, 1] or settings.get("output_padding") is not None:
        raise ModelError(
            f"{graph.where}: a Conv2DTranspose with dilation or output_padding is not known here"
        )
    # "same" gives input * stride: the gradient of a convolution whose odd pixel of padding is at the end.
    cut = [
        max(size - stride, 0) if settings["padding"] == "same" else 0
        for size, stride in zip(sizes, strides, strict=True)
    ]
    pads = [*(total // 2 for total in cut), *(total - total // 2 for total in cut)]
    more = [max(stride - size, 0) for size, stride in zip(sizes, strides, strict=True)]
    x = graph.op(
        "ConvTranspose", inputs[0], kernel, *_with_bias(graph, settings, arrays),
        kernel_shape=sizes, strides=strides, pads=pads, output_padding=more,
    )  # fmt: skip
    return activation(graph, x, settings["activation"])


def _normalisation(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    mean = arrays["moving_mean"]
    gamma, beta = arrays.get("gamma", np.ones_like(mean)), arrays.get("beta", np.zeros_like(mean))
    values = [graph.constant(array) for array in (gamma, beta, mean, arrays["moving_variance"])]
    return graph.op("BatchNormalization", inputs[0], *values, epsilon=float(settings["epsilon"]))


def _prelu(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    return graph.op("PRelu", inputs[0], graph.constant(arrays["alpha"].transpose(2, 0, 1)))


def _relu(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    if settings.get("threshold"):
        raise ModelError(f"{graph.where}: a ReLU with a threshold is not known here")
    slope = settings.get("negative_slope") or 0.0
    x = graph.op("LeakyRelu", inputs[0], alpha=float(slope)) if slope else graph.op("Relu", inputs[0])
    most = settings.get("max_value")
    return x if most is None else graph.op("Min", x, graph.number(float(most)))


def _leaky(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    alpha = settings.get("alpha", settings.get("negative_slope", 0.3))
    return graph.op("LeakyRelu", inputs[0], alpha=float(alpha))


def _upsampling(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    scales = graph.constant(np.array([1, 1, *_pair(settings["size"])], np.float32))
    if settings.get("interpolation", "nearest") == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.op("Resize", inputs[0], "", scales, **how)


def _padding(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    (top, bottom), (left, right) = settings["padding"]
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return graph.op("Pad", inputs[0], pads)


def _pool(kind: str) -> Callable[[Graph, Settings, Arrays, list[str]], str]:
    def pool(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
        windows = _windows(settings, settings["pool_size"])
        # TensorFlow's mean is of what lies inside: 0 is ONNX's default, said for the reader.
        more = {"count_include_pad": 0} if kind == "AveragePool" else {}
        return graph.op(kind, inputs[0], **windows, **more)

    return pool


def _merge(kind: str) -> Callable[[Graph, Settings, Arrays, list[str]], str]:
    def merge(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
        x = inputs[0]
        for other in inputs[1:]:
            x = graph.op(kind, x, other)
        return x

    return merge


def _concatenate(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    if settings.get("axis", -1) not in (-1, 3):
        raise ModelError(f"{graph.where}: a Concatenate over axis {settings['axis']} is not known here")
    return graph.op("Concat", *inputs, axis=1)


def _same(graph: Graph, settings: Settings, arrays: Arrays, inputs: list[str]) -> str:
    return inputs[0]


LAYERS: dict[str, Callable[[Graph, Settings, Arrays, list[str]], str]] = {
    "Activation": lambda graph, settings, arrays, inputs: activation(
        graph, inputs[0], settings["activation"]
    ),
    "Add": _merge("Add"),
    "AlphaDropout": _same,
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _normalisation,
    "BatchNormalizationV1": _normalisation,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Conv2DTranspose": _conv_transpose,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "GaussianNoise": _same,
    "LeakyReLU": _leaky,
    "MaxPooling2D": _pool("MaxPool"),
    "Maximum": _merge("Max"),
    "Multiply": _merge("Mul"),
    "PReLU": _prelu,
    "ReLU": _relu,
    "SeparableConv2D": _separable,
    "Softmax": lambda graph, settings, arrays, inputs: graph.op("Softmax", inputs[0], axis=1),
    "SpatialDropout2D": _same,
    "Subtract": _merge("Sub"),
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _padding,
}


def lambda_layer(graph: Graph, x: str, does: Resize | Channel) -> str:
    """What a layer of code does, once that is known."""
    if isinstance(does, Channel):
        return graph.op("Gather", x, graph.constant(np.array([does.index], np.int64)), axis=1)
    sizes = graph.constant(np.array(does.size_wh[::-1], np.int64))
    shape = graph.op("Shape", x)
    kept = graph.op("Gather", shape, graph.constant(np.array([0, 1], np.int64)), axis=0)
    target = graph.op("Concat", kept, sizes, axis=0)
    how = "align_corners" if does.align_corners else "half_pixel"
    return graph.op("Resize", x, "", "", target, mode="linear", coordinate_transformation_mode=how)
