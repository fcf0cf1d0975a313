"""Says in plain operators what some files say in special ones, so that every runtime and TensorRT take it.

Quantised files come in three forms. QDQ stays as it is. Operators on bytes (QLinearConv, and the QLinear ones
of com.microsoft) become QDQ, which is the same. Dynamic quantisation (ConvInteger and MatMulInteger behind
DynamicQuantizeLinear) becomes float with the weights' values: nothing but the rounding of activations goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .edits import replace_nodes
from .onnx_file import opset_of

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"
_DYNAMIC = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
DYNAMIC = "dynamic int8 was undone: the weights keep their values, activations are no longer rounded"


def made_plain(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of ``model`` in plain operators where it has special ones, and what is to be said about it.

    Returns ``model`` itself where there is nothing to do.
    """
    import onnx

    kinds = {(node.domain, node.op_type) for node in model.graph.node}
    rewriters = {key: rewrite for key, rewrite in _REWRITERS.items() if key in kinds}
    if not _only_integer_products(model.graph):
        rewriters = {key: rewrite for key, rewrite in rewriters.items() if key[1] not in _DYNAMIC}
    if not rewriters:
        return model, []
    result = onnx.ModelProto()
    result.CopyFrom(model)
    writer = _Writer(result)
    for node in model.graph.node:
        rewrite = rewriters.get((node.domain, node.op_type))
        if rewrite is None or not rewrite(writer, node):
            writer.nodes.append(node)
    replace_nodes(result.graph, writer.nodes)
    result.graph.initializer.extend(writer.weights)
    del result.graph.value_info[:]
    if not any(node.domain == MICROSOFT for node in result.graph.node):
        domains = [entry for entry in result.opset_import if entry.domain != MICROSOFT]
        del result.opset_import[:]
        result.opset_import.extend(domains)
    names = sorted({kind for _, kind in rewriters})
    notes = [DYNAMIC] if "DynamicQuantizeLinear" in names else []
    others = [name for name in names if name not in _DYNAMIC]
    if others:
        notes.append(f"said in plain operators: {', '.join(others)}")
    return result, notes


def is_byte_wise(model: onnx.ModelProto) -> bool:
    """Whether a file computes with bytes in operators of their own, rather than in QDQ form."""
    return any(node.op_type in _DYNAMIC or (node.op_type.startswith("QLinear")) for node in model.graph.node)


def _only_integer_products(graph: onnx.GraphProto) -> bool:
    """Whether what is quantised dynamically goes into products with constants alone, and only that does."""
    quantised, points = (
        {node.output[place] for node in graph.node if node.op_type == "DynamicQuantizeLinear"}
        for place in (0, 2)
    )
    constants = {tensor.name for tensor in graph.initializer}
    constants.update(node.output[0] for node in graph.node if node.op_type == "Constant")
    for node in graph.node:
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            if node.input[0] not in quantised or not {node.input[1], *node.input[3:4]} <= constants | {""}:
                return False
        elif (quantised | points) & set(node.input):
            return False
    return bool(quantised) and not (quantised | points) & {value.name for value in graph.output}


class _Writer:
    """Collects the new nodes; knows the constants of the old ones."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.opset = opset_of(model)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.numbers = itertools.count()
        self.known = {tensor.name: tensor for tensor in model.graph.initializer}
        self.known.update(
            {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
        )
        self._array = numpy_helper.to_array

    def array(self, name: str) -> np.ndarray | None:
        """The values of a constant; None where it is computed."""
        return self._array(self.known[name]) if name in self.known else None

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"plain/constant{next(self.numbers)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or f"plain/{kind.lower()}{next(self.numbers)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def same(self, kind: str, node: onnx.NodeProto, *inputs: str, name: str = "") -> str:
        """``node`` under another kind and with other inputs, its attributes kept."""
        result = self.op(kind, *inputs, name=name)
        self.nodes[-1].attribute.extend(a for a in node.attribute if a.name != "channels_last")
        return result

    def float_of(self, x: str, scale: str, point: str) -> str:
        return self.op("DequantizeLinear", x, scale, point)

    def bytes_of(self, x: str, scale: str, point: str, name: str) -> bool:
        self.op("QuantizeLinear", x, scale, point, name=name)
        return True


def _qlinear_conv(writer: _Writer, node: onnx.NodeProto) -> bool:
    x, xs, xz, w, ws, wz, ys, yz, *bias = node.input
    weight_scale, input_scale = writer.array(ws), writer.array(xs)
    if weight_scale is None or input_scale is None:
        return False
    inputs = [writer.float_of(x, xs, xz), writer.op("DequantizeLinear", w, ws, wz, axis=0)]
    if bias:
        values = writer.array(bias[0])
        if values is None:
            return False
        inputs.append(writer.constant((values * (input_scale * weight_scale)).astype(np.float32)))
    return writer.bytes_of(writer.same("Conv", node, *inputs), ys, yz, node.output[0])


def _qlinear_matmul(writer: _Writer, node: onnx.NodeProto) -> bool:
    a, a_s, a_z, b, b_s, b_z, ys, yz = node.input
    product = writer.op("MatMul", writer.float_of(a, a_s, a_z), writer.float_of(b, b_s, b_z))
    return writer.bytes_of(product, ys, yz, node.output[0])


def _unary(kind: str) -> Callable[[_Writer, onnx.NodeProto], bool]:
    """x, its scale and point, the result's scale and point."""

    def rewrite(writer: _Writer, node: onnx.NodeProto) -> bool:
        x, xs, xz, ys, yz = node.input
        if any(attribute.name == "channels_last" and attribute.i for attribute in node.attribute):
            return False
        result = writer.same(kind, node, writer.float_of(x, xs, xz))
        return writer.bytes_of(result, ys, yz, node.output[0])

    return rewrite


def _binary(kind: str) -> Callable[[_Writer, onnx.NodeProto], bool]:
    def rewrite(writer: _Writer, node: onnx.NodeProto) -> bool:
        a, a_s, a_z, b, b_s, b_z, ys, yz = node.input
        result = writer.op(kind, writer.float_of(a, a_s, a_z), writer.float_of(b, b_s, b_z))
        return writer.bytes_of(result, ys, yz, node.output[0])

    return rewrite


def _qlinear_concat(writer: _Writer, node: onnx.NodeProto) -> bool:
    ys, yz, *rest = node.input
    parts = [writer.float_of(*rest[place : place + 3]) for place in range(0, len(rest), 3)]
    return writer.bytes_of(writer.same("Concat", node, *parts), ys, yz, node.output[0])


def _dynamic(writer: _Writer, node: onnx.NodeProto) -> bool:
    """Bytes become the values themselves, in steps of one."""
    writer.op("Identity", node.input[0], name=node.output[0])
    one = writer.constant(np.array(1, np.float32))
    writer.op("Identity", one, name=node.output[1])
    return True


def _integer(kind: str) -> Callable[[_Writer, onnx.NodeProto], bool]:
    """A product of bytes; what follows casts it to float and multiplies it by the scales."""

    def rewrite(writer: _Writer, node: onnx.NodeProto) -> bool:
        weight = writer.array(node.input[1])
        if weight is None:
            return False
        values = weight.astype(np.float32)
        if len(node.input) > 3 and node.input[3]:
            point = writer.array(node.input[3])
            if point is None:
                return False
            shape = [-1] + [1] * (weight.ndim - 1) if kind == "Conv" else [-1]
            values = values - (
                point.astype(np.float32).reshape(shape) if point.size > 1 else np.float32(point)
            )
        writer.same(kind, node, node.input[0], writer.constant(values), name=node.output[0])
        return True

    return rewrite


def _layer_normalisation(writer: _Writer, node: onnx.NodeProto) -> bool:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axes, which TensorRT 8.6 takes."""
    settings = {attribute.name: attribute for attribute in node.attribute}
    axis = settings["axis"].i if "axis" in settings else -1
    epsilon = settings["epsilon"].f if "epsilon" in settings else 1e-5
    if len(node.output) > 1 or axis >= 0:
        return False  # other axes than the last depend on the rank, further outputs belong to training
    axes = list(range(axis, 0))
    x = node.input[0]
    centred = writer.op("Sub", x, _mean(writer, x, axes))
    variance = _mean(writer, writer.op("Mul", centred, centred), axes)
    spread = writer.op("Sqrt", writer.op("Add", variance, writer.constant(np.array(epsilon, np.float32))))
    scaled = writer.op("Mul", writer.op("Div", centred, spread), node.input[1])
    if len(node.input) > 2 and node.input[2]:
        writer.op("Add", scaled, node.input[2], name=node.output[0])
    else:
        writer.op("Identity", scaled, name=node.output[0])
    return True


def _mean(writer: _Writer, x: str, axes: list[int]) -> str:
    if writer.opset >= 18:  # the axes became an input
        return writer.op("ReduceMean", x, writer.constant(np.array(axes, np.int64)), keepdims=1)
    return writer.op("ReduceMean", x, axes=axes, keepdims=1)


_REWRITERS: dict[tuple[str, str], Callable[[_Writer, Any], bool]] = {
    ("", "QLinearConv"): _qlinear_conv,
    ("", "QLinearMatMul"): _qlinear_matmul,
    ("", "DynamicQuantizeLinear"): _dynamic,
    ("", "ConvInteger"): _integer("Conv"),
    ("", "MatMulInteger"): _integer("MatMul"),
    ("", "LayerNormalization"): _layer_normalisation,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (MICROSOFT, "QLinearAveragePool"): _unary("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearConcat"): _qlinear_concat,
}
REWRITTEN = frozenset(_REWRITERS)
"""Domain and name of every operator that has a plain way of saying it."""
