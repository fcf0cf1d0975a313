"""Alpha of what a picture shows and a clean plate, a picture of the same place without it, does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import ConvBlock
from .encoder import TAPS
from .network import MattingNetwork

WINDOWS = {2: 1, 4: 3, 8: 3, 16: 3, 32: 1}  # kernel of the comparison at each stride


class Comparison(nn.Module):
    """What the features of a picture gain from those of its plate; nothing until it has learnt to."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.meet = ConvBlock(3 * channels, channels, kernel)
        self.gain = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.gain.weight)
        assert self.gain.bias is not None
        nn.init.zeros_(self.gain.bias)

    def forward(self, seen: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        return seen + self.gain(self.meet(torch.cat([seen, bare, (seen - bare).abs()], 1)))


class PlateNetwork(MattingNetwork):
    """``MattingNetwork`` with a second input: the clean plate.

    Both pictures go through the same encoder and are compared at every level, so that a change of light or
    a small shift of the camera is judged by features and not by pixels. A fresh network ignores the plate
    and answers as the ``MattingNetwork`` whose weights it was given.
    """

    def __init__(self, **widths: int) -> None:
        super().__init__(memory=False, **widths)
        self.comparisons = nn.ModuleList(
            Comparison(channels, WINDOWS[stride]) for stride, channels in TAPS.values()
        )

    def features(self, image: torch.Tensor, plate: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's five features of ``image``, compared with those of ``plate``, (N, 3, H, W) both."""
        pairs = zip(self.comparisons, self.encoder(image), self.encoder(plate), strict=True)
        return [compare(seen, bare) for compare, seen, bare in pairs]

    def forward(self, image: torch.Tensor, plate: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        logits, _, _ = self.decoder(self.features(image, plate))
        return F.pixel_shuffle(torch.sigmoid(logits), 4)

    def forward_training(  # type: ignore[override]
        self, image: torch.Tensor, plate: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/16 and 1/8, for the losses."""
        logits, x16, x8 = self.decoder(self.features(image, plate))
        return F.pixel_shuffle(logits, 4), [self.decoder.side16(x16), self.decoder.side8(x8)]
