"""U2Netp (Qin et al. 2020) as ONNX with seeded random weights: what many background removers run on a CPU.

The layout is that of the published small model: eleven residual U-blocks of 16 inner and 64 outer channels,
six side outputs fused by a 1x1 convolution, seven sigmoids out; batch normalisation is folded into the
convolutions, as runtimes do on loading. 1.13 M parameters, 19.8 GMACs at 320x320. Random weights cost what
trained ones cost; the picture that comes out means nothing.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE_WH = (320, 320)
INNER, OUTER = 16, 64


def build(size_wh: tuple[int, int] = SIZE_WH, *, seed: int = 0) -> onnx.ModelProto:
    """The network for pictures of ``size_wh``; input ``input.1`` float32 ``(1, 3, h, w)``, seven outputs."""
    graph = _Graph(seed)
    width, height = size_wh
    encoder_blocks = (_block(7), _block(6), _block(5), _block(4), _dilated_block, _dilated_block)
    x = graph.start("input.1", 3, height, width)
    encoded = []
    for index, block in enumerate(encoder_blocks):
        x = block(graph, graph.pool(x) if index else x)
        encoded.append(x)
    decoded = [encoded[-1]]
    for block, skip in zip(reversed(encoder_blocks[:-1]), reversed(encoded[:-1]), strict=True):
        decoded.append(block(graph, graph.concat(graph.resize_like(decoded[-1], skip), skip)))
    sides = [graph.conv(x, 1, relu=False) for x in reversed(decoded)]
    sides = [sides[0], *(graph.resize_like(side, sides[0]) for side in sides[1:])]
    fused = graph.conv(graph.concat(*sides), 1, kernel=1, relu=False)
    outputs = [graph.op("Sigmoid", side, channels=1) for side in (fused, *sides)]
    return graph.finish(outputs, "u2netp")


def parameters(model: onnx.ModelProto) -> int:
    """Weights and biases of the convolutions."""
    return sum(
        int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    )


class _Graph:
    """Collects nodes; every value is known by name, with its channels and size."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape: dict[str, tuple[int, int, int]] = {}
        self.numbers = itertools.count()

    def start(self, name: str, channels: int, height: int, width: int) -> str:
        self.shape[name] = (channels, height, width)
        self.input = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, height, width])
        return name

    def op(
        self, kind: str, *inputs: str, channels: int, size: tuple[int, int] | None = None, **attributes
    ) -> str:
        name = f"{kind.lower()}{next(self.numbers)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.shape[name] = (channels, *(size or self.shape[inputs[0]][1:]))
        return name

    def constant(self, values: np.ndarray) -> str:
        name = f"constant{next(self.numbers)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, channels: int, *, kernel: int = 3, dilation: int = 1, relu: bool = True) -> str:
        before = self.shape[x][0]
        scale = np.sqrt(2 / (before * kernel * kernel))
        weight = self.constant(
            self.rng.normal(0, scale, (channels, before, kernel, kernel)).astype(np.float32)
        )
        bias = self.constant(self.rng.normal(0, 0.01, channels).astype(np.float32))
        padding = [dilation * (kernel // 2)] * 4
        y = self.op(
            "Conv",
            x,
            weight,
            bias,
            channels=channels,
            dilations=[dilation] * 2,
            pads=padding,
            kernel_shape=[kernel] * 2,
        )
        return self.op("Relu", y, channels=channels) if relu else y

    def pool(self, x: str) -> str:
        channels, height, width = self.shape[x]
        size = ((height + 1) // 2, (width + 1) // 2)
        return self.op(
            "MaxPool", x, channels=channels, size=size, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        )

    def concat(self, *xs: str) -> str:
        return self.op("Concat", *xs, channels=sum(self.shape[x][0] for x in xs), axis=1)

    def resize_like(self, x: str, other: str) -> str:
        channels = self.shape[x][0]
        size = self.shape[other][1:]
        if self.shape[x][1:] == size:
            return x
        sizes = self.constant(np.array([1, channels, *size], np.int64))
        return self.op(
            "Resize",
            *(x, "", "", sizes),
            channels=channels,
            size=size,
            mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
        )

    def finish(self, outputs: list[str], name: str) -> onnx.ModelProto:
        infos = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, *self.shape[output]])
            for output in outputs
        ]
        graph = helper.make_graph(self.nodes, name, [self.input], infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def _block(levels: int):
    """A residual U-block: ``levels - 1`` convolutions with poolings between them, then one of dilation 2."""

    def build_block(graph: _Graph, x: str) -> str:
        entry = graph.conv(x, OUTER)
        going_down = [graph.conv(entry, INNER)]
        for _ in range(levels - 2):
            going_down.append(graph.conv(graph.pool(going_down[-1]), INNER))
        y = graph.conv(going_down[-1], INNER, dilation=2)
        for index, skip in reversed(list(enumerate(going_down))):
            y = graph.conv(graph.concat(graph.resize_like(y, skip), skip), INNER if index else OUTER)
        return graph.op("Add", y, entry, channels=OUTER)

    return build_block


def _dilated_block(graph: _Graph, x: str) -> str:
    """A residual block that widens by dilation (1, 2, 4, 8) instead of pooling."""
    entry = graph.conv(x, OUTER)
    first = graph.conv(entry, INNER)
    second = graph.conv(first, INNER, dilation=2)
    third = graph.conv(second, INNER, dilation=4)
    y = graph.conv(third, INNER, dilation=8)
    y = graph.conv(graph.concat(y, third), INNER, dilation=4)
    y = graph.conv(graph.concat(y, second), INNER, dilation=2)
    y = graph.conv(graph.concat(y, first), OUTER)
    return graph.op("Add", y, entry, channels=OUTER)


def macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of the convolutions for one picture."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {
        info.name: [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
        for info in (*inferred.graph.value_info, *inferred.graph.output)
    }
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return sum(
        int(np.prod(weights[node.input[1]])) * int(np.prod(shapes[node.output[0]][2:]))
        for node in model.graph.node
        if node.op_type == "Conv"
    )
