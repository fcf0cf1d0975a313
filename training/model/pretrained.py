"""Weights of the encoder from a TensorFlow Lite DeepLabv3 MobileNetV2-0.5 (Apache-2.0).

``python -m livecut.training.model.pretrained FILE`` compares the imported encoder with the file as
OpenVINO runs it and prints the largest difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...engine.openvino_core import openvino_core
from .encoder import Encoder

ENCODER_INPUT_PX = 257


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


def load_encoder(encoder: Encoder, path: Path) -> None:
    """Fill ``encoder`` from the file.

    Raises
    ------
    ValueError
        If a convolution of the file does not have the encoder's shape.
    """
    source = convolutions(path)
    targets = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
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
