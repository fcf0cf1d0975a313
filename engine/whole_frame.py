"""Whole frames on the GPU, for a session: where the full-resolution work is done, and why there.

The CPU's kernels and the GPU's do the same. On a GPU the work itself is quick, but the whole picture must go
up and the finished one come down; on a CPU only the network's small tensors travel. Which is faster depends
on both processors and the link between them, so it is measured before the stream starts.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from ..kernels.cuda import NOT_FINITE
from .alpha import refuse_alpha
from .backends.base import Backend
from .backends.frame_lanes import FrameLane, FrameWork, Picture, StreamMemory
from .buffers import Slot
from .compositor import Compositor
from .errors import BackendError, DeviceUnavailable, UsageError
from .frame import Frame

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger("livecut")
PLACES = ("auto", "cpu", "gpu")
_ROUNDS = 12
_LEFT = "the stream has left the GPU"
_FORMATS = ("BGR", "RGB", "BGRA", "RGBA", "I420", "NV12")


class WholeFrames:
    """A session's frames from host picture to host picture on the device of ``engine``.

    Used like the session's own stages, by the same threads.

    Parameters
    ----------
    session : Session
        Says what is done to a frame.
    engine : Backend
        The session's; its ``device_backend`` does the frames.
    compositor : Compositor
        Its output and background; the background must stay the same.
    """

    def __init__(self, session: Session, engine: Backend, compositor: Compositor) -> None:
        self._session, self._outer, self._compositor = session, engine, compositor
        self._engine = engine.device_backend()
        self._engine.prime = engine.prime
        self._memories: dict[Any, StreamMemory] = {}
        self._pictures: dict[int, Picture | None] = {}
        self._state: Any = None
        self._begun: StreamMemory | None = None
        self._under_way: set[Slot] = set()
        self._is_left = False
        self._lock = threading.Lock()
        """Of these two: a stream that has left is closed with the last slot that is under way."""
        self.is_trial = True
        """While it is tried out, an error is an error; later the CPU takes over."""

    def reset(self) -> None:
        """The next frame is the first of a stream."""
        self._begun = None

    def takes(self, frame: Frame) -> bool:
        """Whether a frame can be done here; one with an alpha of its own cannot."""
        return frame.format in _FORMATS and frame.alpha is None

    def preprocess(self, frame: Frame, slot: Slot) -> None:
        """Bring a frame into page-locked memory; the slot keeps it, and is under way from here on."""
        with self._lock:
            if self._is_left:
                raise BackendError(_LEFT)
            self._under_way.add(slot)
        session, size_wh = self._session, (frame.width, frame.height)
        if slot.frame_wh != size_wh or slot.geometry is None:
            input_wh = session.input_size(size_wh)
            slot.geometry, slot.frame_wh = kernels.fit(size_wh, input_wh, session.manifest.fit), size_wh
            slot.buffer = None  # it is for frames of another size
        memory = self._memory(frame, slot.geometry)
        lane = slot.lane
        if lane is None or lane.memory is not memory:
            lane = slot.lane = self._engine.frame_lane(memory)
            slot.recycled = Frame(lane.frame.planes, frame.format, 0, 0.0, 0.0)  # sources that can fill it do
        lane.frame.fill(frame.planes)
        slot.frame, slot.engine = frame, self._outer

    def _memory(self, frame: Frame, geometry: kernels.Geometry) -> StreamMemory:
        """What the stream keeps for frames like this one."""
        key = (frame.format, frame.matrix, frame.full_range, geometry)
        memory = self._memories.get(key)
        if memory is None:
            session, behind = self._session, self._compositor.still_background(geometry.frame_wh)
            picture = behind if isinstance(behind, np.ndarray) else None
            work = FrameWork(
                *key, self._compositor.output, behind if picture is None else "picture",
                session.refine, session.decontaminate, session.temporal,
            )  # fmt: skip
            memory = self._memories[key] = self._engine.stream_memory(work, picture)
        return memory

    def submit(self, slot: Slot) -> None:
        """Start it, in the order of the frames; the device is active."""
        lane: FrameLane = slot.lane
        try:
            if self._is_left:
                raise BackendError(_LEFT)
            with self._engine.thread_context():
                if self._begun is None:
                    self._state = self._engine.begin()
                lane.begins = lane.memory is not self._begun
                self._begun = lane.memory
                self._state = self._engine.submit_lane(lane, self._state)
        except BackendError as error:
            slot.in_flight = False
            self._session.do_again(slot, error)

    def collect(self, slot: Slot) -> None:
        """Wait until the frame is finished."""
        try:
            with self._engine.thread_context():
                slot.lane.collect()
        except BackendError as error:
            self._session.do_again(slot, error)

    def finish(self, slot: Slot, out: Frame | None) -> Frame:
        """The finished frame, in memory that is the caller's until it is handed back as ``out``.

        Raises
        ------
        BackendError, ModelError
            If the network returned what is no alpha.
        """
        lane: FrameLane = slot.lane
        frame: Frame = slot.frame
        try:
            if lane.status:
                values = "" if lane.status & NOT_FINITE else "values outside"
                refuse_alpha(values, slot, self._session.manifest.name)
            picture = self._taken_out(slot, out)
        finally:
            self.let_go(slot)
        return Frame(
            picture.planes, self._compositor.output, frame.index, frame.pts_seconds, frame.due_seconds,
            matrix=frame.matrix, full_range=frame.full_range,
        )  # fmt: skip

    def _taken_out(self, slot: Slot, out: Frame | None) -> Picture:
        lane: FrameLane = slot.lane
        spare = self._pictures.pop(out.planes[0].ctypes.data, None) if out is not None else None
        if spare is not None and [p.shape for p in spare.planes] != [p.shape for p in lane.finished.planes]:
            spare = None
        try:
            with self._engine.thread_context():
                picture = lane.exchange(spare)
        except BackendError:  # there is no other picture for the lane: this was its last
            picture, slot.lane = lane.finished, None
        self._pictures[picture.block.ctypes.data] = picture
        return picture

    def leave(self, slot: Slot, frame: Frame, error: BackendError) -> None:
        """The CPU takes over with ``frame``, which is said once; while trying out the error is raised."""
        if self.is_trial:
            raise error
        with self._lock:
            is_first, self._is_left = not self._is_left, True
        if is_first:
            # In words: whoever keeps the error keeps the slots it came through, and their memory.
            log.warning("full-resolution work on the CPU from frame %d on: %s", frame.index, str(error))
        self.let_go(slot)

    def give_up(self, slot: Slot) -> None:
        """Wait for a frame in flight that nobody will look at."""
        with self._engine.thread_context():
            slot.lane.collect()

    def let_go(self, slot: Slot) -> None:
        """A slot is not under way any more; with the last of a stream that has left, memory goes back."""
        with self._lock:
            self._under_way.discard(slot)
            is_last = self._is_left and not self._under_way
        if is_last:
            self.close()

    def without(self, out: Frame | None) -> Frame | None:
        """``out``, unless it is a picture made here: then None, as its memory is to go back."""
        if out is None or out.planes[0].ctypes.data not in self._pictures:
            return out
        del self._pictures[out.planes[0].ctypes.data]
        return None

    def close(self) -> None:
        """Give back what the device holds for these frames; none is under way."""
        memories, self._memories = self._memories, {}
        for memory in memories.values():
            self._engine.drop_frames(memory)
        self._pictures = dict.fromkeys(self._pictures)  # whoever still has one keeps it alive


def choose(
    session: Session,
    engine: Backend,
    compositor: Compositor,
    frame_wh: tuple[int, int],
    before: WholeFrames | None = None,
) -> WholeFrames | None:
    """Where the full-resolution work of a stream is done: ``WholeFrames`` for the GPU, None for the CPU.

    ``before`` is what the session's last stream had. With ``session.post`` ``auto`` both are timed on blank
    frames, one at a time.

    Raises
    ------
    DeviceUnavailable
        If it must be the GPU, and that cannot.
    """
    if before is not None:
        before.close()
    if session.post == "cpu":
        return None
    if engine.device_backend() is None:
        if session.post == "gpu":
            info = engine.info
            where = f"the model runs on {info.device}"
            if info.is_shared:
                where = f"expected a GPU of the stream's own, and streams share {info.device} (--share)"
            raise DeviceUnavailable(f"--post gpu: {where}; take auto or cpu")
        return None
    whole = WholeFrames(session, engine, compositor)
    try:
        on_gpu = _seconds(session, whole, compositor, frame_wh)
    except (BackendError, UsageError) as error:
        whole.close()
        if session.post == "gpu":
            raise DeviceUnavailable(f"--post gpu: {error}; take auto or cpu") from error
        log.info("full-resolution work on the CPU: on the GPU it cannot be done (%s)", error)
        return None
    if session.post == "gpu":
        log.info("full-resolution work on the GPU, as asked for: %.2f ms a frame", 1e3 * on_gpu)
        whole.is_trial = False
        return whole
    on_cpu = _seconds(session, None, compositor, frame_wh)
    log.info(
        "full-resolution work on the %s: %.2f ms a frame with it on the GPU, %.2f ms on the CPU",
        "GPU" if on_gpu < on_cpu else "CPU", 1e3 * on_gpu, 1e3 * on_cpu,
    )  # fmt: skip
    if on_gpu < on_cpu:
        whole.is_trial = False
        return whole
    whole.close()
    return None


def _seconds(session: Session, whole: Any, compositor: Compositor, frame_wh: tuple[int, int]) -> float:
    """Median time of one blank frame, from host picture to host picture."""
    slot, out, times = Slot(), None, []
    blank = Frame((np.zeros((frame_wh[1], frame_wh[0], 3), np.uint8),), "BGR", 0, 0.0, 0.0)
    with session.using(whole):
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            session.preprocess(blank, slot)
            session.infer(slot)
            out = session.postprocess(slot, compositor, out)
            times.append(time.perf_counter() - start)
    session.reset()
    return sorted(times[2:])[len(times[2:]) // 2]  # the first two make memory
