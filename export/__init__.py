"""From trained weights to what runs: ONNX, FP16, INT8, OpenVINO, TensorRT, each step proved.

``export_model`` is what ``livecut export`` calls. It knows no network of ours.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_HOME = {
    "Options": "options",
    "describe": "api",
    "export_model": "api",
    "module_source": "weights",
    "open_source": "api",
}
__all__ = ["Options", "describe", "export_model", "module_source", "open_source"]

if TYPE_CHECKING:
    from .api import describe, export_model, open_source
    from .options import Options
    from .weights import module_source


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'livecut.export' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
