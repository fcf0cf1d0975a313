"""OpenVINO on the CPU: the default. fp32 anywhere, bf16 and a model's int8 variant where the chip is fast at
them; models that are int8 themselves as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov

from ..buffers import HostBuffer
from ..errors import BackendError, DeviceUnavailable
from ..manifest import Manifest
from ..openvino_core import openvino_core
from ..processor import int8_instructions
from ..threads import affinity_is_restricted
from .base import Backend, BackendInfo, State, state_shapes
from .host_batches import HostBatches, batch_shapes
from .state import HostState

_HINT = {"fp32": "f32", "bf16": "bf16"}
_MULTIPLY = {"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"}


class OpenVinoBackend(Backend):
    """One compiled model, one stream, tuned for the latency of single frames.

    There is no model cache on disk: compiling takes 0.2 s, and a cache would save a quarter of that at the
    price of files that can go stale.
    """

    name = "openvino"
    state_per_stream = True

    def __init__(self) -> None:
        self._compiled: Any = None
        self._info: BackendInfo | None = None
        self._batches: HostBatches | None = None
        self._why = ""

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._open_precision(manifest, size_wh, precision, threads)
        if self.batch > 1:
            self._open_batches()

    def _open_precision(
        self, manifest: Manifest, size_wh: tuple[int, int], precision: str, threads: int
    ) -> None:
        core = openvino_core()
        native = supported_precisions(core)
        wanted, rest, self._why = choose_precision(manifest, precision, native)
        self._open_at(core, manifest, size_wh, wanted, rest, threads=threads, free=precision == "auto")
        if wanted != "int8" or self._info.precision == "int8":  # type: ignore[union-attr]
            return
        if precision == "auto":
            self._why = "not the model's int8, which is none on this CPU"
            self._open_at(core, manifest, size_wh, native[-1], native[-1], threads=threads, free=True)
            return
        computed = self._info.precision  # type: ignore[union-attr]
        raise DeviceUnavailable(
            f"precision int8: {_lack(manifest)}, and {manifest.path_for(wanted).name} computes in "
            f"{computed}; leave --precision at auto, or make one: "
            f"livecut export {manifest.name} --to int8 --calibrate FOLDER --into-bundle"
        )

    def _open_at(
        self,
        core: ov.Core,
        manifest: Manifest,
        size_wh: tuple[int, int],
        wanted: str,
        rest: str,
        *,
        threads: int,
        free: bool,
    ) -> None:
        """Compile the file for ``wanted``, the rest at ``rest``, and read back what came of it."""
        self._manifest, self._size_wh = manifest, size_wh
        path = manifest.path_for(wanted)
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise BackendError(f"{path}: openvino cannot read it: {_line(error)}") from error
        manifest.check_tensors(_tensors(model.inputs), _tensors(model.outputs), size_wh)
        width, height = size_wh
        shapes: dict[str, Any] = {manifest.input_name: [1, 3, height, width]}
        shapes.update({name: list(shape) for name, shape in state_shapes(manifest, size_wh).items()})
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _HINT[rest],
        }
        if affinity_is_restricted():
            # Pinning counts the machine's cores from the first: two confined processes could share one core.
            config["ENABLE_CPU_PINNING"] = False
        try:
            model.reshape(shapes)
            self._compiled = self._compile(core, model, config, free=free)
        except RuntimeError as error:
            raise BackendError(
                f"{path}: openvino cannot compile it for {width}x{height}: {_line(error)}"
            ) from error
        self._info = self._read_back(core)
        in_force = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self._path, self._config = path, {**config, "INFERENCE_PRECISION_HINT": in_force}

    def _open_batches(self) -> None:
        """Compile the model for 2 to ``batch`` frames as well, in the same precision, if its graph can."""
        core = openvino_core()

        def make(count: int, arrays: Mapping[str, np.ndarray]) -> Callable[[], None]:
            try:
                model = core.read_model(str(self._path))
                model.reshape(batch_shapes(self._manifest, self._size_wh, count))
                request = core.compile_model(model, "CPU", self._config).create_infer_request()
                for name, array in arrays.items():
                    request.set_tensor(name, _shared(array))
            except RuntimeError as error:
                raise BackendError(f"its graph does not take {count} pictures: {_line(error)}") from error
            return lambda: _run(request)

        try:
            self._batches = HostBatches(self._manifest, self._size_wh, self.batch, self.allocate, make)
            self._batches.prove(self)
            self.at_once = self.batch
        except BackendError as error:
            self._batches, self.why_single = None, str(error)

    def _compile(self, core: ov.Core, model: Any, config: dict[str, Any], *, free: bool) -> Any:
        """Compile; where the precision was ``free`` to choose, fp32 is taken for what bf16 cannot compile."""
        try:
            return core.compile_model(model, "CPU", config)
        except RuntimeError:
            if not free or config["INFERENCE_PRECISION_HINT"] == _HINT["fp32"]:
                raise
        compiled = core.compile_model(model, "CPU", {**config, "INFERENCE_PRECISION_HINT": _HINT["fp32"]})
        self._why = "; ".join(part for part in (self._why, "it cannot be compiled in bf16") if part)
        return compiled

    def _read_back(self, core: ov.Core) -> BackendInfo:
        in_force = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        names = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
        precision = names.get(in_force, in_force)
        details = f"openvino {ov.__version__.split('-')[0]}"
        quantised, multiplying = int8_layers(self._compiled)
        if quantised:
            details += f", {quantised} of {multiplying} multiplying layers in int8, {precision} between"
            precision = "int8" if 2 * quantised >= multiplying else precision
        if self._why:
            details += f"; {self._why}"
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
        request.set_tensor(self._manifest.input_name, _shared(buffer.input))
        request.set_tensor(self._manifest.output_name, _shared(buffer.alpha_nchw))
        buffer.binding = request
        return buffer

    def new_state(self) -> State:
        if not self._manifest.state:
            return None
        return HostState(self._manifest, self._size_wh, self.allocate, _shared)

    def infer(self, buffer: HostBuffer, state: State) -> State:
        if state is not None:
            for tensor in self._manifest.state:
                buffer.binding.set_tensor(tensor.input, state.reads[tensor.input])
                buffer.binding.set_tensor(tensor.output, state.writes[tensor.input])
            state.advance()
        _run(buffer.binding)
        return state

    def submit_together(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        if self._batches is None or len(buffers) == 1:
            return super().submit_together(buffers, states)
        return self._batches.run(buffers, states)

    def close(self) -> None:
        self._compiled = None
        self._batches = None


def choose_precision(manifest: Manifest, asked: str, native: tuple[str, ...]) -> tuple[str, str, str]:
    """The precision to open a model at, that of what is not int8 in it, and why, where that is not plain.

    Parameters
    ----------
    asked : str
        ``auto`` takes the model's int8 variant where there is one and the chip multiplies bytes natively,
        else the fastest of ``native``.
    native : tuple of str
        What the CPU computes floats in, slowest first.

    Raises
    ------
    DeviceUnavailable
        If ``asked`` is not to be had.
    """
    fastest = native[-1]
    if asked == "int8":
        return "int8", fastest, ""
    if asked == "auto":
        if "int8" not in manifest.variants:
            return fastest, fastest, ""
        if instructions := int8_instructions():
            return "int8", fastest, f"int8 as the model has it and the chip has {instructions}"
        return fastest, fastest, "not the model's int8, as the chip has neither VNNI nor AMX"
    if asked not in native:
        raise DeviceUnavailable(
            f"precision {asked}: openvino has {', '.join(native)} on this CPU"
            f"{', and int8' if 'int8' in manifest.variants else ''}; "
            "leave --precision at auto, or name one of these"
        )
    return asked, asked, ""


def _run(request: Any) -> None:
    try:
        request.infer(share_outputs=True)
    except RuntimeError as error:
        raise BackendError(f"openvino: inference failed: {_line(error)}") from error


def _shared(array: np.ndarray) -> Any:
    return ov.Tensor(array, shared_memory=True)


def int8_layers(compiled: ov.CompiledModel) -> tuple[int, int]:
    """How many layers of a compiled model multiply in int8, and how many multiply at all."""
    quantised = multiplying = 0
    for operation in compiled.get_runtime_model().get_ops():
        about = operation.get_rt_info()
        if "layerType" in about and about["layerType"].astype(str) in _MULTIPLY:
            multiplying += 1
            quantised += about["runtimePrecision"].astype(str).lower() in ("i8", "u8")
    return quantised, multiplying


def supported_precisions(core: ov.Core | None = None) -> tuple[str, ...]:
    """What this CPU computes in natively, slowest first."""
    capabilities = (core or openvino_core()).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("fp32", "bf16") if "BF16" in capabilities else ("fp32",)


def _lack(manifest: Manifest) -> str:
    if "int8" in manifest.variants:
        return f"the int8 variant of {manifest.name} is not int8 on this CPU"
    return f"{manifest.name} has no int8 variant"


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
