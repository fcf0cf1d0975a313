"""What the memory learns by: clips, frame after frame, through the network as it runs in a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import losses
from .config import Config
from .device import autocast
from .objectives import Step

TERMS = ("l1", "coherence", "flicker")


class Recall:
    """L1 of alpha, and of its change from frame to frame; the network's other weights may stay as they are.

    A step's pictures are whole clips one after the other, see ``data.clips``. ``flicker`` is the root mean
    square of what dtSSD measures (Erofeev et al. 2015): the change of alpha that the true alpha does not
    have. Normalisation is frozen, whatever learns.
    """

    names: tuple[str, ...] = TERMS

    def __init__(self, config: Config, device: torch.device) -> None:
        self.device, self.bfloat16 = device, config.run.bfloat16
        self.frames = config.frames
        self.weights = {"l1": 1.0, "coherence": 2.0, "flicker": 0.5, **config.losses}
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(f"losses: no term {', '.join(unknown)} for clips; there are {', '.join(TERMS)}")

    def __call__(self, network: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        network.eval()
        image, true = (x.unflatten(0, (-1, self.frames)) for x in (step.image, step.alpha))
        state, alphas = network.blank_state(image[:, 0]), []  # type: ignore[operator]
        for frame in range(self.frames):
            with autocast(self.device, self.bfloat16):
                alpha, *state = network.step(image[:, frame], *state)  # type: ignore[operator]
            state = [tensor.float() for tensor in state]
            alphas.append(alpha.float())
        made = torch.stack(alphas, 1)
        error = made - true
        terms = {
            "l1": error.abs().mean(),
            "coherence": losses.coherence(made, true).mean(),
            "flicker": ((error[:, 1:] - error[:, :-1]).square().mean((2, 3, 4)) + 1e-6).sqrt().mean(),
        }
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return total, {"total": total, **terms}

    def after_step(self) -> None:
        """Nothing learns beside the network."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""
