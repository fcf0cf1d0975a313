"""The index of a frame, carried through the network: from the pixels it sees into the alpha it gives.

The synthetic camera writes each frame's index into its top left corner, where it survives being scaled down.
Copied there from the network's input into the alpha, it comes out at the sink in the alpha of the cut-out:
whoever takes an alpha of another picture, or the same one twice, is seen on every single frame.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ... import kernels
from ..backends.base import Backend, BackendInfo, State
from ..buffers import HostBuffer
from ..frame import Frame
from ..manifest import Manifest
from ..sources.frame_code import CODE_HEIGHT, CODE_WIDTH, decode_bits, strip_wh

SMALLEST_ROI = 192
"""Narrower, a block of the code is less than two pixels of the network's input, and does not survive."""
BUILD_PATIENCE_SECONDS = 1800.0


class MarkedBackend(Backend):
    """A backend whose alpha shows which picture it was computed from; costs about 10 microseconds a frame.

    Parameters
    ----------
    inner : Backend
        Does the work.
    frame_wh : (int, int)
        Size of the camera's frames.
    """

    name = "marked"

    def __init__(self, inner: Backend, frame_wh: tuple[int, int]) -> None:
        self.inner, self.frame_wh = inner, frame_wh
        self._corner: tuple[slice, slice] | None = None
        self._middle = 0.0

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self.inner.prime = self.prime
        self.inner.open(manifest, size_wh, precision=precision, threads=threads)
        x, y, width, _ = kernels.fit(self.frame_wh, size_wh, manifest.fit).roi
        if width >= SMALLEST_ROI:
            wide, high = strip_wh(width)
            self._corner = np.s_[y : y + high, x : x + wide]
        self._middle = (127.5 - manifest.mean[0]) / manifest.std[0]

    @property
    def info(self) -> BackendInfo:
        return self.inner.info

    def new_buffer(self) -> HostBuffer:
        return self.inner.new_buffer()

    def new_state(self) -> State:
        return self.inner.new_state()

    def begin(self) -> State:
        return self.inner.begin()

    def device_backend(self) -> Any:
        """Whole frames on a GPU pass this by: their alphas stay there, and carry no index."""
        return self.inner.device_backend()

    def admit(self) -> bool:
        return self.inner.admit()

    def submit(self, buffer: HostBuffer, state: State) -> State:
        return self.inner.submit(buffer, state)

    def collect(self, buffer: HostBuffer) -> None:
        self.inner.collect(buffer)
        if self._corner is not None:
            np.greater(
                buffer.input[0, 0][self._corner],
                self._middle,
                out=buffer.alpha[self._corner],
                casting="unsafe",
            )

    def infer(self, buffer: HostBuffer, state: State) -> State:
        state = self.submit(buffer, state)
        self.collect(buffer)
        return state

    def warm_up(self) -> None:
        """As the inner one; and where an engine is still being built for it, wait: a benchmark is of that."""
        self.inner.warm_up()
        wait = getattr(self.inner, "wait_until_built", None)
        if wait is not None:
            wait(BUILD_PATIENCE_SECONDS)

    def close(self) -> None:
        self.inner.close()

    def thread_context(self) -> AbstractContextManager[Any]:
        return self.inner.thread_context()


def marked(make: Callable[[], Backend], frame_wh: tuple[int, int]) -> Callable[[], Backend]:
    """A maker of marked backends, for ``Session(backend=...)``."""
    return lambda: MarkedBackend(make(), frame_wh)


class IndexReader:
    """Reads the index in outputs of one size, from the middle of each block: some 15 microseconds a frame."""

    def __init__(self, frame_wh: tuple[int, int]) -> None:
        wide, high = strip_wh(frame_wh[0])
        rows = (np.arange(CODE_HEIGHT) + 0.5) * high / CODE_HEIGHT
        columns = (np.arange(CODE_WIDTH) + 0.5) * wide / CODE_WIDTH
        self._where = np.ix_(rows.astype(int), columns.astype(int))

    def read(self, frame: Frame) -> tuple[int | None, bool]:
        """The index that the alpha shows, None without one, and whether the picture shows the same.

        A straight colour under alpha 0 is anybody's, so what shows over black is what counts: the picture's
        code through the alpha's. Gray codes of two different indices do not make a third valid one.
        """
        where = self._where
        if frame.format in ("RGBA", "BGRA"):
            alpha, picture = frame.planes[0][..., 3][where], frame.planes[0][..., 1][where]
        elif frame.format == "YUVA420":
            alpha, picture = frame.planes[3][where], frame.planes[0][where]
        elif frame.format == "ALPHA":
            index = decode_bits(frame.planes[0][where] > 127)
            return index, True
        else:
            return None, False
        index = decode_bits(alpha > 127)
        return index, index == decode_bits(np.minimum(alpha, picture) > 127)
