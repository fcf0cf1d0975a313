"""What a step of training minimises, for each method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from . import losses
from .adversarial import BETAS, Adversary
from .config import Adversarial, Config
from .device import autocast
from .model.article import Discriminator, over_key


@dataclass
class Step:
    """Inputs of one step, on the training's device.

    Attributes
    ----------
    image : float32 (N, 3, H, W), -1..1
    alpha : float32 (N, 1, H, W), 0..1
    trust, edge : float32 (N,)
        How far the mask is believed as a whole, and along its outline.
    plate : float32 (N, 3, H, W), -1..1, optional
        The same places without what they show, for method ``plate``.
    """

    image: torch.Tensor
    alpha: torch.Tensor
    trust: torch.Tensor
    edge: torch.Tensor
    plate: torch.Tensor | None = None


class Objective(Protocol):
    """Turns a step into what is minimised. ``names`` are the terms it reports beside ``total``."""

    names: tuple[str, ...]

    def __call__(self, network: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss to go backward from, and every term for the log, ``total`` first."""
        ...

    def after_step(self) -> None:
        """Called once the network has taken its step: the turn of a discriminator."""
        ...

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        ...


def make_objective(config: Config, device: torch.device) -> Objective:
    """The objective of ``config.method``, or that of clips."""
    from .recall import Recall  # which needs Step

    if config.frames:
        return Recall(config, device)
    return Article(config, device) if config.method == "article" else Matting(config, device)


class Matting:
    """The losses of alpha, with an adversary where the configuration has one."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.device, self.bfloat16 = device, config.run.bfloat16
        self.weights = losses.merge_weights(config.losses)
        self.names: tuple[str, ...] = tuple(self.weights)
        self.adversary: Adversary | None = None
        if config.adversarial is not None:
            self.adversary = Adversary(config.adversarial, device, bfloat16=self.bfloat16)
            self.names += ("adversarial",)

    def __call__(self, network: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with autocast(self.device, self.bfloat16):
            inputs = (step.image,) if step.plate is None else (step.image, step.plate)
            logits, sides = network.forward_training(*inputs)  # type: ignore[operator]
        logits, sides = logits.float(), [side.float() for side in sides]
        terms = losses.matting_loss(
            logits, sides, step.alpha, step.trust, step.edge, image=step.image, weights=self.weights
        )
        loss = terms["total"]
        if self.adversary is not None:
            terms["adversarial"], more = self.adversary.term(
                step.image, step.alpha, step.edge, logits, terms["total"]
            )
            loss = loss + more
        return loss, terms

    def after_step(self) -> None:
        if self.adversary is not None:
            self.adversary.learn()

    def state(self) -> dict[str, Any]:
        return {} if self.adversary is None else self.adversary.state()

    def restore(self, state: dict[str, Any]) -> None:
        if self.adversary is not None and state:
            self.adversary.restore(state)


class Article:
    """Mean squared error of the cut-out, and binary cross-entropy against the article's discriminator."""

    names: tuple[str, ...] = ("mse", "adversarial")

    def __init__(self, config: Config, device: torch.device) -> None:
        self.device, self.bfloat16 = device, config.run.bfloat16
        settings: Adversarial = config.adversarial  # type: ignore[assignment]  # parse_config has checked
        self.weight = settings.weight
        self.discriminator = Discriminator(settings.channels).to(device)
        self.optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.learning_rate, betas=BETAS
        )
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, network: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with autocast(self.device, self.bfloat16):
            made = network.cut_out(step.image).float()  # type: ignore[operator]
            self.discriminator.requires_grad_(False)
            judged = self.discriminator(made).float()
            self.discriminator.requires_grad_(True)
        real = over_key(step.image, step.alpha)
        terms = {"mse": F.mse_loss(made, real), "adversarial": _towards(judged, 1.0)}
        loss = terms["mse"] + self.weight * terms["adversarial"]
        self._seen = real, made.detach()
        return loss, {"total": loss, **terms}

    def after_step(self) -> None:
        if self._seen is None:
            return
        (real, made), self._seen = self._seen, None
        with autocast(self.device, self.bfloat16):
            of_real, of_made = self.discriminator(real).float(), self.discriminator(made).float()
        loss = 0.5 * (_towards(of_real, 1.0) + _towards(of_made, 0.0))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if torch.isfinite(loss):
            self.optimiser.step()

    def state(self) -> dict[str, Any]:
        return {"weights": self.discriminator.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])


def _towards(logits: torch.Tensor, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
