"""ShuffleNetV2 1.0x, batch normalisation already folded into its convolutions: livecut-m's second encoder."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS = (116, 232, 464)
"""Of the features at 1/8, 1/16 and 1/32."""
STEM_CHANNELS = 24
UNITS = (3, 7, 3)
"""Units of each stage after the one that halves the size."""
SLOPE = 0.1  # of the leaky ReLUs, as in the weights that are loaded


def _pointwise(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 1), nn.LeakyReLU(SLOPE)]


def _depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)


class Halving(nn.Module):
    """Two branches over the whole input, each at half its size and with half of the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.plain = nn.Sequential(_depthwise(channels_in, 2), *_pointwise(channels_in, half))
        self.deep = nn.Sequential(
            *_pointwise(channels_in, half), _depthwise(half, 2), *_pointwise(half, half)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.plain(x), self.deep(x)], 1)


class Shuffle(nn.Module):
    """Channels in another order: one of the lower half, one of the upper half, and so on."""

    order: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        order = torch.arange(channels).view(2, -1).T.flatten()
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.index_select(1, self.order)  # exported, a Gather, which needs no shape at run time


class Unit(nn.Module):
    """Half of the channels pass as they are, the other half through three convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.passed = half = channels // 2
        self.deep = nn.Sequential(*_pointwise(half, half), _depthwise(half), *_pointwise(half, half))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, : self.passed], self.deep(x[:, self.passed :])], 1)


class ShuffleNet(nn.Module):
    """Features of a picture at 1/8, 1/16 and 1/32 of its size, with ``CHANNELS``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1), nn.LeakyReLU(SLOPE))
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, before = [], STEM_CHANNELS
        for channels, units in zip(CHANNELS, UNITS, strict=True):
            layers: list[nn.Module] = [Halving(before, channels), Shuffle(channels)]
            for _ in range(units):
                layers += [Unit(channels), Shuffle(channels)]
            stages.append(nn.Sequential(*layers))
            before = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return ``[f8, f16, f32]`` of ``image``, float (N, 3, H, W), RGB in -1..1."""
        x = self.pool(self.stem(image))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
