"""PyTorch as an engine: where nothing else runs networks on the GPU, the rest can still be proved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from livecut.engine.backends.base import BackendInfo
from livecut.engine.backends.device_backend import DeviceBackend
from livecut.engine.backends.lanes import Program
from livecut.engine.cuda import Device, Stream
from livecut.engine.errors import BackendError
from livecut.engine.manifest import Manifest

from .torch_graph import TorchGraph


class _Memory:
    """Device memory as PyTorch takes it."""

    def __init__(self, pointer: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "data": (pointer, False), "shape": shape, "typestr": "<f4", "version": 3, "strides": None,
        }  # fmt: skip


class TorchProgram:
    """The network bound to one lane's memory."""

    why_not_captured = ""

    def __init__(self, graph: TorchGraph, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph: TorchGraph | None = graph
        self._shapes = shapes
        self._bound: dict[str, Any] = {}

    def tensor(self, pointer: int, shape: tuple[int, ...]) -> Any:
        """Device memory as PyTorch sees it."""
        import torch

        return torch.as_tensor(_Memory(pointer, shape), device="cuda")

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """PyTorch's work goes to ``stream``."""
        import torch

        return torch.cuda.stream(torch.cuda.ExternalStream(stream.handle))

    def bind(self, name: str, pointer: int) -> None:
        if name not in self._shapes:
            raise BackendError(f"pytorch: the network has no tensor {name!r}")
        self._bound[name] = self.tensor(pointer, self._shapes[name])

    def enqueue(self, stream: Stream) -> None:
        graph = self._graph
        assert graph is not None
        with self.on(stream):
            inputs = {name: self._bound[name].to(graph.dtype) for name in graph.inputs}
            for name, value in graph(inputs).items():
                self._bound[name].copy_(value)

    def free(self) -> None:
        self._bound.clear()
        self._graph = None


class TorchBackend(DeviceBackend):
    """The network in eager FP16, queued on each lane's stream; the graph of a frame is captured around it."""

    name = "pytorch"
    device_name, half = "cuda", True
    program_class = TorchProgram

    def _load(self, device: Device, manifest: Manifest, precision: str, threads: int) -> None:
        import torch

        torch.backends.cudnn.benchmark = True
        self._graph: TorchGraph | None = TorchGraph(manifest.model_path, self.device_name, half=self.half)
        self._version = torch.__version__

    def _takes(self) -> tuple[int, str]:
        return self.batch, ""

    def _program(self, batch: int = 1) -> Program:
        width, height = self._size_wh
        shapes: dict[str, tuple[int, ...]] = {
            self._manifest.input_name: (batch, 3, height, width),
            self._manifest.output_name: (batch, 1, height, width),
        }
        for tensor in self._manifest.state:
            shape = tensor.shape_for(self._size_wh)
            shapes[tensor.input] = shapes[tensor.output] = (batch * shape[0], *shape[1:])
        assert self._graph is not None
        return self.program_class(self._graph, shapes)

    def _unload(self) -> None:
        self._graph = None

    @property
    def info(self) -> BackendInfo:
        device = self._require()
        return BackendInfo(
            "pytorch", f"{device.name} (SM {device.compute_capability})", "fp16", 0,
            f"PyTorch {self._version}, eager; {self.how()}",
        )  # fmt: skip
