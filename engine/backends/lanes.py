"""How frames move through a GPU: lanes that overlap, one replayed graph a frame, state that stays there.

A lane is all that one frame in flight needs: page-locked host buffers, memory on the device, a CUDA stream
and an engine context of its own. Frames of a model without state share nothing, so while the engine works in
one lane the copy-in of the next frame and the copy-out of the one before run in others. With state, only the
engines of two frames are in a row, by an event; the copies still overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import numpy as np

from ..buffers import HostBuffer
from ..cuda import Device, Graph, Stream
from ..cuda.device import DeviceMemory, Pointer
from ..errors import BackendError

Shapes = Mapping[str, tuple[int, ...]]
_ALIGNMENT = 256  # bytes, as every allocation of CUDA has


class Program(Protocol):
    """An engine ready to be queued: what differs between TensorRT and ONNX Runtime."""

    why_not_captured: str
    """Empty where its work can be captured into a graph; else why not."""

    def bind(self, name: str, pointer: Pointer) -> None:
        """Say where a tensor lies on the device."""

    def enqueue(self, stream: Stream) -> None:
        """Queue one inference; returns at once."""

    def free(self) -> None:
        """Give back what it holds."""


class DeviceStates:
    """Recurrent state on the device: two sets that take turns, and one to try engines on."""

    def __init__(self, device: Device, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        """``tensors``: name of each state input to the name of its output and their shape."""
        self.tensors = tensors
        self._offsets: dict[str, int] = {}
        self.nbytes = 0
        for name, (_, shape) in tensors.items():
            self._offsets[name] = self.nbytes
            size = 4 * int(np.prod(shape, dtype=np.int64))
            self.nbytes += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._sets: list[DeviceMemory] = []
        try:
            for _ in range(3):
                self._sets.append(device.malloc(self.nbytes))
        except BaseException:
            self.free()
            raise

    def bind(self, program: Program, turn: int) -> None:
        """Let a program read set ``turn`` and write the other; both the spare one where ``turn`` is 2."""
        reads, writes = (self._sets[turn], self._sets[turn ^ 1 if turn < 2 else 2])
        for name, (output, _) in self.tensors.items():
            program.bind(name, reads.pointer + self._offsets[name])
            program.bind(output, writes.pointer + self._offsets[name])

    def clear(self, stream: Stream, turn: int) -> None:
        """Queue zeros into set ``turn``."""
        stream.fill(self._sets[turn].pointer, 0, self.nbytes)

    def free(self) -> None:
        """Give the memory back."""
        while self._sets:
            self._sets.pop().free()


class Lane:
    """One frame in flight.

    Parameters
    ----------
    device : Device
        Active on the calling thread, as for every method.
    names : (str, str)
        Of the network's input and its alpha.
    shapes : mapping of str to shape
        Of these two.
    make_program : callable
        Makes the lane's own engine context.
    states : DeviceStates, optional
        Of a model with state.
    """

    def __init__(
        self,
        device: Device,
        names: tuple[str, str],
        shapes: Shapes,
        make_program: Callable[[], Program],
        states: DeviceStates | None = None,
    ) -> None:
        self.is_copied = not device.integrated
        self.why_no_graph = ""
        self.in_flight = False
        self._states = states
        self._turn = -1
        self._resources = ExitStack()
        try:
            self.arrays = {shapes[name]: device.page_locked(shapes[name], np.float32) for name in names}
            self._input, self._alpha = (self.arrays[shapes[name]] for name in names)
            pointers = [self._place(device, array) for array in (self._input, self._alpha)]
            self._input_pointer, self._alpha_pointer = pointers
            self.stream = self._keep(device.stream())
            self.engine_done, self._done = self._keep(device.event()), self._keep(device.event())
            self.program = self._keep(make_program())
            for name, pointer in zip(names, pointers, strict=True):
                self.program.bind(name, pointer)
            self.graphs = self._capture()
        except BaseException:
            self._resources.close()
            raise

    def _keep(self, resource: Any) -> Any:
        self._resources.callback(resource.free)
        return resource

    def _place(self, device: Device, array: np.ndarray) -> Pointer:
        return (
            self._keep(device.malloc(array.nbytes)).pointer
            if self.is_copied
            else device.mapped_pointer(array)
        )

    # -- graphs

    @property
    def nodes(self) -> int:
        """Of one frame's graph; 0 without."""
        return self.graphs[0].nodes if self.graphs else 0

    def _capture(self) -> list[Graph]:
        """One graph of the whole frame; with state two of the engine alone, one for each turn."""
        if self._states is not None:
            self._states.bind(self.program, 2)
        self.program.enqueue(
            self.stream
        )  # engines put work off until their first run, which no graph may hold
        self.stream.synchronize()
        self.why_no_graph = self.program.why_not_captured
        graphs: list[Graph] = []
        if self.why_no_graph:
            return graphs
        try:
            for turn in range(1 if self._states is None else 2):
                if self._states is not None:
                    self._states.bind(self.program, turn)
                graphs.append(self._keep(self._captured()))
        except BackendError as error:
            self.why_no_graph = str(error)
            return []
        return graphs

    def _captured(self) -> Graph:
        self.stream.begin_capture()
        try:
            if self._states is None:
                self._copy_in()
            self.program.enqueue(self.stream)
            if self._states is None:
                self._copy_out()
        except BackendError:
            _ended(self.stream)
            raise
        return self.stream.end_capture()

    # -- a frame

    def submit(self) -> None:
        """Queue a frame of a model without state."""
        self._take()
        if self.graphs:
            self.graphs[0].launch(self.stream)
        else:
            self._copy_in()
            self.program.enqueue(self.stream)
            self._copy_out()
        self.stream.record(self._done)

    def submit_turn(self, turn: int, is_first: bool, after: Lane | None) -> None:
        """Queue a frame that reads state set ``turn``, once the engine of lane ``after`` has written it."""
        assert self._states is not None
        self._take()
        self._copy_in()
        if after is not None and after is not self:
            self.stream.wait(after.engine_done)
        if is_first:
            self._states.clear(self.stream, turn)
        if self.graphs:
            self.graphs[turn].launch(self.stream)
        else:
            if turn != self._turn:
                self._states.bind(self.program, turn)
                self._turn = turn
            self.program.enqueue(self.stream)
        self.stream.record(self.engine_done)
        self._copy_out()
        self.stream.record(self._done)

    def _take(self) -> None:
        if self.in_flight:
            raise BackendError("a buffer was submitted again before it was collected")
        self.in_flight = True

    def _copy_in(self) -> None:
        if self.is_copied:
            self.stream.copy_in(self._input_pointer, self._input)

    def _copy_out(self) -> None:
        if self.is_copied:
            self.stream.copy_out(self._alpha, self._alpha_pointer)

    def collect(self) -> None:
        """Wait for the frame; its alpha may then be read, and its input written."""
        if self.in_flight:
            self._done.synchronize()
            self.in_flight = False

    def buffer(self, size_wh: tuple[int, int]) -> HostBuffer:
        """A host buffer over this lane's page-locked memory."""
        self.collect()  # the buffer before this one may have been given up in flight
        buffer = HostBuffer(size_wh, lambda shape, dtype: self.arrays[shape])
        buffer.binding = self
        return buffer

    def free(self) -> None:
        """Wait for what is queued and give everything back."""
        try:
            self.stream.synchronize()
        finally:
            self._resources.close()


def _ended(stream: Stream) -> None:
    """Take a stream out of a capture that has failed."""
    with suppress(BackendError):  # it says again what has been said
        stream.end_capture().free()
