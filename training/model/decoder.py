"""Context at 1/32, then up to 1/4 with skips, then sixteen alphas per position shuffled to full size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU. ``fold`` merges the first two for export."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Replace convolution and normalisation by one convolution. The block must be in evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def double(x: torch.Tensor) -> torch.Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """From the encoder's five features to the logits of alpha.

    Dense 3x3 convolutions on few channels: on a CPU they cost less per multiplication than depthwise
    ones. Level names match the encoder's: ``d16`` works at 1/16 of the picture.
    """

    def __init__(self, c32: int = 80, c16: int = 64, c8: int = 48, c4: int = 40, skip2: int = 24) -> None:
        super().__init__()
        self.context = ConvBlock(160, c32, 1)
        self.gate = nn.Conv2d(160, c32, 1)
        self.d16 = ConvBlock(c32 + 48, c16)
        self.d8 = ConvBlock(c16 + 16, c8)
        self.skip2 = nn.Conv2d(8, skip2, 4, 2, 1)
        self.d4 = ConvBlock(c8 + 12 + skip2, c4)
        self.head = nn.Conv2d(c4, 16, 3, padding=1)
        self.side16 = nn.Conv2d(c16, 1, 1)  # supervised in training only, absent from the exported graph
        self.side8 = nn.Conv2d(c8, 1, 1)

    def forward(
        self, f2: torch.Tensor, f4: torch.Tensor, f8: torch.Tensor, f16: torch.Tensor, f32: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ``head`` logits (N, 16, H/4, W/4) and the features behind the two side outputs."""
        x = self.context(f32) * torch.sigmoid(self.gate(f32.mean((2, 3), keepdim=True)))
        x16 = self.d16(torch.cat([double(x), f16], 1))
        x8 = self.d8(torch.cat([double(x16), f8], 1))
        x4 = self.d4(torch.cat([double(x8), f4, self.skip2(f2)], 1))
        return self.head(x4), x16, x8

    def fold(self) -> None:
        """Fold every batch normalisation, for export."""
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fold()
