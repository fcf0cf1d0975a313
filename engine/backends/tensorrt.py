"""TensorRT and TensorRT-RTX on a CUDA GPU: an engine for one input size, a context of it in each lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cuda import Device, Stream, open_device
from ..cuda.device import Pointer
from ..errors import BackendError, DeviceUnavailable, ManifestError
from ..manifest import Manifest
from ..tensorrt import Api
from ..tensorrt.api import errors
from ..tensorrt.contexts import Contexts
from ..tensorrt.failures import explained
from .base import SINGLE_GRAPH, BackendInfo
from .device_backend import DeviceBackend
from .lanes import Program


@dataclass(frozen=True)
class Plan:
    """A serialised engine that has been checked to be for this library, driver and GPU."""

    api: Api
    """The library it is for."""
    content: bytes
    precision: str
    """As found in it."""
    evidence: str
    """How that was found."""
    kernels: Path | None = None
    """File for what TensorRT-RTX compiles when it runs; None to compile it anew each time."""


FindPlan = Callable[[Manifest, tuple[int, int], str, Device], Plan]
"""``(manifest, size_wh, precision, device) -> Plan``."""


class TensorRtBackend(DeviceBackend):
    """One engine on one GPU.

    Parameters
    ----------
    find_plan : callable
        Where the engine comes from.
    open_device : callable, optional
        Opens the GPU.
    """

    name = "tensorrt"

    def __init__(self, find_plan: FindPlan, open_device: Callable[[], Device] = open_device) -> None:
        super().__init__(open_device)
        self._find_plan = find_plan
        self._plan: Plan | None = None
        self._engine: Any = None
        self._runtime: Any = None
        self._contexts: Contexts | None = None

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        if precision == "bf16":
            raise DeviceUnavailable(
                "precision bf16: tensorrt has fp16 and fp32 here; leave --precision at auto, or name one"
            )
        super().open(manifest, size_wh, precision=precision, threads=threads)
        assert self._contexts is not None
        with self._require().activate():  # a context has run: what it needed is compiled
            self._contexts.keep()

    def _load(self, device: Device, manifest: Manifest, precision: str, threads: int) -> None:
        self._plan = plan = self._find_plan(manifest, self._size_wh, precision, device)
        try:
            self._engine, self._runtime = plan.api.deserialise(plan.content)
        except BackendError as error:
            raise explained(str(error), device.compute_capability) from error
        self._contexts = Contexts(plan.api.trt, self._engine, device.compute_capability, plan.kernels)
        inputs, outputs = _tensors(plan.api, self._engine)
        manifest.check_tensors(inputs, outputs, self._size_wh)

    def _takes(self) -> tuple[int, str]:
        name = self._manifest.input_name
        if self._engine.get_tensor_shape(name)[0] >= 0:
            return 1, SINGLE_GRAPH if self._manifest.batch == 1 else "the engine takes one picture at a time"
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if least[0] > 1:
            return 1, f"the engine takes {least[0]} pictures at once or more"
        return most[0], f"the engine takes {most[0]} pictures at once at most"

    def _program(self, batch: int = 1) -> Program:
        width, height = self._size_wh
        shapes: dict[str, tuple[int, ...]] = {self._manifest.input_name: (batch, 3, height, width)}
        for tensor in self._manifest.state:
            shape = tensor.shape_for(self._size_wh)
            shapes[tensor.input] = (batch * shape[0], *shape[1:])
        assert self._contexts is not None
        return _Program(self._engine, self._contexts.make(), shapes, self._require().compute_capability)

    def _unload(self) -> None:
        self._contexts = None
        self._engine = None  # before the runtime that made it
        self._runtime = None

    @property
    def info(self) -> BackendInfo:
        device, plan = self._require(), self._plan
        assert plan is not None
        return BackendInfo(
            "tensorrt",
            f"{device.name} (SM {device.compute_capability})",
            plan.precision,
            0,
            f"{plan.api}, driver for CUDA {device.driver}, precision by {plan.evidence}; {self.how()}",
        )


class _Program:
    """An execution context."""

    def __init__(
        self, engine: Any, context: Any, shapes: dict[str, tuple[int, ...]], compute_capability: str
    ) -> None:
        self._context, self._compute_capability = context, compute_capability
        self._handle: int | None = None
        mark = errors.mark()
        for name, shape in shapes.items():
            if -1 in tuple(engine.get_tensor_shape(name)) and not context.set_input_shape(name, shape):
                raise ManifestError(f"the engine does not take {name!r} as {shape}: {errors.since(mark)}")

    @property
    def why_not_captured(self) -> str:
        """TensorRT-RTX says it of the stream that the engine ran on last; others show it in the attempt."""
        ask = getattr(self._context, "is_stream_capturable", None)
        if ask is None or self._handle is None or ask(self._handle):
            return ""
        return "TensorRT-RTX says that this engine's work cannot be captured"

    def bind(self, name: str, pointer: Pointer) -> None:
        if not self._context.set_tensor_address(name, pointer):
            raise BackendError(f"tensorrt: the engine has no tensor {name!r}")

    def enqueue(self, stream: Stream) -> None:
        mark, self._handle = errors.mark(), stream.handle
        if not self._context.execute_async_v3(stream.handle):
            said = f"TensorRT cannot run the engine: {errors.since(mark)}"
            raise explained(said, self._compute_capability)

    def free(self) -> None:
        self._context = None


def _tensors(api: Api, engine: Any) -> Any:
    """The engine's inputs and outputs, as ``Manifest.check_tensors`` takes them."""
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_output = engine.get_tensor_mode(name) == api.trt.TensorIOMode.OUTPUT
        dtype = str(engine.get_tensor_dtype(name)).rsplit(".", 1)[-1].lower()
        shape = tuple(size if size >= 0 else None for size in engine.get_tensor_shape(name))
        found[is_output][name] = ({"float": "float32", "half": "float16"}.get(dtype, dtype), shape)
    return found
