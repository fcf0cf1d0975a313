"""What the GPU backends share: opening and losing the device, buffers from lanes, submit and collect."""

from __future__ import annotations

import logging
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ...kernels.cuda import get_module
from ..buffers import HostBuffer
from ..cuda import Device, Module, open_device
from ..errors import BackendError, DeviceLost, DeviceUnavailable
from ..manifest import Manifest
from .base import Backend, State
from .device_batches import DeviceBatches
from .frame_lanes import FrameLane, FrameWork, StreamMemory
from .lanes import DeviceStates, Lane, Program

log = logging.getLogger("livecut")


class Turn(NamedTuple):
    """State of a stream: which of the two sets on the device the next frame reads."""

    reads: int
    is_first: bool


class DeviceBackend(Backend):
    """A model on a CUDA device. Subclasses say how to load it, and make a program for each lane.

    Host buffers are page-locked: kernels write into them and read from them, and the device copies by itself.
    The lane of a buffer that is no longer used serves the next ``new_buffer``. Where ``batch`` frames are
    wanted at once and the model takes them, rows of a batch are in the place of lanes.

    Parameters
    ----------
    open_device : callable, optional
        Opens the GPU; tests give a fake one.
    """

    batch_pays = True
    is_lost = False
    """Whether the device was found to be lost while things were given back."""

    def __init__(self, open_device: Callable[[], Device] = open_device) -> None:
        self._open_device = open_device
        self._device: Device | None = None
        self._states: DeviceStates | None = None
        self._batches: DeviceBatches | None = None
        self._lanes: list[Lane] = []
        self._memories: list[StreamMemory] = []
        self._module: Module | None = None
        self._idle: list[Lane] = []
        self._last: Lane | None = None
        self._lock = threading.Lock()
        self._manifest: Manifest
        self._size_wh = (0, 0)

    # -- for subclasses

    @abstractmethod
    def _load(self, device: Device, manifest: Manifest, precision: str, threads: int) -> None:
        """Load the model; the device is active."""

    @abstractmethod
    def _program(self, batch: int = 1) -> Program:
        """A program for one lane, or for ``batch`` frames at once; the device is active."""

    def _takes(self) -> tuple[int, str]:
        """How many frames the model that was loaded takes at once, and why no more; the device is active."""
        return 1, self.why_single

    @abstractmethod
    def _unload(self) -> None:
        """Let go of the model; the device is active, if it is not lost."""

    # -- opening

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        self._manifest, self._size_wh = manifest, size_wh
        self._device = device = self._open_device()
        self.is_lost = False
        with device.activate():
            self._load(device, manifest, precision, threads)
            if self.batch > 1:
                takes, self.why_single = self._takes()
                self.at_once = min(self.batch, takes)
            if self.at_once > 1:
                self._batches = DeviceBatches(device, manifest, size_wh, self.at_once, self._program)
                self.state_per_stream = True
                return
            if manifest.state:
                tensors = {t.input: (t.output, t.shape_for(size_wh)) for t in manifest.state}
                self._states = DeviceStates(device, tensors)
        # What runs is known, and room for it is there, before the first frame.
        self._idle.append(self._new_lane())

    def _new_lane(self) -> Lane:
        device = self._require()
        with device.activate():
            lane = Lane(device, self._names(), self._shapes(), self._program, self._states)
        self._lanes.append(lane)
        return lane

    def _names(self) -> tuple[str, str]:
        return self._manifest.input_name, self._manifest.output_name

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        width, height = self._size_wh
        return dict(zip(self._names(), ((1, 3, height, width), (1, 1, height, width)), strict=True))

    def _require(self) -> Device:
        if self._device is None:
            raise BackendError(f"{self.name}: not open")
        return self._device

    def how(self) -> str:
        """In words: how a frame is queued, and how it gets to the device and back."""
        if self._batches is not None:
            return self._batches.how()
        lane = self._lanes[0]
        if not lane.graphs:
            queued = f"stream launches, as no CUDA graph can be captured ({lane.why_no_graph})"
        elif self._states is None:
            queued = f"one CUDA graph a frame ({lane.nodes} nodes)"
        else:
            queued = f"one CUDA graph a frame ({lane.nodes} nodes), copies beside it, state on the device"
        return f"{queued}; {'page-locked copies' if lane.is_copied else 'mapped memory, no copies'}"

    # -- whole frames, see ``whole_frame``

    def device_backend(self) -> DeviceBackend | None:
        return self if self._batches is None else None

    @property
    def has_whole_frames(self) -> bool:
        """Whether a stream has lanes for whole frames here."""
        return bool(self._memories)

    def stream_memory(self, work: FrameWork, picture: np.ndarray | None) -> StreamMemory:
        """What a stream of such frames keeps on the device; given back by ``close``."""
        with self._lock, self._require().activate():
            memory = StreamMemory(self._require(), work, picture)
            self._memories.append(memory)
        return memory

    def frame_lane(self, memory: StreamMemory) -> FrameLane:
        """A lane for one more whole frame in flight."""
        device = self._require()
        with self._lock, device.activate():
            if self._module is None:
                try:
                    self._module = device.load_module(
                        get_module(device.compute_capability, device.driver).image
                    )
                except ValueError as error:
                    raise DeviceUnavailable(str(error)) from error
            lane = FrameLane(
                device, self._names(), self._shapes(), self._program, self._states,
                module=self._module, manifest=self._manifest, memory=memory,
            )  # fmt: skip
            self._lanes.append(lane)
        return lane

    def drop_frames(self, memory: StreamMemory) -> None:
        """Give a stream's lanes and memory back before the end; none of its frames is in flight."""
        with self._lock:
            device = self._device
            if device is None:
                return
            lanes = [lane for lane in self._lanes if isinstance(lane, FrameLane) and lane.memory is memory]
            self._lanes = [lane for lane in self._lanes if lane not in lanes]
            if self._last in lanes:
                self._last = None
            self._give_back(device, [*(lane.free for lane in lanes), memory.free])
            if memory in self._memories:
                self._memories.remove(memory)

    # -- frames

    def new_buffer(self) -> HostBuffer:
        with self._lock, self._require().activate():
            if self._batches is not None:
                return self._batches.new_buffer()
            lane = self._idle.pop() if self._idle else self._new_lane()
            buffer = lane.buffer(self._size_wh)
        weakref.finalize(buffer, self._idle.append, lane).atexit = False
        return buffer

    def new_state(self) -> State:
        if self._batches is not None:
            with self._lock, self._require().activate():
                return self._batches.new_state()
        return None if self._states is None else Turn(0, True)

    def submit(self, buffer: HostBuffer, state: State) -> State:
        if self._batches is not None:
            return self._batches.submit([buffer], [state])[0]
        return self.submit_lane(buffer.binding, state)

    def submit_together(self, buffers: Sequence[HostBuffer], states: Sequence[State]) -> list[State]:
        if self._batches is not None:
            return self._batches.submit(buffers, states)
        return super().submit_together(buffers, states)

    def submit_lane(self, lane: Lane, state: State) -> State:
        """Start the frame that lies in ``lane``."""
        turn = state or Turn(0, False)
        lane.submit(turn.reads, turn.is_first, self._last)
        if lane.is_chained:
            self._last = lane
        return None if state is None else Turn(turn.reads ^ 1, False)

    def collect(self, buffer: HostBuffer) -> None:
        buffer.binding.collect()

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def thread_context(self) -> AbstractContextManager[Any]:
        return self._require().activate()

    # -- the end

    def close(self) -> None:
        device, self._device = self._device, None
        if device is None:
            return
        with self._lock:
            holders = (self._batches, *self._memories, self._states)
            steps = [each.free for each in (*self._lanes, *holders) if each is not None]
            if self._module is not None:
                steps.append(self._module.unload)
            try:
                self._give_back(device, [*steps, self._unload])
            finally:
                self._lanes, self._memories, self._idle = [], [], []
                self._states = self._batches = self._last = self._module = None
                self._quietly(device.close)

    def _give_back(self, device: Device, steps: Iterable[Callable[[], None]]) -> None:
        """Take every step, whatever one of them raises; also where the device cannot be made active.

        Each inside ``activate`` of its own, which hears of it when the device is found to be lost.
        """
        for step in steps:
            begun = False
            try:
                with device.activate():
                    begun = True
                    step()
            except Exception as error:  # a library's own too: what else is held must go all the same
                self._say(error)
            if not begun:
                self._quietly(step)

    def _quietly(self, give_back: Callable[[], None]) -> None:
        try:
            give_back()
        except Exception as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        """On a lost device nothing can be given back, and nothing needs to be; else memory may stay taken."""
        self.is_lost |= isinstance(error, DeviceLost)
        level = logging.DEBUG if isinstance(error, DeviceLost) else logging.WARNING
        log.log(level, "%s: closing: %s", self.name, " ".join(str(error).split()))
