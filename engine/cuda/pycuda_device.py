"""A real GPU through pycuda.

Five habits of pycuda shape this file. It ties a context to the thread that made it, and silently leaks what
is freed on another thread unless the context is current there: so everything is freed by name, inside
``activate()``. It aborts the process when a thread ends with a context pushed: so only ``with`` blocks push.
``pycuda.autoinit`` would make a private context that no other library shares: so the primary context is
retained, once for each GPU. The destructor of that context object detaches it in a way that is wrong for a
primary one: so it is never destroyed, and the driver cleans up when the process ends. And the destructors of
what was taken from a context end the process if it has been reset meanwhile: so pycuda is told first.
"""

from __future__ import annotations

import _thread
import ctypes
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BackendError, DeviceUnavailable, DriverTooOld
from .device import DeviceMemory, Event, Kernel, Module, Pointer, Stream
from .failures import from_exception
from .libcuda import LibCuda
from .packing import pack
from .primary import CapturingStream, HostBlock, PrimaryDevice
from .probe import find_gpu

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
log = logging.getLogger("livecut")


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


class _Stream(CapturingStream):
    def __init__(self, driver: Any, cuda: LibCuda) -> None:
        self._driver, self.cuda = driver, cuda
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

    def free(self) -> None:
        self.native = None
        self.end_waiting()


class PycudaDevice(PrimaryDevice):
    """GPU number ``ordinal`` through pycuda."""

    def __init__(self, ordinal: int = 0) -> None:
        info = find_gpu(ordinal)  # says first, and in plain words, when there is no driver or GPU
        self._driver = _driver()
        super().__init__(info, LibCuda())

    def retain(self) -> Any:
        with _translated():
            context = self._driver.Device(self._ordinal).retain_primary_context()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(context))  # never destroyed, see above
        return context

    @staticmethod
    def forget(context: Any) -> None:
        # On a thread that did not make it, detaching marks it as dead and does no more. Not by ``threading``:
        # its locks may be held here already, where garbage collection has brought this about.
        done = _thread.allocate_lock()
        done.acquire()

        def detach() -> None:
            try:
                context.detach()
            except Exception as error:
                log.debug("the context could not be forgotten: %s", error)
            finally:
                done.release()

        try:
            _thread.start_new_thread(detach, ())
        except RuntimeError:  # the process ends
            return
        done.acquire()

    def _push(self) -> None:
        with _translated():
            self._context.push()

    def _pop(self) -> None:
        try:
            self._driver.Context.pop()
        except Exception as error:  # what failed before it is what the caller must hear of
            log.debug("the context could not be taken off: %s", error)

    def _take_host(self, nbytes: int) -> HostBlock:
        flags = self._driver.host_alloc_flags
        with _translated():
            raw = self._driver.pagelocked_empty(
                (nbytes,), np.uint8, mem_flags=flags.DEVICEMAP if self.integrated else 0
            )
            allocation = raw.base
            pointer = int(allocation.get_device_pointer()) if self.integrated else 0
        return HostBlock(raw.ctypes.data, pointer, allocation.free)

    def _take(self, nbytes: int) -> DeviceMemory:
        with _translated():
            return _Memory(self._driver.mem_alloc(nbytes), nbytes)

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
