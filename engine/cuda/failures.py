"""CUDA's many failures as the few that a caller can do something about.

pycuda and TensorRT pass on the driver's words and drop its code, so the words decide.
"""

from __future__ import annotations

from ..errors import (
    BackendError,
    DeviceBusy,
    DeviceLost,
    DeviceUnavailable,
    DriverTooOld,
    OutOfDeviceMemory,
    WrongDevice,
)

_BUSY = ("busy or unavailable", "device already in use")
# After one of these every further call in the process fails until the context is reset.
_LOST = (
    "unspecified launch failure",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "hardware stack error",
    "invalid program counter",
    "global/shared address space",
    "invalid address space",
    "tensor memory not completely freed",
    "device-side assert",
    "launch timed out",
    "uncorrectable",  # ECC and NVLink
    "over nvlink or a hardware error",
    "external entity",
    "external device",
    "context is destroyed",
    "no longer available",
    "gpu is lost",
    "unknown error",
)
_NO_MEMORY = (
    "out of memory",
    "failed to allocate memory for requested buffer",  # onnxruntime's arena
    "alloc_failed",  # cuDNN and cuBLAS
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
    if any(sign in words for sign in _NO_MEMORY):
        return OutOfDeviceMemory(
            f"the GPU is out of memory: {line}; close other programs on it, or run fewer streams"
        )
    if any(sign in words for sign in _BUSY):
        return DeviceBusy(
            f"the GPU is taken by another process, or closed to this one: {line}; "
            "end the other (nvidia-smi shows it), or open the GPU to all (nvidia-smi -c DEFAULT)"
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
