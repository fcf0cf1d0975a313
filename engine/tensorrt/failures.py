"""What TensorRT logs when something fails, as the few errors that a caller can do something about."""

from __future__ import annotations

import re

from ..cuda.failures import from_message
from ..errors import BackendError, WrongDevice

_OTHER_GPU = ("compute capability", "different device", "incompatible device")
# TensorRT shortens what CUDA said, or gives its number alone.
_IN_CUDAS_WORDS = (
    (re.compile(r"\bOutOfMemory\b"), "out of memory"),
    (re.compile(r"(initialization failure with error: 2)\b"), r"\1 (out of memory)"),
    (re.compile(r"(initialization failure with error: 35)\b"), r"\1 (driver version is insufficient)"),
    (re.compile(r"(initialization failure with error: 100)\b"), r"\1 (no CUDA-capable device)"),
)


def explained(said: str, compute_capability: str) -> BackendError:
    """The error for a failure that TensorRT describes as ``said``, on a GPU of ``compute_capability``.

    CUDA's kinds where CUDA is at fault; WrongDevice for a plan of another GPU; else a BackendError as it is.
    """
    words = said.lower()
    if any(sign in words for sign in _OTHER_GPU):
        return WrongDevice(
            f"the engine was built for another GPU than this one (SM {compute_capability}): {said}; "
            "delete it, or build it here with livecut export --to tensorrt"
        )
    line = said
    for short, long in _IN_CUDAS_WORDS:
        line = short.sub(long, line)
    error = from_message(line)
    return BackendError(said) if type(error) is BackendError else error
