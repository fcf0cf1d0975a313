"""Which precision a network or an engine really computes in: found by looking, never taken as asked for.

Two kinds of evidence. ``parsed network``: every layer's and tensor's type in the network the builder was
given; in a strongly typed network the builder may fuse layers, but not change their types. ``engine
inspector``: what the finished engine says of its own layers, on a machine whose driver can load it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import BackendError

PARSED_NETWORK, ENGINE_INSPECTOR = "parsed network", "engine inspector"
ORDER = ("int4", "fp4", "fp8", "int8", "fp16", "bf16", "fp32")
"""Precisions, lowest first."""
_TYPES = {
    "FLOAT": "fp32",
    "HALF": "fp16",
    "BF16": "bf16",
    "INT8": "int8",
    "FP8": "fp8",
    "FP4": "fp4",
    "INT4": "int4",
}
# Move or make values rather than compute with them: their types say nothing of the precision.
_NOT_COMPUTING = {
    *{"CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE", "IDENTITY", "SHUFFLE", "ASSERTION", "CONDITION"},
    *{"Constant", "NoOp", "Reformat", "Shuffle", "shape_call", "signal", "wait", "Reformatting CopyNode"},
}
_HEAVY = {"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY"}
_HEAVY_WORDS = ("conv", "gemm", "matrixmultiply", "matmul", "fullyconnected")
# In this order: "BFloat16" is not "Float".
_WORDS = (("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("half", "fp16"), ("fp8", "fp8"),
          ("int8", "int8"), ("fp32", "fp32"), ("float", "fp32"))  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer that computes."""

    name: str
    kind: str
    precision: str
    is_heavy: bool
    """A convolution or matrix product: where nearly all of the time goes."""


@dataclass(frozen=True)
class Precisions:
    """What was found, and by which evidence."""

    evidence: str
    found: str
    """What most convolutions and matrix products compute in; of all layers where there are none."""
    layers: dict[str, int]
    """Precision -> layers that compute in it."""
    kept_higher: list[str]
    """Layers above the precision found, by name."""
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind of layer -> precision -> number."""
    tensors: dict[str, int] = field(default_factory=dict)
    """Type -> number of tensors, the inputs and outputs of the network included."""


def summarise(layers: Iterable[Layer], evidence: str, tensors: dict[str, int] | None = None) -> Precisions:
    """Count layers, and say which precision they amount to."""
    rows = list(layers)
    counts = Counter(row.precision for row in rows)
    votes = Counter(row.precision for row in rows if row.is_heavy) or counts
    # With as many of one as of the other, it is the higher: nobody is told of more speed than there is.
    found = max(votes, key=lambda p: (votes[p], ORDER.index(p)), default="unknown")
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        kinds.setdefault(row.kind, Counter())[row.precision] += 1
    # Around int8 products everything else stays floating point, by design: not worth a list.
    watched = [row for row in rows if row.is_heavy or found not in ("int8", "int4", "fp8", "fp4")]
    return Precisions(
        evidence,
        found,
        dict(sorted(counts.items())),
        [row.name for row in watched if found in ORDER and ORDER.index(row.precision) > ORDER.index(found)],
        {kind: dict(sorted(count.items())) for kind, count in sorted(kinds.items())},
        dict(sorted((tensors or {}).items())),
    )


def type_name(dtype: Any) -> str:
    """``fp16`` of TensorRT's ``DataType.HALF``; index types as ``int64`` and the like."""
    name = str(getattr(dtype, "name", dtype))
    return _TYPES.get(name, name.lower())


def network_precisions(network: Any, half: Collection[str] = ()) -> Precisions:
    """What a parsed network computes in, by the type of every layer and tensor.

    A convolution or matrix product whose input comes out of a DequantizeLinear is int8: the builder folds the
    two into one. Layers named in ``half`` are fp16 though typed fp32, see ``weak``.
    """
    every = [network.get_layer(i) for i in range(network.num_layers)]
    kind_by_output: dict[str, str] = {}
    types: dict[str, str] = {}
    for layer in every:
        for index in range(layer.num_outputs):
            if (tensor := layer.get_output(index)) is not None:
                kind_by_output[tensor.name] = layer.type.name
                types[tensor.name] = type_name(tensor.dtype)
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        types[tensor.name] = type_name(tensor.dtype)
    rows = []
    for layer in every:
        kind, output = layer.type.name, layer.get_output(0) if layer.num_outputs else None
        precision = type_name(output.dtype) if output is not None else ""
        if kind in _NOT_COMPUTING or precision not in ORDER:
            continue
        heavy, first = kind in _HEAVY, layer.get_input(0) if layer.num_inputs else None
        if heavy and first is not None and kind_by_output.get(first.name) == "DEQUANTIZE":
            precision = "int8"
        elif precision == "fp32" and layer.name in half:
            precision = "fp16"
        rows.append(Layer(layer.name, kind.lower(), precision, heavy))
    return summarise(rows, PARSED_NETWORK, dict(Counter(types.values())))


def reads_bytes(network: Any, layer: Any) -> bool:
    """Whether the layer's first input comes out of a DequantizeLinear."""
    first = layer.get_input(0) if layer.num_inputs else None
    return first is not None and any(
        other.type.name == "DEQUANTIZE" and other.get_output(0).name == first.name
        for other in (network.get_layer(index) for index in range(network.num_layers))
    )


def engine_precisions(api: Any, engine: Any) -> Precisions:
    """What a loaded engine computes in, by its own inspector. Raises as ``engine_layers``."""
    return summarise(engine_layers(api, engine), ENGINE_INSPECTOR)


def engine_layers(api: Any, engine: Any) -> list[Layer]:
    """Every layer of a loaded engine that computes, as its inspector tells it.

    The engine must have been built with detailed profiling verbosity, as ``build_engine`` does; of one that
    was not, there are none.

    Raises
    ------
    BackendError
        If the inspector says nothing that can be read.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(api.trt.LayerInformationFormat.JSON) if inspector else ""
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{api}: the engine inspector gave nothing that can be read: {error}") from None
    return list(_computing(layers))


def _computing(layers: list[Any]) -> Iterable[Layer]:
    for layer in layers:
        if not isinstance(layer, dict):  # only a name: built without detailed verbosity
            continue
        kind, name = str(layer.get("LayerType", "")), str(layer.get("Name", ""))
        # What it reads is what it computes in; where it reads nothing, or indices, what it writes.
        precision = _first_type(layer.get("Inputs")) or _first_type(layer.get("Outputs"))
        if kind in _NOT_COMPUTING or not precision:
            continue
        words = f"{kind} {layer.get('ParameterType', '')}".lower()
        yield Layer(name, kind, precision, any(word in words for word in _HEAVY_WORDS))


def _first_type(tensors: Any) -> str:
    for tensor in tensors or ():
        # 8.6 and 10 say "Format/Datatype" (in words: "Row major linear FP16 format"), 11 says "DataType".
        text = str(tensor.get("DataType") or tensor.get("Format/Datatype") or "").lower()
        for word, precision in _WORDS:
            if word in text:
                return precision
    return ""
