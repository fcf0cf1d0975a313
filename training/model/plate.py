"""Alpha of what a picture shows and a clean plate, a picture of the same place without it, does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import ConvBlock
from .levels import alpha_of
from .network import MattingNetwork

# At each stride: how far around a place the plate is searched for what is seen there (the side of a square of
# cells), and the kernel that looks at what was found. At 1/2 it costs most and tells least: edges are the
# picture's own.
WINDOWS = {4: (7, 3), 8: (5, 3), 16: (3, 1), 32: (3, 1)}
Features = list[torch.Tensor]


class Comparison(nn.Module):
    """What the features of a picture gain from those of its plate; nothing until it has learnt to.

    Beside the difference in place there is what no place nearby explains: how far a feature lies outside
    the plate's range within ``reach`` cells. It stays small when the camera has moved a little.
    """

    def __init__(self, channels: int, reach: int, kernel: int) -> None:
        super().__init__()
        self.reach = reach
        self.meet = ConvBlock(4 * channels, channels, 1)
        self.look = ConvBlock(channels, channels, kernel)
        self.gain = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.gain.weight)
        assert self.gain.bias is not None
        nn.init.zeros_(self.gain.bias)

    def forward(self, seen: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        met = torch.cat([seen, bare, (seen - bare).abs(), self.unexplained(seen, bare)], 1)
        return seen + self.gain(self.look(self.meet(met)))

    def unexplained(self, seen: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        """The distance of ``seen`` from the range of ``bare`` around each place, 0 inside it."""
        most = F.max_pool2d(bare, self.reach, 1, self.reach // 2)
        least = -F.max_pool2d(-bare, self.reach, 1, self.reach // 2)
        return F.relu(seen - most) + F.relu(least - seen)


class PlateNetwork(MattingNetwork):
    """``MattingNetwork`` that is told what the place looks like without a subject.

    Picture and plate go through the same encoder and are compared at 1/4 and below, so that a change of
    light or a small shift of the camera is judged by features and not by pixels. In a stream only the
    plate's features are kept: ``step`` takes the first picture for the plate. A fresh network ignores the
    plate and answers as the ``MattingNetwork`` whose weights it was given.
    """

    def __init__(self, encoder: str = "efficientnet-lite0", **widths: int) -> None:
        super().__init__(memory=False, encoder=encoder, **widths)
        self.comparisons = nn.ModuleList(
            Comparison(self.channels[stride], *window) for stride, window in WINDOWS.items()
        )

    def forward(self, image: torch.Tensor, plate: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        logits, _, _ = self.decoder(self._compared(self.encoder(image), self.encoder(plate)[1:]))
        return F.pixel_shuffle(alpha_of(logits), 4)

    def forward_training(  # type: ignore[override]
        self, image: torch.Tensor, plate: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/16 and 1/8, for the losses."""
        logits, x16, x8 = self.decoder(self._compared(self.encoder(image), self.encoder(plate)[1:]))
        return F.pixel_shuffle(logits, 4), [self.decoder.side16(x16), self.decoder.side8(x8)]

    def step(  # type: ignore[override]
        self, image: torch.Tensor, bare: Features, known: torch.Tensor
    ) -> tuple[torch.Tensor, Features, torch.Tensor]:
        """Alpha of one frame, and the state for the next.

        Parameters
        ----------
        image : float (N, 3, H, W), -1..1
        bare : list of 4 tensors
            The plate's features at 1/4, 1/8, 1/16 and 1/32; zeros begin a stream.
        known : float (N, 1, 1, 1)
            1 where they are known. Where 0, ``image`` is the plate, and its alpha means nothing.
        """
        features = self.encoder(image)
        kept = [new + (old - new) * known for new, old in zip(features[1:], bare, strict=True)]
        logits, _, _ = self.decoder(self._compared(features, kept))
        return F.pixel_shuffle(alpha_of(logits), 4), kept, torch.ones_like(known)

    def first_frame(self, image: torch.Tensor) -> torch.Tensor:
        """What ``step`` gives for the plate itself: its cost counts, not its alpha."""
        height, width = image.shape[2:]
        bare = [image.new_zeros(1, self.channels[s], height // s, width // s) for s in WINDOWS]
        return self.step(image, bare, image.new_zeros(1, 1, 1, 1))[0]

    def _compared(self, seen: Features, bare: Features) -> Features:
        """The picture's five features, the last four of them compared with the plate's."""
        pairs = zip(self.comparisons, seen[1:], bare, strict=True)
        return [seen[0], *(compare(s, b) for compare, s, b in pairs)]
