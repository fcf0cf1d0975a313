"""An ONNX file as an eager PyTorch function: the same network, the way people run it by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .results import NotRun


class TorchGraph:
    """The graph of an ONNX file, node after node in PyTorch.

    Parameters
    ----------
    path : Path
    device : str
        Such as ``cuda`` or ``cpu``.
    half : bool
        Weights and activations in float16, channels last.

    Raises
    ------
    NotRun
        If PyTorch or onnx is missing, or the graph has an operator that is not written here.
    """

    def __init__(self, path: Path, device: str, *, half: bool) -> None:
        try:
            import onnx
            import torch
            from onnx import numpy_helper
        except ImportError as error:
            raise NotRun(f"PyTorch and onnx are needed: {error}") from None
        self._torch, self.device, self.half = torch, device, half
        self.dtype = torch.float16 if half else torch.float32
        graph = onnx.load(str(path)).graph
        self.inputs = [each.name for each in graph.input]
        self.outputs = [each.name for each in graph.output]
        self._constants: dict[str, np.ndarray] = {}
        for each in graph.initializer:
            self._constants[each.name] = numpy_helper.to_array(each)
        self._nodes = []
        for node in graph.node:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                self._constants[node.output[0]] = np.array(
                    numpy_helper.to_array(attributes["value"])
                    if "value" in attributes
                    else next(iter(attributes.values()))
                )
                continue
            if node.op_type not in _OPERATORS:
                raise NotRun(f"PyTorch's side has no {node.op_type}: write it in torch_graph.py")
            self._nodes.append((_OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        self._weights = {name: self.tensor(value) for name, value in self._constants.items()}

    def tensor(self, array: np.ndarray) -> Any:
        """On the device, in the graph's precision."""
        found = self._torch.from_numpy(np.array(array)).to(self.device)
        if found.is_floating_point():
            found = found.half() if self.half else found.float()
        if self.half and found.dim() == 4:
            found = found.contiguous(memory_format=self._torch.channels_last)
        return found

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; inputs are tensors on the device, in the graph's precision."""
        values = {**self._weights, **inputs}
        with self._torch.inference_mode():
            for run, names, outputs, attributes in self._nodes:
                found = run(
                    self._torch, [values[name] if name else None for name in names], attributes,
                    [self._constants.get(name) for name in names],
                )  # fmt: skip
                for name, value in zip(
                    outputs, found if isinstance(found, tuple) else (found,), strict=False
                ):
                    values[name] = value
        return {name: values[name] for name in self.outputs}


def _pads(attributes: Mapping[str, Any]) -> tuple[int, int]:
    pads = attributes.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:]:
        raise NotRun(f"PyTorch's side has no uneven padding {pads}")
    return pads[0], pads[1]


def _conv(torch: Any, x: list[Any], attributes: Mapping[str, Any], _: list[Any]) -> Any:
    return torch.nn.functional.conv2d(
        x[0], x[1], x[2] if len(x) > 2 else None, tuple(attributes.get("strides", (1, 1))), _pads(attributes),
        tuple(attributes.get("dilations", (1, 1))), attributes.get("group", 1),
    )  # fmt: skip


def _conv_transpose(torch: Any, x: list[Any], attributes: Mapping[str, Any], _: list[Any]) -> Any:
    return torch.nn.functional.conv_transpose2d(
        x[0], x[1], x[2] if len(x) > 2 else None, tuple(attributes.get("strides", (1, 1))), _pads(attributes),
        tuple(attributes.get("output_padding", (0, 0))), attributes.get("group", 1),
    )  # fmt: skip


def _clip(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    limits = [None if value is None else np.asarray(value).item() for value in constants[1:]]
    limits += [attributes.get("min"), attributes.get("max")][len(limits) :]
    return torch.clamp(x[0], *limits)


def _resize(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    mode = attributes.get("mode", b"nearest").decode()
    where = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if len(constants) > 3 and constants[3] is not None:
        size = [int(value) for value in constants[3][2:]]
    elif constants[2] is not None:
        size = [int(np.floor(n * s)) for n, s in zip(x[0].shape[2:], constants[2][2:], strict=True)]
    else:
        raise NotRun("PyTorch's side has no Resize to a computed size")
    if mode == "linear" and where in ("half_pixel", "pytorch_half_pixel"):
        return torch.nn.functional.interpolate(x[0], size, mode="bilinear", align_corners=False)
    if mode == "nearest" and where == "asymmetric":
        return torch.nn.functional.interpolate(x[0], size, mode="nearest")
    raise NotRun(f"PyTorch's side has no Resize {mode} {where}")


def _reduce_mean(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    axes = attributes.get("axes") or [int(value) for value in constants[1]]
    return x[0].mean(list(axes), keepdim=bool(attributes.get("keepdims", 1)))


def _depth_to_space(torch: Any, x: list[Any], attributes: Mapping[str, Any], _: list[Any]) -> Any:
    if attributes.get("mode", b"DCR") != b"CRD":
        raise NotRun("PyTorch's side has no DepthToSpace DCR")
    return torch.nn.functional.pixel_shuffle(x[0], attributes["blocksize"])


def _space_to_depth(torch: Any, x: list[Any], attributes: Mapping[str, Any], _: list[Any]) -> Any:
    n, c, h, w = x[0].shape
    b = attributes["blocksize"]
    split = x[0].reshape(n, c, h // b, b, w // b, b)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def _pool(function: str) -> Callable[..., Any]:
    def run(torch: Any, x: list[Any], attributes: Mapping[str, Any], _: list[Any]) -> Any:
        kernel = tuple(attributes["kernel_shape"])
        strides = tuple(attributes.get("strides", (1, 1)))
        more = {}
        if function == "avg_pool2d":
            more["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        return getattr(torch.nn.functional, function)(x[0], kernel, strides, _pads(attributes), **more)

    return run


def _reshape(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    if constants[1] is None:
        raise NotRun("PyTorch's side has no Reshape to a computed shape")
    wanted = [int(value) for value in constants[1]]
    return x[0].reshape([x[0].shape[i] if value == 0 else value for i, value in enumerate(wanted)])


def _slice(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    starts, ends = constants[1], constants[2]
    axes = constants[3] if len(constants) > 3 and constants[3] is not None else range(len(starts))
    steps = constants[4] if len(constants) > 4 and constants[4] is not None else [1] * len(starts)
    index = [slice(None)] * x[0].dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[int(axis)] = slice(int(start), min(int(end), x[0].shape[int(axis)]), int(step))
    return x[0][tuple(index)]


def _split(torch: Any, x: list[Any], attributes: Mapping[str, Any], constants: list[Any]) -> Any:
    axis = attributes.get("axis", 0)
    if len(constants) > 1 and constants[1] is not None:
        return torch.split(x[0], [int(value) for value in constants[1]], axis)
    return torch.chunk(x[0], attributes["num_outputs"], axis)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda torch, x, attributes, constants: function(torch, *x)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Clip": _clip, "Resize": _resize,
    "ReduceMean": _reduce_mean, "GlobalAveragePool": lambda t, x, a, c: x[0].mean((2, 3), keepdim=True),
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Reshape": _reshape, "Slice": _slice,
    "Split": _split, "MaxPool": _pool("max_pool2d"), "AveragePool": _pool("avg_pool2d"),
    "Concat": lambda t, x, a, c: t.cat(x, a["axis"]),
    "Transpose": lambda t, x, a, c: x[0].permute(*a["perm"]),
    "Add": _plain(lambda t, a, b: a + b), "Sub": _plain(lambda t, a, b: a - b),
    "Mul": _plain(lambda t, a, b: a * b), "Div": _plain(lambda t, a, b: a / b),
    "Min": _plain(lambda t, a, b: t.minimum(a, b)), "Max": _plain(lambda t, a, b: t.maximum(a, b)),
    "Abs": _plain(lambda t, a: a.abs()), "Neg": _plain(lambda t, a: -a),
    "Relu": _plain(lambda t, a: a.relu()),
    "Sigmoid": _plain(lambda t, a: a.sigmoid()), "Tanh": _plain(lambda t, a: a.tanh()),
    "HardSigmoid": lambda t, x, a, c: t.clamp(x[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1),
    "HardSwish": _plain(lambda t, a: t.nn.functional.hardswish(a)), "Identity": _plain(lambda t, a: a),
    "PRelu": _plain(lambda t, a, slope: t.where(a > 0, a, a * slope)),
}  # fmt: skip
