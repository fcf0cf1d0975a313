"""What a network may return as alpha."""

from __future__ import annotations

import numpy as np

from .buffers import Slot
from .errors import BackendError, ModelError

SLACK = 0.01
"""How far outside 0..1 an alpha may lie: bf16 has 8 bits of precision."""


def check_alpha(alpha: np.ndarray, slot: Slot, model: str) -> None:
    """Raise unless the alpha of the slot's frame lies in 0..1.

    Raises
    ------
    BackendError
        If it holds NaN or infinity.
    ModelError
        If its values lie outside.
    """
    low, high = float(alpha.min()), float(alpha.max())
    if low >= -SLACK and high <= 1 + SLACK:
        return
    refuse_alpha(f"{low:.3g}..{high:.3g}" if np.isfinite(low) and np.isfinite(high) else "", slot, model)


def refuse_alpha(values: str, slot: Slot, model: str) -> None:
    """Raise for an alpha whose ``values`` lie outside, or are not even finite (empty)."""
    where = f"{model}: frame {slot.frame.index}"
    if values:
        raise ModelError(
            f"{where}: expected alpha in 0..1, the network returned {values}; "
            "the model must end in a sigmoid or a clamp"
        )
    info = slot.engine.info
    raise BackendError(
        f"{where}: the network returned NaN or infinity on {info.name} at {info.precision}; "
        "try --precision fp32"
    )
