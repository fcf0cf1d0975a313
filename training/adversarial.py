"""A discriminator beside the matting network: it says where alphas and composites look made.

It judges twice: alpha together with its picture, and the picture laid over another background by its alpha,
where a rim of the old background or a bite out of the subject shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .config import Adversarial
from .device import autocast
from .model.discriminator import PatchDiscriminator

CLEAN_EDGE = 0.75  # masks whose outline is believed less are no examples of real ones
BETAS = (0.5, 0.99)


@dataclass
class Views:
    """What is judged: ``pair`` (N, 4, H, W), picture and alpha; ``composite`` (N, 3, H, W). All in -1..1."""

    pair: torch.Tensor
    composite: torch.Tensor


def views(image: torch.Tensor, alpha: torch.Tensor) -> Views:
    """Both views of ``alpha`` (N, 1, H, W), 0..1, with ``image`` (N, 3, H, W), -1..1.

    The background of each composite is the next picture of the batch.
    """
    composite = alpha * image + (1 - alpha) * image.roll(1, 0)
    return Views(torch.cat([image, alpha * 2 - 1], 1), composite)


class Adversary(nn.Module):
    """Discriminators of both views, with their optimiser. Hinge loss.

    Parameters
    ----------
    settings : Adversarial
    device : torch.device
        Where it works; the optimiser is made after it has moved there.
    bfloat16 : bool
        Whether its convolutions are computed in bfloat16.
    """

    def __init__(
        self, settings: Adversarial, device: torch.device | None = None, *, bfloat16: bool = False
    ) -> None:
        super().__init__()
        self.device, self.mixed = device or torch.device("cpu"), bfloat16
        self.weight = settings.weight
        self.pair = PatchDiscriminator(4, settings.channels)
        self.composite = PatchDiscriminator(3, settings.channels)
        self._seen: tuple[Views, Views] | None = None
        self.to(self.device)
        self.optimiser = torch.optim.Adam(self.parameters(), lr=settings.learning_rate, betas=BETAS)

    def term(
        self,
        image: torch.Tensor,
        alpha: torch.Tensor,
        edge: torch.Tensor,
        logits: torch.Tensor,
        others: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network should change to look real.

        Parameters
        ----------
        image : float32 (N, 3, H, W), -1..1
        alpha : float32 (N, 1, H, W), 0..1
            The truth.
        edge : float32 (N,)
            Only pictures with at least ``CLEAN_EDGE`` are judged, so that nothing learns to imitate
            the flaws of drawn masks.
        logits : float32 (N, 1, H, W)
            The network's answer, with its graph.
        others : float32 ()
            Sum of all other terms, on the same graph.

        Returns
        -------
        value : float32 ()
            The generator's hinge loss, for the log; 0 where nothing could be judged.
        loss : float32 ()
            To be added to ``others`` before the backward pass. Its gradient at ``logits`` points the way of
            ``value``'s and has ``weight`` times the length of that of ``others`` on the same pictures, so
            that one weight serves from the first step to the last.
        """
        self._seen = None
        clean = edge >= CLEAN_EDGE
        if int(clean.sum()) < 2:  # one picture alone has no other background
            return logits.new_zeros(()), logits.new_zeros(())
        self.eval()  # spectral norms are estimated in the discriminator's own step
        image, alpha = image[clean], alpha[clean]
        made = views(image, torch.sigmoid(logits)[clean])
        of_pair, of_composite = self._judge(made)
        value = -(of_pair.mean() + of_composite.mean()) / 2
        (towards,) = torch.autograd.grad(value, logits, retain_graph=True)
        (main,) = torch.autograd.grad(others, logits, retain_graph=True)
        scale = self.weight * main[clean].norm() / towards.norm().clamp(min=1e-12)
        self._seen = views(image, alpha), Views(made.pair.detach(), made.composite.detach())
        return value.detach(), (logits * (scale * towards).detach()).sum()

    def learn(self) -> float | None:
        """One step of the discriminators on the pictures of the last ``term``; their loss, None for no step.

        A loss or gradient that is not finite leaves them as they were.
        """
        if self._seen is None:
            return None
        (real, made), self._seen = self._seen, None
        self.train()
        loss = torch.stack(list(map(_hinge, self._judge(real), self._judge(made)))).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters(), 10.0)
        if torch.isfinite(loss) and torch.isfinite(norm):
            self.optimiser.step()
        return float(loss.detach())

    def _judge(self, seen: Views) -> tuple[torch.Tensor, torch.Tensor]:
        """The scores of both views, float32 (N, 1, h, w)."""
        with autocast(self.device, self.mixed):
            pair, composite = self.pair(seen.pair), self.composite(seen.composite)
        return pair.float(), composite.float()

    def state(self) -> dict[str, Any]:
        """For a checkpoint: weights and optimiser."""
        return {"weights": self.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        self.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])


def _hinge(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()
