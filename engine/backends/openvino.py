"""OpenVINO on the CPU: the default. fp32 anywhere, bf16 where the chip has it, int8 models as they are."""

from __future__ import annotations

from typing import Any

import openvino as ov

from ..buffers import HostBuffer
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from ..threads import affinity_is_restricted
from .base import Backend, BackendInfo, State, state_shapes
from .state import StateSets

_HINT = {"fp32": "f32", "bf16": "bf16"}
_QUANTISED = {"FakeQuantize", "FakeConvert"}


class OpenVinoBackend(Backend):
    """One compiled model, one stream, tuned for the latency of single frames.

    There is no model cache on disk: compiling takes 0.2 s, and a cache would save a quarter of that at the
    price of files that can go stale.
    """

    name = "openvino"

    def __init__(self) -> None:
        self._compiled: Any = None
        self._info: BackendInfo | None = None
        self._states: StateSets | None = None

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        core = ov.Core()
        precisions = supported_precisions(core)
        wanted = precisions[-1] if precision == "auto" else precision
        if wanted not in precisions:
            raise DeviceUnavailable(
                f"precision {wanted}: openvino has {', '.join(precisions)} on this CPU; "
                "leave --precision at auto, or name one of these"
            )
        self._manifest, self._size_wh = manifest, size_wh
        try:
            model = core.read_model(str(manifest.model_path))
        except RuntimeError as error:
            raise BackendError(f"{manifest.model_path}: openvino cannot read it: {_line(error)}") from error
        manifest.check_tensors(_tensors(model.inputs), _tensors(model.outputs), size_wh)
        quantised = any(node.get_type_name() in _QUANTISED for node in model.get_ops())
        width, height = size_wh
        shapes: dict[str, Any] = {manifest.input_name: [1, 3, height, width]}
        shapes.update({name: list(shape) for name, shape in state_shapes(manifest, size_wh).items()})
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _HINT[wanted],
        }
        if affinity_is_restricted():
            # Pinning counts the machine's cores from the first: two confined processes could share one core.
            config["ENABLE_CPU_PINNING"] = False
        try:
            model.reshape(shapes)
            self._compiled = core.compile_model(model, "CPU", config)
        except RuntimeError as error:
            raise BackendError(
                f"{manifest.model_path}: openvino cannot compile it for {width}x{height}: {_line(error)}"
            ) from error
        self._info = self._read_back(core, quantised)
        self._states = StateSets(
            manifest, size_wh, self.allocate, lambda array: ov.Tensor(array, shared_memory=True)
        )

    def _read_back(self, core: ov.Core, quantised: bool) -> BackendInfo:
        in_force = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        names = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
        precision = names.get(in_force, in_force)
        details = f"openvino {ov.__version__.split('-')[0]}"
        if quantised:
            precision, details = "int8", f"{details}, {precision} between int8 layers"
        return BackendInfo(
            "openvino",
            f"CPU ({core.get_property('CPU', 'FULL_DEVICE_NAME').strip()})",
            precision,
            int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            details,
        )

    @property
    def info(self) -> BackendInfo:
        if self._info is None:
            raise BackendError("openvino: not open")
        return self._info

    def new_buffer(self) -> HostBuffer:
        buffer = HostBuffer(self._size_wh, self.allocate)
        # One request for each buffer: its tensors are bound once, and infer sets nothing. Requests of one
        # stream share their work memory.
        request = self._compiled.create_infer_request()
        request.set_tensor(self._manifest.input_name, ov.Tensor(buffer.input, shared_memory=True))
        request.set_tensor(self._manifest.output_name, ov.Tensor(buffer.alpha_nchw, shared_memory=True))
        buffer.binding = request
        return buffer

    def new_state(self) -> State:
        return self._states.first()  # type: ignore[union-attr]

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = None
        if state is not None:
            following = self._states.following()  # type: ignore[union-attr]
            for tensor in self._manifest.state:
                buffer.binding.set_tensor(tensor.input, state[tensor.input])
                buffer.binding.set_tensor(tensor.output, following[tensor.input])
        try:
            buffer.binding.infer(share_outputs=True)
        except RuntimeError as error:
            raise BackendError(f"openvino: inference failed: {_line(error)}") from error
        return following

    def close(self) -> None:
        self._compiled = None
        self._states = None


def supported_precisions(core: ov.Core | None = None) -> tuple[str, ...]:
    """What this CPU computes in natively, slowest first."""
    capabilities = (core or ov.Core()).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("fp32", "bf16") if "BF16" in capabilities else ("fp32",)


def _tensors(ports: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    found = {}
    for port in ports:
        dtype = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}.get(
            port.element_type.get_type_name(), port.element_type.get_type_name()
        )
        shape = tuple(None if d.is_dynamic else d.get_length() for d in port.partial_shape)
        found[port.any_name] = (dtype, shape)
    return found


def _line(error: Exception) -> str:
    """The last line of one of OpenVINO's multi-line messages that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
