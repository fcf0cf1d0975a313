"""ONNX Runtime on the CPU: portable, and the referee for parity. The extra ``livecut[onnxruntime]``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from ..buffers import HostBuffer
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from .base import Backend, BackendInfo, State
from .state import StateSets


class OnnxRuntimeBackend(Backend):
    """One session on the CPU provider, operators one after another, each spread over the threads."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self._session: Any = None
        self._threads = 0
        self._quantised = False
        self._states: StateSets | None = None

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        if precision not in ("auto", "fp32"):
            raise DeviceUnavailable(
                f"precision {precision}: onnxruntime has fp32 on a CPU; "
                "leave --precision at auto, or take --backend openvino"
            )
        self._manifest, self._size_wh, self._threads = manifest, size_wh, threads
        options = ort.SessionOptions()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle workers would spin for the cores that the other stages of the pipeline need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(manifest.model_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise BackendError(
                f"{manifest.model_path}: onnxruntime cannot load it: {_line(error)}"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        manifest.check_tensors(_tensors(inputs), _tensors(outputs), size_wh)
        self._states = StateSets(manifest, size_wh, self.allocate)

    @property
    def info(self) -> BackendInfo:
        if self._session is None:
            raise BackendError("onnxruntime: not open")
        return BackendInfo("onnxruntime", "CPU", "fp32", self._threads, f"onnxruntime {ort.__version__}")

    def new_buffer(self) -> HostBuffer:
        buffer = HostBuffer(self._size_wh, self.allocate)
        binding = self._session.io_binding()
        _bind(binding.bind_input, self._manifest.input_name, buffer.input)
        _bind(binding.bind_output, self._manifest.output_name, buffer.alpha_nchw)
        buffer.binding = binding
        return buffer

    def new_state(self) -> State:
        return self._states.first()  # type: ignore[union-attr]

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = None
        if state is not None:
            following = self._states.following()  # type: ignore[union-attr]
            for tensor in self._manifest.state:
                _bind(buffer.binding.bind_input, tensor.input, state[tensor.input])
                _bind(buffer.binding.bind_output, tensor.output, following[tensor.input])
        try:
            self._session.run_with_iobinding(buffer.binding)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise BackendError(f"onnxruntime: inference failed: {_line(error)}") from error
        return following

    def close(self) -> None:
        self._session = None
        self._states = None


def _bind(method: Any, name: str, array: np.ndarray) -> None:
    method(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)


def _tensors(values: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    names = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
    return {
        value.name: (
            names.get(value.type, value.type),
            tuple(size if isinstance(size, int) else None for size in value.shape),
        )
        for value in values
    }


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
