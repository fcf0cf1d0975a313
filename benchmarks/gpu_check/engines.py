"""The engine that the stages measure: the best that this machine has, through livecut's own backends."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from livecut.engine import registry
from livecut.engine.backends import select_backend, why_not
from livecut.engine.backends.base import Backend
from livecut.engine.backends.device_backend import DeviceBackend
from livecut.engine.errors import LivecutError
from livecut.engine.manifest import Manifest

from .gpu import open_gpu
from .results import Check, NotRun, Report


class Engine:
    """An opened backend on the GPU.

    Attributes
    ----------
    backend : Backend
        What frames are submitted to.
    manifest : Manifest
    size_wh : (int, int)
        Of the network's input.
    make : callable
        Makes another backend of the kind.
    """

    def __init__(
        self, backend: Backend, manifest: Manifest, size_wh: tuple[int, int], make: Callable[[], Backend]
    ) -> None:
        self.backend, self.manifest, self.size_wh, self.make = backend, manifest, size_wh, make

    @property
    def inside(self) -> DeviceBackend:
        """The backend that holds the device: TensorRT's sits inside one that can swap engines."""
        inside = self.backend.device_backend()
        if not isinstance(inside, DeviceBackend):
            raise NotRun(f"frames are served by {self.backend.info}, not by an engine on the GPU")
        return inside

    def close(self) -> None:
        self.backend.close()


def _model(settings: dict[str, Any]) -> Manifest:
    return registry.load_manifest(settings.get("model", registry.DEFAULT_MODEL))


def open_engine(report: Report, settings: dict[str, Any]) -> Engine:
    """Open the first of TensorRT, ONNX Runtime's CUDA provider and PyTorch that runs the model here.

    Raises
    ------
    NotRun
        If there is no GPU, or nothing runs the model on it; the message says what was tried.
    """
    manifest = _model(settings)
    size_wh = tuple(settings.get("size_wh") or manifest.sizes_wh[0])
    if settings.get("backend"):  # tests bring their own
        candidates: dict[str, Callable[[], Backend]] = {"given": settings["backend"]}
    else:
        open_gpu().close()
        candidates = _CANDIDATES
    tried = []
    for name, make in candidates.items():
        try:
            backend = make()
            backend.batch = settings.get("batch", 1)
            try:
                backend.open(manifest, size_wh, precision="auto", threads=1)  # type: ignore[arg-type]
            except BaseException:
                backend.close()
                raise
        except (NotRun, LivecutError) as error:
            tried.append(f"{name}: {error}")
            continue
        except Exception as error:  # a library's own, which livecut should have made its own: told, not fatal
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}"
            tried.append(f"{name}: {said}")
            report.checks.append(Check(f"{name}: what fails is an error of livecut's", False, said=said))
            continue
        engine = Engine(backend, manifest, size_wh, make)  # type: ignore[arg-type]
        if backend.at_once == 1:
            with backend.thread_context():
                engine.inside  # noqa: B018  raises where frames would not run on the GPU
        info = backend.info
        report.facts |= {
            "engine": str(info), "details": info.details, "model": f"{manifest.name} {manifest.version}",
            "input": "{}x{}".format(*size_wh),
        }  # fmt: skip
        if tried:
            report.facts["passed over"] = "; ".join(tried)
        return engine
    raise NotRun(f"nothing runs the model on this GPU: {'; '.join(tried)}")


def _selected(name: str) -> Callable[[], Backend]:
    def make() -> Backend:
        reason = why_not(name)
        if reason:
            raise NotRun(reason)
        return select_backend(name, on_gpu=True)[0]()

    return make


def _without_pycuda(name: str) -> None:
    """Raise NotRun unless pycuda is all that ``name`` lacks."""
    if find_spec("pycuda") is not None:
        raise NotRun("has been tried")
    if reason := why_not(name, needs_pycuda=False):
        raise NotRun(reason)


def _tensorrt_without_pycuda() -> Backend:
    _without_pycuda("tensorrt")
    from livecut.engine.backends.plan_opener import open_tensorrt
    from livecut.engine.backends.swapping import SwappingBackend

    return SwappingBackend(require_gpu=True, open_engine=partial(open_tensorrt, open_device=open_gpu))


def _ort_without_pycuda() -> Backend:
    _without_pycuda("onnxruntime-cuda")
    from livecut.engine.backends.ort_cuda import OrtCudaBackend

    return OrtCudaBackend(open_gpu)


def _torch() -> Backend:
    if find_spec("torch") is None:
        raise NotRun("PyTorch is not installed")
    import torch

    if not torch.cuda.is_available():
        raise NotRun(f"PyTorch {torch.__version__} has no CUDA")
    from .torch_engine import TorchBackend

    return TorchBackend(open_gpu)


_CANDIDATES: dict[str, Callable[[], Backend]] = {
    "tensorrt": _selected("tensorrt"),
    "onnxruntime-cuda": _selected("onnxruntime-cuda"),
    "tensorrt without pycuda": _tensorrt_without_pycuda,
    "onnxruntime-cuda without pycuda": _ort_without_pycuda,
    "pytorch": _torch,
}


def model_folder(settings: dict[str, Any]) -> Path:
    """The folder of the model's bundle."""
    return _model(settings).folder
