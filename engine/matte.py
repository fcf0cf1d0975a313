"""What a session gives for a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Matte:
    """The result for one picture, at its own size."""

    alpha: np.ndarray
    """uint8 ``(H, W)``: 0 is background, 255 is product. Straight."""
    foreground: np.ndarray | None
    """uint8 ``(H, W, 3)`` RGB: the product's own colour, also under its translucent edge; None if not asked
    for."""
    bounds: Any
    """``kernels.Bounds``: box of the product, coverage, contact with the border."""
