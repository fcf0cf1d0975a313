"""The article's generator: known by its weights alone, and its cut-outs turned into alpha.

256 x 256 x 3 in; 3 x 3 convolutions to 64, 128 and 256 channels, each with LeakyReLU (0.2) and batch
normalisation; a last one to 3 channels and tanh: the product's picture over one colour, all in -1..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import ModelError
from .edits import replace_nodes
from .keras_file import KerasFile

if TYPE_CHECKING:
    import onnx

SIZE_PX = 256
CHANNELS = (64, 128, 256)
SLOPE = 0.2
KEY = (255, 0, 255)
"""Magenta, RGB: what livecut's own training puts behind the cut-outs; photographs come least near it."""
STRENGTH = 1e-3
NEIGHBOURHOOD_PX = 5
_WAY_OUT = (
    "weights alone do not say their network: save the whole model (model.save('model.keras') or '.h5'), or "
    "export it to ONNX with tf2onnx"
)


# -- from weights alone


def article_file(
    weights: Mapping[str, Sequence[np.ndarray]], order: Sequence[str] | None, version: str, path: Path
) -> KerasFile:
    """The generator as a Sequential model, if that is what ``weights`` are of.

    Parameters
    ----------
    weights : mapping
        Layer -> its weights in their order.
    order : sequence of str, optional
        Layers as they follow each other, those without weights included; None where the file does not say.

    Raises
    ------
    ModelError
        If they are of another network; the message says how they differ.
    """
    kernels = {name: values[0].shape for name, values in weights.items() if values and values[0].ndim == 4}
    norms = {len(v[0]): name for name, v in weights.items() if len(v) == 4 and v[0].ndim == 1}
    others = [name for name, v in weights.items() if v and name not in {*kernels, *norms.values()}]
    chain = _chain(kernels)
    expected = f"3x3 convolutions 3 to {', '.join(map(str, CHANNELS))} to 3"
    is_chain = len(chain) == len(kernels) and [kernels[name][3] for name in chain] == [*CHANNELS, 3]
    if others or not is_chain or any(kernels[name][:2] != (3, 3) for name in chain):
        found = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in list(kernels.items())[:4])
        more = f" and {others[0]}" if others else ""
        raise ModelError(
            f"{path}: not the article's generator ({expected}): it has {found or 'no convolution'}{more}; "
            f"{_WAY_OUT}"
        )
    if sorted(norms) != sorted(CHANNELS):
        raise ModelError(
            f"{path}: not the article's generator: it has batch normalisation of {sorted(norms)} channels, "
            f"expected {list(CHANNELS)}; {_WAY_OUT}"
        )
    notes = ["taken for the article's generator by the shapes of its weights"]
    if order is None:
        notes.append("their order is not in the file: convolution, LeakyReLU 0.2, batch normalisation")
    norm_first = order is not None and _norm_before_activation(order, chain[0], norms[CHANNELS[0]])
    layers: list[dict[str, Any]] = []
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for name, width in zip(chain, (*CHANNELS, 3), strict=True):
        last = name == chain[-1]
        arrays[name] = dict(zip(("kernel", "bias"), weights[name], strict=False))
        layers.append(_convolution(name, width, len(weights[name]) > 1, "tanh" if last else "linear"))
        if last:
            break
        norm = norms[width]
        arrays[norm] = dict(
            zip(("gamma", "beta", "moving_mean", "moving_variance"), weights[norm], strict=True)
        )
        pair = [
            {"class_name": "LeakyReLU", "config": {"name": f"leaky_{width}", "alpha": SLOPE}},
            {"class_name": "BatchNormalization", "config": {"name": norm, "epsilon": 1e-3}},
        ]
        layers += reversed(pair) if norm_first else pair
    layers[0]["config"]["batch_input_shape"] = [None, SIZE_PX, SIZE_PX, 3]
    config = {"class_name": "Sequential", "config": {"name": "generator", "layers": layers}}
    return KerasFile(config, arrays, version, tuple(notes))


def _convolution(name: str, width: int, has_bias: bool, activation: str) -> dict[str, Any]:
    return {
        "class_name": "Conv2D",
        "config": {
            "name": name,
            "filters": width,
            "kernel_size": [3, 3],
            "strides": [1, 1],
            "padding": "same",
            "use_bias": has_bias,
            "activation": activation,
        },
    }


def _chain(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The convolutions as they follow each other, from 3 channels: each takes what the one before gives."""
    chain: list[str] = []
    width, left = 3, dict(shapes)
    while following := [name for name, shape in left.items() if shape[2] == width]:
        chain.append(following[0])
        width = left.pop(following[0])[3]
    return chain


def _norm_before_activation(order: Sequence[str], convolution: str, norm: str) -> bool:
    """Whether nothing that could be an activation lies between the first convolution and its normalisation.

    Layers are called what their makers like; only those that do nothing once trained are told by name.
    """
    names = list(order)
    between = names[names.index(convolution) + 1 : names.index(norm)]
    return not [name for name in between if not any(word in name.lower() for word in ("dropout", "noise"))]


# -- from its cut-out to alpha


def is_generator(file: KerasFile) -> bool:
    """Whether a model paints: three channels in, three out through a tanh, of the input's size."""
    last = file.layers[-1]
    activation = last["config"].get("activation")
    if isinstance(activation, dict):
        activation = activation.get("config")
    kernels = [arrays["kernel"] for arrays in file.arrays.values() if "kernel" in arrays]
    paints = activation == "tanh" and any(kernel.ndim == 4 and kernel.shape[3] == 3 for kernel in kernels)
    same = all(entry["config"].get("strides", [1, 1]) in ([1, 1], (1, 1), 1) for entry in file.layers)
    resizing = (
        "Pooling",
        "UpSampling",
        "Transpose",
        "Dense",
        "Flatten",
        "Reshape",
        "Cropping",
        "ZeroPadding",
    )
    return paints and same and not any(part in e["class_name"] for e in file.layers for part in resizing)


def alpha_of(image: np.ndarray, cutout: np.ndarray, key: Sequence[float] = KEY) -> np.ndarray:
    """How much of each pixel is product, from a picture and its cut-out over ``key``.

    The least-squares answer to ``cutout = key + alpha * (image - key)`` at the pixel; where the picture has
    nearly the key's colour, which leaves it undecided, over the pixel's neighbourhood.

    Parameters
    ----------
    image, cutout : ndarray of float32, shape (N, 3, H, W), in -1..1
    key : three floats
        RGB, 0..255.

    Returns
    -------
    ndarray of float32, shape (N, 1, H, W), in 0..1
    """
    back = np.asarray(key, np.float32).reshape(1, 3, 1, 1) / np.float32(127.5) - 1
    away = image - back
    agreement = ((cutout - back) * away).sum(1, keepdims=True)
    strength = (away * away).sum(1, keepdims=True)
    fine = agreement / (strength + STRENGTH)
    coarse = _mean(agreement) / (_mean(strength) + STRENGTH)
    sure = strength / (strength + 0.5)
    return np.clip(sure * fine + (1 - sure) * coarse, 0, 1).astype(np.float32)


def _mean(x: np.ndarray) -> np.ndarray:
    """Mean over the neighbourhood, of what of it lies inside."""
    size, reach = NEIGHBOURHOOD_PX, NEIGHBOURHOOD_PX // 2
    sides = ((0, 0), (0, 0), (reach, reach), (reach, reach))

    def total(values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, sides), (size, size), (2, 3))
        return windows.sum((-1, -2), dtype=np.float64)

    return total(x) / total(np.ones_like(x))


def with_alpha(model: onnx.ModelProto, key: Sequence[float] = KEY) -> onnx.ModelProto:
    """A generator's graph from ``image`` to ``alpha`` in place of its cut-out: ``alpha_of`` in ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(onnx.compose.add_prefix(model, "generator/"))
    graph = result.graph
    picture, cutout = graph.input[0].name, graph.output[0].name
    nodes: list[onnx.NodeProto] = [helper.make_node("Identity", ["image"], [picture], "image")]

    def op(kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    colour = np.asarray(key, np.float32).reshape(1, 3, 1, 1) / np.float32(127.5) - 1
    back, small = constant("fuse/key", colour), constant("fuse/small", np.array(STRENGTH))
    half, one = constant("fuse/half", np.array(0.5)), constant("fuse/one", np.array(1.0))
    channels = "fuse/channels"
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), channels))
    reach = NEIGHBOURHOOD_PX // 2
    around = {
        "kernel_shape": [NEIGHBOURHOOD_PX] * 2,
        "pads": [reach] * 4,
        "strides": [1, 1],
        "count_include_pad": 0,
    }
    away = op("Sub", "image", back, name="fuse/away")
    moved = op("Sub", cutout, back, name="fuse/moved")
    agreement = op("ReduceSum", op("Mul", moved, away, name="fuse/product"), channels, name="fuse/agreement")
    strength = op("ReduceSum", op("Mul", away, away, name="fuse/square"), channels, name="fuse/strength")
    fine = op("Div", agreement, op("Add", strength, small, name="fuse/fine_below"), name="fuse/fine")
    wide = op("AveragePool", strength, name="fuse/wide_strength", **around)
    coarse = op(
        "Div",
        op("AveragePool", agreement, name="fuse/wide_agreement", **around),
        op("Add", wide, small, name="fuse/coarse_below"),
        name="fuse/coarse",
    )
    sure = op("Div", strength, op("Add", strength, half, name="fuse/sure_below"), name="fuse/sure")
    kept = op("Mul", sure, op("Sub", fine, coarse, name="fuse/gain"), name="fuse/kept")
    zero = constant("fuse/zero", np.array(0.0))
    op("Clip", op("Add", coarse, kept, name="fuse/alpha"), zero, one, name="alpha")
    replace_nodes(graph, [nodes[0], *graph.node, *nodes[1:]])
    sides = list(graph.input[0].type.tensor_type.shape.dim)[2:]
    size = [side.dim_value or side.dim_param for side in sides]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size]))
    graph.output.append(helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, *size]))
    return result
