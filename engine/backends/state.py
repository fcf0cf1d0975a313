"""Recurrent state in host memory, for backends that bind tensors by address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..buffers import Allocator
from ..manifest import Manifest
from .base import state_shapes


class HostState:
    """The state of one stream: two sets of tensors that take turns. Zeros before the first frame.

    Each set maps the name of a state input to its array, or to what ``bind`` made of it.

    Parameters
    ----------
    manifest : Manifest
        Of a model with state.
    size_wh : (int, int)
        Of the network's input.
    allocate : Allocator
    bind : callable, optional
        What a backend makes of an array once, to use it for every frame.
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
            {name: allocate(shape, np.float32) for name, shape in shapes.items()} for _ in range(2)
        ]
        self._bound = [{name: bind(array) for name, array in arrays.items()} for arrays in self._arrays]
        self._turn = 0

    @property
    def reads(self) -> dict[str, Any]:
        """What the model reads next, bound."""
        return self._bound[self._turn]

    @property
    def writes(self) -> dict[str, Any]:
        """What it writes next, bound."""
        return self._bound[self._turn ^ 1]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What the model reads next, as arrays."""
        return self._arrays[self._turn]

    def advance(self) -> None:
        """One frame on: what was written is what is read."""
        self._turn ^= 1
