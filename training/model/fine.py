"""The network for stills and GPUs: livecut-s on the picture at half its size, and a refiner at all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import ConvBlock, double
from .encoder import TAPS
from .network import CHANNELS_8, STRIDE, MattingNetwork
from .shufflenet import CHANNELS, ShuffleNet

F2_CHANNELS = dict(TAPS.values())[2]
F32_CHANNELS = dict(TAPS.values())[32]


class GuidedNetwork(MattingNetwork):
    """``MattingNetwork`` helped by a second encoder, which was taught to detect things.

    What that one adds to the features at 1/32, 1/16 and 1/8 is nothing until it has learnt to: a fresh
    network answers as the ``MattingNetwork`` whose weights it was given.

    Parameters
    ----------
    memory : bool
        Whether the network has a memory, and ``step``.
    **widths : int
        Of the decoder.
    """

    def __init__(self, memory: bool = False, **widths: int) -> None:
        super().__init__(memory, **widths)
        c16, c8 = self.decoder.widths
        self.second = ShuffleNet()
        joins = zip(CHANNELS, (c8, c16, F32_CHANNELS), strict=True)
        self.joins = nn.ModuleList(nn.Conv2d(before, after, 1, bias=False) for before, after in joins)
        for join in self.joins:
            nn.init.zeros_(join.weight)  # type: ignore[arg-type]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.forward_training(image)[0])

    def step(
        self, image: torch.Tensor, previous: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Alpha (N, 1, H, W) of one frame, and the state for the next: see ``Memory``."""
        assert self.memory is not None, "a network built without memory"
        logits, found = self._guided(image, self.memory.recall(previous))
        state = self.memory.mix(torch.tanh(logits * 0.5), found.x8, found.f8, previous, seen)
        return state * 0.5 + 0.5, state, found.f8

    def forward_training(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/16 and 1/8, for the losses."""
        logits, found = self._guided(image)
        return logits, [self.decoder.side16(found.x16), self.decoder.side8(found.x8)]

    def _guided(
        self, image: torch.Tensor, recalled: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, Found]:
        """The logits (N, 1, H, W), and features."""
        f2, f4, f8, f16, f32 = self.encoder(image)
        extra8, extra16, extra32 = (
            join(feature) for join, feature in zip(self.joins, self.second(image), strict=True)
        )
        if recalled:
            extra16, extra8 = extra16 + recalled[0], extra8 + recalled[1]
        x4, x16, x8 = self.decoder.levels([f2, f4, f8, f16, f32 + extra32], extra16, extra8)
        return F.pixel_shuffle(self.decoder.head(x4), 4), Found(f2, f8, x4, x8, x16)


class Found(NamedTuple):
    """Features on the way to the logits: the encoder's at 1/2 and 1/8, the decoder's at 1/4, 1/8 and 1/16."""

    f2: torch.Tensor
    f8: torch.Tensor
    x4: torch.Tensor
    x8: torch.Tensor
    x16: torch.Tensor


class FineNetwork(GuidedNetwork):
    """``GuidedNetwork`` on the picture averaged 2 x 2, and a refiner on the picture as it is.

    The refiner corrects the coarse logits, by nothing at first: a fresh network answers as the network whose
    weights it was given, enlarged.

    ``forward`` and ``step`` are as there; height and width are multiples of 64. In a stream the coarse branch
    recalls and the gate of its memory mixes all of the alpha: the state holds ``2 alpha - 1`` as
    (N, 4, H/2, W/2), the four pixels of each coarse one.

    Parameters
    ----------
    memory : bool
        Whether the network has a memory, and ``step``.
    detail, hint, width : int
        Of the refiner.
    **widths : int
        Of the decoder.
    """

    stride = 2 * STRIDE

    def __init__(
        self, memory: bool = False, detail: int = 16, hint: int = 24, width: int = 32, **widths: int
    ) -> None:
        super().__init__(memory, **widths)
        self.refiner = Refiner(self.decoder.head.in_channels, detail, hint, width)

    def step(
        self, image: torch.Tensor, previous: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Alpha (N, 1, H, W) of one frame, and the state for the next, see the class and ``Memory``."""
        assert self.memory is not None, "a network built without memory"
        recalled = self.memory.recall(previous.mean(1, keepdim=True))
        logits, correction, found = self._see(image, recalled)
        signed = torch.tanh((_by_fours(double(logits)) + correction) * 0.5)  # 2 sigmoid(logits) - 1
        state = self.memory.mix(signed, found.x8, found.f8, previous, seen)
        return F.pixel_shuffle(state * 0.5 + 0.5, 2), state, found.f8

    @staticmethod
    def blank_state(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The state that a stream of pictures like ``image`` (N, 3, H, W) begins with."""
        count, _, height, width = image.shape
        return (
            image.new_zeros(count, 4, height // 2, width // 2),
            image.new_zeros(count, CHANNELS_8, height // 16, width // 16),
        )

    def forward_training(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/32, 1/16 and 1/2, for the losses."""
        logits, correction, found = self._see(image)
        fine = double(logits) + F.pixel_shuffle(correction, 2)
        return fine, [self.decoder.side16(found.x16), self.decoder.side8(found.x8), logits]

    def _see(
        self, image: torch.Tensor, recalled: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, torch.Tensor, Found]:
        """The coarse logits (N, 1, H/2, W/2), the correction (N, 4, H/2, W/2), the coarse features."""
        logits, found = self._guided(F.avg_pool2d(image, 2), recalled)
        return logits, self.refiner(image, logits, found.x4, found.f2), found


class Refiner(nn.Module):
    """What the whole picture adds to the coarse logits along outlines.

    It looks at the picture at 1/2 and thinks at 1/4, where the coarse branch's features come in: the
    decoder's last and the encoder's first. Nothing comes out until it has learnt to.

    Parameters
    ----------
    c4 : int
        Channels of the decoder's last features.
    detail, hint, width : int
        Channels at 1/2, of what the decoder tells, and at 1/4.
    """

    def __init__(self, c4: int, detail: int, hint: int, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, detail - 1, 4, 2, 1)  # and the coarse alpha makes ``detail``
        self.down = nn.Conv2d(detail, hint, 2, 2)
        self.hint = nn.Conv2d(c4, hint, 1)
        self.join = ConvBlock(2 * hint + F2_CHANNELS, width)
        self.think = ConvBlock(width, width)
        self.up = nn.Conv2d(width, 4 * detail, 1)
        self.edge = ConvBlock(2 * detail, detail)
        self.head = nn.Conv2d(detail, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(
        self, image: torch.Tensor, logits: torch.Tensor, x4: torch.Tensor, f2: torch.Tensor
    ) -> torch.Tensor:
        """The correction (N, 4, H/2, W/2), four to each coarse pixel.

        Parameters
        ----------
        image : float (N, 3, H, W), -1..1
        logits : float (N, 1, H/2, W/2)
            The coarse ones.
        x4, f2 : float (N, C, H/8, W/8) and (N, C, H/4, W/4)
            The decoder's last and the encoder's first features.
        """
        seen = torch.cat([F.relu(self.look(image)), torch.tanh(logits * 0.5)], 1)
        x = self.think(self.join(torch.cat([self.down(seen), double(self.hint(x4)), f2], 1)))
        return self.head(self.edge(torch.cat([F.pixel_shuffle(self.up(x), 2), seen], 1)))


def _by_fours(x: torch.Tensor) -> torch.Tensor:
    """(N, 1, 2H, 2W) as (N, 4, H, W): ``F.pixel_unshuffle(x, 2)``, as an operator that exports plainly."""
    return F.conv2d(x, torch.eye(4, dtype=x.dtype, device=x.device).view(4, 1, 2, 2), stride=2)
