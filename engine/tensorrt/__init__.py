"""TensorRT, whichever is here: build engines from ONNX, say what is in them, keep them in a cache.

Imports no TensorRT itself: ``load`` does, when an engine is built or run.
"""

from .api import Api, is_installed, load
from .build import BuildReport, build_engine
from .profiles import fixed_profiles
from .targets import parse_compute_capabilities, present_gpu

__all__ = [
    "Api",
    "BuildReport",
    "build_engine",
    "fixed_profiles",
    "is_installed",
    "load",
    "parse_compute_capabilities",
    "present_gpu",
]
