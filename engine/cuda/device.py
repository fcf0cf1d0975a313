"""What the GPU backends ask of a CUDA device: memory, streams, events, copies, launches and graphs.

The interface is as small as one frame's way needs it to be. Its rules are CUDA's own, and the fake device of
the tests enforces them: every call happens inside ``activate()`` of the calling thread; work queued on one
stream runs in order, between streams only events order it; memory stays as it is until the work that uses it
is known to be done; what was taken is given back with ``free``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

Pointer = int
"""An address in device memory."""


class DeviceMemory(ABC):
    """A block of device memory."""

    pointer: Pointer
    nbytes: int

    @abstractmethod
    def free(self) -> None:
        """Give it back; safe to call twice. Nothing queued may still use it."""


class Event(ABC):
    """A mark in a stream: ``Stream.record`` sets it, others wait for it."""

    @abstractmethod
    def synchronize(self) -> None:
        """Block the calling thread until what was queued before the last ``record`` is done."""

    @abstractmethod
    def query(self) -> bool:
        """Whether it is done, without waiting."""

    @abstractmethod
    def milliseconds_since(self, earlier: Event) -> float:
        """Device time between two events that are done; both made with ``timing=True``."""

    @abstractmethod
    def free(self) -> None:
        """Give it back; safe to call twice. Nothing queued may still wait for it."""


class Kernel(ABC):
    """An entry point of a module."""

    name: str


class Module(ABC):
    """A loaded cubin, fatbin or PTX."""

    @abstractmethod
    def kernel(self, name: str) -> Kernel:
        """The entry point of that name; BackendError if there is none."""

    @abstractmethod
    def unload(self) -> None:
        """Give it back; safe to call twice. None of its kernels may still be queued."""


class Graph(ABC):
    """Work captured from a stream, instantiated: one launch replays all of it."""

    nodes: int
    """How many copies and launches it holds."""

    @abstractmethod
    def launch(self, stream: Stream) -> None:
        """Queue all of it on ``stream``."""

    @abstractmethod
    def free(self) -> None:
        """Give it back; safe to call twice. It may not still be running."""


class Stream(ABC):
    """A queue of work on the device. Its methods queue and return; ``synchronize`` waits."""

    handle: int
    """The ``CUstream``, for libraries that queue their own work (TensorRT, ONNX Runtime)."""

    @abstractmethod
    def copy_in(self, pointer: Pointer, array: np.ndarray) -> None:
        """Copy a page-locked array to device memory. The array must not change until it is done."""

    @abstractmethod
    def copy_out(self, array: np.ndarray, pointer: Pointer) -> None:
        """Copy device memory to a page-locked array. The array must not be read until it is done."""

    @abstractmethod
    def copy(self, target: Pointer, source: Pointer, nbytes: int) -> None:
        """Copy within the device."""

    @abstractmethod
    def fill(self, pointer: Pointer, value: int, nbytes: int) -> None:
        """Set every byte to ``value``."""

    @abstractmethod
    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[np.generic],
        shared_bytes: int = 0,
    ) -> None:
        """Launch a kernel.

        ``arguments`` are NumPy scalars of exactly the types that the kernel declares: ``np.uint64`` for
        pointers, ``np.int32``, ``np.float32``, or ``np.void`` for a struct.
        """

    @abstractmethod
    def record(self, event: Event) -> None:
        """Set ``event`` behind all that is queued so far."""

    @abstractmethod
    def wait(self, event: Event) -> None:
        """Let what is queued from now on start only when ``event`` is done. Does not block the caller."""

    @abstractmethod
    def synchronize(self) -> None:
        """Block the calling thread until everything queued is done."""

    @abstractmethod
    def begin_capture(self) -> None:
        """From now on nothing runs: what is queued, by this thread, becomes a graph."""

    @abstractmethod
    def end_capture(self) -> Graph:
        """End the capture and instantiate what was queued.

        Raises BackendError if something that cannot be captured was queued meanwhile; the stream is usable
        again either way.
        """

    @abstractmethod
    def free(self) -> None:
        """Give it back; safe to call twice. Must be idle."""


class Device(ABC):
    """One GPU, opened. Use it from any thread, inside ``activate()``."""

    name: str
    compute_capability: str
    """Such as ``8.6``."""
    driver: str
    """Highest CUDA version that the driver knows, such as ``12.4``."""
    integrated: bool
    """Shares its memory with the CPU (Jetson): page-locked arrays are mapped, and nothing needs copying."""

    @abstractmethod
    def activate(self) -> AbstractContextManager[Any]:
        """Make the device current on the calling thread for a ``with`` block; may be nested."""

    @abstractmethod
    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Zeros in page-locked host memory, C-contiguous, aligned for the kernels, mapped on an integrated
        GPU. Given back when the last view of it is gone. OutOfDeviceMemory if there is none left.
        """

    @abstractmethod
    def mapped_pointer(self, array: np.ndarray) -> Pointer:
        """The device's address of a whole array from ``page_locked``; only where ``integrated``."""

    @abstractmethod
    def malloc(self, nbytes: int) -> DeviceMemory:
        """Device memory, not cleared. OutOfDeviceMemory with what was asked for and what is free."""

    @abstractmethod
    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream that does not wait for the default stream."""

    @abstractmethod
    def event(self, timing: bool = False) -> Event:
        """A new event."""

    @abstractmethod
    def load_module(self, image: bytes) -> Module:
        """Load a cubin, fatbin or PTX; BackendError if it is not for this GPU."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device; safe to call twice. Also when it is lost: it can then be opened again."""
