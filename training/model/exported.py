"""A trained network as it is exported: folded, one frame at a time, its state in the open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .memory import SHOWN
from .network import MattingNetwork
from .plate import WINDOWS, PlateNetwork

State = dict[str, Any]
"""An entry of a manifest's ``state``: names of input and output, shape."""


class _Remembering(nn.Module):
    """A network with a memory: picture and the state of the frame before in, alpha and its own state out."""

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = network
        previous, seen = [1, 16, "height/4", "width/4"], [1, SHOWN, "height/8", "width/8"]
        self.states: Sequence[State] = (
            {"input": "previous", "output": "remembered", "shape": previous},
            {"input": "seen", "output": "shown", "shape": seen},
        )

    def forward(self, image: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        previous, seen = state
        return self.network.step(image, previous, seen)


class _WithPlate(nn.Module):
    """A network that takes the first picture for the plate and keeps its features."""

    def __init__(self, network: PlateNetwork) -> None:
        super().__init__()
        self.network = network
        self.states: Sequence[State] = (
            *(
                {
                    "input": f"plate{stride}",
                    "output": f"plate{stride}_kept",
                    "shape": [1, network.channels[stride], f"height/{stride}", f"width/{stride}"],
                }
                for stride in WINDOWS
            ),
            {"input": "known", "output": "known_kept", "shape": [1, 1, 1, 1]},
        )

    def forward(self, image: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *bare, known = state
        alpha, kept, known = self.network.step(image, list(bare), known)
        return alpha, *kept, known


def exported(network: nn.Module) -> tuple[nn.Module, list[State]]:
    """``network`` as a module to export, in evaluation mode, and its states as a manifest names them.

    The module takes the picture (1, 3, H, W) and then every state; it gives the alpha (1, 1, H, W) and then
    every state.
    """
    folded = network.eval().folded()  # type: ignore[operator]
    module = folded
    if isinstance(folded, PlateNetwork):
        module = _WithPlate(folded)
    elif getattr(folded, "memory", None) is not None:
        module = _Remembering(folded)
    return module.eval(), [dict(state) for state in getattr(module, "states", ())]
