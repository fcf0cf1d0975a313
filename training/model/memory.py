"""What the network remembers of the frame before: its alpha."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Memory(nn.Module):
    """The previous alpha, given to the decoder at 1/16 and 1/8, and mixed with the new one.

    The state is one tensor (N, 1, H, W): ``2 alpha - 1``, so that -1 is background, 1 subject, and 0, with
    which a stream begins, knows nothing. The decoder sees it, small, beside its own features, and so
    takes a thing for what it was before. Then the previous alpha is mixed in: by a gate that is learnt
    from the features at 1/8 (0 where something moved), times how sure the previous alpha was. Without a
    previous frame nothing is added and nothing mixed in: the network answers as if it had no memory.

    Parameters
    ----------
    c16, c8 : int
        Channels of the decoder's features at 1/16 and 1/8.
    """

    def __init__(self, c16: int, c8: int) -> None:
        super().__init__()
        self.recall16 = nn.Conv2d(1, c16, 3, padding=1, bias=False)
        self.recall8 = nn.Conv2d(1, c8, 3, padding=1, bias=False)
        self.keep = nn.Conv2d(c8, 1, 1)
        for layer in (self.recall16, self.recall8, self.keep):
            nn.init.zeros_(layer.weight)
        assert self.keep.bias is not None
        nn.init.constant_(self.keep.bias, -1.0)

    def recall(self, previous: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the previous alpha adds to the features at 1/16 and 1/8, before their ReLU."""
        previous8 = F.avg_pool2d(previous, 4, 8)  # a quarter of each cell tells enough
        return self.recall16(F.avg_pool2d(previous8, 2)), self.recall8(previous8)

    def mix(self, signed: torch.Tensor, x8: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        """The new state: ``signed`` (N, 1, H, W), moved towards the previous one where nothing changed."""
        keep = F.interpolate(torch.sigmoid(self.keep(x8)), scale_factor=8.0, mode="nearest")
        return signed + (previous - signed) * (keep * previous.abs())
