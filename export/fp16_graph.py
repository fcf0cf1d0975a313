"""Writes FP16 into an ONNX graph, once it is known which layers may be half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import edits

if TYPE_CHECKING:
    import onnx

HALF_MAX = 65504.0
# Inputs that ONNX types as float32 whatever the data is: position in the node's inputs.
FLOAT_INPUTS = {"Resize": {1, 2}, "Upsample": {1}}


class Rewriter:
    """Goes through the nodes in order, and casts a tensor once where two neighbours disagree on its type.

    Parameters
    ----------
    model : onnx.ModelProto
        Float32, its nodes named; not changed.
    floats : set of str
        Its float32 tensors.
    kept : set of str
        Nodes that stay float32.
    """

    def __init__(self, model: onnx.ModelProto, floats: set[str], kept: set[str]) -> None:
        import onnx

        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.weights = {
            tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
        }
        self.floats, self.kept = floats, kept
        self.outputs = {value.name for value in graph.output}
        self.half: dict[str, str] = {}
        """Tensor -> the name under which its half form goes."""
        self.made_half: set[str] = set()
        """Tensors whose layer computes in half: no cast makes their half form."""
        self.single = {value.name: value.name for value in graph.input if value.name not in self.weights}
        self.single.update({name: name for name in self.weights})
        self.nodes: list[onnx.NodeProto] = []
        self.name = edits.Names(model.graph)
        self.casts = 0

    def run(self) -> tuple[onnx.ModelProto, int]:
        """The graph in FP16, and how many casts that took."""
        graph = self.model.graph
        for node in list(graph.node):
            self.take(node)
        for name in sorted(self.outputs & set(self.half)):
            if name not in self.single:
                self._cast(self.half[name], name, to_half=False)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        used = {name for node in graph.node for name in node.input} | self.outputs
        weights = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(weights)
        return self.model, self.casts

    def take(self, node: onnx.NodeProto) -> None:
        """Add one node of the source, half or not."""
        import onnx

        half = node.name not in self.kept
        float_inputs = FLOAT_INPUTS.get(node.op_type, set())
        for position, name in enumerate(node.input):
            if name in self.floats or name in self.weights:
                node.input[position] = self.read(name, half and position not in float_inputs)
        for position, name in enumerate(node.output):
            if name not in self.floats:
                continue
            if not half:
                self.single[name] = name
                continue
            self.made_half.add(name)
            if name in self.outputs:
                node.output[position] = self.half[name] = self.name(f"{name}_half")
            else:
                self.half[name] = name
        if half:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and node.output[0] in self.half.values():
                    attribute.i = onnx.TensorProto.FLOAT16
                elif attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.FLOAT:
                    array = onnx.numpy_helper.to_array(attribute.t)
                    attribute.t.CopyFrom(onnx.numpy_helper.from_array(as_half(array), attribute.t.name))
        self.nodes.append(node)

    def read(self, name: str, half: bool) -> str:
        """The name of a tensor's half or float32 form, which is made where there is none yet."""
        known, other = (self.half, self.single) if half else (self.single, self.half)
        if name in known:
            return known[name]
        if half and name in self.weights:
            import onnx

            array = as_half(onnx.numpy_helper.to_array(self.weights[name]))
            known[name] = self.name(f"{name}_half")
            self.model.graph.initializer.append(onnx.numpy_helper.from_array(array, known[name]))
            return known[name]
        # an output of the graph may be read in float32 inside as well: it is then cast to its own name
        own = not half and name in self.outputs
        target = name if own else self.name(f"{name}_{'half' if half else 'single'}")
        self._cast(other[name], target, to_half=half)
        known[name] = target
        return target

    def _cast(self, source: str, target: str, *, to_half: bool) -> None:
        import onnx

        kind = onnx.TensorProto.FLOAT16 if to_half else onnx.TensorProto.FLOAT
        name = f"{target}_cast"
        self.nodes.append(onnx.helper.make_node("Cast", [source], [target], name=name, to=kind))
        self.casts += 1


def as_half(array: np.ndarray) -> np.ndarray:
    """Rounded to half; what is larger than the largest half, as "no limit" is in Clip, becomes that."""
    finite = np.clip(array, -HALF_MAX, HALF_MAX)
    return np.where(np.isfinite(array), finite, array).astype(np.float16)
