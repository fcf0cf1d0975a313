"""CUDA behind one small interface: what the GPU backends use, with a real device behind it.

Nothing here loads CUDA or pycuda until a device is opened, so livecut starts and runs where there is none.
"""

from .device import Device, DeviceMemory, Event, Graph, Kernel, Module, Stream
from .probe import GpuInfo, find_gpu

__all__ = [
    "Device",
    "DeviceMemory",
    "Event",
    "GpuInfo",
    "Graph",
    "Kernel",
    "Module",
    "Stream",
    "find_gpu",
    "open_device",
]


def open_device(ordinal: int = 0) -> Device:
    """Open a GPU through pycuda, on its primary context.

    Raises
    ------
    DeviceUnavailable
        If there is no such GPU, or pycuda is missing or does not load; the message says which.
    DriverTooOld
        If the driver is older than the CUDA that pycuda was built with.
    """
    from .pycuda_device import PycudaDevice

    return PycudaDevice(ordinal)
