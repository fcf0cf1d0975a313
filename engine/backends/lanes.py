"""How frames move through a GPU: lanes that overlap, one replayed graph a frame, state that stays there.

A lane is all that one frame in flight needs: page-locked host buffers, memory on the device, a CUDA stream
and an engine context of its own. Frames of a model without state share nothing, so while the engine works in
one lane the copy-in of the next frame and the copy-out of the one before run in others. With state, only the
engines of two frames are in a row, by an event; the copies still overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    @property
    def why_not_captured(self) -> str:
        """Empty where its work can be captured into a graph; else why not. Asked once it has run."""

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
    """One frame in flight: the network's input in, its alpha out.

    Parameters
    ----------
    device : Device
        Active on the calling thread, as for every method.
    names : (str, str)
        Of the network's input and its alpha.
    shapes : mapping of str to shape
        Of these two.
    make_program : callable
        Makes an engine context of the lane's own: one, or with state one for each of its two turns. What a
        graph was captured from must not be bound to anything else afterwards.
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
        self.graphs: list[Graph] = []
        self._states = states
        self._turn = 0
        self._resources = ExitStack()
        try:
            self.stream = self._keep(device.stream())
            self.engine_done, self._done = self._keep(device.event()), self._keep(device.event())
            pointers = self._allocate(device, [shapes[name] for name in names])
            self._programs: list[Program] = []
            for turn in range(1 if states is None else 2):
                self._programs.append(self._keep(make_program()))
                self._turn = turn
                for name, pointer in zip(names, pointers, strict=True):
                    self.program.bind(name, pointer)
                self._warm_up()
            self._capture()
        except BaseException:
            self._resources.close()
            raise

    @property
    def program(self) -> Program:
        """The engine context of the turn at hand."""
        return self._programs[self._turn]

    def _keep(self, resource: Any) -> Any:
        self._resources.callback(resource.free)
        return resource

    def _place(self, device: Device, array: np.ndarray) -> Pointer:
        """Where the device finds what lies in ``array``, or is to be copied from or to it."""
        return (
            self._keep(device.malloc(array.nbytes)).pointer
            if self.is_copied
            else device.mapped_pointer(array)
        )

    # -- what a frame is; the lanes of whole frames have more of it

    def _allocate(self, device: Device, shapes: Sequence[tuple[int, ...]]) -> tuple[Pointer, Pointer]:
        """Take memory; where the network's input and alpha lie on the device."""
        self.arrays = {shape: device.page_locked(shape, np.float32) for shape in shapes}
        self._input, self._alpha = (self.arrays[shape] for shape in shapes)
        self._input_at, self._alpha_at = self._place(device, self._input), self._place(device, self._alpha)
        return self._input_at, self._alpha_at

    @property
    def is_chained(self) -> bool:
        """Whether a frame needs what the one before left on the device."""
        return self._states is not None

    def _copy_in(self) -> None:
        if self.is_copied:
            self.stream.copy_in(self._input_at, self._input)

    def _work(self) -> None:
        """Queue all that happens on the device."""
        self.program.enqueue(self.stream)

    def _copy_out(self) -> None:
        if self.is_copied:
            self.stream.copy_out(self._alpha, self._alpha_at)

    _graph_copies_out = True
    """Whether the copy out is always to the same place, and so can be in the graph."""

    def _begin(self, turn: int, is_first: bool) -> None:
        """Queue zeros into what a stream's first frame finds."""
        if is_first and self._states is not None:
            self._states.clear(self.stream, turn)

    # -- graphs

    @property
    def nodes(self) -> int:
        """Of one frame's graph; 0 without."""
        return self.graphs[0].nodes if self.graphs else 0

    def _warm_up(self) -> None:
        """Engines put work off until their first run, which no graph may hold; on state of its own."""
        if self._states is not None:
            self._states.bind(self.program, 2)
        self._first_run()
        if self._states is not None:
            self._states.bind(self.program, self._turn)

    def _first_run(self) -> None:
        self._work()
        self.stream.synchronize()

    def _capture(self) -> None:
        """One graph of the whole frame; chained of its work alone, and with state one for each turn."""
        self.why_no_graph = self.program.why_not_captured
        if self.why_no_graph:
            return
        graphs: list[Graph] = []
        try:
            for turn in range(len(self._programs)):
                self._turn = turn
                graphs.append(self._keep(captured(self.stream, self._whole)))
        except BackendError as error:
            self.why_no_graph = str(error)
            return
        self.graphs = graphs

    def _whole(self) -> None:
        """Queue all of a frame that a graph can hold."""
        if not self.is_chained:
            self._copy_in()
        self._work()
        if not self.is_chained and self._graph_copies_out:
            self._copy_out()

    # -- a frame

    def submit(self, turn: int = 0, is_first: bool = False, after: Lane | None = None) -> None:
        """Queue a frame.

        Chained frames say which state set they read, whether they are the first of a stream, and which lane
        has the frame before: its work comes first.
        """
        if self.in_flight:
            raise BackendError("a buffer was submitted again before it was collected")
        self.in_flight = True
        chained = self.is_chained
        if chained or not self.graphs:
            self._copy_in()
        if chained:
            if after is not None and after is not self:
                self.stream.wait(after.engine_done)
            self._begin(turn, is_first)
        self._turn = turn if self._states is not None else 0
        if self.graphs:
            self.graphs[self._turn].launch(self.stream)
        else:
            self._work()
        if chained:
            self.stream.record(self.engine_done)
        if chained or not self.graphs or not self._graph_copies_out:
            self._copy_out()
        self.stream.record(self._done)

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


def captured(stream: Stream, queue: Callable[[], None]) -> Graph:
    """What ``queue`` queues on ``stream``, as a graph; BackendError if it cannot be captured.

    It is tried twice: another thread that waits for the whole device at that moment, as libraries do while
    they load, breaks a capture.
    """
    with suppress(BackendError):
        return _captured_once(stream, queue)
    return _captured_once(stream, queue)


def _captured_once(stream: Stream, queue: Callable[[], None]) -> Graph:
    stream.begin_capture()
    try:
        queue()
    except BaseException:
        with suppress(BackendError):  # the stream leaves the capture, and says again what has been said
            stream.end_capture().free()
        raise
    return stream.end_capture()
