"""How a TensorRT engine is opened where nothing else is said, and what serves while there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..cuda import Device, open_device
from ..passport import Passport
from ..tensorrt.api import Api, load
from ..tensorrt.contexts import kernels_path
from ..tensorrt.wanted import Wanted
from .base import Backend

OpenEngine = Callable[[Path, Passport, Wanted, int], Backend]
"""``(path, passport, wanted, threads)`` -> the engine as a backend that is open. Must read the plan through
``passport.verified_bytes``, so that what was checked is what is loaded."""


def open_tensorrt(
    path: Path,
    passport: Passport,
    wanted: Wanted,
    threads: int,
    *,
    api: Api | None = None,
    open_device: Callable[[], Device] = open_device,
) -> Backend:
    """An ``OpenEngine``: the plan at ``path``, its bytes checked as they are read, on the GPU here."""
    from .tensorrt import Plan, TensorRtBackend

    content = passport.verified_bytes(path)
    found, evidence = passport.precision_found, passport.precision_evidence
    plan = Plan(api or load(passport.library), content, found, evidence, kernels_path(path))
    backend = TensorRtBackend(lambda *_: plan, open_device)
    backend.batch = wanted.batch
    try:
        backend.open(wanted.manifest, wanted.size_wh, precision=wanted.precision, threads=threads)
    except BaseException:
        backend.close()
        raise
    return backend


def onnx_backend() -> Backend:
    """What runs a model's ONNX file on the CPU, fastest first."""
    from . import select_backend

    return select_backend("auto", on_gpu=False)[0]()
