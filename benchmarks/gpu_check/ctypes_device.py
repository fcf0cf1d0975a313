"""A GPU through libcuda alone, for machines without pycuda: the same interface."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from functools import partial
from typing import Any, ClassVar

import numpy as np

from livecut.engine.cuda.device import DeviceMemory, Event, Kernel, Module, Pointer, Stream
from livecut.engine.cuda.libcuda import LibCuda
from livecut.engine.cuda.packing import pack
from livecut.engine.cuda.primary import CapturingStream, HostBlock, PrimaryDevice
from livecut.engine.cuda.probe import describe, find_gpu
from livecut.engine.errors import BackendError

_HANDLE = POINTER(c_void_p)
_NOT_READY = "not ready"
_NON_BLOCKING, _NO_TIMING, _MAPPED = 1, 2, 2  # of streams, of events, of page-locked memory
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuDevicePrimaryCtxRetain": (_HANDLE, c_int),
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


class _Driver(LibCuda):
    """libcuda with what pycuda would call."""

    signatures: ClassVar = {**LibCuda.signatures, **_SIGNATURES}

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


class _Stream(_Held, CapturingStream):
    destroyer = "cuStreamDestroy_v2"

    def __init__(self, driver: _Driver, handle: int) -> None:
        super().__init__(driver, handle)
        self.cuda = driver

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

    def free(self) -> None:
        try:
            super().free()
        finally:
            self.end_waiting()


class CtypesDevice(PrimaryDevice):
    """GPU number ``ordinal``. ``path``: another driver library, for tests."""

    def __init__(self, ordinal: int = 0, path: str | None = None) -> None:
        self._driver = _Driver(path) if path else _Driver()
        super().__init__(describe(self._driver, ordinal) if path else find_gpu(ordinal), self._driver)

    def retain(self) -> int:
        return self._driver.handle("cuDevicePrimaryCtxRetain", self._ordinal)

    def _push(self) -> None:
        self._driver.call("cuCtxPushCurrent_v2", self._context)

    def _pop(self) -> None:
        with suppress(BackendError):
            self._driver.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def _take_host(self, nbytes: int) -> HostBlock:
        address = self._driver.handle("cuMemHostAlloc", nbytes, _MAPPED if self.integrated else 0)
        pointer = c_uint64()
        if self.integrated:
            self._driver.call("cuMemHostGetDevicePointer_v2", byref(pointer), address, 0)
        return HostBlock(address, pointer.value, partial(self._driver.call, "cuMemFreeHost", address))

    def _take(self, nbytes: int) -> DeviceMemory:
        pointer = c_uint64()
        self._driver.call("cuMemAlloc_v2", byref(pointer), nbytes)
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
