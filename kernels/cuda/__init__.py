"""The full-resolution work as CUDA kernels: their module, and the launches that a frame needs.

Nothing here opens a GPU: `engine.cuda` loads what `get_module` returns and queues what the others return.
"""

from .arguments import (
    KERNELS,
    NO_PLANES,
    NOT_FINITE,
    OUT_OF_RANGE,
    Launch,
    Planes,
    picture_bytes,
    plane_shapes,
)
from .launches import memory_bytes, over_launch, preprocess_launch, smooth_launches
from .module import CompiledModule, get_module
from .refining import refine_launches, work_bytes

__all__ = [
    "KERNELS",
    "NOT_FINITE",
    "NO_PLANES",
    "OUT_OF_RANGE",
    "CompiledModule",
    "Launch",
    "Planes",
    "get_module",
    "memory_bytes",
    "over_launch",
    "picture_bytes",
    "plane_shapes",
    "preprocess_launch",
    "refine_launches",
    "smooth_launches",
    "work_bytes",
]
