"""What moves the weights: optimiser, learning rate by the clock, and their running average."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn

from .config import Config
from .config import Optimiser as Settings


def freeze(network: nn.Module, learns: Sequence[str]) -> None:
    """Let only weights change whose name begins with one of ``learns``; all, where it is empty.

    Raises
    ------
    ValueError
        If no weight's name begins so.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not learns or name.startswith(tuple(learns)))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"learns: no weight's name begins with {', '.join(learns)}")


def make_optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD over the network's weights; each group's ``full`` is its full learning rate.

    The encoder's weights learn at ``encoder_share`` of the rate.
    """
    encoder: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (encoder if name.startswith("encoder.") else rest).append(parameter)
    rate = settings.learning_rate
    groups = [
        {"params": parameters, "full": full}
        for parameters, full in ((encoder, rate * settings.encoder_share), (rest, rate))
        if parameters
    ]
    decay = settings.weight_decay
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    if settings.kind == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=decay)
    return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, weight_decay=decay, nesterov=True)


def share_at(progress: float, step: int, config: Config) -> float:
    """The share of the full learning rate at ``progress`` 0..1 of the run's minutes and at ``step``."""
    optimiser = config.optimiser
    warm = min(1.0, (step + 1) / max(1, optimiser.warm_up_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (optimiser.final_share + (1 - optimiser.final_share) * cosine)


def averaged_copy(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in evaluation mode that ``follow`` moves and nothing trains."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def heal(network: nn.Module, average: nn.Module) -> None:
    """Give ``network`` the averaged statistics where its own are not finite any more.

    Normalisation keeps statistics of every forward pass, also of one whose step was refused.
    """
    for kept, own in zip(average.buffers(), network.buffers(), strict=True):
        if not torch.isfinite(own).all():
            own.copy_(kept)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move ``average`` towards ``network``, by ``1 - decay`` of the way; further in the first steps."""
    part = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, part)
    for kept, fresh in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(kept.lerp(fresh, part) if kept.is_floating_point() else fresh)
