"""One inference of several streams' frames on a GPU: rows in device memory, state of each stream beside them.

A batch's frames are copied from the page-locked buffers of their streams into neighbouring rows, worked on by
one launch, and copied back to where each of them is waited for. Two sets of rows take turns, so that copies
of one batch overlap the work of another.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..buffers import HostBuffer
from ..cuda import Device, DeviceMemory, Graph
from ..errors import BackendError
from ..manifest import Manifest
from .base import State, state_shapes
from .lanes import Program, captured

_LANES = 2
_ALIGNMENT = 256  # bytes, as every allocation of CUDA has


class DeviceState:
    """What the model remembers of one stream, on the device."""

    __slots__ = ("__weakref__", "is_first", "memory")

    def __init__(self, memory: DeviceMemory) -> None:
        self.memory, self.is_first = memory, True


class _Slot:
    """A frame's page-locked memory, and the mark behind its copy out."""

    def __init__(self, device: Device, size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        self.arrays: dict[tuple[int, ...], np.ndarray] = {
            shape: device.page_locked(shape, np.float32)
            for shape in ((1, 3, height, width), (1, 1, height, width))
        }
        self.input, self.alpha = self.arrays.values()
        self.done, self.in_flight = device.event(), False

    def collect(self) -> None:
        if self.in_flight:
            self.done.synchronize()
            self.in_flight = False


class _Rows:
    """Memory for one batch on the device, and the engine's contexts over it for each number of frames."""

    def __init__(
        self,
        device: Device,
        rows: dict[str, int],
        most: int,
        sizes: Sequence[int],
        make_program: Callable[[int], Program],
    ) -> None:
        self.why_no_graph = ""
        self.graphs: dict[int, Graph] = {}
        self.programs: dict[int, Program] = {}
        self._resources = ExitStack()
        try:
            self.stream, self.worked = self._keep(device.stream()), self._keep(device.event())
            self.at: dict[str, int] = {}
            for name, nbytes in rows.items():
                memory = self._keep(device.malloc(most * nbytes))
                self.at[name] = memory.pointer
                self.stream.fill(memory.pointer, 0, memory.nbytes)  # rows of a smaller batch are computed too
            for size in sizes:
                program = self.programs[size] = self._keep(make_program(size))
                for name, pointer in self.at.items():
                    program.bind(name, pointer)
                program.enqueue(self.stream)  # engines put work off until their first run
                self.stream.synchronize()
                self._capture(size, program)
        except BaseException:
            self._resources.close()
            raise

    def _keep(self, resource: Any) -> Any:
        self._resources.callback(resource.free)
        return resource

    def _capture(self, size: int, program: Program) -> None:
        self.why_no_graph = self.why_no_graph or program.why_not_captured
        if self.why_no_graph:
            return
        try:
            self.graphs[size] = self._keep(captured(self.stream, lambda: program.enqueue(self.stream)))
        except BackendError as error:
            self.why_no_graph = str(error)
            self.graphs.clear()

    def work(self, size: int) -> None:
        if self.graphs:
            self.graphs[size].launch(self.stream)
        else:
            self.programs[size].enqueue(self.stream)

    def free(self) -> None:
        try:
            self.stream.synchronize()
        finally:
            self._resources.close()


class DeviceBatches:
    """Runs 1 to ``most`` frames of different streams at once.

    The engine has a context for 1, 2, 4 ... and ``most`` frames; a batch in between goes through the next
    larger one. All methods are called with the device active; ``submit`` from one thread at a time.

    Parameters
    ----------
    device : Device
    manifest : Manifest
    size_wh : (int, int)
        Of the network's input.
    most : int
        Frames at once.
    make_program : callable
        Makes an engine context for so many frames.
    """

    def __init__(
        self,
        device: Device,
        manifest: Manifest,
        size_wh: tuple[int, int],
        most: int,
        make_program: Callable[[int], Program],
    ) -> None:
        self._device, self._manifest, self._size_wh, self._most = device, manifest, size_wh, most
        self._sizes = sorted({most, *(1 << power for power in range(most.bit_length()))} - {0})
        width, height = size_wh
        self._rows = {manifest.input_name: 12 * width * height, manifest.output_name: 4 * width * height}
        self._offsets: dict[str, int] = {}
        self._state_bytes = 0
        for name, shape in state_shapes(manifest, size_wh).items():
            if shape[0] != 1:
                raise BackendError(f"the state {name!r} has no axis for several streams")
            nbytes = 4 * int(np.prod(shape, dtype=np.int64))
            self._rows[name], self._offsets[name] = nbytes, self._state_bytes
            self._state_bytes += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        self._rows |= {tensor.output: self._rows[tensor.input] for tensor in manifest.state}
        self._slots: list[_Slot] = []
        self._idle_slots: list[_Slot] = []
        self._blocks: list[DeviceMemory] = []
        self._idle_blocks: list[DeviceMemory] = []
        self._lanes: list[_Rows] = []
        self._turn = 0
        self._last: _Rows | None = None
        try:
            for _ in range(_LANES):
                self._lanes.append(_Rows(device, self._rows, most, self._sizes, make_program))
        except BaseException:
            self.free()
            raise

    def how(self) -> str:
        """In words: how a batch is queued."""
        lane = self._lanes[0]
        if not lane.graphs:
            return (
                f"up to {self._most} frames by stream launches, as no CUDA graph can be captured "
                f"({lane.why_no_graph}); page-locked copies"
            )
        nodes = lane.graphs[self._most].nodes
        return f"up to {self._most} frames in one CUDA graph ({nodes} nodes); page-locked copies beside it"

    def new_buffer(self) -> HostBuffer:
        """Memory for one frame in flight."""
        if self._idle_slots:
            slot = self._idle_slots.pop()
            slot.collect()  # the buffer before this one may have been given up in flight
        else:
            slot = _Slot(self._device, self._size_wh)
            self._slots.append(slot)
        buffer = HostBuffer(self._size_wh, lambda shape, dtype: slot.arrays[shape])
        buffer.binding = slot
        weakref.finalize(buffer, self._idle_slots.append, slot).atexit = False
        return buffer

    def new_state(self) -> State:
        """State of one stream, zeros; None for a model without."""
        if not self._offsets:
            return None
        if self._idle_blocks:
            memory = self._idle_blocks.pop()
        else:
            memory = self._device.malloc(self._state_bytes)
            self._blocks.append(memory)
        state = DeviceState(memory)
        weakref.finalize(state, self._idle_blocks.append, memory).atexit = False
        return state

    def submit(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        """Start one inference of all ``buffers``; their states are one frame on."""
        slots: list[_Slot] = [buffer.binding for buffer in buffers]
        if any(slot.in_flight for slot in slots):
            raise BackendError("a buffer was submitted again before it was collected")
        lane = self._lanes[self._turn]
        self._turn = (self._turn + 1) % len(self._lanes)
        stream = lane.stream
        names = self._manifest.input_name, self._manifest.output_name
        for row, slot in enumerate(slots):
            slot.in_flight = True
            stream.copy_in(lane.at[names[0]] + row * self._rows[names[0]], slot.input)
        if self._offsets and self._last not in (None, lane):
            stream.wait(self._last.worked)  # type: ignore[union-attr]
        for row, state in enumerate(states):
            self._state_in(lane, row, state)
        lane.work(next(size for size in self._sizes if size >= len(slots)))
        for row, state in enumerate(states):
            self._state_out(lane, row, state)
        stream.record(lane.worked)
        for row, slot in enumerate(slots):
            stream.copy_out(slot.alpha, lane.at[names[1]] + row * self._rows[names[1]])
            stream.record(slot.done)
        self._last = lane
        return list(states)

    def _state_in(self, lane: _Rows, row: int, state: DeviceState | None) -> None:
        if state is None:
            return
        for name, offset in self._offsets.items():
            nbytes = self._rows[name]
            target = lane.at[name] + row * nbytes
            if state.is_first:
                lane.stream.fill(target, 0, nbytes)
            else:
                lane.stream.copy(target, state.memory.pointer + offset, nbytes)
        state.is_first = False

    def _state_out(self, lane: _Rows, row: int, state: DeviceState | None) -> None:
        if state is None:
            return
        for tensor in self._manifest.state:
            nbytes = self._rows[tensor.output]
            source = lane.at[tensor.output] + row * nbytes
            lane.stream.copy(state.memory.pointer + self._offsets[tensor.input], source, nbytes)

    @staticmethod
    def collect(buffer: HostBuffer) -> None:
        """Wait for one frame of a batch."""
        buffer.binding.collect()

    def free(self) -> None:
        """Wait for what is queued and give everything back."""
        with ExitStack() as rest:
            for memory in self._blocks:
                rest.callback(memory.free)
            for slot in self._slots:
                rest.callback(slot.done.free)
            for lane in self._lanes:
                rest.callback(lane.free)  # before what they use: last in, first out
        self._lanes, self._blocks, self._slots = [], [], []
