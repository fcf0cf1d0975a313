"""What the network remembers of the frame before: its alpha, and what the picture showed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SURE = 8.0  # a previous alpha less than 1/16 from 1/2 is kept in part only, and none at all from 1/2 itself
TRAIL = 16.0  # how sharply an alpha that is surer than the previous one displaces it
SHOWN = 16  # numbers by which a place at 1/8 is known again


class Memory(nn.Module):
    """The previous alpha, given to the decoder, and mixed with the new one where nothing has changed.

    The state is two tensors. ``previous`` (N, 16, H/4, W/4) is ``2 alpha - 1`` before it is shuffled to full
    size, so that -1 is background, 1 subject, and 0, with which a stream begins, knows nothing. ``seen``
    (N, 16, H/8, W/8) is ``shown``: what the encoder's features say of each place. The decoder sees the
    previous alpha, small, beside its own features, and so takes a thing for what it was before. Then the
    previous alpha is mixed in, by a gate that is learnt from the decoder's features at 1/8 and from how much
    what is shown has changed. Without a previous frame nothing is added and nothing mixed in: the network
    answers as if it had no memory.

    Parameters
    ----------
    c16, c8 : int
        Channels of the decoder's features at 1/16 and 1/8.
    f8 : int
        Channels of the encoder's features at 1/8.
    """

    def __init__(self, c16: int, c8: int, f8: int) -> None:
        super().__init__()
        self.recall16 = nn.Conv2d(1, c16, 3, padding=1, bias=False)
        self.recall8 = nn.Conv2d(1, c8, 3, padding=1, bias=False)
        self.keep = nn.Conv2d(c8, 1, 1)
        self.describe = nn.Conv2d(f8, SHOWN, 1)
        self.change = nn.Conv2d(SHOWN, SHOWN, 3, padding=1)
        self.moved = nn.Conv2d(SHOWN, 1, 1, bias=False)
        for layer in (self.recall16, self.recall8, self.keep, self.moved):
            nn.init.zeros_(layer.weight)
        assert self.keep.bias is not None
        nn.init.constant_(self.keep.bias, -1.0)

    def recall(self, previous: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the previous alpha adds to the features at 1/16 and 1/8, before their ReLU."""
        previous8 = previous[:, :, ::2, ::2].mean(1, keepdim=True)  # a quarter of each cell tells enough
        return self.recall16(F.avg_pool2d(previous8, 2)), self.recall8(previous8)

    def mix(
        self,
        signed: torch.Tensor,
        x8: torch.Tensor,
        shown: torch.Tensor,
        previous: torch.Tensor,
        seen: torch.Tensor,
    ) -> torch.Tensor:
        """The new state: ``signed`` (N, 16, H/4, W/4), moved towards the previous one where nothing changed.

        Where both agree and the new one is the surer, it is taken as it is: what little is left of a thing
        that has gone would fade over many frames else, as a trail.
        """
        change = F.relu(self.change((shown - seen).abs()))
        keep = torch.sigmoid(self.keep(x8) + self.moved(change))
        keep = F.interpolate(keep, scale_factor=2.0, mode="nearest")
        product = previous * signed
        surer = (TRAIL * product * (signed * signed - product)).clamp(0.0, 1.0)
        return signed + (previous - signed) * (keep * (SURE * previous.abs()).clamp(max=1.0) * (1 - surer))
