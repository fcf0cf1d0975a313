"""Recurrent state in host memory, for backends that bind tensors by address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..buffers import Allocator
from ..manifest import Manifest
from .base import state_shapes


class StateSets:
    """Two sets of state tensors that take turns: the model reads one and writes the other.

    A set maps the name of each state input to what ``bind`` made of its array; there are none for a model
    without state.
    """

    def __init__(
        self,
        manifest: Manifest,
        size_wh: tuple[int, int],
        allocate: Allocator,
        bind: Callable[[np.ndarray], Any] = lambda array: array,
    ) -> None:
        shapes = state_shapes(manifest, size_wh)
        self._arrays = [
            {name: allocate(shape, np.float32) for name, shape in shapes.items()}
            for _ in range(2 if shapes else 0)
        ]
        self._sets = [{name: bind(array) for name, array in arrays.items()} for arrays in self._arrays]
        self._turn = 0

    def first(self) -> dict[str, Any] | None:
        """Zeros, for the first frame of a stream; None without state."""
        if not self._sets:
            return None
        self._turn = 0
        for array in self._arrays[0].values():
            array.fill(0)
        return self._sets[0]

    def following(self) -> dict[str, Any]:
        """The set that the model writes next."""
        self._turn ^= 1
        return self._sets[self._turn]
