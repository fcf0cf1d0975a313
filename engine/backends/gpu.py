"""Which GPU backends can really run here, and if not, why not: asked of the driver, then of the packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from ..cuda import GpuInfo, find_gpu
from ..errors import BackendError, DeviceUnavailable

GPU_BACKENDS = ("tensorrt", "onnxruntime-cuda")
"""Fastest first."""


def why_not(name: str, *, needs_pycuda: bool = True) -> str:
    """Why a GPU backend cannot run here; empty where it can.

    The driver is asked first, and no package is imported on a machine without a GPU. ``needs_pycuda`` is
    False for those who bring a device of their own.
    """
    try:
        gpu = find_gpu()
        if needs_pycuda and find_spec("pycuda") is None:
            return "the package pycuda is not installed: pip install pycuda (which needs the CUDA toolkit)"
        _CHECKS[name](gpu)
    except BackendError as error:
        return str(error)
    except Exception as error:  # a library that breaks when looked at must not take the others with it
        return f"its package does not load: {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _check_tensorrt(gpu: GpuInfo) -> None:
    from ..tensorrt import load

    api = load()
    if api.is_rtx and api.target(gpu.compute_capability) is None:
        raise DeviceUnavailable(
            f"{api} does not serve SM {gpu.compute_capability} ({gpu.name}), it serves "
            f"{', '.join(api.targets())}; install TensorRT, or take onnxruntime-cuda"
        )


def _check_onnxruntime(gpu: GpuInfo) -> None:
    if find_spec("onnxruntime") is None:
        raise DeviceUnavailable(
            "the package onnxruntime-gpu is not installed: pip install livecut[onnxruntime-gpu]"
        )
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise DeviceUnavailable(
            "the onnxruntime installed here has no CUDA provider: pip uninstall onnxruntime, "
            "pip install livecut[onnxruntime-gpu]"
        )


_CHECKS: dict[str, Callable[[GpuInfo], None]] = {
    "tensorrt": _check_tensorrt,
    "onnxruntime-cuda": _check_onnxruntime,
}


def require_gpu(backend: str = "auto") -> None:
    """Make sure that ``backend`` runs on a GPU here; with ``auto``, that some does.

    Raises
    ------
    DeviceUnavailable
        With the reason for each backend that could have been it.
    """
    if backend not in ("auto", *GPU_BACKENDS):
        raise DeviceUnavailable(
            f"--require-gpu: the backend {backend} does not run on a GPU; "
            f"take {', '.join(GPU_BACKENDS)} or auto"
        )
    reasons = {name: why_not(name) for name in (GPU_BACKENDS if backend == "auto" else (backend,))}
    if all(reasons.values()):
        told = set(reasons.values())
        why = told.pop() if len(told) == 1 else "; ".join(f"{name}: {why}" for name, why in reasons.items())
        raise DeviceUnavailable(f"--require-gpu: no model can run on a GPU here: {why}")
