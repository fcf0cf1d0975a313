"""What a GPU on its primary context does alike, whoever calls the driver: pycuda, or ctypes alone."""

from __future__ import annotations

import ctypes
import logging
import threading
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
from .shared_context import shared_context

log = logging.getLogger("livecut")


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


class _Captures(threading.local):
    """Of the calling thread: its captures, and what waits for their end. Giving memory back would break them,
    and garbage is collected at any time."""

    def __init__(self) -> None:
        self.streams: set[CapturingStream] = set()
        self.waiting: list[Callable[[], None]] = []

    def end(self, stream: CapturingStream) -> None:
        self.streams.discard(stream)
        while self.waiting and not self.streams:
            self.waiting.pop()()


_captures = _Captures()


class CapturingStream(Stream):
    """A stream whose work libcuda captures, by its handle. Subclasses call ``end_waiting`` when freed."""

    cuda: LibCuda

    def begin_capture(self) -> None:
        _captures.streams.add(self)
        try:
            self.cuda.begin_capture(self.handle)
        except BaseException:
            self.end_waiting()
            raise

    def end_capture(self) -> Graph:
        try:
            return CapturedGraph(self.cuda, *self.cuda.end_capture(self.handle))
        finally:
            self.end_waiting()

    def end_waiting(self) -> None:
        """This stream captures no more."""
        _captures.end(self)


class HostBlock(NamedTuple):
    """Page-locked memory as the driver gave it."""

    address: int
    pointer: Pointer
    """Where the device finds it; 0 where it is not mapped."""
    give_back: Callable[[], None]
    """Called once, with the context current. Knows nothing of the device, which it would keep alive."""


_kept: list[HostBlock] = []
"""What could not be given back: pycuda's destructor would try again, and end the process."""


class PrimaryDevice(Device):
    """A GPU on its primary context, which TensorRT, ONNX Runtime and PyTorch use too.

    Subclasses say how the driver is called, and are ready for it when they call the constructor here. The
    context is retained once and never released: arrays outlive their device.
    """

    def __init__(self, info: GpuInfo, cuda: LibCuda) -> None:
        self._cuda, self._ordinal = cuda, info.ordinal
        self.name, self.compute_capability = info.name, info.compute_capability
        self.driver, self.integrated = info.driver, info.integrated
        self._mapped: dict[int, Pointer] = {}
        self._is_open = True
        self._shared = shared_context(cuda, info.ordinal)
        self._context = self._shared.join(self)

    # -- for subclasses

    @abstractmethod
    def retain(self) -> Any:
        """The context, for ``_push``: called by the first device of its kind that is opened."""

    @staticmethod
    def forget(context: Any) -> None:
        """The context is about to be reset: what is left of it may not call the driver. Never raises."""

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

    # -- the device

    @contextmanager
    def activate(self) -> Iterator[None]:
        if not self._is_open:
            raise BackendError("CUDA: the device is closed; open it again")
        try:
            self._push()
            try:
                yield
            finally:
                self._pop()
        except DeviceLost:
            self._shared.lose()
            raise

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        block = self._take_host(max(1, nbytes))
        self._shared.take_block()
        # Every view of the array keeps `memory` alive; when the last is gone, on any thread, it goes back.
        memory = (ctypes.c_uint8 * max(1, nbytes)).from_address(block.address)
        weakref.finalize(memory, self._give_back, block)
        if self.integrated:
            self._mapped[block.address] = block.pointer
        array = np.frombuffer(memoryview(memory), np.uint8)[:nbytes].view(dtype).reshape(shape)
        array.fill(0)
        return array

    def _give_back(self, block: HostBlock) -> None:
        """On whatever thread, inside ``activate`` or not, and when the device is closed."""
        if _captures.streams:
            _captures.waiting.append(lambda: self._give_back(block))
            return
        self._mapped.pop(block.address, None)
        try:
            self._push()
            try:
                block.give_back()
            finally:
                self._pop()
        except Exception as error:
            log.debug("page-locked memory was not given back: %s", error)
            _kept.append(block)
        self._shared.drop_block()

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
            self._shared.leave(self)
