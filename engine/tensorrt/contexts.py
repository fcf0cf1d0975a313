"""Execution contexts of an engine, and the kernels that TensorRT-RTX compiles where the engine runs.

TensorRT-RTX compiles kernels for the shapes that it meets. By default it does so in the background and runs
slower ones meanwhile, which a CUDA graph captured then would hold for ever: so they are compiled at once, in
a context's first run. What has been compiled is shared by all contexts, and kept for later processes.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from ..atomic import replacing
from .api import errors
from .failures import explained

log = logging.getLogger("livecut.tensorrt")
_DIGEST_BYTES = 32


def kernels_path(plan: Path) -> Path:
    """Where the kernels compiled for the engine at ``plan`` are kept."""
    return plan.with_name(plan.name + ".kernels")


class Contexts:
    """Makes the contexts of one engine. The device is active whenever a method is called.

    Parameters
    ----------
    trt : module
        The library.
    engine : ICudaEngine
    compute_capability : str
        Of the GPU here, for messages.
    kept : Path, optional
        File of the kernels that were compiled before.
    """

    def __init__(self, trt: Any, engine: Any, compute_capability: str, kept: Path | None = None) -> None:
        self._engine, self._compute_capability, self._kept = engine, compute_capability, kept
        self._config: Any = None
        self._cache: Any = None
        self._known = b""
        strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is None or not hasattr(engine, "create_runtime_config"):
            return  # TensorRT for data centres has its kernels in the plan
        config = engine.create_runtime_config()
        if hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            self._config = config
            self._share_kernels()

    def _share_kernels(self) -> None:
        if not hasattr(self._config, "create_runtime_cache"):
            return
        cache, known = self._config.create_runtime_cache(), _read(self._kept)
        if cache is None:
            return
        if known and cache.deserialize(known):  # else of another GPU, driver or version: compiled again
            self._known = known
        if self._config.set_runtime_cache(cache):
            self._cache = cache

    def make(self) -> Any:
        """A new context; OutOfDeviceMemory, DeviceLost or BackendError with what TensorRT said."""
        mark, raised = errors.mark(), ""
        try:
            given = () if self._config is None else (self._config,)
            context = self._engine.create_execution_context(*given)
        except (TypeError, RuntimeError) as error:  # pybind says TypeError of a null pointer
            context, raised = None, f" ({error})"
        if context is None:
            said = f"TensorRT makes no execution context: {errors.since(mark)}{raised}"
            raise explained(said, self._compute_capability)
        return context

    def keep(self) -> None:
        """Keep what has been compiled so far; where that cannot be, the next process compiles it again."""
        if self._cache is None or self._kept is None:
            return
        try:
            kernels = bytes(self._cache.serialize())
            if kernels == self._known:
                return
            with replacing(self._kept) as fresh:
                fresh.write_bytes(hashlib.sha256(kernels).digest() + kernels)
            self._known = kernels
        except (OSError, RuntimeError, TypeError) as error:  # TypeError: there is nothing to serialise
            log.debug("kernels compiled for %s are not kept: %s", self._kept.name, error)


def _read(path: Path | None) -> bytes:
    """The kernels in a file; none where it is missing or damaged."""
    try:
        content = path.read_bytes() if path is not None else b""
    except OSError:
        return b""
    digest, kernels = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return kernels if hashlib.sha256(kernels).digest() == digest else b""
