"""A GPU through libcuda alone, for machines without pycuda: the same interface."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import Any

import numpy as np

from livecut.engine.cuda import libcuda
from livecut.engine.cuda.device import Device, DeviceMemory, Event, Graph, Kernel, Module, Pointer, Stream
from livecut.engine.cuda.packing import pack
from livecut.engine.cuda.probe import find_gpu
from livecut.engine.errors import BackendError, DeviceLost, OutOfDeviceMemory

_HANDLE = POINTER(c_void_p)
_NOT_READY = "not ready"
_NON_BLOCKING, _NO_TIMING, _MAPPED = 1, 2, 2  # of streams, of events, of page-locked memory
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuDevicePrimaryCtxRetain": (_HANDLE, c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (_HANDLE,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemHostAlloc": (_HANDLE, c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemHostGetDevicePointer_v2": (POINTER(c_uint64), c_void_p, c_uint),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_uint64, c_ubyte, c_size_t, c_void_p),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, c_void_p, _HANDLE),
    "cuStreamCreate": (_HANDLE, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuEventCreate": (_HANDLE, c_uint),
    "cuEventDestroy_v2": (c_void_p,),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventQuery": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuModuleLoadDataEx": (_HANDLE, c_char_p, c_uint, c_void_p, c_void_p),
    "cuModuleUnload": (c_void_p,),
    "cuModuleGetFunction": (_HANDLE, c_void_p, c_char_p),
}


class _Driver(libcuda.LibCuda):
    """libcuda with what pycuda would call."""

    def _function(self, name: str) -> Any:
        if name in _SIGNATURES and name not in self._functions:
            found = getattr(self._library, name)
            found.argtypes, found.restype = list(_SIGNATURES[name]), c_int
            self._functions[name] = found
        return super()._function(name)

    def handle(self, name: str, *arguments: Any) -> int:
        """Call a function that gives a handle first."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return handle.value or 0


class _Held:
    """Something of the driver's that is given back once."""

    destroyer = ""

    def __init__(self, driver: _Driver, handle: int) -> None:
        self.driver, self.handle = driver, handle

    def free(self) -> None:
        handle, self.handle = self.handle, 0
        if handle:
            self.driver.call(self.destroyer, handle)


class _Memory(_Held, DeviceMemory):
    destroyer = "cuMemFree_v2"

    def __init__(self, driver: _Driver, pointer: int, nbytes: int) -> None:
        super().__init__(driver, pointer)
        self.pointer, self.nbytes = pointer, nbytes


class _Event(_Held, Event):
    destroyer = "cuEventDestroy_v2"

    def synchronize(self) -> None:
        self.driver.call("cuEventSynchronize", self.handle)

    def query(self) -> bool:
        try:
            self.driver.call("cuEventQuery", self.handle)
        except BackendError as error:
            if _NOT_READY in str(error):
                return False
            raise
        return True

    def milliseconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        milliseconds = c_float()
        self.driver.call("cuEventElapsedTime", byref(milliseconds), earlier.handle, self.handle)
        return milliseconds.value


class _Kernel(Kernel):
    def __init__(self, function: int, name: str) -> None:
        self.function, self.name = function, name


class _Module(_Held, Module):
    destroyer = "cuModuleUnload"

    def kernel(self, name: str) -> Kernel:
        return _Kernel(self.driver.handle("cuModuleGetFunction", self.handle, name.encode()), name)

    def unload(self) -> None:
        self.free()


class _Graph(Graph):
    def __init__(self, driver: _Driver, executable: int, nodes: int) -> None:
        self._driver, self._executable, self.nodes = driver, executable, nodes

    def launch(self, stream: Stream) -> None:
        self._driver.launch_graph(self._executable, stream.handle)

    def free(self) -> None:
        executable, self._executable = self._executable, 0
        if executable:
            self._driver.destroy_graph(executable)


class _Stream(_Held, Stream):
    destroyer = "cuStreamDestroy_v2"

    def copy_in(self, pointer: Pointer, array: np.ndarray) -> None:
        self.driver.call("cuMemcpyHtoDAsync_v2", pointer, array.ctypes.data, array.nbytes, self.handle)

    def copy_out(self, array: np.ndarray, pointer: Pointer) -> None:
        self.driver.call("cuMemcpyDtoHAsync_v2", array.ctypes.data, pointer, array.nbytes, self.handle)

    def copy(self, target: Pointer, source: Pointer, nbytes: int) -> None:
        self.driver.call("cuMemcpyDtoDAsync_v2", target, source, nbytes, self.handle)

    def fill(self, pointer: Pointer, value: int, nbytes: int) -> None:
        self.driver.call("cuMemsetD8Async", pointer, value, nbytes, self.handle)

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[np.generic],
        shared_bytes: int = 0,
    ) -> None:
        assert isinstance(kernel, _Kernel)
        packed = pack(arguments)
        held, size = ctypes.create_string_buffer(packed, len(packed)), c_size_t(len(packed))
        extra = (c_void_p * 5)(1, ctypes.addressof(held), 2, ctypes.addressof(size), 0)
        self.driver.call(
            "cuLaunchKernel", kernel.function, *grid, *block, shared_bytes, self.handle, None, extra
        )

    def record(self, event: Event) -> None:
        assert isinstance(event, _Event)
        self.driver.call("cuEventRecord", event.handle, self.handle)

    def wait(self, event: Event) -> None:
        assert isinstance(event, _Event)
        self.driver.call("cuStreamWaitEvent", self.handle, event.handle, 0)

    def synchronize(self) -> None:
        self.driver.call("cuStreamSynchronize", self.handle)

    def begin_capture(self) -> None:
        self.driver.begin_capture(self.handle)

    def end_capture(self) -> Graph:
        return _Graph(self.driver, *self.driver.end_capture(self.handle))


class CtypesDevice(Device):
    """GPU number ``ordinal`` on its primary context. ``path``: another driver library, for tests."""

    def __init__(self, ordinal: int = 0, path: str | None = None) -> None:
        info = find_gpu(ordinal) if path is None else None
        self._driver, self._ordinal = _Driver(path) if path else _Driver(), ordinal
        from livecut.engine.cuda.probe import describe

        info = info or describe(self._driver, ordinal)
        self.name, self.compute_capability = info.name, info.compute_capability
        self.driver, self.integrated = info.driver, info.integrated
        self._context = self._driver.handle("cuDevicePrimaryCtxRetain", ordinal)
        self._mapped: dict[int, Pointer] = {}
        self._lost = False

    @contextmanager
    def activate(self) -> Iterator[None]:
        if not self._context:
            raise BackendError("CUDA: the device is closed; open it again")
        self._driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        except DeviceLost:
            self._lost = True
            raise
        finally:
            self._driver.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def page_locked(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        address = self._driver.handle("cuMemHostAlloc", max(1, nbytes), _MAPPED if self.integrated else 0)
        memory = (ctypes.c_uint8 * max(1, nbytes)).from_address(address)
        weakref.finalize(memory, self._give_back, address).atexit = False
        if self.integrated:
            pointer = c_uint64()
            self._driver.call("cuMemHostGetDevicePointer_v2", byref(pointer), address, 0)
            self._mapped[address] = pointer.value
        array = np.frombuffer(memoryview(memory), np.uint8)[:nbytes].view(dtype).reshape(shape)
        array.fill(0)
        return array

    def _give_back(self, address: int) -> None:
        self._mapped.pop(address, None)
        if not self._context:  # the context is gone, and the memory with it
            return
        with self.activate():
            self._driver.call("cuMemFreeHost", address)

    def mapped_pointer(self, array: np.ndarray) -> Pointer:
        return self._mapped[array.ctypes.data]

    def malloc(self, nbytes: int) -> DeviceMemory:
        pointer = c_uint64()
        try:
            self._driver.call("cuMemAlloc_v2", byref(pointer), nbytes)
        except OutOfDeviceMemory as error:
            free, total = self.memory_info()
            raise OutOfDeviceMemory(f"{error} ({nbytes} bytes asked for, {free} of {total} free)") from None
        return _Memory(self._driver, pointer.value, nbytes)

    def memory_info(self) -> tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self._driver.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def stream(self) -> Stream:
        return _Stream(self._driver, self._driver.handle("cuStreamCreate", _NON_BLOCKING))

    def event(self, timing: bool = False) -> Event:
        return _Event(self._driver, self._driver.handle("cuEventCreate", 0 if timing else _NO_TIMING))

    def load_module(self, image: bytes) -> Module:
        return _Module(self._driver, self._driver.handle("cuModuleLoadDataEx", image, 0, None, None))

    def close(self) -> None:
        context, self._context = self._context, 0
        if context and self._lost:  # what has failed fails for ever: throw it away
            self._driver.reset_primary_context(self._ordinal)
        elif context:
            self._driver.call("cuDevicePrimaryCtxRelease_v2", self._ordinal)
