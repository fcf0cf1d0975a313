"""FP16 in the graph itself: an ONNX file that computes in half precision whatever builds an engine of it.

Every weight and intermediate becomes half; the graph's own inputs and outputs stay float32, so that the file
takes the place of the one it was made from. A layer whose values come near the largest half, or that has no
half form, stays float32 and is named. A TensorRT that takes its types from the graph can do nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import ModelError
from . import edits
from .fp16_graph import HALF_MAX, Rewriter
from .onnx_file import load_onnx
from .ranges import Progress, Sample, TensorRange, collect_ranges, edge_samples, open_ort

if TYPE_CHECKING:
    import onnx

HEADROOM = 4.0
"""How far below the largest half the audited values must stay: live pictures go beyond any sample."""
HALF_TINY = 2.0**-25
"""Smaller weights round to 0."""

# No half form in ONNX, in TensorRT or in both; or an answer that half numbers are too coarse for.
FLOAT_OPS = frozenset(
    {
        *("ArgMax", "ArgMin", "BitShift", "CumSum", "EyeLike", "Multinomial", "NonMaxSuppression", "Range"),
        *(
            "DequantizeLinear",
            "DynamicQuantizeLinear",
            "QuantizeLinear",
            "If",
            "Loop",
            "Scan",
            "RoiAlign",
            "TopK",
        ),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    }
)
# Sums over many elements: the sum may overflow where its mean does not. Accumulators are not always wider.
SUMS = {"ReduceMean", "ReduceSum", "GlobalAveragePool", "ReduceSumSquare", "ReduceL1", "ReduceL2"}


@dataclass
class Fp16Report:
    """What became half, what did not and why, and how far the results moved."""

    out: Path
    half: int
    """Layers whose output is half, as the finished graph's own types say."""
    single: int
    """Layers that have a float32 output, casts aside."""
    casts: int
    """Casts that were put in."""
    kept: dict[str, str]
    """Name of each layer that stays float32 -> why."""
    largest: dict[str, float]
    """The tensors with the largest values seen, in falling order."""
    samples: int
    edge_cases: int
    zeroed: int
    """Weights that were not 0 and round to 0."""
    parity: dict[str, float] = field(default_factory=dict)
    """``max_abs`` and ``mean_abs`` over all outputs, in their units, against the source."""

    @property
    def layers(self) -> dict[str, int]:
        """Precision -> layers, for the passport."""
        return {"fp16": self.half, "fp32": self.single}


def convert_fp16(
    source: Path,
    out: Path,
    *,
    samples: Iterable[Sample],
    keep: Sequence[str] = (),
    progress: Progress | None = None,
) -> Fp16Report:
    """Write ``source`` with FP16 inside as ``out``; whole or not at all.

    Parameters
    ----------
    source, out : Path
        ONNX files; ``out`` is replaced once the new one has passed.
    samples : iterable of mappings
        Real inputs, name to array; edge cases of the same span are added.
    keep : sequence of str
        Names of layers that stay float32 in any case; ``*`` and ``?`` as in a shell.
    progress : callable, optional
        Called with the step's name and its share done.

    Raises
    ------
    ModelError
        If the source is not usable, gives NaN or infinity by itself, or the result still overflows.
    UsageError
        If ``keep`` names no layer.
    """
    model = load_onnx(source)
    edits.constants_to_weights(model)
    edits.named(model)
    real = list(samples)
    if not real:
        raise ModelError(f"{source}: an FP16 export looks at the ranges of real inputs, and got none")
    edges = list(edge_samples(real))
    ranges = collect_ranges(model, [*real, *edges], progress=progress, step="audit of ranges")
    broken = [name for name, seen in ranges.items() if seen.not_finite]
    if broken:
        raise ModelError(
            f"{source}: {broken[0]!r} is NaN or infinite in float32 already; FP16 would not make it better"
        )
    kept = layers_to_keep(model, ranges, keep)
    zeroed = _zeroed(model)
    half, casts = _converted(model, ranges, set(kept))
    parity = _proved(half, source, [*real, *edges], progress)
    edits.save(half, out)
    counts = count_types(half)
    largest = sorted(ranges, key=lambda name: -ranges[name].largest)[:8]
    return Fp16Report(
        out=Path(out),
        half=counts["fp16"],
        single=counts["fp32"],
        casts=casts,
        kept=kept,
        largest={name: ranges[name].largest for name in largest},
        samples=len(real),
        edge_cases=len(edges),
        zeroed=zeroed,
        parity=parity,
    )


def layers_to_keep(
    model: onnx.ModelProto, ranges: dict[str, TensorRange], keep: Sequence[str] = ()
) -> dict[str, str]:
    """Layers that must stay float32, and why: asked for, no half form, or too large values seen."""
    limit = HALF_MAX / HEADROOM
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    asked = edits.chosen([node.name for node in model.graph.node], keep)
    kept: dict[str, str] = {}
    for node in model.graph.node:
        if node.name in asked:
            kept[node.name] = "asked for"
        elif node.domain not in ("", "ai.onnx") or node.op_type in FLOAT_OPS or edits.has_subgraph(node):
            if any(name in ranges for name in (*node.input, *node.output)):
                kept[node.name] = f"{node.op_type} has no half form"
        elif reason := _too_large(node, ranges, weights, limit):
            kept[node.name] = reason
    return kept


def _too_large(
    node: onnx.NodeProto, ranges: dict[str, TensorRange], weights: dict[str, onnx.TensorProto], limit: float
) -> str:
    import onnx

    for name in (*node.input, *node.output):
        if name in ranges and ranges[name].largest > limit:
            return f"{name} reaches {ranges[name].largest:.4g}"
        if name in weights and weights[name].data_type == onnx.TensorProto.FLOAT:
            largest = float(np.abs(onnx.numpy_helper.to_array(weights[name])).max(initial=0))
            # Clip and Pad use infinity and the like to say "no limit"; a half has an infinity of its own.
            if largest > HALF_MAX and np.isfinite(largest):
                return f"its weight {name} reaches {largest:.4g}"
    if node.op_type in SUMS and node.input[0] in ranges and node.output[0] in ranges:
        source, result = ranges[node.input[0]], ranges[node.output[0]]
        terms = source.elements / max(result.elements, 1)
        powered = source.largest ** (2 if node.op_type in ("ReduceSumSquare", "ReduceL2") else 1)
        if powered * terms > HALF_MAX:
            return f"its sum of {terms:.0f} terms could reach {powered * terms:.4g}"
    return ""


def _zeroed(model: onnx.ModelProto) -> int:
    import onnx

    count = 0
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = np.abs(onnx.numpy_helper.to_array(tensor))
            count += int(((array > 0) & (array <= HALF_TINY)).sum())
    return count


def _converted(
    model: onnx.ModelProto, ranges: dict[str, TensorRange], kept: set[str]
) -> tuple[onnx.ModelProto, int]:
    """``model`` with every node half but ``kept``, and how many casts that took."""
    floats = {name for name, seen in ranges.items() if seen.dtype == "float32"}
    return Rewriter(model, floats, kept).run()


def _proved(
    half: onnx.ModelProto, source: Path, samples: Sequence[Sample], progress: Progress | None
) -> dict[str, float]:
    """Differences of the outputs. Raises ModelError where an intermediate of ``half`` is not finite."""
    seen = collect_ranges(half, samples, progress=progress, step="check of the FP16 graph")
    overflowed = [name for name, values in seen.items() if values.not_finite]
    if overflowed:
        raise ModelError(
            f"{source}: in FP16, {overflowed[0]!r} overflows; keep the layer that makes it in float32"
        )
    before, after = open_ort(str(source)), open_ort(half.SerializeToString())
    largest, total, count = 0.0, 0.0, 0
    for sample in samples:
        for expected, got in zip(before.run(None, dict(sample)), after.run(None, dict(sample)), strict=True):
            difference = np.abs(got.astype(np.float64) - expected)
            largest = max(largest, float(difference.max(initial=0)))
            total, count = total + float(difference.sum()), count + difference.size
    return {"max_abs": largest, "mean_abs": total / max(count, 1)}


def count_types(model: onnx.ModelProto) -> Counter[str]:
    """How many layers give ``fp16`` and how many ``fp32``, by the graph's own types; casts do not count."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, check_type=True)
    graph = inferred.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    names = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.FLOAT: "fp32"}
    return Counter(
        names[types[node.output[0]]]
        for node in graph.node
        if node.op_type != "Cast" and types.get(node.output[0]) in names
    )
