"""Computes a Keras model in NumPy, channels last: what its ONNX graph is held against.

Plain on purpose, and shares no line with what writes the graph: another layout, other paddings, products of
matrices in place of convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engine.errors import ModelError
from .keras_file import KerasFile, Named
from .keras_lambdas import Channel, Resize, known_lambda

Settings = Mapping[str, Any]
MOST_UNROLLED = 1 << 22
"""Numbers of a picture's windows that are laid out at a time: 16 MB."""


def compute(file: KerasFile, image: np.ndarray) -> Named:
    """Every layer's answer to ``image``, float32 (N, H, W, C), by the layer's name.

    Raises
    ------
    ModelError
        If a layer is not known here.
    """
    values: Named = {}
    before = ""
    sequential = file.config["class_name"] == "Sequential"
    for entry in file.layers:
        kind, settings = entry["class_name"], entry["config"]
        name = settings["name"]
        if kind == "InputLayer" or (sequential and not before):
            values[name if kind == "InputLayer" else ""] = image
            if kind == "InputLayer":
                before = name
                continue
        sources = [before] if sequential else sources_of(entry)
        inputs = [values[source] for source in sources]
        if kind == "Lambda":
            values[name] = _lambda(inputs[0], known_lambda(settings, "the check"))
        elif kind in _LAYERS:
            values[name] = _LAYERS[kind](settings, file.weights(name), inputs)
        elif kind in ("Reshape", "Flatten"):
            values[name] = inputs[0]  # only at the end, where it lays a mask out as one row
        else:
            raise ModelError(f"the layer {name!r} is a {kind}, which the check does not know")
        before = name
    return values


def sources_of(entry: Mapping[str, Any]) -> list[str]:
    """Names of the layers that feed one, in Keras 2's and in Keras 3's way of writing it."""
    nodes = entry["inbound_nodes"]
    if not nodes:
        return []
    if isinstance(nodes[0], dict):
        found: list[str] = []
        waiting = list(nodes[0].get("args", []))
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, dict) and "keras_history" in value.get("config", {}):
                found.append(value["config"]["keras_history"][0])
            elif isinstance(value, (list, tuple)):
                waiting[:0] = value
        return found
    return [node[0] if isinstance(node, list) else node for node in nodes[0]]


# -- arithmetic


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _windows(
    x: np.ndarray, size: tuple[int, int], settings: Settings, fill: float = 0.0, default: Any = 1
) -> np.ndarray:
    """Every window over ``x``: (N, h, w, C, kh, kw). ``same`` pads what is missing, the end first."""
    strides, rates = _two(settings.get("strides") or default), _two(settings.get("dilation_rate", 1))
    sides = [(0, 0), (0, 0)]
    if settings.get("padding", "valid") == "same":
        for axis in (0, 1):
            length = x.shape[1 + axis]
            reach = (size[axis] - 1) * rates[axis] + 1
            steps = -(-length // strides[axis])
            missing = max((steps - 1) * strides[axis] + reach - length, 0)
            sides[axis] = (missing // 2, missing - missing // 2)
    padded = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=fill)
    reach_h, reach_w = ((k - 1) * rate + 1 for k, rate in zip(size, rates, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (reach_h, reach_w), (1, 2))
    return windows[:, :: strides[0], :: strides[1], :, :: rates[0], :: rates[1]]


def _activate(x: np.ndarray, name: Any) -> np.ndarray:
    if isinstance(name, dict):
        name = name.get("config", name.get("class_name"))
    known: dict[Any, Callable[[np.ndarray], np.ndarray]] = {
        None: lambda v: v,
        "linear": lambda v: v,
        "relu": lambda v: np.maximum(v, 0),
        "relu6": lambda v: np.clip(v, 0, 6),
        "sigmoid": _sigmoid,
        "tanh": np.tanh,
        "elu": lambda v: np.where(v > 0, v, np.expm1(np.minimum(v, 0))),
        "softplus": lambda v: np.logaddexp(v, 0),
        "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
        "swish": lambda v: v * _sigmoid(v),
        "silu": lambda v: v * _sigmoid(v),
        "softmax": _softmax,
    }
    if name not in known:
        raise ModelError(f"the activation {name!r} is not known to the check")
    return known[name](x).astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _finish(x: np.ndarray, settings: Settings, weights: Named) -> np.ndarray:
    if "bias" in weights:
        x = x + weights["bias"]
    return _activate(x.astype(np.float32), settings.get("activation"))


def _conv(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    kernel, x = weights["kernel"], inputs[0]
    taken, given = kernel.shape[2:]
    groups = x.shape[3] // taken
    parts = []
    for group in range(groups):
        mine = kernel[..., group * given // groups : (group + 1) * given // groups]
        windows = _windows(x[..., group * taken : (group + 1) * taken], kernel.shape[:2], settings)
        parts.append(_product(windows, mine))
    return _finish(np.concatenate(parts, -1), settings, weights)


def _product(windows: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Windows (N, h, w, C, kh, kw) by a kernel (kh, kw, C, M): (N, h, w, M).

    Unrolled a few rows at a time, for a product of matrices that lie in one piece is many times as fast.
    """
    count, height, width = windows.shape[:3]
    flat = kernel.reshape(-1, kernel.shape[3])
    answer = np.empty((count, height, width, flat.shape[1]), np.float32)
    rows = max(1, MOST_UNROLLED // (width * len(flat)))
    for picture in range(count):
        for top in range(0, height, rows):
            block = windows[picture, top : top + rows].transpose(0, 1, 3, 4, 2)  # (rows, w, kh, kw, C)
            product = block.reshape(-1, len(flat)) @ flat
            answer[picture, top : top + rows] = product.reshape(*block.shape[:2], -1)
    return answer


def _depthwise_only(settings: Settings, kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
    windows = _windows(x, kernel.shape[:2], settings)
    answer = np.einsum("nhwcij,ijcm->nhwcm", windows, kernel, optimize=True)
    return answer.reshape(*answer.shape[:3], -1)


def _depthwise(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    return _finish(_depthwise_only(settings, weights["depthwise_kernel"], inputs[0]), settings, weights)


def _separable(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    deep = _depthwise_only(settings, weights["depthwise_kernel"], inputs[0])
    return _finish(deep @ weights["pointwise_kernel"][0, 0], settings, weights)


def _transposed(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    """Each input pixel paints its kernel onto the answer; ``same`` keeps input * stride of it."""
    kernel, x, strides = weights["kernel"], inputs[0], _two(settings["strides"])
    (height, width), (rows, columns) = x.shape[1:3], kernel.shape[:2]
    full = [
        (height - 1) * strides[0] + max(rows, strides[0]),
        (width - 1) * strides[1] + max(columns, strides[1]),
    ]
    canvas = np.zeros((len(x), *full, kernel.shape[2]), np.float32)
    for row in range(rows):
        for column in range(columns):
            part = x @ kernel[row, column].T
            canvas[:, row : row + height * strides[0] : strides[0],
                   column : column + width * strides[1] : strides[1]][:, :height, :width] += part  # fmt: skip
    if settings["padding"] == "same":
        top, left = (max(k - s, 0) // 2 for k, s in zip((rows, columns), strides, strict=True))
        canvas = canvas[:, top : top + height * strides[0], left : left + width * strides[1]]
    return _finish(canvas, settings, weights)


def _normalise(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    scaled = (inputs[0] - mean) / np.sqrt(variance + np.float32(settings.get("epsilon", 1e-3)))
    return (scaled * weights.get("gamma", 1) + weights.get("beta", 0)).astype(np.float32)


def _leaky(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    slope = np.float32(settings.get("alpha", settings.get("negative_slope", 0.3)))
    return np.where(inputs[0] > 0, inputs[0], slope * inputs[0])


def _prelu(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    return np.where(inputs[0] > 0, inputs[0], weights["alpha"] * inputs[0])


def _relu(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    slope, most = settings.get("negative_slope") or 0.0, settings.get("max_value")
    x = np.where(inputs[0] > 0, inputs[0], np.float32(slope) * inputs[0])
    return x if most is None else np.minimum(x, np.float32(most))


def _most(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    size = _two(settings["pool_size"])
    return _windows(inputs[0], size, settings, -np.inf, size).max((-1, -2))


def _average(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    size = _two(settings["pool_size"])
    total = _windows(inputs[0], size, settings, 0.0, size).sum((-1, -2))
    return total / _windows(np.ones_like(inputs[0]), size, settings, 0.0, size).sum((-1, -2))


def _enlarge(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    down, across = _two(settings["size"])
    if settings.get("interpolation", "nearest") == "nearest":
        return inputs[0].repeat(down, 1).repeat(across, 2)
    height, width = inputs[0].shape[1:3]
    return _bilinear(inputs[0], (height * down, width * across), align_corners=False)


def _bilinear(x: np.ndarray, size_hw: tuple[int, int], *, align_corners: bool) -> np.ndarray:
    for axis, wanted in zip((1, 2), size_hw, strict=True):
        have = x.shape[axis]
        if align_corners:
            place = np.arange(wanted) * ((have - 1) / max(wanted - 1, 1))
        else:
            place = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if index == axis else 1 for index in range(4)])
        high = np.minimum(low + 1, have - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(np.float32)


def _lambda(x: np.ndarray, does: Resize | Channel) -> np.ndarray:
    if isinstance(does, Channel):
        return x[..., does.index : does.index + 1]
    return _bilinear(x, does.size_wh[::-1], align_corners=does.align_corners)


def _pad(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    return np.pad(inputs[0], ((0, 0), *(tuple(sides) for sides in settings["padding"]), (0, 0)))


def _sum(settings: Settings, weights: Named, inputs: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.sum(inputs, axis=0, dtype=np.float32))


_Layer = Callable[[Settings, Named, list[np.ndarray]], np.ndarray]
_LAYERS: dict[str, _Layer] = {
    "Activation": lambda settings, weights, inputs: _activate(inputs[0], settings["activation"]),
    "Add": _sum,
    "AveragePooling2D": _average,
    "BatchNormalization": _normalise,
    "BatchNormalizationV1": _normalise,
    "Concatenate": lambda settings, weights, inputs: np.concatenate(inputs, -1),
    "Conv2D": _conv,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv2D": _depthwise,
    "Dropout": lambda settings, weights, inputs: inputs[0],
    "GaussianNoise": lambda settings, weights, inputs: inputs[0],
    "LeakyReLU": _leaky,
    "MaxPooling2D": _most,
    "Maximum": lambda settings, weights, inputs: np.maximum.reduce(inputs),
    "Multiply": lambda settings, weights, inputs: np.multiply.reduce(inputs),
    "PReLU": _prelu,
    "ReLU": _relu,
    "SeparableConv2D": _separable,
    "Softmax": lambda settings, weights, inputs: _softmax(inputs[0]),
    "SpatialDropout2D": lambda settings, weights, inputs: inputs[0],
    "Subtract": lambda settings, weights, inputs: inputs[0] - inputs[1],
    "UpSampling2D": _enlarge,
    "ZeroPadding2D": _pad,
}
