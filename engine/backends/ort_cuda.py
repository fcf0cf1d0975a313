"""ONNX Runtime on a CUDA GPU: for GPUs that have no TensorRT, or that TensorRT-RTX refuses."""

from __future__ import annotations

import ctypes
import io
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import onnxruntime

from ..cuda import Device, Event, Stream, open_device
from ..cuda.device import Pointer
from ..cuda.failures import from_exception
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from .base import SINGLE_GRAPH, Backend, BackendInfo
from .device_backend import DeviceBackend
from .failover import GpuOrCpu
from .lanes import Program
from .ort import _line, _tensors

log = logging.getLogger("livecut")
_PROVIDER = "CUDAExecutionProvider"
_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_NO_LIBRARIES = ("wasn't able to be loaded", "failed to load library", "cannot open shared object file")
"""What onnxruntime says where its provider does not load, and it does not just go on with the CPU's."""


class OrtCudaBackend(DeviceBackend):
    """One session on the CUDA provider and one CUDA stream, inputs and outputs bound to device memory.

    Lanes bring their frames to that stream and take them from it, so copies overlap the network's work.

    Parameters
    ----------
    open_device : callable, optional
        Opens the GPU.
    runtime : module, optional
        ``onnxruntime``; tests give another.
    """

    name = "onnxruntime-cuda"

    def __init__(self, open_device: Callable[[], Device] = open_device, runtime: Any = None) -> None:
        super().__init__(open_device)
        self._runtime: Any = runtime or onnxruntime
        self._session: Any = None
        self._compute: Stream | None = None
        self._running = threading.Lock()
        """A lane that is made runs the session once, while frames of others are submitted to its stream."""
        self._precision = "fp32"

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        if precision not in ("auto", "fp32"):
            raise DeviceUnavailable(
                f"precision {precision}: onnxruntime-cuda has fp32, and tf32 by auto; "
                "leave --precision at auto, or take --backend tensorrt"
            )
        if _PROVIDER not in self._runtime.get_available_providers():
            raise DeviceUnavailable(
                "the onnxruntime installed here has no CUDA provider: pip uninstall onnxruntime; "
                "pip install onnxruntime-gpu"
            )
        super().open(manifest, size_wh, precision=precision, threads=threads)

    def _load(self, device: Device, manifest: Manifest, precision: str, threads: int) -> None:
        missing = _preload(self._runtime)
        self._compute = device.stream()
        # From SM 8.0 on convolutions can use 10 bits of mantissa, several times as fast: said, not hidden.
        self._precision = "tf32" if precision == "auto" and float(device.compute_capability) >= 8 else "fp32"
        settings = {
            "device_id": "0",
            "user_compute_stream": str(self._compute.handle),
            "use_tf32": "1" if self._precision == "tf32" else "0",
        }
        try:
            # Without a fallback: what the GPU cannot do would run on the CPU, with copies in between, and
            # nobody would know.
            self._session = self._opened(manifest, settings, {_NO_FALLBACK: "1"})
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise self._explained(error, manifest, settings, missing) from error
        if self._session.get_providers()[0] != _PROVIDER:
            raise _does_not_load(missing)
        manifest.check_tensors(
            _tensors(self._session.get_inputs()), _tensors(self._session.get_outputs()), self._size_wh
        )

    def _opened(self, manifest: Manifest, settings: dict[str, str], entries: dict[str, str]) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        # enable_fallback is onnxruntime's own second attempt, which prints, and hides why the first failed.
        return self._runtime.InferenceSession(
            str(manifest.model_path), options, providers=[(_PROVIDER, settings)], enable_fallback=0
        )

    def _explained(
        self, error: Exception, manifest: Manifest, settings: dict[str, str], missing: str
    ) -> BackendError:
        if any(words in str(error).lower() for words in _NO_LIBRARIES):
            return _does_not_load(missing)
        translated = from_exception(error)
        if type(translated) is not BackendError:
            return translated
        if "CPU EP" in str(error) and self._runs_without_provider(manifest, settings):
            return _does_not_load(missing)
        return BackendError(f"{manifest.model_path}: onnxruntime cannot load it on the GPU: {_line(error)}")

    def _runs_without_provider(self, manifest: Manifest, settings: dict[str, str]) -> bool:
        """Whether the provider does not load, which is only a warning. The error is the same where it loads
        and lacks a kernel for one node; with a fallback allowed the two are told apart."""
        try:
            return _PROVIDER not in self._opened(manifest, settings, {}).get_providers()
        except Exception:
            return False

    def _takes(self) -> tuple[int, str]:
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        if any(isinstance(shape[0], int) for shape in shapes.values()):
            return 1, SINGLE_GRAPH
        return self.batch, ""

    def _program(self, batch: int = 1) -> Program:
        width, height = self._size_wh
        shapes: dict[str, tuple[int, ...]] = {self._manifest.input_name: (batch, 3, height, width)}
        outputs: dict[str, tuple[int, ...]] = {self._manifest.output_name: (batch, 1, height, width)}
        for tensor in self._manifest.state:
            shape = tensor.shape_for(self._size_wh)
            shapes[tensor.input] = outputs[tensor.output] = (batch * shape[0], *shape[1:])
        device, compute = self._require(), self._compute
        assert compute is not None
        return _Program(self._runtime, self._session, compute, self._running, device, shapes, outputs)

    def _unload(self) -> None:
        if self.is_lost:
            # Its destructor frees page-locked memory, and ends the process where the GPU refuses that.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._session = None
        if self._compute is not None:
            self._compute.free()

    @property
    def info(self) -> BackendInfo:
        device = self._require()
        return BackendInfo(
            "onnxruntime-cuda",
            f"{device.name} (SM {device.compute_capability})",
            self._precision,
            0,
            f"onnxruntime {self._runtime.__version__}, driver for CUDA {device.driver}; {self.how()}",
        )


class OrtCudaOrCpu(GpuOrCpu):
    """The same, and the CPU where the GPU cannot go on.

    Parameters
    ----------
    require_gpu : bool
        Never the CPU.
    make, open_meanwhile : callable, optional
        What makes the two backends; tests give their own.
    """

    name = "onnxruntime-cuda"

    def __init__(
        self,
        *,
        require_gpu: bool = False,
        make: Callable[[], Backend] = OrtCudaBackend,
        open_meanwhile: Callable[[], Backend] | None = None,
    ) -> None:
        super().__init__(make, require_gpu=require_gpu, open_meanwhile=open_meanwhile)


class _Program:
    """A binding of the session's tensors to one lane's memory."""

    why_not_captured = "onnxruntime allocates and synchronises by itself"

    def __init__(
        self,
        runtime: Any,
        session: Any,
        compute: Stream,
        running: threading.Lock,
        device: Device,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._session, self._compute, self._running = session, compute, running
        self._inputs, self._outputs = inputs, outputs
        self._binding = session.io_binding()
        self._options = runtime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._ready: Event = device.event()
        self._finished: Event = device.event()

    def bind(self, name: str, pointer: Pointer) -> None:
        is_input = name in self._inputs
        method = self._binding.bind_input if is_input else self._binding.bind_output
        shape = (self._inputs if is_input else self._outputs)[name]
        method(name, "cuda", 0, np.float32, shape, pointer)

    def enqueue(self, stream: Stream) -> None:
        with self._running:
            stream.record(self._ready)
            self._compute.wait(self._ready)
            try:
                self._session.run_with_iobinding(self._binding, self._options)
            except Exception as error:  # onnxruntime's exceptions share no public base
                raise from_exception(error) from error
            self._compute.record(self._finished)
            stream.wait(self._finished)

    def free(self) -> None:
        # The last reference to the session must be the backend's, which lets go of it before its stream.
        self._binding = self._session = None
        self._ready.free()
        self._finished.free()


@cache
def _preload(runtime: Any) -> str:
    """Load CUDA and cuDNN from where pip put them, and say what is missing: onnxruntime does not look there.

    An older one has no function for it: its libraries must be on the system's path.
    """
    if not hasattr(runtime, "preload_dlls"):
        return ""
    printed = io.StringIO()  # stdout may be a video
    try:
        with redirect_stdout(printed):
            runtime.preload_dlls()
    except Exception as error:
        printed.write(f"Failed to load: {_line(error)}\n")
    lines = [line.strip() for line in printed.getvalue().splitlines() if line.strip()]
    for line in lines:
        log.debug("onnxruntime: %s", line)
    return next((line for line in lines if line.startswith("Failed to load")), "")


def _does_not_load(missing: str) -> BackendError:
    return BackendError(
        "onnxruntime's CUDA provider does not load, and it would run on the CPU: its CUDA or cuDNN libraries "
        f"are missing, or of another version{f' ({missing})' if missing else ''}; "
        "pip install onnxruntime-gpu[cuda,cudnn], or see docs/gpu.md"
    )
