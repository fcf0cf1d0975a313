"""What a GPU on its primary context does alike, whoever calls the driver: pycuda, or ctypes alone."""

from __future__ import annotations

import ctypes
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackendError, DeviceLost, OutOfDeviceMemory
from .device import Device, DeviceMemory, Graph, Pointer, Stream
from .libcuda import LibCuda
from .probe import GpuInfo


class CapturedGraph(Graph):
    """A graph of libcuda's: pycuda has none."""

    def __init__(self, cuda: LibCuda, executable: int, nodes: int) -> None:
        self._cuda, self._executable, self.nodes = cuda, executable, nodes

    def launch(self, stream: Stream) -> None:
        self._cuda.launch_graph(self._executable, stream.handle)

    def free(self) -> None:
        executable, self._executable = self._executable, 0
        if executable:
            self._cuda.destroy_graph(executable)


class CapturingStream(Stream):
    """A stream whose work libcuda captures, by its handle."""

    cuda: LibCuda

    def begin_capture(self) -> None:
        self.cuda.begin_capture(self.handle)

    def end_capture(self) -> Graph:
        return CapturedGraph(self.cuda, *self.cuda.end_capture(self.handle))


class HostBlock(NamedTuple):
    """Page-locked memory as the driver gave it."""

    address: int
    pointer: Pointer
    """Where the device finds it; 0 where it is not mapped."""
    give_back: Callable[[], None]
    """May be called on any thread, with the context current or not, and when the device is gone."""


class PrimaryDevice(Device):
    """A GPU on its primary context, which TensorRT, ONNX Runtime and PyTorch use too.

    Subclasses say how the driver is called.
    """

    def __init__(self, info: GpuInfo, cuda: LibCuda) -> None:
        self._cuda, self._ordinal = cuda, info.ordinal
        self.name, self.compute_capability = info.name, info.compute_capability
        self.driver, self.integrated = info.driver, info.integrated
        self._mapped: dict[int, Pointer] = {}
        self._is_open, self._is_lost = True, False

    # -- for subclasses

    @abstractmethod
    def _push(self) -> None:
        """Make the context current on this thread."""

    @abstractmethod
    def _pop(self) -> None:
        """Take it off again; never raises."""

    @abstractmethod
    def _take_host(self, nbytes: int) -> HostBlock:
        """Page-locked memory, mapped where the GPU is integrated; at least one byte."""

    @abstractmethod
    def _take(self, nbytes: int) -> DeviceMemory:
        """Device memory."""

    @abstractmethod
    def _let_go(self, is_lost: bool) -> None:
        """Give the context back; one that is lost fails for ever, and must be thrown away."""

    # -- the device

    @contextmanager
    def activate(self) -> Iterator[None]:
        if not self._is_open:
            raise BackendError("CUDA: the device is closed; open it again")
        self._push()
        try:
            yield
        except DeviceLost:
            self._is_lost = True
            raise
        finally:
            self._pop()

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        block = self._take_host(max(1, nbytes))
        # Every view of the array keeps `memory` alive; when the last is gone, on any thread, it goes back.
        memory = (ctypes.c_uint8 * max(1, nbytes)).from_address(block.address)
        weakref.finalize(memory, _given_back, self._mapped, block)
        if self.integrated:
            self._mapped[block.address] = block.pointer
        array = np.frombuffer(memoryview(memory), np.uint8)[:nbytes].view(dtype).reshape(shape)
        array.fill(0)
        return array

    def mapped_pointer(self, array: np.ndarray) -> Pointer:
        try:
            return self._mapped[array.ctypes.data]
        except KeyError:
            raise BackendError("CUDA: expected a whole array from page_locked on an integrated GPU") from None

    def malloc(self, nbytes: int) -> DeviceMemory:
        try:
            return self._take(nbytes)
        except OutOfDeviceMemory as error:
            free, total = self.memory_info()
            raise OutOfDeviceMemory(
                f"the GPU is out of memory: {nbytes / 2**20:.1f} MiB were asked for, "
                f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free; "
                "close other programs on it, or run fewer streams"
            ) from error

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._let_go(self._is_lost)


def _given_back(mapped: dict[int, Pointer], block: HostBlock) -> None:
    mapped.pop(block.address, None)
    block.give_back()
