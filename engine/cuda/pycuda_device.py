"""A real GPU through pycuda.

Four habits of pycuda shape this file. It ties a context to the thread that made it, and silently leaks what
is freed on another thread unless the context is current there: so everything is freed by name, inside
``activate()``. It aborts the process when a thread ends with a context pushed: so only ``with`` blocks push.
``pycuda.autoinit`` would make a private context that no other library shares: so the primary context is
retained, once for each GPU. And the destructor of that context object detaches it in a way that is wrong for
a primary one: so it is never destroyed, and the driver cleans up when the process ends.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BackendError, DeviceLost, DeviceUnavailable, DriverTooOld
from .device import Device, DeviceMemory, Event, Graph, Kernel, Module, Pointer, Stream
from .failures import from_exception
from .libcuda import LibCuda
from .packing import pack
from .probe import find_gpu

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
_lock = threading.Lock()
_contexts: dict[int, Any] = {}


def _driver() -> Any:
    """``pycuda.driver``, initialised."""
    try:
        import pycuda.driver as driver
    except ImportError as error:
        if "undefined symbol" in str(error):
            raise DriverTooOld(
                f"pycuda was built for a newer CUDA than the driver has ({error}); "
                "install a newer driver, or build pycuda again on this machine"
            ) from error
        raise DeviceUnavailable(
            f"pycuda is needed for the GPU and does not load: {error}; pip install livecut[gpu]"
        ) from error
    with _translated():
        driver.init()
    built, has = driver.get_version()[0], driver.get_driver_version() // 1000
    if has < built:
        raise DriverTooOld(
            f"pycuda was built for CUDA {built}, the driver goes up to CUDA {has}; install a newer driver"
        )
    return driver


@contextmanager
def _translated() -> Iterator[None]:
    """Failures of pycuda as our errors."""
    try:
        yield
    except Exception as error:
        raise from_exception(error) from error


class _Memory(DeviceMemory):
    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation, self.pointer, self.nbytes = allocation, int(allocation), nbytes

    def free(self) -> None:
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            with _translated():
                allocation.free()


class _Event(Event):
    def __init__(self, driver: Any, timing: bool) -> None:
        flags = 0 if timing else driver.event_flags.DISABLE_TIMING
        self.native = driver.Event(flags)

    def synchronize(self) -> None:
        with _translated():
            self.native.synchronize()

    def query(self) -> bool:
        with _translated():
            return self.native.query()

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        with _translated():
            return self.native.time_since(earlier.native)

    def free(self) -> None:
        self.native = None  # pycuda destroys it with its last reference, here where the context is current


class _Kernel(Kernel):
    def __init__(self, function: Any, name: str) -> None:
        self.native, self.name = function, name


class _Module(Module):
    def __init__(self, native: Any) -> None:
        self._native = native

    def kernel(self, name: str) -> Kernel:
        try:
            return _Kernel(self._native.get_function(name), name)
        except Exception as error:
            raise BackendError(f"CUDA: the module has no kernel {name!r}: {error}") from error

    def unload(self) -> None:
        self._native = None


class _Graph(Graph):
    def __init__(self, cuda: LibCuda, executable: int, nodes: int) -> None:
        self._cuda, self._executable, self.nodes = cuda, executable, nodes

    def launch(self, stream: Stream) -> None:
        self._cuda.launch_graph(self._executable, stream.handle)

    def free(self) -> None:
        executable, self._executable = self._executable, 0
        if executable:
            self._cuda.destroy_graph(executable)


class _Stream(Stream):
    def __init__(self, driver: Any, cuda: LibCuda) -> None:
        self._driver, self._cuda = driver, cuda
        self.native = driver.Stream(_NON_BLOCKING)
        self.handle = self.native.handle

    def copy_in(self, pointer: Pointer, array: np.ndarray) -> None:
        with _translated():
            self._driver.memcpy_htod_async(pointer, array, self.native)

    def copy_out(self, array: np.ndarray, pointer: Pointer) -> None:
        with _translated():
            self._driver.memcpy_dtoh_async(array, pointer, self.native)

    def copy(self, target: Pointer, source: Pointer, nbytes: int) -> None:
        with _translated():
            self._driver.memcpy_dtod_async(target, source, nbytes, self.native)

    def fill(self, pointer: Pointer, value: int, nbytes: int) -> None:
        with _translated():
            self._driver.memset_d8_async(pointer, value, nbytes, self.native)

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[np.generic],
        shared_bytes: int = 0,
    ) -> None:
        assert isinstance(kernel, _Kernel)
        with _translated():
            kernel.native._launch_kernel(grid, block, pack(arguments), shared_bytes, self.native)

    def record(self, event: Event) -> None:
        assert isinstance(event, _Event)
        with _translated():
            event.native.record(self.native)

    def wait(self, event: Event) -> None:
        assert isinstance(event, _Event)
        with _translated():
            self.native.wait_for_event(event.native)

    def synchronize(self) -> None:
        with _translated():
            self.native.synchronize()

    def begin_capture(self) -> None:
        self._cuda.begin_capture(self.handle)

    def end_capture(self) -> Graph:
        return _Graph(self._cuda, *self._cuda.end_capture(self.handle))

    def free(self) -> None:
        self.native = None


class PycudaDevice(Device):
    """GPU number ``ordinal`` on its primary context, shared with TensorRT and ONNX Runtime."""

    def __init__(self, ordinal: int = 0) -> None:
        info = find_gpu(ordinal)  # says first, and in plain words, when there is no driver or GPU
        self._driver, self._cuda, self._ordinal = _driver(), LibCuda(), ordinal
        self.name, self.compute_capability = info.name, info.compute_capability
        self.driver, self.integrated = info.driver, info.integrated
        self._context = self._retained()
        self._lost = False

    def _retained(self) -> Any:
        with _lock:
            if self._ordinal not in _contexts:
                with _translated():
                    context = self._driver.Device(self._ordinal).retain_primary_context()
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(context))  # never destroyed, see above
                _contexts[self._ordinal] = context
            return _contexts[self._ordinal]

    @contextmanager
    def activate(self) -> Iterator[None]:
        if self._context is None:
            raise BackendError("CUDA: the device is closed; open it again")
        with _translated():
            self._context.push()
        try:
            yield
        except DeviceLost:
            self._lost = True
            raise
        finally:
            self._driver.Context.pop()

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        flags = self._driver.host_alloc_flags
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        with _translated():
            raw = self._driver.pagelocked_empty(
                (max(1, nbytes),), np.uint8, mem_flags=flags.DEVICEMAP if self.integrated else 0
            )
        # Every view of the array keeps `memory` alive. When the last is gone, on whichever thread, the
        # context is pushed there: pycuda by itself would leak the allocation.
        memory = (ctypes.c_uint8 * len(raw)).from_address(raw.ctypes.data)
        address, allocation = raw.ctypes.data, raw.base
        weakref.finalize(memory, _free_page_locked, address, allocation, self._context, self._driver.Context)
        if self.integrated:
            _mapped[address] = int(allocation.get_device_pointer())
        array = np.frombuffer(memoryview(memory), np.uint8)[:nbytes].view(dtype).reshape(shape)
        array.fill(0)
        return array

    def mapped_pointer(self, array: np.ndarray) -> Pointer:
        try:
            return _mapped[array.ctypes.data]
        except KeyError:
            raise BackendError("CUDA: expected a whole array from page_locked on an integrated GPU") from None

    def malloc(self, nbytes: int) -> DeviceMemory:
        try:
            with _translated():
                return _Memory(self._driver.mem_alloc(nbytes), nbytes)
        except MemoryError as error:
            free, total = self.memory_info()
            raise type(error)(
                f"the GPU is out of memory: {nbytes / 2**20:.1f} MiB were asked for, "
                f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free; "
                "close other programs on it, or run fewer streams"
            ) from error

    def memory_info(self) -> tuple[int, int]:
        with _translated():
            return self._driver.mem_get_info()

    def stream(self) -> Stream:
        with _translated():
            return _Stream(self._driver, self._cuda)

    def event(self, timing: bool = False) -> Event:
        with _translated():
            return _Event(self._driver, timing)

    def load_module(self, image: bytes) -> Module:
        with _translated():
            return _Module(self._driver.module_from_buffer(image))

    def close(self) -> None:
        context, self._context = self._context, None
        if context is None or not self._lost:
            return
        # A context that has failed fails for ever: throw it away, so that the next session gets a fresh one.
        with _lock:
            if _contexts.get(self._ordinal) is context:
                del _contexts[self._ordinal]
                self._cuda.reset_primary_context(self._ordinal)


_mapped: dict[int, Pointer] = {}
"""Host address of page-locked memory to its address on an integrated GPU."""


def _free_page_locked(address: int, allocation: Any, context: Any, context_class: Any) -> None:
    _mapped.pop(address, None)
    try:
        context.push()
    except Exception:  # the GPU is lost or the process ends: there is nothing left to give back to
        return
    try:
        allocation.free()
    finally:
        context_class.pop()
