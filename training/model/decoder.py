"""Context at 1/32, then up to 1/4 with skips, then sixteen alphas per position shuffled to full size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from .blocks import ContextBlock, ConvBlock, double


class Decoder(nn.Module):
    """From the encoder's five features to the logits of alpha.

    Dense 3x3 convolutions on few channels: on a CPU they cost less per multiplication than depthwise
    ones. Level names match the encoder's: ``d16`` works at 1/16 of the picture. ``slim8`` narrows what goes
    from 1/8 to 1/4, where every channel costs most.

    Parameters
    ----------
    features : mapping of int to int
        Channels of the encoder's features, by stride.
    c32, c16, c8, c4 : int
        Channels at each level.
    slim8, skip2 : int
        Channels that 1/8 and the encoder's 1/2 hand to 1/4.
    context : int
        Residual blocks at 1/32 before the decoder.
    """

    def __init__(
        self,
        features: Mapping[int, int],
        c32: int = 80,
        c16: int = 64,
        c8: int = 48,
        slim8: int = 24,
        c4: int = 32,
        skip2: int = 16,
        context: int = 2,
    ) -> None:
        super().__init__()
        self.widths = c16, c8
        self.blocks = nn.Sequential(*(ContextBlock(features[32]) for _ in range(context)))
        self.context = ConvBlock(features[32], c32, 1)
        self.gate = nn.Conv2d(features[32], c32, 1)
        self.d16 = ConvBlock(c32 + features[16], c16)
        self.d8 = ConvBlock(c16 + features[8], c8)
        self.slim8 = nn.Conv2d(c8, slim8, 1)
        self.skip2 = nn.Conv2d(features[2], skip2, 4, 2, 1)
        self.d4 = ConvBlock(slim8 + features[4] + skip2, c4)
        self.head = nn.Conv2d(c4, 16, 3, padding=1)
        self.side16 = nn.Conv2d(c16, 1, 1)  # supervised in training only, absent from the exported graph
        self.side8 = nn.Conv2d(c8, 1, 1)

    def forward(
        self,
        features: Sequence[torch.Tensor],
        recalled16: torch.Tensor | None = None,
        recalled8: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of alpha (N, 16, H/4, W/4), and the features at 1/16 and 1/8.

        Parameters
        ----------
        features : sequence of 5 tensors
            The encoder's, from 1/2 to 1/32.
        recalled16, recalled8 : tensor, optional
            Added at 1/16 and 1/8 before the ReLU: what is remembered of the frame before.
        """
        f2, f4, f8, f16, f32 = features
        x = self.blocks(f32)
        x = self.context(x) * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x16 = self.d16(torch.cat([double(x), f16], 1), recalled16)
        x8 = self.d8(torch.cat([double(x16), f8], 1), recalled8)
        x4 = self.d4(torch.cat([double(self.slim8(x8)), f4, self.skip2(f2)], 1))
        return self.head(x4), x16, x8
