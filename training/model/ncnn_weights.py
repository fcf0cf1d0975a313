"""Weights of the second encoder from an ncnn NanoDet-m, whose backbone is ShuffleNetV2 1.0x (Apache-2.0).

``python -m livecut.training.model.ncnn_weights FILE.param`` compares the imported encoder with the file as
ncnn runs it (``pip install ncnn``) and prints the largest difference.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .shufflenet import ShuffleNet

MAGIC = "7767517"
HALF = 0x01306B47
"""What a convolution's weights in ``.bin`` begin with where they are float16."""
CONVOLUTIONS = {"Convolution", "ConvolutionDepthWise"}
WEIGHTLESS = {
    "BinaryOp", "Concat", "Input", "Interp", "Permute", "Pooling", "Reshape", "ShuffleChannel", "Sigmoid",
    "Slice", "Split",
}  # fmt: skip
# NanoDet's input: blue, green, red in 0..255, less the mean, through the deviation.
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
OURS = 127.5  # of our input both: (value - 127.5) / 127.5
TAPS = ("492", "623", "690")
"""What the file calls the features at 1/8, 1/16 and 1/32."""

Convolution = tuple[np.ndarray, np.ndarray]


def convolutions(path: Path) -> list[Convolution]:
    """Every convolution's ``(weight, bias)`` in the order of the file, float32.

    Parameters
    ----------
    path : Path
        The ``.param`` file; its ``.bin`` lies beside it.

    Returns
    -------
    list of (ndarray, ndarray)
        Weight (out, in / groups, kh, kw) as in torch, bias (out,).

    Raises
    ------
    ValueError
        If a file is of another kind, cut short, or holds weights this does not read.
    """
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError(f"{path}: expected ncnn's .param text, which begins with {MAGIC}")
    data = path.with_suffix(".bin").read_bytes()
    found, at = [], 0
    for line in lines[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        if kind not in CONVOLUTIONS | WEIGHTLESS:
            raise ValueError(f"{path}: {name} is of kind {kind}, whose weights are not read here")
        if kind in CONVOLUTIONS:
            settings = dict(entry.split("=", 1) for entry in rest[int(inputs) + int(outputs) :])
            try:
                convolution, at = _convolution(settings, data, at)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path.with_suffix('.bin')}: {name}: {error}") from None
            found.append(convolution)
    if at != len(data):
        raise ValueError(f"{path.with_suffix('.bin')}: {len(data)} bytes, expected {at}; copy it again")
    return found


def _convolution(settings: dict[str, str], data: bytes, at: int) -> tuple[Convolution, int]:
    """One convolution, and where the next one begins."""
    out, width, count = int(settings["0"]), int(settings["1"]), int(settings["6"])
    height = int(settings.get("11", width))
    mark = int.from_bytes(data[at : at + 4], "little")
    if mark not in (0, HALF):
        raise ValueError(f"expected float32 or float16 weights, got the mark {mark:#x}")
    kind = np.dtype("<f2" if mark == HALF else "<f4")
    weight = _numbers(data, at + 4, count, kind)
    at += 4 + (count * kind.itemsize + 3) // 4 * 4
    bias = np.zeros(out, np.float32)
    if settings.get("5") == "1":
        bias = _numbers(data, at, out, np.dtype("<f4"))
        at += 4 * out
    return (weight.reshape(out, -1, height, width), bias), at


def _numbers(data: bytes, at: int, count: int, kind: np.dtype) -> np.ndarray:
    if at + count * kind.itemsize > len(data):
        raise ValueError("cut short; copy it again")
    return np.frombuffer(data, kind, count, at).astype(np.float32)


def load_shufflenet(encoder: ShuffleNet, path: Path) -> None:
    """Fill ``encoder`` from the ``.param`` file and the ``.bin`` beside it, for input as livecut feeds it.

    The file's own input, BGR with mean and deviation, is folded into the first convolution; only along the
    picture's very edge, where that convolution sees padding, does it make a small difference.

    Raises
    ------
    ValueError
        If the files cannot be read, or a convolution does not have the encoder's shape.
    """
    first, *rest = convolutions(path)
    _fill(encoder, [_for_our_input(*first), *rest], path)


def _fill(encoder: ShuffleNet, source: Sequence[Convolution], path: Path) -> None:
    targets = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    if len(source) < len(targets):
        raise ValueError(f"{path}: {len(source)} convolutions, the encoder needs {len(targets)}")
    for index, (target, (weight, bias)) in enumerate(zip(targets, source, strict=False)):
        if tuple(target.weight.shape) != weight.shape:
            raise ValueError(
                f"{path}: convolution {index} has shape {weight.shape}, "
                f"the encoder needs {tuple(target.weight.shape)}"
            )
        assert target.bias is not None
        with torch.no_grad():
            target.weight.copy_(torch.from_numpy(weight))
            target.bias.copy_(torch.from_numpy(bias))


def _for_our_input(weight: np.ndarray, bias: np.ndarray) -> Convolution:
    mean, std = (np.asarray(values, np.float32).reshape(1, 3, 1, 1) for values in (MEAN_BGR, STD_BGR))
    offset = (weight * ((OURS - mean) / std)).sum((1, 2, 3))
    return np.ascontiguousarray((weight * (OURS / std))[:, ::-1]), bias + offset


def largest_differences(path: Path, size_wh: tuple[int, int] = (320, 192)) -> list[float]:
    """Largest difference of each feature from the file's, run by ncnn, over the feature's largest value.

    On noise, as the file's own input.
    """
    import ncnn

    encoder = ShuffleNet().eval()
    _fill(encoder, convolutions(path), path)
    image = np.random.default_rng(0).normal(0, 1, (3, size_wh[1], size_wh[0])).astype(np.float32)
    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise ValueError(f"{path}: ncnn cannot load it")
    run = net.create_extractor()
    run.input("input.1", ncnn.Mat(image))
    expected = [np.array(run.extract(name)[1]) for name in TAPS]
    del run  # before the net, whose memory it uses
    with torch.no_grad():
        got = [feature[0].numpy() for feature in encoder(torch.from_numpy(image)[None])]
    return [
        float(np.abs(mine - theirs).max() / np.abs(theirs).max())
        for mine, theirs in zip(got, expected, strict=True)
    ]


if __name__ == "__main__":
    shown = ", ".join(f"{value:.1e}" for value in largest_differences(Path(sys.argv[1])))
    print(f"largest difference of the features at 1/8, 1/16, 1/32, of their largest value: {shown}")
