"""EfficientNet-Lite (Tan and Le 2019, the Lite variants of 2020), batch normalisation already folded.

Without squeeze-and-excitation and with ReLU6, so that it quantises well. The last stage and the classifier
are left out: they hold half of the weights and matter least to where an outline lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .depthwise import DepthwiseConv2d

STEM_CHANNELS = 32


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: the first has ``stride``; what the last gives is handed on where ``tap``."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int
    tap: bool


STAGES = (
    Stage(1, 16, 1, 1, 3, True),
    Stage(6, 24, 2, 2, 3, True),
    Stage(6, 40, 2, 2, 5, True),
    Stage(6, 80, 3, 2, 3, False),
    Stage(6, 112, 3, 1, 5, True),
    Stage(6, 192, 4, 2, 5, True),
)
# Of each variant, how much wider and deeper it is than the first.
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
FEATURE_SIZE = 8.0  # typical standard deviation of the features that ImageNet's weights give: 5 to 9


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise, 1x1 linear projection; added to the input where the shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, expansion: int, kernel: int = 3
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels_in, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            DepthwiseConv2d(hidden, kernel, stride),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, channels_out, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class EfficientNetLite(nn.Module):
    """Features of a picture at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Parameters
    ----------
    variant : int
        0, 1 or 2.
    spared : int
        How many of the blocks at 1/32 are left out, from the end.

    Attributes
    ----------
    channels : dict of int to int
        Of each feature, by its stride.
    """

    def __init__(self, variant: int = 0, spared: int = 0) -> None:
        super().__init__()
        width, depth = SCALES[variant]
        self.stem = nn.Sequential(nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1), nn.ReLU6(inplace=True))
        self.channels: dict[int, int] = {}
        stages, channels, reached = [], STEM_CHANNELS, 2
        for place, stage in enumerate(STAGES):
            blocks, channels_out = [], _wide(stage.channels, width)
            count = stage.blocks if place == 0 else math.ceil(stage.blocks * depth)
            if place == len(STAGES) - 1:
                count -= spared
            for index in range(count):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, channels_out, stride, stage.expansion, stage.kernel))
                channels = channels_out
            stages.append(nn.Sequential(*blocks))
            reached *= stage.stride
            if stage.tap:
                self.channels[reached] = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return ``[f2, f4, f8, f16, f32]`` of ``image``, float (N, 3, H, W), RGB in -1..1."""
        x = self.stem(image)
        features = []
        for stage, description in zip(self.stages, STAGES, strict=True):
            x = stage(x)
            if description.tap:
                features.append(x)
        return features

    @torch.no_grad()
    def level(self, size: float = FEATURE_SIZE) -> None:
        """Divide what every stage hands on by ``size`` and make the layers that take it undo that.

        What a picture gives stays the same up to the factor. As ImageNet left them, features stand at 5 to 9
        times the size of what a decoder adds beside them, which then learns slowly to be heard.
        """
        for place, stage in enumerate(self.stages):
            for index, block in enumerate(stage.children()):
                convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
                if place or index:
                    convolutions[0].weight.mul_(size)
                for parameter in convolutions[-1].parameters():
                    parameter.div_(size)


def _wide(channels: int, factor: float) -> int:
    """``channels`` times ``factor``, to the nearest multiple of 8, but not below nine tenths of it."""
    wanted = channels * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
