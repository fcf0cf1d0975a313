"""One door to TensorRT 8.6, 10 and 11 and to TensorRT-RTX: which is here, and what it can do.

What differs between versions is asked of the library itself (``hasattr``), never of its version number.
Nothing is imported before ``load``.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import BackendError, DeviceUnavailable, UsageError

log = logging.getLogger("livecut.tensorrt")
MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""In the order they are tried. The last is what remains where the package around it was stripped."""
LIBRARIES = ("tensorrt", "tensorrt_rtx")
HOW_TO_GET = (
    "pip install livecut[rtx] (GeForce and RTX cards, builds without a GPU), livecut[gpu] (TensorRT for data "
    "centre cards), or the TensorRT of JetPack on a Jetson"
)


class Api:
    """A TensorRT library and its differences.

    Attributes
    ----------
    trt : module
        The library itself, for what is the same in all of them.
    library : str
        ``tensorrt`` or ``tensorrt_rtx``: plans of one do not run in the other.
    version : str
    """

    def __init__(self, module: Any) -> None:
        self.trt = module
        self.is_rtx = hasattr(module, "ComputeCapability")
        self.library = "tensorrt_rtx" if self.is_rtx else "tensorrt"
        self.version = str(getattr(module, "__version__", "unknown"))

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    # -- what it can do

    @property
    def is_strongly_typed(self) -> bool:
        """Whether precision comes from the network alone: opt-in with 10, always so with 11 and RTX."""
        return hasattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def share_profiles(self, config: Any) -> None:
        """Let several contexts of an engine use one profile: each frame in flight has a context of its own.

        8.6 must be asked for it, else only the first context of an engine with free sizes runs; from 10 on
        they always may.
        """
        feature = getattr(getattr(self.trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
        if feature is not None and not self.is_strongly_typed:
            config.set_preview_feature(feature, True)

    @property
    def has_precision_flags(self) -> bool:
        """Whether there are builder flags for precision; needed only where strong typing is not."""
        return hasattr(self.trt.BuilderFlag, "FP16")

    @property
    def builds_for_other_gpus(self) -> bool:
        """Whether it builds for GPUs that are not here."""
        return self.is_rtx

    @property
    def has_progress_monitor(self) -> bool:
        """Whether the builder says how far it is; 8.6 does not."""
        return hasattr(self.trt, "IProgressMonitor")

    @property
    def has_timing_cache(self) -> bool:
        """Whether timings of kernels can be kept for the next build. RTX times none while building."""
        return hasattr(self.trt, "ITimingCache") and not self.is_rtx

    @property
    def has_engine_validity(self) -> bool:
        """Whether the runtime says if a plan fits this machine before it is loaded."""
        return hasattr(self.trt, "EngineValidity")

    def network_flags(self) -> int:
        """What ``Builder.create_network`` is given: explicit batch and strong typing, where these exist.

        With 10, explicit batch is accepted and ignored; 11 and RTX have no such flag.
        """
        flags = self.trt.NetworkDefinitionCreationFlag
        names = ("STRONGLY_TYPED",) if self.is_strongly_typed else ("EXPLICIT_BATCH",)
        return sum(1 << int(getattr(flags, name)) for name in names if hasattr(flags, name))

    def target(self, compute_capability: str) -> Any:
        """RTX's constant for a GPU such as ``8.6``; None where it does not build for it."""
        return getattr(self.trt.ComputeCapability, "SM" + compute_capability.replace(".", ""), None)

    def targets(self) -> tuple[str, ...]:
        """The GPUs RTX builds for, such as ``8.6``."""
        names = (name[2:] for name in dir(self.trt.ComputeCapability) if name.startswith("SM"))
        return tuple(f"{n[:-1]}.{n[-1]}" for n in sorted(names, key=int))

    # -- objects, every return checked: without a driver some of these give None, some an object that fails

    @cached_property
    def logger(self) -> Any:
        """The one logger of this process: TensorRT keeps the first it is given."""
        return _make_logger(self.trt)

    def builder(self) -> Any:
        """A new builder; raises BackendError where the library makes none."""
        return self._made("makes no builder here", lambda: self.trt.Builder(self.logger))

    def deserialise(self, plan: bytes) -> tuple[Any, Any]:
        """The engine of a plan, and the runtime that must outlive it. ``plan`` must have been checked before.

        Raises
        ------
        BackendError
            If there is no driver, or the plan does not fit this library, driver or GPU.
        """
        runtime = self._made("makes no runtime here", lambda: self.trt.Runtime(self.logger))
        engine = self._made("cannot load the engine", lambda: runtime.deserialize_cuda_engine(plan))
        return engine, runtime

    def _made(self, problem: str, make: Callable[[], Any]) -> Any:
        mark = errors.mark()
        try:
            made = make()
        except (TypeError, RuntimeError) as error:  # pybind says TypeError of a null pointer
            raise BackendError(f"{self} {problem}: {errors.since(mark)} ({error})") from error
        if made is None:
            raise BackendError(f"{self} {problem}: {errors.since(mark)}")
        return made


# -- which is here

_loaded: dict[str, Api] = {}
_lock = threading.Lock()


def load(library: str | None = None) -> Api:
    """The TensorRT of this machine.

    Parameters
    ----------
    library : str, optional
        ``tensorrt`` or ``tensorrt_rtx`` where it must be that one; by default the first that loads.

    Raises
    ------
    DeviceUnavailable
        If none is installed, or none of those installed loads; the message says why.
    """
    if library is not None and library not in LIBRARIES:
        raise UsageError(f"library: expected {' or '.join(LIBRARIES)}, got {library!r}")
    failures = []
    with _lock:
        for name in MODULES:
            if library is not None and name.startswith("tensorrt_rtx") != (library == "tensorrt_rtx"):
                continue
            if name not in _loaded:
                try:
                    if find_spec(name) is None:
                        continue
                    _loaded[name] = Api(import_module(name))
                except (ImportError, OSError, RuntimeError, AttributeError, ValueError) as error:
                    # A stub without its libraries, a library of another CUDA, half an installation.
                    failures.append(f"{name} is installed and does not load: {' '.join(str(error).split())}")
                    continue
            return _loaded[name]
    what = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}.get(library or "", "TensorRT")
    why = "; ".join(failures) or f"{what} is not installed"
    raise DeviceUnavailable(f"{why}: {HOW_TO_GET}")


def is_installed() -> bool:
    """Whether any TensorRT is installed; imports none."""
    return any(find_spec(name) is not None for name in MODULES)


# -- what it says


class ErrorLog:
    """The last errors that TensorRT logged. It gives reasons to its logger only, and raises nothing."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=100)
        self._count = 0

    def add(self, text: str) -> None:
        """Keep one."""
        self._count += 1
        self._lines.append((self._count, " ".join(text.split())))

    def mark(self) -> int:
        """Where the log ends now."""
        return self._count

    def since(self, mark: int) -> str:
        """The first error after ``mark``, as later ones mostly follow from it; or that there was none."""
        return next((text for number, text in tuple(self._lines) if number > mark), "it gave no reason")


errors = ErrorLog()


def _make_logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        """Errors are kept for the message of the exception that follows; the rest goes to our own log."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            severities = trt.ILogger.Severity
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                errors.add(msg)
            if severity not in (
                severities.INFO,
                severities.VERBOSE,
            ):  # a line for every weight of the network
                log.debug("%s", msg)

    return Logger()
