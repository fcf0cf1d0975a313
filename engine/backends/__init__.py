"""Backends: the only place that knows the list. Nothing heavy is imported before one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from ..errors import DeviceUnavailable, UsageError
from .base import Backend, BackendInfo

__all__ = ["NAMES", "Backend", "BackendInfo", "available_backends", "select_backend"]

# name -> (module here, class, package it needs, how to get that)
_BACKENDS = {
    "openvino": ("openvino", "OpenVinoBackend", "openvino", "pip install openvino"),
    "onnxruntime": ("ort", "OnnxRuntimeBackend", "onnxruntime", "pip install livecut[onnxruntime]"),
    "null": ("null", "NullBackend", None, ""),
}
NAMES = ("auto", *_BACKENDS)
_AUTO = ("openvino", "onnxruntime")
"""What ``auto`` takes, the first that is there: OpenVINO is 1.4 to 3 times as fast on a CPU."""


def available_backends() -> dict[str, str]:
    """Each backend's name, and why it cannot run here; empty where it can. Imports none of them."""
    return {
        name: ""
        if package is None or find_spec(package)
        else f"the package {package} is not installed: {way}"
        for name, (_, _, package, way) in _BACKENDS.items()
    }


def select_backend(name: str = "auto") -> tuple[Callable[[], Backend], str]:
    """The class of a backend, and in words why it was taken.

    Parameters
    ----------
    name : str
        ``auto`` or one of ``NAMES``.

    Raises
    ------
    UsageError
        If no such backend exists.
    DeviceUnavailable
        If it exists and cannot run here; the message lists what can.
    """
    missing = available_backends()
    able = [other for other, reason in missing.items() if not reason]
    if name == "auto":
        for candidate in _AUTO:
            if not missing[candidate]:
                passed = [f"{other}: {missing[other]}" for other in _AUTO[: _AUTO.index(candidate)]]
                return _load(candidate), "; ".join(
                    [f"auto: {candidate} is the fastest of what is installed", *passed]
                )
        raise DeviceUnavailable(
            f"no backend can run a model here: {'; '.join(f'{n}: {missing[n]}' for n in _AUTO)}"
        )
    if name not in _BACKENDS:
        raise UsageError(f"no backend {name!r}; there are {', '.join(NAMES)}")
    if missing[name]:
        raise DeviceUnavailable(f"backend {name}: {missing[name]}. Available here: {', '.join(able)}")
    return _load(name), "asked for"


def _load(name: str) -> Callable[[], Backend]:
    module, attribute, _, _ = _BACKENDS[name]
    try:
        return getattr(import_module(f".{module}", __name__), attribute)
    except ImportError as error:
        raise DeviceUnavailable(
            f"backend {name}: its package is installed but does not load: {error}"
        ) from error
