"""What a backend owes the session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from ..buffers import Allocator, HostBuffer, aligned_zeros
from ..manifest import Manifest

State = Any
"""Recurrent state between two frames; each backend has its own kind, on its own device."""
SINGLE_GRAPH = (
    "the ONNX file takes one picture at a time; livecut export MODEL --dynamic --batch N makes one that "
    "takes several"
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


@dataclass(frozen=True)
class BackendInfo:
    """What runs, where and how: read back from the runtime after opening, not what was asked for."""

    name: str
    device: str
    precision: str
    """``fp32``, ``bf16``, ``fp16``, or ``int8`` for a quantised model; ``none`` where nothing is computed."""
    threads: int
    details: str = ""
    """Versions and the like, for people."""
    is_shared: bool = False
    """Whether streams share it: only the network is done on it then, no whole frames."""

    def to_json(self) -> dict[str, Any]:
        """The ``backend`` object of a stream's report."""
        return {
            "name": self.name,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
        }

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.name} on {self.device}, {self.precision}, {threads}"


class Backend(ABC):
    """Runs one model at one input size on one device.

    Calls come in this order: ``open`` once, then ``new_buffer``, ``new_state`` and ``infer`` any number of
    times, ``close`` exactly once, also after an error in ``open``. ``infer`` is called from one thread at a
    time, inside ``thread_context()`` of that thread; ``new_buffer`` may be called from another thread
    meanwhile.

    ``infer`` is ``submit`` and ``collect`` in one. A backend whose device works by itself implements these
    two, so that several frames are in flight: ``submit`` in the order of the frames from one thread,
    ``collect`` once for each of them, in any order, from another.
    """

    name: ClassVar[str]
    prime: Callable[[Backend], State] | None = None
    """Makes the first state where zeros will not do: the session's, for a model that begins with a plate."""
    allocate: Allocator = staticmethod(aligned_zeros)
    """Where ``new_buffer`` gets its memory; a CUDA backend puts page-locked memory here."""
    batch_pays: ClassVar[bool] = False
    """Whether one inference of several frames is quicker than one after the other. On a GPU, of which one
    frame leaves most idle; not on a CPU, whose cores one frame keeps busy."""
    batch = 1
    """How many frames one inference should take at most; set before ``open``."""
    at_once = 1
    """How many it does take; known once open."""
    why_single = "the backend takes one frame at a time"
    """Why ``at_once`` is less than ``batch``, where it is."""
    state_per_stream = False
    """Whether every ``new_state`` is another stream's, so that streams with state can share the backend."""

    @abstractmethod
    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        """Load and compile the model for inputs of ``size_wh``.

        Raises
        ------
        DeviceUnavailable
            If ``precision`` is not to be had on this device; the message says which are.
        ManifestError
            If the manifest disagrees with the ONNX file.
        BackendError
            If the model cannot be compiled.
        """

    @property
    @abstractmethod
    def info(self) -> BackendInfo:
        """What is in force; only once open."""

    @abstractmethod
    def new_buffer(self) -> HostBuffer:
        """Memory for one frame in flight, bound to this backend once so that ``infer`` copies nothing."""

    def new_state(self) -> State:
        """State before the first frame of a stream (zeros); None for a model without."""
        return None

    def begin(self) -> State:
        """The state that a stream begins with, also after a backend took over from another in mid-stream."""
        return self.new_state() if self.prime is None else self.prime(self)

    @abstractmethod
    def infer(self, buffer: HostBuffer, state: State) -> State:
        """Run the model on ``buffer.input`` and fill ``buffer.alpha``; return the state for the next frame.

        ``buffer`` is one of this backend's ``new_buffer``. Returns when ``buffer.alpha`` is readable on the
        host. ``state`` is spent: it may be overwritten. Raises BackendError if the device fails; the
        backend is then only good for ``close``.
        """

    def admit(self) -> bool:
        """Wait until it is this stream's turn on a device that it shares; whether it shares one.

        Called before a frame is taken from the camera, so that what waits here does not grow old.
        """
        return False

    def withdraw(self) -> None:  # noqa: B027 - where nothing is shared, there are no turns
        """Give back the turn that ``admit`` waited for, as its frame will not come; nothing without one."""

    def submit(self, buffer: HostBuffer, state: State) -> State:
        """Start the model on ``buffer.input``; return the state for the next frame without waiting for it.

        Until ``collect`` returns, ``buffer`` is the device's: neither read nor write it. What ``infer`` may
        raise, this and ``collect`` may raise. By default the work is done here.
        """
        return self.infer(buffer, state)

    def submit_together(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        """Start one inference of several frames, at most ``at_once``; return the states for the next ones.

        Frames of a model with state must be of different streams. As ``submit`` for each of them; by default
        one after the other.
        """
        return [self.submit(buffer, state) for buffer, state in zip(buffers, states, strict=True)]

    def collect(self, buffer: HostBuffer) -> None:  # noqa: B027 - where submit has done it all, nothing waits
        """Wait until ``buffer.alpha`` of the last ``submit`` is readable on the host."""

    def warm_up(self) -> None:
        """Run once on zeros: what a runtime puts off until the first inference is then done."""
        with self.thread_context():
            self.infer(self.new_buffer(), self.new_state())

    def device_backend(self) -> Any:
        """The ``DeviceBackend`` that runs now, if one does: it can do whole frames. Else None."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Free the device's resources; safe to call twice. Buffers stay valid as arrays."""

    def thread_context(self) -> AbstractContextManager[Any]:
        """Entered by a thread around its calls of ``infer``; a CUDA backend pushes its context here."""
        return nullcontext()


def state_shapes(manifest: Manifest, size_wh: tuple[int, int]) -> Mapping[str, tuple[int, ...]]:
    """Shape of every state input at ``size_wh``."""
    return {tensor.input: tensor.shape_for(size_wh) for tensor in manifest.state}
