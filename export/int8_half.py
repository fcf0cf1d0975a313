"""FP16 for what is not INT8 in a graph for TensorRT: all between the bytes is half, typed in the graph.

The scales on both sides of a byte tensor are half as well (ONNX takes that from opset 19 on): what is
dequantised then has the type of the layer that reads it, with no cast between, and TensorRT can fuse the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import ModelError
from .fp16 import layers_to_keep
from .fp16_graph import HALF_MAX, Rewriter
from .ranges import Progress, Sample, TensorRange, collect_ranges, edge_samples

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 19, 9
"""The first whose QuantizeLinear and DequantizeLinear have half scales."""
MOST_AUDITED = 48
"""Samples whose every tensor is looked at; what INT8 layers read has been seen on all of them."""
LEAST_SCALE = 2.0**-20
"""Smaller steps are too coarse as halves; 127 of them are a ten-thousandth."""
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def half_scale(scale: np.ndarray | float) -> np.ndarray:
    """Scales, float64, as the halves next to them, never noticeably smaller: so nothing more is clipped.

    What is too large for a half stays as it is: the layers around it stay float32.
    """
    wanted = np.maximum(np.asarray(scale, np.float64), LEAST_SCALE)
    near = np.minimum(wanted, HALF_MAX).astype(np.float16)
    with np.errstate(over="ignore"):
        above = np.nextafter(near, np.float16(np.inf))
    found = np.where(near < wanted * (1 - 2.0**-10), above, near).astype(np.float64)
    return np.where(wanted > HALF_MAX, wanted, found)


class HalfAudit:
    """The ranges of a float graph's tensors, and the FP16 form of INT8 graphs that were made of it.

    Parameters
    ----------
    model : onnx.ModelProto
        The float graph.
    samples : sequence of mappings
        Real inputs; edge cases of the same span are added.
    known : mapping
        Ranges that were seen on more samples; the larger one counts.

    Raises
    ------
    ModelError
        If the float graph gives NaN or infinity by itself.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        samples: Sequence[Sample],
        known: Mapping[str, TensorRange],
        progress: Progress | None = None,
    ) -> None:
        chosen = samples[:: -(-len(samples) // MOST_AUDITED)]
        self.samples = [*chosen, *edge_samples(chosen)]
        self.ranges = collect_ranges(model, self.samples, progress=progress, step="audit of ranges")
        for name, seen in self.ranges.items():
            if seen.not_finite:
                raise ModelError(f"{name!r} is NaN or infinite in float32 already")
            if name in known and known[name].largest > seen.largest:
                self.ranges[name] = replace(seen, low=known[name].low, high=known[name].high)

    def half(self, quantised: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
        """``quantised`` in FP16 around its INT8, and the layers that stay float32 with the reason."""
        ranges = self._with_dequantised(quantised)
        kinds = {node.name: node.op_type for node in quantised.graph.node}
        kept = {
            name: reason
            for name, reason in layers_to_keep(quantised, ranges).items()
            if kinds[name] not in QUANTISERS
        }
        floats = {name for name, seen in ranges.items() if seen.dtype == "float32"}
        made, _ = _QdqRewriter(quantised, floats, set(kept)).run()
        return made, kept

    def check(self, half: onnx.ModelProto, progress: Progress | None = None) -> None:
        """Raise ModelError where an intermediate of ``half`` is not finite."""
        seen = collect_ranges(half, self.samples, progress=progress, step="check of the FP16 graph")
        overflowed = [name for name, values in seen.items() if values.not_finite]
        if overflowed:
            raise ModelError(f"in FP16, {overflowed[0]!r} overflows")

    def _with_dequantised(self, quantised: onnx.ModelProto) -> dict[str, TensorRange]:
        """With the ranges of what is dequantised: bytes reach no further than what they were made of."""
        from onnx import numpy_helper

        ranges = dict(self.ranges)
        weights = {tensor.name: tensor for tensor in quantised.graph.initializer}
        made_of = {n.output[0]: n.input[0] for n in quantised.graph.node if n.op_type == "QuantizeLinear"}
        for node in quantised.graph.node:
            if node.op_type != "DequantizeLinear":
                continue
            if node.input[0] in made_of:
                ranges[node.output[0]] = ranges[made_of[node.input[0]]]
            else:
                most = 127 * float(numpy_helper.to_array(weights[node.input[1]]).max())
                ranges[node.output[0]] = TensorRange(low=-most, high=most, elements=1)
        return ranges


class _QdqRewriter(Rewriter):
    """Quantises in the type that a tensor was computed in, dequantises in the type of what reads it."""

    def __init__(self, model: onnx.ModelProto, floats: set[str], kept: set[str]) -> None:
        super().__init__(model, floats, kept)
        self.waiting: dict[str, onnx.NodeProto] = {}
        """Tensor -> the DequantizeLinear that gives it."""

    def take(self, node: onnx.NodeProto) -> None:
        if node.op_type == "DequantizeLinear":
            self.waiting[node.output[0]] = node
        elif node.op_type == "QuantizeLinear":
            half = node.input[0] in self.made_half
            node.input[0] = self.read(node.input[0], half)
            node.input[1] = self.read(node.input[1], half)
            self.nodes.append(node)
        else:
            super().take(node)

    def read(self, name: str, half: bool) -> str:
        known = self.half if half else self.single
        if name in self.waiting and name not in known:
            import onnx

            first = name not in self.half and name not in self.single
            node = onnx.NodeProto()
            node.CopyFrom(self.waiting[name])
            node.input[1] = super().read(node.input[1], half)
            if not first:
                node.output[0] = self.name(f"{name}_{'half' if half else 'single'}")
                node.name = f"{node.name}_{'half' if half else 'single'}"
            known[name] = node.output[0]
            self.nodes.append(node)
        return super().read(name, half)


def count_layers(model: onnx.ModelProto) -> Counter[str]:
    """How many layers compute in ``int8``, ``fp16`` and ``fp32``, by the graph's own types.

    A layer is INT8 where its activation and its weights both come out of a DequantizeLinear; casts and the
    quantisers themselves do not count.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, check_type=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    names = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.FLOAT: "fp32"}
    bytes_of = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    counts = Counter({"int8": 0, "fp16": 0, "fp32": 0})
    for node in graph.node:
        if node.op_type in ("Cast", *QUANTISERS) or types.get(node.output[0]) not in names:
            continue
        in_bytes = len(node.input) > 1 and {*node.input[:2]} <= bytes_of
        counts["int8" if in_bytes else names[types[node.output[0]]]] += 1
    return counts
