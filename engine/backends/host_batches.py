"""One inference of several streams' frames, in host memory: rows gathered, results given back to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..buffers import Allocator, HostBuffer
from ..errors import BackendError
from ..manifest import Manifest
from .base import Backend, State, state_shapes
from .state import HostState

Run = Callable[[], None]
MOST_APART = 2e-2
"""Of values in 0..1: as much as bf16 may round. A graph that mixes its pictures is further off than that."""


def batch_shapes(manifest: Manifest, size_wh: tuple[int, int], count: int) -> dict[str, list[int]]:
    """Shape of every input for ``count`` frames at once; BackendError if the state has no axis for them."""
    width, height = size_wh
    shapes = {manifest.input_name: [count, 3, height, width]}
    for name, shape in state_shapes(manifest, size_wh).items():
        if shape[0] != 1:
            raise BackendError(f"its state {name!r} has no axis for several streams")
        shapes[name] = [count, *shape[1:]]
    return shapes


class HostBatches:
    """Runs 2 to ``most`` frames of different streams at once.

    All memory is taken here; a batch copies its frames into rows, and what comes out back to each of them.

    Parameters
    ----------
    manifest : Manifest
    size_wh : (int, int)
        Of the network's input.
    most : int
        Frames at once.
    allocate : Allocator
    make : callable
        ``(count, arrays) -> run``: binds inputs and outputs of ``count`` frames to arrays, by name.

    Raises
    ------
    BackendError
        If the model cannot take several frames.
    """

    def __init__(
        self,
        manifest: Manifest,
        size_wh: tuple[int, int],
        most: int,
        allocate: Allocator,
        make: Callable[[int, Mapping[str, np.ndarray]], Run],
    ) -> None:
        self._manifest, self.most = manifest, most
        width, height = size_wh
        shapes = {name: tuple(shape) for name, shape in batch_shapes(manifest, size_wh, most).items()}
        shapes[manifest.output_name] = (most, 1, height, width)
        shapes |= {tensor.output: shapes[tensor.input] for tensor in manifest.state}
        arrays = {name: allocate(shape, np.float32) for name, shape in shapes.items()}
        # The rows of a smaller batch are the first ones of the largest.
        self._runs = {
            count: make(count, {name: array[:count] for name, array in arrays.items()})
            for count in range(2, most + 1)
        }
        self._inputs, self._alphas = list(arrays[manifest.input_name]), list(arrays[manifest.output_name])
        self._state_rows = [
            {
                tensor.input: (arrays[tensor.input][row], arrays[tensor.output][row])
                for tensor in manifest.state
            }
            for row in range(most)
        ]

    def run(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        """Run one batch; every buffer has its alpha, and every state is one frame on."""
        for row, (buffer, state) in enumerate(zip(buffers, states, strict=True)):
            np.copyto(self._inputs[row], buffer.input[0])
            for name, (before, _) in self._state_rows[row].items():
                np.copyto(before, state.arrays[name][0])
        self._runs[len(buffers)]()
        for row, (buffer, state) in enumerate(zip(buffers, states, strict=True)):
            np.copyto(buffer.alpha, self._alphas[row][0])
            if state is not None:
                state.advance()
                for name, (_, after) in self._state_rows[row].items():
                    np.copyto(state.arrays[name][0], after)
        return list(states)

    def prove(self, backend: Backend) -> None:
        """Two frames of noise in each row, together and alone: BackendError unless they come out alike.

        A graph with a batch of 1 written into it may hold more of that than its inputs say.
        """
        rng = np.random.default_rng(0)
        alone = backend.new_buffer()
        buffers = [backend.new_buffer() for _ in range(self.most)]
        states = [backend.new_state() for _ in range(self.most)]
        others = [backend.new_state() for _ in range(self.most)]
        for turn in range(2):
            for row, buffer in enumerate(buffers):  # some darker, some lighter: what is mixed is then seen
                buffer.input[...] = rng.uniform(-1, 1, buffer.input.shape) + (row + turn) % self.most - 1
            self.run(buffers, states)
            for buffer, state, other in zip(buffers, states, others, strict=True):
                np.copyto(alone.input, buffer.input)
                backend.infer(alone, other)
                self._compare(buffer, alone, state, other)

    @staticmethod
    def _compare(buffer: HostBuffer, alone: HostBuffer, state: Any, other: Any) -> None:
        pairs = [(buffer.alpha, alone.alpha)]
        if isinstance(state, HostState):
            pairs += [(state.arrays[name], other.arrays[name]) for name in state.arrays]
        for left, right in pairs:
            scale = max(1.0, float(np.abs(right).max()))
            if not np.abs(left - right).max() <= MOST_APART * scale:
                raise BackendError("its graph mixes the pictures of a batch")
