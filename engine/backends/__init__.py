"""Backends: the only place that knows the list. Nothing heavy is imported before one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from ..errors import DeviceUnavailable, UsageError
from .base import Backend, BackendInfo
from .gpu import GPU_BACKENDS, require_gpu, why_not

__all__ = ["NAMES", "Backend", "BackendInfo", "available_backends", "require_gpu", "select_backend"]

# name -> (module here, class, package it needs, how to get that)
_BACKENDS = {
    "openvino": ("openvino", "OpenVinoBackend", "openvino", "pip install openvino"),
    "onnxruntime": ("ort", "OnnxRuntimeBackend", "onnxruntime", "pip install livecut[onnxruntime]"),
    "tensorrt": ("swapping", "SwappingBackend", None, ""),
    "onnxruntime-cuda": ("ort_cuda", "OrtCudaOrCpu", None, ""),
    "null": ("null", "NullBackend", None, ""),
}
NAMES = ("auto", *_BACKENDS)
_AUTO = (*GPU_BACKENDS, "openvino", "onnxruntime")
"""What ``auto`` takes, the first that can run: OpenVINO is 1.4 to 3 times as fast on a CPU as the last."""


def available_backends() -> dict[str, str]:
    """Each backend's name, and why it cannot run here; empty where it can. Where there is no GPU, imports
    none of them."""
    return {name: _why_not(name) for name in _BACKENDS}


def _why_not(name: str) -> str:
    if name in GPU_BACKENDS:
        return why_not(name)
    _, _, package, way = _BACKENDS[name]
    if package is None or find_spec(package):
        return ""
    return f"the package {package} is not installed: {way}"


def select_backend(
    name: str = "auto", *, on_gpu: bool | None = None, rebuild: bool = True
) -> tuple[Callable[[], Backend], str]:
    """What makes a backend, and in words why it was taken.

    Parameters
    ----------
    name : str
        ``auto`` or one of ``NAMES``.
    on_gpu : bool, optional
        True: on a GPU or not at all, not even for the first frames. False: ``auto`` passes over the GPU.
    rebuild : bool
        Whether ``tensorrt`` may build an engine that is missing or does not fit.

    Raises
    ------
    UsageError
        If no such backend exists.
    DeviceUnavailable
        If it exists and cannot run here; the message lists what can.
    """
    if on_gpu:
        require_gpu(name)
    missing = available_backends()
    able = [other for other, reason in missing.items() if not reason]
    if name == "auto":
        candidates = [other for other in _AUTO if on_gpu is not False or other not in GPU_BACKENDS]
        for candidate in candidates:
            if not missing[candidate]:
                passed = _reasons(missing, candidates[: candidates.index(candidate)])
                return _maker(candidate, bool(on_gpu), rebuild), "; ".join(
                    [f"auto: {candidate} is the fastest of what can run here", *passed]
                )
        raise DeviceUnavailable(
            f"no backend can run a model here: {'; '.join(_reasons(missing, candidates))}"
        )
    if name not in _BACKENDS:
        raise UsageError(f"no backend {name!r}; there are {', '.join(NAMES)}")
    if missing[name]:
        raise DeviceUnavailable(f"backend {name}: {missing[name]}. Available here: {', '.join(able)}")
    return _maker(name, bool(on_gpu), rebuild), "asked for"


def _reasons(missing: dict[str, str], names: list[str]) -> list[str]:
    """Why each of ``names`` cannot run; those with the same reason together."""
    told: dict[str, list[str]] = {}
    for name in names:
        told.setdefault(missing[name], []).append(name)
    return [f"{', '.join(together)}: {reason}" for reason, together in told.items()]


def _maker(name: str, on_gpu: bool, rebuild: bool) -> Callable[[], Backend]:
    make = _load(name)
    if name == "tensorrt":
        return partial(make, require_gpu=on_gpu, rebuild=rebuild)
    return partial(make, require_gpu=on_gpu) if name in GPU_BACKENDS else make


def _load(name: str) -> Callable[..., Backend]:
    module, attribute, _, _ = _BACKENDS[name]
    try:
        return getattr(import_module(f".{module}", __name__), attribute)
    except ImportError as error:
        raise DeviceUnavailable(
            f"backend {name}: its package is installed but does not load: {error}"
        ) from error
