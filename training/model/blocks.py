"""The layers that decoder, context and memory are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .depthwise import DepthwiseConv2d


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU unless ``linear``. ``fold`` merges the first two for export."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        *,
        depthwise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = (
            DepthwiseConv2d(channels_out, kernel, bias=False)
            if depthwise
            else nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        self.linear = linear

    def forward(self, x: torch.Tensor, more: torch.Tensor | None = None) -> torch.Tensor:
        x = self.norm(self.conv(x))
        if more is not None:
            x = x + more
        return x if self.linear else F.relu(x)

    def fold(self) -> None:
        """Replace convolution and normalisation by one convolution. The block must be in evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ContextBlock(nn.Module):
    """Inverted residual with a 5x5 depthwise convolution; changes nothing until it has learnt to."""

    def __init__(self, channels: int, expansion: int = 3) -> None:
        super().__init__()
        hidden = channels * expansion
        last = ConvBlock(hidden, channels, 1, linear=True)
        assert isinstance(last.norm, nn.BatchNorm2d)
        nn.init.zeros_(last.norm.weight)
        self.layers = nn.Sequential(
            ConvBlock(channels, hidden, 1), ConvBlock(hidden, hidden, 5, depthwise=True), last
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def fold(network: nn.Module) -> None:
    """Fold every batch normalisation of ``network``, for export."""
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.fold()


def double(x: torch.Tensor) -> torch.Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
