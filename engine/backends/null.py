"""A constant matte without a network: measures our own overhead, and lets wiring be tried without a model."""

from __future__ import annotations

from ..buffers import HostBuffer
from ..manifest import Manifest
from .base import Backend, BackendInfo, State


class NullBackend(Backend):
    """Every alpha is ``value``; nothing is computed."""

    name = "null"

    def __init__(self, value: float = 1.0) -> None:
        self.value = value
        self._size_wh = (0, 0)

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._size_wh = size_wh

    @property
    def info(self) -> BackendInfo:
        return BackendInfo("null", "none", "none", 0, "constant matte, no network")

    def new_buffer(self) -> HostBuffer:
        buffer = HostBuffer(self._size_wh, self.allocate)
        buffer.alpha[...] = self.value
        return buffer

    def infer(self, buffer: HostBuffer, state: State) -> State:
        return state

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass
