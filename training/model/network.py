"""The network as it is trained and as it is exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import fold
from .decoder import Decoder
from .efficientnet import SCALES, EfficientNetLite
from .levels import alpha_of
from .memory import SHOWN, Memory

STRIDE = 32  # height and width of the input must be multiples of this
ENCODERS: dict[str, Callable[[], EfficientNetLite]] = {
    **{f"efficientnet-lite{variant}": partial(EfficientNetLite, variant) for variant in SCALES},
    "efficientnet-lite2-short": partial(EfficientNetLite, 2, spared=1),
}


class MattingNetwork(nn.Module):
    """Alpha of the subject in a picture, or in each frame of a stream.

    ``forward`` maps a float picture (N, 3, H, W), RGB in -1..1, to alpha (N, 1, H, W) in 0..1; H and W are
    multiples of ``stride``. ``step`` does so for a frame of a stream, given the state the frame before left.

    Parameters
    ----------
    encoder : str
        One of ``ENCODERS``.
    memory : bool
        Whether the network has a memory, and ``step``.
    **widths : int
        Of the decoder.
    """

    stride = STRIDE

    def __init__(self, memory: bool = False, encoder: str = "efficientnet-lite0", **widths: int) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise ValueError(f'network.encoder: expected one of {", ".join(ENCODERS)}, got "{encoder}"')
        self.encoder = ENCODERS[encoder]()
        self.channels = self.encoder.channels
        self.decoder = Decoder(self.channels, **widths)
        self.memory = Memory(*self.decoder.widths, self.channels[8]) if memory else None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits, _, _ = self.decoder(self.encoder(image))
        return F.pixel_shuffle(alpha_of(logits), 4)

    def step(
        self, image: torch.Tensor, previous: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Alpha (N, 1, H, W) of one frame, and the state for the next: see ``Memory``."""
        assert self.memory is not None, "a network built without memory"
        features = self.encoder(image)
        logits, _, x8 = self.decoder(features, *self.memory.recall(previous))
        shown = self.memory.describe(features[2])
        state = self.memory.mix(2 * alpha_of(logits) - 1, x8, shown, previous, seen)
        return F.pixel_shuffle(state * 0.5 + 0.5, 4), state, shown

    def blank_state(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The state that a stream of pictures like ``image`` (N, 3, H, W) begins with."""
        count, _, height, width = image.shape
        previous = image.new_zeros(count, 16, height // 4, width // 4)
        return previous, image.new_zeros(count, SHOWN, height // 8, width // 8)

    def first_frame(self, image: torch.Tensor) -> torch.Tensor:
        """Alpha of the first frame of a stream, by the way a stream takes."""
        if self.memory is None:
            return self(image)
        return self.step(image, *self.blank_state(image))[0]

    def forward_training(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the logits (N, 1, H, W) and the side logits at 1/16 and 1/8, for the losses."""
        logits, x16, x8 = self.decoder(self.encoder(image))
        return F.pixel_shuffle(logits, 4), [self.decoder.side16(x16), self.decoder.side8(x8)]

    def folded(self) -> MattingNetwork:
        """A copy in evaluation mode without batch normalisation, ready for export."""
        network = copy.deepcopy(self).eval().float()
        fold(network)
        return network


def count_parameters(network: nn.Module) -> int:
    """Numbers in the exported graph: without the side outputs, which serve training only."""
    return sum(
        value.numel()
        for name, value in network.named_parameters()
        if ".side16" not in name and ".side8" not in name
    )


def count_gmacs(network: nn.Module, width: int, height: int) -> float:
    """Multiply-accumulates of one frame at ``width`` x ``height``, in 1e9, convolutions only."""
    total = 0

    def add(module: nn.Conv2d, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += output.numel() * (module.in_channels // module.groups) * kernel

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.no_grad():
            getattr(network, "first_frame", network)(torch.zeros(1, 3, height, width))
    finally:
        for hook in hooks:
            hook.remove()
    return total / 1e9
