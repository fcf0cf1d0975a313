"""What an ONNX graph must be to go on to TensorRT 8.6 to 11 and OpenVINO: findings, each naming its node."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from ..engine.errors import ModelError

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""What is written: the newest that TensorRT 8.6 reads."""
OLDEST_OPSET, NEWEST_OPSET = 7, 22
"""What is read: below, the semantics of too many operators differ; above, no TensorRT to 11 follows."""

_ALLOWED = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div
    Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity
    InstanceNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LRN LpNormalization MatMul Max MaxPool
    Mean Min Mod Mul Neg Not Or Pad Pow PRelu QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze
    Where Xor
"""
ALLOWED = frozenset(_ALLOWED.split())
"""Operators of the default domain that the ONNX parsers of TensorRT 8.6, 10 and 11 all take, without those
that have no place in a network that runs on a camera: control flow, recurrent layers (state is a tensor
here), random numbers, detection (NonMaxSuppression, RoiAlign) and sequences. ``LayerNormalization`` is not
among them: 8.6 takes it only in part."""

FLOATS = frozenset({"FLOAT", "FLOAT16"})
_RESIZE_MODES = {"nearest", "linear"}
_RESIZE_PLACES = {
    *{"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"},
}
_CONSTANT_SECOND = {"Squeeze": "list of axes", "Unsqueeze": "list of axes", "CumSum": "axis", "TopK": "k"}
_PAD_MODES = {"constant", "reflect", "edge"}
_STANDARD_DOMAINS = ("", "ai.onnx")
SHOWN = 4


def findings(model: onnx.ModelProto) -> list[str]:
    """Everything in ``model`` that TensorRT 8.6 to 11 would not take, one line each; empty where it is fine.

    Looks at operators, their domains, the modes of the ones that are taken only in part, the types and the
    ranks of tensors. Ranks are looked at only where shapes have been inferred.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    constants.update(name for node in model.graph.node if node.op_type == "Constant" for name in node.output)
    found = []
    for node in model.graph.node:
        found += [f"{_place(node)}: {problem}" for problem in _problems(node, constants)]
    return found + list(_types(model))


def check_domains(model: onnx.ModelProto, name: str, rewritten: Collection[tuple[str, str]] = ()) -> None:
    """Raise ModelError if the graph has operators of others, which only their makers' runtimes know.

    ``rewritten``: domain and name of those that an import says in plain operators.
    """
    foreign = [node for node in model.graph.node if node.domain not in _STANDARD_DOMAINS]
    own = {(function.domain, function.name) for function in model.functions}
    _raise(
        [
            f"{_place(n)}: {next(_problems(n, set()))}"
            for n in foreign
            if (n.domain, n.op_type) not in own | set(rewritten)
        ],
        name,
    )


def check_graph(model: onnx.ModelProto, name: str) -> None:
    """Raise ModelError with the first findings, if there are any."""
    _raise(findings(model), name)


def _raise(found: list[str], name: str) -> None:
    if not found:
        return
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise ModelError(
        f"{name}: not a graph that TensorRT 8.6 to 11 takes: {'; '.join(found[:SHOWN])}{more}. Export the "
        "network again with plain operators (for PyTorch: opset 17, without custom layers)"
    )


def _problems(node: onnx.NodeProto, constants: set[str]) -> Iterator[str]:
    operator = f"{node.domain}::{node.op_type}" if node.domain not in _STANDARD_DOMAINS else node.op_type
    if operator not in ALLOWED:
        yield f"the operator {operator} is not taken"
        return
    attributes = {attribute.name: attribute for attribute in node.attribute}

    def word(name: str, default: str) -> str:
        return attributes[name].s.decode() if name in attributes else default

    if node.op_type == "Resize":
        if (mode := word("mode", "nearest")) not in _RESIZE_MODES:
            yield f"Resize with mode {mode} is not taken, only {' or '.join(sorted(_RESIZE_MODES))}"
        if (place := word("coordinate_transformation_mode", "half_pixel")) not in _RESIZE_PLACES:
            yield f"Resize with coordinates {place} is not taken"
    elif node.op_type == "Pad" and (mode := word("mode", "constant")) not in _PAD_MODES:
        yield f"Pad with mode {mode} is not taken"
    elif node.op_type == "MaxPool" and len(node.output) > 1:
        yield "MaxPool with indices is not taken"
    elif node.op_type in ("Conv", "ConvTranspose", "AveragePool", "MaxPool"):
        if "kernel_shape" in attributes and len(attributes["kernel_shape"].ints) not in (2, 3):
            yield f"{node.op_type} in {len(attributes['kernel_shape'].ints)} dimensions is not taken"
    elif node.op_type in _CONSTANT_SECOND and len(node.input) > 1 and node.input[1] not in {"", *constants}:
        yield f"{node.op_type} whose {_CONSTANT_SECOND[node.op_type]} is computed is not taken"


def _types(model: onnx.ModelProto) -> Iterator[str]:
    from onnx import TensorProto

    for value in (*model.graph.input, *model.graph.output):
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if kind not in FLOATS:
            yield f"the tensor {value.name} is {kind.lower()}; inputs and outputs must be float"
    for value in model.graph.value_info:
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if kind in ("STRING", "COMPLEX64", "COMPLEX128"):
            yield f"the tensor {value.name} is {kind.lower()}"


def _place(node: onnx.NodeProto) -> str:
    return f"node {node.name or (node.output[0] if node.output else '?')!r}"
