"""Tells alphas that were drawn or rendered from those a network made, patch by patch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of the leaky ReLUs


class PatchDiscriminator(nn.Module):
    """A score for every patch of a picture: above 0 real, below made.

    4x4 convolutions, each halving the size, under spectral normalisation: it bounds how steeply the score may
    change, so that the network still gets a useful gradient from a discriminator that is nearly sure. With
    three layers a score sees 46 x 46 pixels.

    Parameters
    ----------
    channels_in : int
        Of what is judged; a condition is simply more channels.
    channels : sequence of int
        Of the layers.
    """

    def __init__(self, channels_in: int, channels: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        widths = [channels_in, *channels]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, 2, 1)) for before, after in itertools.pairwise(widths)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, 1, h, w) of ``x`` (N, channels_in, H, W)."""
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return self.score(x)
