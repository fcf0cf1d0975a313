"""The network as it is trained and as it is exported."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from .decoder import Decoder
from .encoder import Encoder

STRIDE = 32  # height and width of the input must be multiples of this


class MattingNetwork(nn.Module):
    """Alpha of the subject in a picture.

    ``forward`` maps a float picture (N, 3, H, W), RGB in -1..1, to alpha (N, 1, H, W) in 0..1. H and W
    are multiples of 32.
    """

    def __init__(self, **widths: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(**widths)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits, _, _ = self.decoder(*self.encoder(image))
        return F.pixel_shuffle(torch.sigmoid(logits), 4)

    def forward_training(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/16 and 1/8, for the losses."""
        logits, x16, x8 = self.decoder(*self.encoder(image))
        return F.pixel_shuffle(logits, 4), [self.decoder.side16(x16), self.decoder.side8(x8)]

    def folded(self) -> MattingNetwork:
        """A copy in evaluation mode without batch normalisation, ready for export."""
        network = copy.deepcopy(self).eval().float()
        network.decoder.fold()
        return network


def count_gmacs(network: nn.Module, width: int, height: int) -> float:
    """Multiply-accumulates of one pass at ``width`` x ``height``, in 1e9, convolutions only."""
    total = 0

    def add(module: nn.Conv2d, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += output.numel() * (module.in_channels // module.groups) * kernel

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, height, width))
    finally:
        for hook in hooks:
            hook.remove()
    return total / 1e9
