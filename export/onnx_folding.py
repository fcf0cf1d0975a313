"""Simplifies an ONNX graph without changing what it computes: constants, batch normalisation, dead ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .edits import Names, names_read, replace_nodes

if TYPE_CHECKING:
    import onnx

_NEVER = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}
_QUANTISING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
LARGEST_BYTES = 64 << 20
"""A constant larger than this is left to be computed: the file would grow for nothing."""


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` that computes the same with fewer nodes.

    What depends on weights alone is computed now, as are shapes that are known; batch normalisation goes into
    the convolution before it, or becomes one multiplication and one addition where there is none; identities,
    inference-time dropouts and what nothing uses are left out. Limits of a Clip become scalars, as ONNX wants
    them: not every runtime takes the lists of one number that some files hold. Names of inputs and outputs
    stay.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    before = -1
    while len(graph.node) != before:
        before = len(graph.node)
        _fold_shapes(result)
        _fold_constants(graph)
        _fold_normalisation(graph)
        _skip_identities(graph)
        _drop_unused(graph)
    _scale_normalisation(result)
    _limits_to_scalars(graph)
    _drop_unused(graph)
    del graph.value_info[:]
    return result


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _add(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))


def _fold_shapes(model: onnx.ModelProto) -> None:
    """Shapes of tensors whose sizes are all known become constants."""
    from onnx import shape_inference

    graph = model.graph
    if not any(node.op_type in ("Shape", "Size") for node in graph.node):
        return
    del graph.value_info[:]
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes: dict[str, list[int]] = {}
    for value in (*inferred.input, *inferred.value_info):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim):
            sizes[value.name] = [d.dim_value for d in shape.dim]
    kept = []
    for node in graph.node:
        size = sizes.get(node.input[0]) if node.op_type in ("Shape", "Size") else None
        if size is None:
            kept.append(node)
            continue
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Size":
            _add(graph, node.output[0], np.asarray(np.prod(size, dtype=np.int64)))
        else:
            part = size[attributes.get("start", 0) : attributes.get("end", len(size))]
            _add(graph, node.output[0], np.asarray(part, np.int64))
    replace_nodes(graph, kept)


def _fold_constants(graph: onnx.GraphProto) -> None:
    known = _constants(graph)
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        values = _computed(node, known) if not outputs & set(node.output) else None
        if values is None:
            kept.append(node)
            continue
        for name, value in values.items():
            known[name] = value
            _add(graph, name, value)
    replace_nodes(graph, kept)


def _computed(node: onnx.NodeProto, known: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """What ``node`` gives, or None where that is not constant, or not to be computed here."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type in _NEVER or node.op_type in _QUANTISING or node.domain not in ("", "ai.onnx"):
        return None
    names = [name for name in node.input if name]
    if any(name not in known for name in names) or any(a.HasField("g") for a in node.attribute):
        return None
    inputs = [_value_info(name, known[name]) for name in dict.fromkeys(names)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    try:
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
        values = evaluator.run(None, {name: known[name] for name in names})
    except Exception:  # whatever the evaluator cannot do stays in the graph: nothing is lost
        return None
    arrays = [np.asarray(value) for value in values]
    if sum(array.nbytes for array in arrays) > LARGEST_BYTES:
        return None
    return dict(zip((name for name in node.output if name), arrays, strict=True))


def _value_info(name: str, value: np.ndarray) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _fold_normalisation(graph: onnx.GraphProto) -> None:
    """Batch normalisation right after a convolution becomes part of its weights."""
    known, names = _constants(graph), Names(graph)
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    gone = []
    for node in graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if maker is None or maker.op_type not in ("Conv", "ConvTranspose") or uses[node.input[0]] != 1:
            continue
        affine = _affine(node, known)
        weight = known.get(maker.input[1])
        bias = known.get(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else np.float32(0)
        if affine is None or weight is None or bias is None:
            continue
        scale, shift = affine
        if maker.op_type == "Conv":
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        else:  # its weights are (in, out / groups, ...): the outputs of one group after another
            groups = next((a.i for a in maker.attribute if a.name == "group"), 1)
            spread = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
            weight = (weight.reshape(groups, -1, *weight.shape[1:]) * spread).reshape(weight.shape)
        name = node.output[0]
        weight_name, bias_name = names(f"{name}_weight"), names(f"{name}_bias")
        _add(graph, weight_name, weight.astype(np.float32))
        _add(graph, bias_name, (bias * scale + shift).astype(np.float32))
        inputs = [maker.input[0], weight_name, bias_name]
        del maker.input[:]
        maker.input.extend(inputs)
        maker.output[0] = name
        gone.append(node)
    replace_nodes(graph, [node for node in graph.node if not any(node is other for other in gone)])


def _affine(node: onnx.NodeProto, known: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift per channel that a batch normalisation comes to, in float64."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "training_mode" in attributes and attributes["training_mode"].i:
        return None
    if any(name not in known for name in node.input[1:5]):
        return None
    gamma, beta, mean, variance = (known[name].astype(np.float64) for name in node.input[1:5])
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _scale_normalisation(model: onnx.ModelProto) -> None:
    """Batch normalisation that follows no convolution becomes a multiplication and an addition."""
    from onnx import helper, shape_inference

    graph = model.graph
    if not any(node.op_type == "BatchNormalization" for node in graph.node):
        return
    del graph.value_info[:]
    inferred = shape_inference.infer_shapes(model).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    known, names = _constants(graph), Names(graph)
    kept = []
    for node in graph.node:
        affine = _affine(node, known) if node.op_type == "BatchNormalization" else None
        rank = ranks.get(node.input[0], 0)
        if affine is None or rank < 2:
            kept.append(node)
            continue
        name = node.output[0]
        scale, shift, scaled = (names(f"{name}_{part}") for part in ("scale", "shift", "scaled"))
        for part, value in zip((scale, shift), affine, strict=True):
            _add(graph, part, value.astype(np.float32).reshape(1, -1, *[1] * (rank - 2)))
        kept += [
            helper.make_node("Mul", [node.input[0], scale], [scaled], scaled),
            helper.make_node("Add", [scaled, shift], [name], node.name or name),
        ]
    replace_nodes(graph, kept)


def _limits_to_scalars(graph: onnx.GraphProto) -> None:
    known, names = _constants(graph), Names(graph)
    for node in graph.node:
        if node.op_type != "Clip":
            continue
        for index, name in enumerate(node.input):
            if index and name in known and known[name].shape and known[name].size == 1:
                scalar = names(f"{name}_scalar")
                if scalar not in known:
                    known[scalar] = known[name].reshape(())
                    _add(graph, scalar, known[scalar])
                node.input[index] = scalar


def _skip_identities(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in instead:
                node.input[index] = instead[name]
        idle = node.op_type in ("Identity", "Dropout") and not any(node.output[1:])
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            idle = False  # a training mode that is computed
        if idle and node.output[0] not in outputs:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_nodes(graph, kept)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used & set(node.output):
            kept.append(node)
            used.update(names_read(node))
    replace_nodes(graph, kept[::-1])
    held, names = [], set()
    for tensor in reversed(graph.initializer):  # the newest of a name counts
        if tensor.name in used and tensor.name not in names:
            names.add(tensor.name)
            held.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(held[::-1])
