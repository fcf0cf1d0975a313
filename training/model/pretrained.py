"""Weights of an encoder: EfficientNet-Lite of a PyTorch file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from .efficientnet import EfficientNetLite

# EfficientNet-Lite's input, in 0..255: (value - mean) / std, and ours.
LITE_MEAN, LITE_STD, OURS = 127.0, 128.0, 127.5
LITE_EPSILON = 1e-3  # of its batch normalisation


def convolutions(path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
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
    return [(weight.float(), bias.float()) for weight, bias in found]


def load_encoder(encoder: EfficientNetLite, path: Path) -> None:
    """Fill ``encoder`` from the file, and bring its features to the size of a decoder's.

    Raises
    ------
    ValueError
        If the file has too few convolutions, or one that does not have the encoder's shape.
    """
    source = convolutions(path)
    targets = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    if len(source) < len(targets):
        raise ValueError(f"{path}: {len(source)} convolutions, the encoder needs {len(targets)}")
    for index, (target, (weight, bias)) in enumerate(zip(targets, source, strict=False)):
        if target.weight.shape != weight.shape:
            raise ValueError(
                f"{path}: convolution {index} has shape {tuple(weight.shape)}, "
                f"the encoder needs {tuple(target.weight.shape)}"
            )
        with torch.no_grad():
            target.weight.copy_(weight)
            assert target.bias is not None
            target.bias.copy_(bias)
    encoder.level()
