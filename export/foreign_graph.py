"""Wraps a network from elsewhere into livecut's contract: ``image`` in, ``alpha`` in 0..1 out, named states.

What the engine would otherwise have to know goes into the graph: layout, dtype, which output and channel, the
activation, the size. What is left to the manifest is colour, mean, std and fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import ModelError
from .onnx_file import opset_of
from .recipes import Recipe, RecipeError, Signature

if TYPE_CHECKING:
    import onnx

IMAGE, ALPHA = "image", "alpha"
PREFIX = "net/"
FLAT = 1e-4
"""An output whose values differ by less than this has nothing in it for min-max to spread."""
# First opset in which the axes are an input and no attribute.
_AXES_INPUT = {"ReduceSum": 13, "Unsqueeze": 13, "ReduceMax": 18, "ReduceMin": 18}
_THROUGH = {"Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Clip"}
_THROUGH |= {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True)
class Feed:
    """How the file takes its picture, once recipe and file have been laid together."""

    input_name: str
    layout: str
    dtype: str
    size_wh: tuple[int, int] | None
    """None where the size is free."""
    output_name: str
    states: Mapping[str, tuple[str, str, tuple[int | None, ...]]]
    """State input -> (output, dtype, shape)."""
    constants: Mapping[str, tuple[str, tuple[int | None, ...]]]
    """Further input -> (dtype, shape)."""

    def to_raw(self, image_nchw: np.ndarray) -> np.ndarray:
        """A picture, already normalised, as the file itself takes it."""
        raw = image_nchw.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image_nchw
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            raw = np.clip(np.rint(raw), info.min, info.max)
        return np.ascontiguousarray(raw.astype(dtype))


def lay_together(recipe: Recipe, signature: Signature) -> tuple[Feed, list[str]]:
    """Find the tensors of ``recipe`` in a file; also what is to be said where the file knows better.

    Raises
    ------
    RecipeError
        If the recipe does not fit the file; the message says where.
    """
    notes: list[str] = []
    name = recipe.input_name or signature.picture()
    if name is None or name not in signature.inputs:
        wanted = f"an input {name!r}" if name else "one input of four axes with three channels"
        raise _misfit(recipe, f"wants {wanted}", signature)
    dtype, shape = signature.inputs[name]
    if len(shape) != 4:
        raise _misfit(recipe, f"wants an input {name!r} of four axes", signature)
    if shape[0] not in (1, None):
        raise ModelError(f"the input {name!r} takes {shape[0]} pictures at once; export it with a batch of 1")
    layout = recipe.input_layout
    channels, other = (1, 3) if layout == "NCHW" else (3, 1)
    if shape[channels] not in (3, None):
        if shape[other] != 3:
            raise _misfit(recipe, f"wants three channels in {name!r}", signature)
        layout = "NHWC" if layout == "NCHW" else "NCHW"
        notes.append(f"the picture's layout is {layout}, other than the recipe says")
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    states = {}
    for rule in recipe.state:
        if rule.input not in signature.inputs or rule.output not in signature.outputs:
            raise _misfit(recipe, f"wants a state {rule.input!r} -> {rule.output!r}", signature)
        states[rule.input] = (rule.output, *signature.inputs[rule.input])
    constants = {key: signature.inputs[key] for key in recipe.constants if key in signature.inputs}
    if surplus := sorted(set(signature.inputs) - {name, *states, *constants}):
        raise _misfit(recipe, f"says nothing of the input {surplus[0]!r}", signature)
    outputs = list(signature.outputs)
    if isinstance(recipe.output, str):
        if recipe.output not in outputs:
            raise _misfit(recipe, f"wants an output {recipe.output!r}", signature)
        output = recipe.output
    elif not -len(outputs) <= recipe.output < len(outputs):
        raise _misfit(recipe, f"wants an output at position {recipe.output}", signature)
    else:
        output = outputs[recipe.output]
    size = None if width is None or height is None else (width, height)
    return Feed(name, layout, dtype, size, output, states, constants), notes


def constant_value(
    value: Any, shape: Sequence[int | None], dtype: str, size_wh: tuple[int, int]
) -> np.ndarray:
    """The array for a further input: a number, numbers, or ``{"longest": n}``: min(1, n / longest side)."""
    if isinstance(value, Mapping):
        if set(value) != {"longest"}:
            raise RecipeError(f"constants: expected numbers or {{ longest = n }}, got {dict(value)!r}")
        value = min(1.0, value["longest"] / max(size_wh))
    array = np.asarray(value, np.dtype(dtype))
    wanted = [1 if size is None else size for size in shape]
    try:
        return np.ascontiguousarray(np.broadcast_to(array, wanted))
    except ValueError:
        raise RecipeError(f"constants: expected numbers of shape {wanted}, got {value!r}") from None


def activations_left(
    model: onnx.ModelProto, output: str, wanted: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The activations that ``output`` does not end in already, and what is to be said of the others."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _THROUGH:
        node = makers.get(node.input[0])
    last = node.op_type if node is not None else ""
    there = {"Sigmoid": "sigmoid", "HardSigmoid": "sigmoid", "Softmax": "softmax"}.get(last)
    left = [step for step in wanted if step not in ("none", there)]
    return left, [f"the file ends in a {there} already: none is added"] if there in wanted else []


@dataclass(frozen=True)
class Plan:
    """Everything that ``wrap`` puts around a file."""

    feed: Feed
    raw_shape: tuple[int, ...]
    """Shape of the output at ``size_wh``, as it came out of a run."""
    size_wh: tuple[int, int]
    fixed: bool
    """Whether the wrapped graph is for ``size_wh`` alone."""
    nhwc: bool
    channel: int | None
    activations: tuple[str, ...]
    invert: bool
    resize: bool
    constants: Mapping[str, np.ndarray]
    states: Mapping[str, tuple[int | str, ...]]
    """State input -> shape in the wrapped graph: numbers, or names of free sizes."""


def wrap(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """``model`` taking ``image`` (1, 3, h, w) and giving ``alpha`` (1, 1, h, w) in 0..1, both float32.

    States keep their names and become float32. ``model`` is left as it was.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inner = onnx.compose.add_prefix(model, PREFIX)
    graph, feed = inner.graph, plan.feed
    del graph.value_info[:]  # sizes in between may change
    nodes = _Nodes(opset_of(inner))
    x = IMAGE
    if feed.layout == "NHWC":
        x = nodes.op("Transpose", x, perm=[0, 2, 3, 1])
    if np.dtype(feed.dtype).kind in "iu":
        info = np.iinfo(np.dtype(feed.dtype))
        x = nodes.op("Clip", nodes.op("Round", x), nodes.number(info.min), nodes.number(info.max))
    nodes.cast(x, PREFIX + feed.input_name, feed.dtype)
    for name, (_, dtype, _) in feed.states.items():
        nodes.cast(name, PREFIX + name, dtype)
    before = list(nodes.nodes)
    nodes.nodes.clear()
    alpha = _alpha(nodes, PREFIX + feed.output_name, plan)
    nodes.op("Clip", alpha, nodes.number(0), nodes.number(1), name=ALPHA)
    for name, (output, dtype, _) in feed.states.items():
        nodes.cast(PREFIX + output, output, "float32", always=dtype != "float32")
        del name

    size: tuple[int | str, ...] = (plan.size_wh[1], plan.size_wh[0]) if plan.fixed else ("height", "width")
    inputs = [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 3, *size])]
    outputs = [helper.make_tensor_value_info(ALPHA, TensorProto.FLOAT, [1, 1, *size])]
    for name, shape in plan.states.items():
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        outputs.append(helper.make_tensor_value_info(feed.states[name][0], TensorProto.FLOAT, list(shape)))
    weights = [*graph.initializer, *nodes.weights]
    weights += [numpy_helper.from_array(array, PREFIX + name) for name, array in plan.constants.items()]
    wrapped = helper.make_graph([*before, *graph.node, *nodes.nodes], "livecut", inputs, outputs, weights)
    wrapped.sparse_initializer.extend(graph.sparse_initializer)
    result = helper.make_model(
        wrapped,
        opset_imports=list(inner.opset_import),
        functions=list(inner.functions),
        ir_version=max(inner.ir_version, 8),
        producer_name="livecut",
    )
    onnx.checker.check_model(result)
    return result


def _alpha(nodes: _Nodes, x: str, plan: Plan) -> str:
    """From the file's output to a plane (1, 1, h, w) in 0..1."""
    x = nodes.op("Cast", x, to=_float())
    rank = len(plan.raw_shape)
    if rank in (2, 3):  # (h, w) or (1, h, w): a plane without a channel axis
        x = nodes.axes("Unsqueeze", x, [0, 1] if rank == 2 else [1])
    elif plan.nhwc:
        x = nodes.op("Transpose", x, perm=[0, 3, 1, 2])
    for step in plan.activations:
        if step == "softmax":
            x = nodes.softmax(x)
    if plan.channel is not None:
        x = nodes.op("Gather", x, nodes.constant(np.array([plan.channel], np.int64)), axis=1)
    for step in plan.activations:
        if step == "sigmoid":
            x = nodes.op("Sigmoid", x)
        elif step == "minmax":
            low = nodes.axes("ReduceMin", x, [1, 2, 3], keepdims=1)
            high = nodes.axes("ReduceMax", x, [1, 2, 3], keepdims=1)
            spread = nodes.op("Max", nodes.op("Sub", high, low), nodes.number(FLAT))
            x = nodes.op("Div", nodes.op("Sub", x, low), spread)
    if plan.invert:
        x = nodes.op("Sub", nodes.number(1), x)
    if plan.resize:
        x = _resized(nodes, x, plan)
    return x


def _resized(nodes: _Nodes, x: str, plan: Plan) -> str:
    if plan.fixed:
        sizes = nodes.constant(np.array([1, 1, plan.size_wh[1], plan.size_wh[0]], np.int64))
    else:
        shape = nodes.op("Shape", IMAGE)
        last = nodes.op("Gather", shape, nodes.constant(np.array([2, 3], np.int64)), axis=0)
        sizes = nodes.op("Concat", nodes.constant(np.array([1, 1], np.int64)), last, axis=0)
    return nodes.op("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")


class _Nodes:
    """Collects nodes and constants, with names that a file from elsewhere cannot have."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.numbers = itertools.count()

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or f"livecut/{kind.lower()}{next(self.numbers)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"livecut/constant{next(self.numbers)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def axes(self, kind: str, x: str, axes: list[int], **attributes: Any) -> str:
        if self.opset >= _AXES_INPUT[kind]:
            return self.op(kind, x, self.constant(np.array(axes, np.int64)), **attributes)
        return self.op(kind, x, axes=axes, **attributes)

    def softmax(self, x: str) -> str:
        """Over the channels of (1, c, h, w); before opset 13 Softmax flattens what follows its axis."""
        if self.opset >= 13:
            return self.op("Softmax", x, axis=1)
        powers = self.op("Exp", self.op("Sub", x, self.axes("ReduceMax", x, [1], keepdims=1)))
        return self.op("Div", powers, self.axes("ReduceSum", powers, [1], keepdims=1))

    def cast(self, x: str, name: str, dtype: str, *, always: bool = False) -> str:
        from onnx import helper

        if dtype == "float32" and not always:
            return self.op("Identity", x, name=name)
        return self.op("Cast", x, name=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _float() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)


def _misfit(recipe: Recipe, what: str, signature: Signature) -> RecipeError:
    return RecipeError(
        f"the recipe {recipe.name} {what}, and the file has {signature}; take another --recipe"
    )
