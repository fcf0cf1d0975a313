"""Weights of an encoder: MobileNetV2-0.5 of a TensorFlow Lite DeepLabv3, EfficientNet-Lite of a PyTorch file.

``python -m livecut.training.model.pretrained FILE.tflite`` compares the imported encoder with the file as
OpenVINO runs it and prints the largest difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...engine.openvino_core import openvino_core
from .efficientnet import EfficientNetLite
from .encoder import Encoder

ENCODER_INPUT_PX = 257
# EfficientNet-Lite's input, in 0..255: (value - mean) / std, and ours.
LITE_MEAN, LITE_STD, OURS = 127.0, 128.0, 127.5
LITE_EPSILON = 1e-3  # of its batch normalisation


def convolutions(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every convolution's ``(weight, bias)`` in graph order; weight (out, in/groups, kh, kw) as in torch."""
    import tflite

    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)

    def tensor(index: int) -> np.ndarray:
        info = graph.Tensors(index)
        return model.Buffers(info.Buffer()).DataAsNumpy().view(np.float32).reshape(info.ShapeAsNumpy())

    found = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        kind = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if kind == tflite.BuiltinOperator.CONV_2D:
            weight = tensor(operator.Inputs(1)).transpose(0, 3, 1, 2)
        elif kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D:
            weight = tensor(operator.Inputs(1)).transpose(3, 0, 1, 2)
        else:
            continue
        found.append((weight, tensor(operator.Inputs(2))))
    return found


def lite_convolutions(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every convolution's ``(weight, bias)`` in graph order, with the normalisation after it folded in.

    The first is changed so that the input may be in -1..1.

    Raises
    ------
    ValueError
        If the file is not an EfficientNet-Lite as PyTorch saves its tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = []
        for name in (key for key in state if key.endswith("_conv.weight") or key == "_conv_stem.weight"):
            weight = state[name].double()
            inside, _, own = name.removesuffix(".weight").rpartition(".")
            # A block has _expand_conv with _bn0, _depthwise_conv with _bn1, _project_conv with _bn2.
            norm = {"_depthwise_conv": "_bn1", "_project_conv": "_bn2"}.get(own, "_bn0")
            prefix = f"{inside}.{norm}" if inside else norm
            parts = (f"{prefix}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
            gain, shift, mean, variance = (state[part].double() for part in parts)
            scale = gain / (variance + LITE_EPSILON).sqrt()
            found.append((weight * scale.view(-1, 1, 1, 1), shift - mean * scale))
        weight, bias = found[0]
    except Exception as error:  # torch raises many kinds for a file that is damaged or another
        raise ValueError(
            f"{path}: not an EfficientNet-Lite of PyTorch ({type(error).__name__}: {error})"
        ) from None
    bias = bias + (weight * ((OURS - LITE_MEAN) / LITE_STD)).sum((1, 2, 3))
    found[0] = (weight * (OURS / LITE_STD), bias)
    return [(weight.float().numpy(), bias.float().numpy()) for weight, bias in found]


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Fill ``encoder`` from the file.

    Raises
    ------
    ValueError
        If the file has too few convolutions, or one that does not have the encoder's shape.
    """
    source = lite_convolutions(path) if isinstance(encoder, EfficientNetLite) else convolutions(path)
    targets = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    if len(source) < len(targets):
        raise ValueError(f"{path}: {len(source)} convolutions, the encoder needs {len(targets)}")
    for index, (target, (weight, bias)) in enumerate(zip(targets, source, strict=False)):
        if tuple(target.weight.shape) != weight.shape:
            raise ValueError(
                f"{path}: convolution {index} has shape {weight.shape}, "
                f"the encoder needs {tuple(target.weight.shape)}"
            )
        with torch.no_grad():
            target.weight.copy_(torch.from_numpy(weight.copy()))
            if target.bias is not None:
                target.bias.copy_(torch.from_numpy(bias.copy()))
    if isinstance(encoder, EfficientNetLite):
        encoder.level()


def largest_difference(path: Path) -> float:
    """Largest difference of the dilated encoder's last feature from the file's, run by OpenVINO, on noise."""
    import openvino

    encoder = Encoder(dilated=True).eval()
    load_encoder(encoder, path)
    core = openvino_core()
    model = core.read_model(str(path))
    pooling = next(op for op in model.get_ordered_ops() if op.get_type_name() == "AvgPool")
    probe = openvino.Model([pooling.input_value(0)], model.get_parameters())
    compiled = core.compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = (
        np.random.default_rng(0).uniform(-1, 1, (1, ENCODER_INPUT_PX, ENCODER_INPUT_PX, 3)).astype(np.float32)
    )
    expected = np.asarray(compiled(image)[0])
    with torch.no_grad():
        got = encoder(torch.from_numpy(image.transpose(0, 3, 1, 2)))[-1].numpy()
    if expected.shape != got.shape:
        expected = expected.transpose(0, 3, 1, 2)
    return float(np.abs(expected - got).max())


if __name__ == "__main__":
    print(f"largest difference of the last feature: {largest_difference(Path(sys.argv[1])):.2e}")
