"""Writes INT8 into an ONNX graph in QDQ form: QuantizeLinear and DequantizeLinear around what is quantised.

Two flavours of one graph. For OpenVINO, activations are unsigned bytes, with a zero point where they are
negative too; for TensorRT, signed and symmetric, as that is all it computes, with scales that are halves.
Weights are signed, symmetric, one scale a channel, and biases stay float in both (TensorRT takes no int32
ones).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .edits import Names, replace_nodes
from .int8_half import half_scale
from .ranges import BINS, TensorRange

if TYPE_CHECKING:
    import onnx

Flavour = Literal["openvino", "tensorrt"]
FLAVOURS = ("openvino", "tensorrt")
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What INT8 makes faster: everything else follows them."""
SEARCH_STEPS = 40


@dataclass(frozen=True)
class Step:
    """How a tensor becomes bytes: ``byte = round(value / scale) + zero``."""

    scale: float
    zero: int
    signed: bool


def quantisable(model: onnx.ModelProto) -> list[str]:
    """Names of the layers that can be INT8: one activation, and weights known beforehand."""
    weights = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    names = []
    for node in model.graph.node:
        if node.op_type not in COMPUTE or node.domain not in ("", "ai.onnx"):
            continue
        activation, weight = node.input[0], node.input[1]
        if activation in weights or weight not in weights:
            continue
        if node.op_type == "MatMul" and weights[weight] < 2:
            continue
        names.append(node.name)
    return names


def readable(model: onnx.ModelProto, layers: Collection[str]) -> set[str]:
    """The tensors that become bytes when ``layers`` are INT8: only what those read.

    Everything else that reads such a tensor reads its bytes, too. So a residual is added to the exact result
    of a convolution, and the sum is rounded once.
    """
    return {node.input[0] for node in model.graph.node if node.name in layers}


def step_for(seen: TensorRange, flavour: Flavour) -> Step:
    """Scale and zero point of a tensor: the span that loses least over the values seen."""
    low, high = best_span(seen, symmetric=flavour == "tensorrt")
    if flavour == "tensorrt":
        return Step(float(half_scale(max(high, -low, 1e-8) / 127)), 0, True)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-8) / 255
    return Step(scale, int(np.clip(round(-low / scale), 0, 255)), False)


def best_span(seen: TensorRange, *, symmetric: bool) -> tuple[float, float]:
    """The span with the smallest squared error over the histogram: of rounding within, of clipping outside.

    A few extreme values cost all others resolution; so the ends are drawn in as long as that pays.
    """
    if seen.histogram is None or not seen.histogram.any():
        return seen.low, seen.high
    width = 2 * seen.limit / BINS
    centres = (np.arange(BINS) + 0.5) * width - seen.limit
    counts = seen.histogram.astype(np.float64)
    levels = 254 if symmetric else 255
    best, best_error = (seen.low, seen.high), np.inf
    for share in np.linspace(1.0, 0.4, SEARCH_STEPS):
        if symmetric:
            high = seen.largest * share
            low = -high
        else:
            low, high = min(seen.low, 0.0) * share, max(seen.high, 0.0) * share
        scale = max(high - low, 1e-12) / levels
        outside = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
        error = float((counts * np.where(outside > 0, outside**2, scale**2 / 12)).sum())
        if error < best_error:
            best, best_error = (low, high), error
    return best


def write_int8(
    model: onnx.ModelProto,
    ranges: Mapping[str, TensorRange],
    layers: Collection[str],
    flavour: Flavour,
) -> onnx.ModelProto:
    """A copy of ``model`` in which ``layers`` compute in INT8.

    Parameters
    ----------
    model : onnx.ModelProto
        Float32, its constants as initialisers, its nodes named.
    ranges : mapping
        With histograms, of every tensor that a layer reads.
    layers : collection of str
        Of those that ``quantisable`` names.
    flavour : str
        ``openvino`` or ``tensorrt``.
    """
    return _Writer(model, ranges, set(layers), flavour).run()


class _Writer:
    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: Mapping[str, TensorRange],
        layers: set[str],
        flavour: Flavour,
    ) -> None:
        import onnx

        self.source, self.ranges, self.layers, self.flavour = model, ranges, layers, flavour
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.points = readable(model, layers)
        self.name = Names(model.graph)

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        made: list[onnx.NodeProto] = []
        for value in self.source.graph.input:
            if value.name in self.points:
                made += self._pair(value.name)
        for node in graph.node:
            read_floats = node.op_type in COMPUTE and node.name not in self.layers
            if not read_floats:
                for position, name in enumerate(node.input):
                    if name in self.points:
                        node.input[position] = self.name(f"{name}_bytes_float")
            if node.name in self.layers:
                made.append(self._weight(node))
            made.append(node)
            for name in node.output:
                if name in self.points:
                    made += self._pair(name)
        replace_nodes(graph, made)
        used = {name for node in graph.node for name in node.input} | {v.name for v in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self.model

    def _pair(self, name: str) -> list[onnx.NodeProto]:
        from onnx import helper

        step = step_for(self.ranges[name], self.flavour)
        zero = np.array(step.zero, np.int8 if step.signed else np.uint8)
        constants = [self.name(f"{name}_scale"), self.name(f"{name}_zero")]
        self._add(constants[0], np.float32(step.scale))
        if self._needed(zero):
            self._add(constants[1], zero)
        else:
            del constants[1]
        inside, outside = self.name(f"{name}_bytes"), self.name(f"{name}_bytes_float")
        return [
            helper.make_node("QuantizeLinear", [name, *constants], [inside], name=f"{name}_quantize"),
            helper.make_node("DequantizeLinear", [inside, *constants], [outside], name=f"{name}_dequantize"),
        ]

    def _weight(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Replace the weight of ``node`` by bytes; its bias takes up what that shifts the mean by."""
        from onnx import helper, numpy_helper

        name = node.input[1]
        array = numpy_helper.to_array(self.weights[name])
        axis = channel_axis(node, array)
        scale = channel_scales(array, axis)
        if self.flavour == "tensorrt":
            scale = half_scale(scale)
        shaped = scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
        quantised = np.clip(np.rint(array / shaped), -127, 127).astype(np.int8)
        prefix = f"{node.name}.weight"
        inside, outside = self.name(f"{prefix}_int8"), self.name(f"{prefix}_float")
        constants = [self.name(f"{prefix}_scale"), self.name(f"{prefix}_zero")]
        self._add(inside, quantised)
        self._add(constants[0], scale.astype(np.float32))
        zero = np.zeros(scale.shape, np.int8)
        if self._needed(zero):
            self._add(constants[1], zero)
        else:
            del constants[1]
        node.input[1] = outside
        self._correct_bias(node, quantised * shaped - array)
        return helper.make_node(
            "DequantizeLinear",
            [inside, *constants],
            [outside],
            name=f"{prefix}_dequantize",
            axis=axis,
        )

    def _needed(self, zero: np.ndarray) -> bool:
        """Whether a zero point is written down. ONNX takes a missing one for 0, and OpenVINO compiles a tenth
        faster for it; TensorRT's parsers are given all of them."""
        return self.flavour == "tensorrt" or bool(zero.any())

    def _correct_bias(self, node: onnx.NodeProto, error: np.ndarray) -> None:
        from onnx import numpy_helper

        original = next(n for n in self.source.graph.node if n.name == node.name)
        mean = self.ranges[original.input[0]].channel_mean
        if node.op_type != "Conv" or mean is None:
            return
        group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        out, per_group = error.shape[:2]
        means = mean.reshape(group, per_group).repeat(out // group, 0)
        shift = (error.reshape(out, per_group, -1).sum(2) * means).sum(1)
        has_bias = len(node.input) > 2 and node.input[2] != ""
        bias = numpy_helper.to_array(self.weights[node.input[2]]) if has_bias else np.zeros(out)
        name = self.name(f"{node.name}.bias_corrected")
        self._add(name, (bias - shift).astype(np.float32))
        del node.input[2:]
        node.input.append(name)

    def _add(self, name: str, array: np.ndarray | np.generic) -> None:
        from onnx import numpy_helper

        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def channel_axis(node: onnx.NodeProto, weight: np.ndarray) -> int:
    """Which axis of a weight runs over the output's channels."""
    if node.op_type in CHANNEL_AXIS:
        return CHANNEL_AXIS[node.op_type]
    if node.op_type == "Gemm":
        transposed = next((attribute.i for attribute in node.attribute if attribute.name == "transB"), 0)
        return 0 if transposed else 1
    return weight.ndim - 1


def channel_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """float64 ``(C,)``: the largest weight of each channel over 127; 1 for a channel of zeros."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight.astype(np.float64)).max(axis=others)
    return np.where(largest > 0, largest, 127.0) / 127
