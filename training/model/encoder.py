"""MobileNetV2 with width multiplier 0.5, batch normalisation already folded into the convolutions."""

from __future__ import annotations

import torch
from torch import nn

# expansion, output channels, blocks, stride of the first block
STAGES = (
    (1, 8, 1, 1),
    (6, 12, 2, 2),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)
# The blocks after which a feature is handed to the decoder, with that feature's stride and channels.
TAPS = {0: (2, 8), 2: (4, 12), 5: (8, 16), 12: (16, 48), 16: (32, 160)}
STRIDE_OF_DILATED = 8


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise, 1x1 linear projection; added to the input where the shapes agree."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: int,
        expansion: int,
        dilation: int = 1,
        *,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        hidden, padding = channels_in * expansion, kernel // 2 * dilation
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels_in, hidden, 1), nn.ReLU6()]
        layers += [
            nn.Conv2d(hidden, hidden, kernel, stride, padding, dilation, groups=hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, channels_out, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Encoder(nn.Module):
    """Features of a picture at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Parameters
    ----------
    dilated : bool
        Keep 1/8 from the fourth stage on and dilate instead, as DeepLab does. Only the check of the
        imported weights needs it (``pretrained.py``).

    Attributes
    ----------
    channels : dict of int to int
        Of each feature, by its stride.
    """

    def __init__(self, dilated: bool = False) -> None:
        super().__init__()
        self.channels = dict(TAPS.values())
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU6())
        blocks, channels, reached, dilation = [], 16, 2, 1
        for expansion, channels_out, count, first_stride in STAGES:
            for index in range(count):
                stride, next_dilation = (first_stride if index == 0 else 1), dilation
                if dilated and stride == 2 and reached == STRIDE_OF_DILATED:
                    stride, next_dilation = 1, dilation * 2
                reached *= stride
                blocks.append(InvertedResidual(channels, channels_out, stride, expansion, dilation))
                channels, dilation = channels_out, next_dilation
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return ``[f2, f4, f8, f16, f32]`` of ``image``, float (N, 3, H, W), RGB in -1..1."""
        x = self.stem(image)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                features.append(x)
        return features
