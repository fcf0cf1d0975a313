"""CUDA's many failures as the few that a caller can do something about.

pycuda and TensorRT pass on the driver's words and drop its code, so the words decide.
"""

from __future__ import annotations

from ..errors import BackendError, DeviceLost, DeviceUnavailable, DriverTooOld, OutOfDeviceMemory, WrongDevice

# After one of these every further call in the process fails until the context is reset.
_LOST = (
    "unspecified launch failure",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "hardware stack error",
    "invalid program counter",
    "device-side assert",
    "launch timed out",
    "uncorrectable",  # ECC and NVLink
    "external device",
    "context is destroyed",
    "no longer available",
    "unavailable",  # of a GPU that fell off the bus
    "gpu is lost",
    "unknown error",
)
_OLD_DRIVER = (
    "driver version is insufficient",
    "unsupported display driver",
    "undefined symbol",
    "forward compatibility",
    "unsupported toolchain",
    "ptx jit compiler library not found",
)
_WRONG_DEVICE = ("no kernel image", "no binary", "device kernel image is invalid", "invalid for this device")
_NO_DEVICE = ("no cuda-capable device", "invalid device ordinal", "no device", "not initialized")


def from_message(message: str) -> BackendError:
    """The error for a failure that the driver describes as ``message``, in one line with the way out."""
    line = " ".join(message.split())
    words = line.lower()
    if "out of memory" in words:
        return OutOfDeviceMemory(
            f"the GPU is out of memory: {line}; close other programs on it, or run fewer streams"
        )
    if any(sign in words for sign in _LOST):
        return DeviceLost(
            f"the GPU stopped working for this process: {line}; the kernel log (dmesg) has its Xid"
        )
    if any(sign in words for sign in _OLD_DRIVER):
        return DriverTooOld(
            f"the NVIDIA driver is too old for what is installed: {line}; install a newer driver"
        )
    if any(sign in words for sign in _WRONG_DEVICE):
        return WrongDevice(f"this was built for another GPU: {line}; build it for this one")
    if any(sign in words for sign in _NO_DEVICE):
        return DeviceUnavailable(f"there is no NVIDIA GPU to use here: {line}")
    return BackendError(f"CUDA: {line}")


def from_exception(error: BaseException) -> BackendError:
    """The same for whatever a CUDA library raised; one of ours stays itself."""
    if isinstance(error, BackendError):
        return error
    return from_message(str(error) or type(error).__name__)
