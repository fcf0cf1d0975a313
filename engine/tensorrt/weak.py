"""INT8 graphs with FP16 between the bytes, for TensorRT 8.6.

8.6 reads the scales of QuantizeLinear and DequantizeLinear as float32 whatever they are, and types nothing by
the graph around them. So it is given the same network in float32, the precision flags, and the names of the
layers that were half: those that were not are then held to float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DeviceUnavailable, ModelError

if TYPE_CHECKING:
    import onnx

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def float32_form(path: Path) -> tuple[bytes, frozenset[str]] | None:
    """The graph of ``path`` with float32 for half, and the names of its half layers.

    None where 8.6 reads the file as it is: where no scale is half.

    Raises
    ------
    DeviceUnavailable
        If the package onnx is missing.
    ModelError
        If its inputs or outputs are half.
    """
    try:
        import onnx
    except ImportError as error:
        raise DeviceUnavailable(
            "TensorRT 8.6 is given graphs by the package onnx, which is not installed: pip install onnx"
        ) from error
    try:
        model = onnx.load(str(path))
    except Exception:
        return None  # the parser says what is wrong with it
    half = onnx.TensorProto.FLOAT16
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == half}
    if not any(node.op_type in QUANTISERS and node.input[1] in halves for node in model.graph.node):
        return None
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == half:
            raise ModelError(f"{path.name}: {value.name} is fp16; an INT8 graph has fp32 inputs and outputs")
    names = _half_layers(model)
    _widen(model)
    return model.SerializeToString(), names


def _half_layers(model: onnx.ModelProto) -> frozenset[str]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    halves = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16}
    return frozenset(
        node.name
        for node in model.graph.node
        if node.op_type not in ("Cast", *QUANTISERS) and halves.intersection(node.output)
    )


def _widen(model: onnx.ModelProto) -> None:
    """Every half becomes float32, in place; casts between the two go, but those that make an output."""
    import onnx
    from onnx import numpy_helper

    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    types = {
        value.name: value.type.tensor_type.elem_type
        for graph in (onnx.shape_inference.infer_shapes(model).graph,)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    types.update({tensor.name: tensor.data_type for tensor in model.graph.initializer})
    outputs = {value.name for value in model.graph.output}
    now: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = now.get(name, name)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
            elif attribute.HasField("t") and attribute.t.data_type == half:
                wide = numpy_helper.to_array(attribute.t).astype("float32")
                attribute.t.CopyFrom(numpy_helper.from_array(wide, attribute.t.name))
        if node.op_type == "Cast" and node.output[0] not in outputs:
            to = next(attribute.i for attribute in node.attribute if attribute.name == "to")
            if to == single and types.get(node.input[0]) in (half, single):
                now[node.output[0]] = node.input[0]
                continue
        nodes.append(node)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    for tensor in model.graph.initializer:
        if tensor.data_type == half:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)
            )
