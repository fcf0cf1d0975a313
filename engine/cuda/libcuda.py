"""The CUDA driver through ctypes: what is asked before pycuda is loaded, and the graphs that pycuda lacks.

Only a dozen functions of ``libcuda`` are declared. They take and give plain integers; ``LibCuda`` raises for
them, so that no return code is ever dropped. Streams of pycuda and of this module are the same handles.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any, ClassVar

from ..errors import BackendError, DeviceUnavailable
from .failures import from_message

_INT, _HANDLE = POINTER(c_int), POINTER(c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_INT,),
    "cuDeviceGetCount": (_INT,),
    "cuDeviceGet": (_INT, c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (_INT, c_int, c_int),
    "cuDeviceGetPCIBusId": (c_char_p, c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDevicePrimaryCtxReset_v2": (c_int,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _HANDLE),
    "cuGraphGetNodes": (c_void_p, c_void_p, POINTER(c_size_t)),
    "cuGraphInstantiateWithFlags": (_HANDLE, c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
}
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR, INTEGRATED = 75, 76, 18
# What other threads queue does not join a capture; one that waits for the whole device may break it.
_CAPTURE_THREAD_LOCAL = 1
_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class LibCuda:
    """The driver library, loaded and initialised.

    Raises
    ------
    DeviceUnavailable
        If there is no NVIDIA driver here, or it sees no GPU.
    """

    signatures: ClassVar[Mapping[str, tuple[Any, ...]]] = _SIGNATURES
    """Parameters of each function that may be called; subclasses have more."""

    def __init__(self, path: str = _LIBRARY) -> None:
        try:
            self.path, self._library = path, ctypes.CDLL(path)
        except OSError:
            raise DeviceUnavailable(f"there is no NVIDIA driver here ({path} is not found)") from None
        self._functions: dict[str, Any] = {}
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver; the error of ``failures`` unless it returns success."""
        code = self._function(name)(*arguments)
        if code != 0:
            raise from_message(f"{name} failed: {self._words(code)}")

    def _function(self, name: str) -> Any:
        found = self._functions.get(name)
        if found is None:
            try:
                found = getattr(self._library, name)
            except AttributeError:
                raise from_message(f"{name}: undefined symbol in the driver library") from None
            found.argtypes, found.restype = list(self.signatures[name]), c_int
            self._functions[name] = found
        return found

    def _words(self, code: int) -> str:
        words = c_char_p()
        try:
            known = self._library.cuGetErrorString(c_int(code), byref(words)) == 0
        except AttributeError:
            known = False
        text = words.value.decode("utf-8", "replace") if known and words.value else "unknown error"
        return f"{text} (CUDA error {code})"

    # -- devices

    def driver_version(self) -> tuple[int, int]:
        """The highest CUDA version the driver knows: (12, 4)."""
        version = self._int("cuDriverGetVersion")
        return version // 1000, version % 1000 // 10

    def device_count(self) -> int:
        """GPUs that this process may see."""
        return self._int("cuDeviceGetCount")

    def device_name(self, ordinal: int) -> str:
        """The GPU's name for people."""
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, len(name), self._device(ordinal))
        return name.value.decode("utf-8", "replace")

    def pci_bus_id(self, ordinal: int) -> str:
        """Where the GPU is plugged in, such as ``0000:65:00.0``: NVML and CUDA count in different orders."""
        name = ctypes.create_string_buffer(64)
        self.call("cuDeviceGetPCIBusId", name, len(name), self._device(ordinal))
        return name.value.decode("ascii", "replace")

    def attribute(self, ordinal: int, which: int) -> int:
        """An attribute of a GPU, by the driver's number of it."""
        return self._int("cuDeviceGetAttribute", which, self._device(ordinal))

    def total_bytes(self, ordinal: int) -> int:
        """Memory of a GPU."""
        total = c_size_t()
        self.call("cuDeviceTotalMem_v2", byref(total), self._device(ordinal))
        return total.value

    def reset_primary_context(self, ordinal: int) -> None:
        """Throw away everything this process has on a GPU, whoever uses it: see ``SharedContext``."""
        self.call("cuDevicePrimaryCtxReset_v2", self._device(ordinal))

    def _device(self, ordinal: int) -> int:
        return self._int("cuDeviceGet", ordinal)

    def _int(self, name: str, *arguments: Any) -> int:
        value = c_int()
        self.call(name, byref(value), *arguments)
        return value.value

    # -- graphs

    def begin_capture(self, stream: int) -> None:
        """From now on this thread's calls on ``stream`` are recorded, not run."""
        self.call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> tuple[int, int]:
        """End it; an executable graph's handle, and how many nodes it has."""
        graph, executable, nodes = c_void_p(), c_void_p(), c_size_t()
        self.call("cuStreamEndCapture", stream, byref(graph))
        if not graph.value:
            raise BackendError("cuStreamEndCapture gave no graph: what was captured is not valid")
        try:
            self.call("cuGraphGetNodes", graph, None, byref(nodes))
            self.call("cuGraphInstantiateWithFlags", byref(executable), graph, 0)
        finally:
            self.call("cuGraphDestroy", graph)
        return executable.value or 0, nodes.value

    def launch_graph(self, executable: int, stream: int) -> None:
        """Queue a graph on a stream."""
        self.call("cuGraphLaunch", executable, stream)

    def destroy_graph(self, executable: int) -> None:
        """Give an executable graph back."""
        self.call("cuGraphExecDestroy", executable)
