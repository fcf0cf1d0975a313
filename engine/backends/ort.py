"""ONNX Runtime on the CPU: portable, and the referee for parity. The extra ``livecut[onnxruntime]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from ..buffers import HostBuffer
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from .base import SINGLE_GRAPH, Backend, BackendInfo, State
from .host_batches import HostBatches
from .state import HostState


class OnnxRuntimeBackend(Backend):
    """One session on the CPU provider, operators one after another, each spread over the threads."""

    name = "onnxruntime"
    state_per_stream = True

    def __init__(self) -> None:
        self._session: Any = None
        self._threads = 0
        self._quantised = False
        self._batches: HostBatches | None = None

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
        if self.batch > 1:
            self._open_batches()

    def _open_batches(self) -> None:
        """Bind 2 to ``batch`` frames as well, if the graph takes them."""
        first = {value.name: value.shape[0] for value in self._session.get_inputs()}
        if isinstance(first[self._manifest.input_name], int):
            self.why_single = SINGLE_GRAPH
            return

        def make(count: int, arrays: Mapping[str, np.ndarray]) -> Callable[[], None]:
            binding = self._session.io_binding()
            for name, array in arrays.items():
                _bind(binding.bind_input if name in first else binding.bind_output, name, array)
            return lambda: self._run(binding)

        try:
            self._batches = HostBatches(self._manifest, self._size_wh, self.batch, self.allocate, make)
            self._batches.prove(self)
            self.at_once = self.batch
        except BackendError as error:
            self._batches, self.why_single = None, str(error)

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
        return HostState(self._manifest, self._size_wh, self.allocate) if self._manifest.state else None

    def infer(self, buffer: HostBuffer, state: State) -> State:
        if state is not None:
            for tensor in self._manifest.state:
                _bind(buffer.binding.bind_input, tensor.input, state.reads[tensor.input])
                _bind(buffer.binding.bind_output, tensor.output, state.writes[tensor.input])
            state.advance()
        self._run(buffer.binding)
        return state

    def submit_together(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        if self._batches is None or len(buffers) == 1:
            return super().submit_together(buffers, states)
        return self._batches.run(buffers, states)

    def _run(self, binding: Any) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise BackendError(f"onnxruntime: inference failed: {_line(error)}") from error

    def close(self) -> None:
        self._session = None
        self._batches = None


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
