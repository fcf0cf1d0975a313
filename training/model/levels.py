"""How the decoder's logits become alpha."""

from __future__ import annotations

import torch

BLACK, WHITE = 0.25, 0.75
"""What is surer than this to be background, or subject, is wholly so: a keyer's black and white point."""


def alpha_of(logits: torch.Tensor) -> torch.Tensor:
    """Alpha in 0..1 of what the decoder gives.

    A sigmoid never says 0 or 1, and it says how likely a place is subject: as alpha that is a veil over the
    background and a haze in the subject. Training is by the sigmoid itself: a loss that sees the levels has
    nothing to teach where they are flat, and makes the network as much softer as they are steep.
    """
    return ((torch.sigmoid(logits) - BLACK) / (WHITE - BLACK)).clamp(0.0, 1.0)
