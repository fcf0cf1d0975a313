"""Whole frames through livecut's own lanes, with a look inside: their pieces, and frames without a graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from livecut.engine.backends.device_backend import DeviceBackend
from livecut.engine.backends.frame_lanes import FrameLane, FrameWork
from livecut.kernels import fit
from livecut.kernels.cuda import Launch


class Paths:
    """Several frames of one stream in flight, in turn.

    Parameters
    ----------
    backend : DeviceBackend
        Opened, its device active on the calling thread, as for every method.
    frame_wh : (int, int)
    depth : int
        Frames in flight.
    format, output : str
        Of the frame and of what is made of it.
    background : (r, g, b), optional
        For composited outputs.
    """

    def __init__(
        self,
        backend: DeviceBackend,
        frame_wh: tuple[int, int],
        depth: int,
        *,
        format: str = "BGR",
        output: str = "BGR",
        background: tuple[int, int, int] | None = (0, 177, 64),
    ) -> None:
        manifest, size_wh = backend._manifest, backend._size_wh
        geometry = fit(frame_wh, size_wh, manifest.fit)
        rest = {"refine": True, "decontaminate": True, "smooth": False}
        work = FrameWork(format, "bt709", False, geometry, output, background, **rest)
        self._backend, self._count, self._state = backend, 0, backend.new_state()
        self._memory = backend.stream_memory(work, None)
        self.lanes: list[FrameLane] = []
        try:
            for _ in range(depth):
                self.lanes.append(backend.frame_lane(self._memory))
        except BaseException:
            self.free()
            raise

    def fill(self, frame: np.ndarray) -> None:
        """Put a picture into the page-locked memory of every lane."""
        for lane in self.lanes:
            lane.frame.block[:] = frame.reshape(-1)

    def restart(self) -> None:
        """The next frame is the first of a stream."""
        self.drain()
        self._state = self._backend.new_state()

    def next(self, *, by_graph: bool = True) -> FrameLane:
        """Submit one more frame, once the lane it takes is free; the lane. Without a graph by launches."""
        lane = self.lanes[self._count % len(self.lanes)]
        self._count += 1
        lane.collect()
        graphs = lane.graphs
        try:
            if not by_graph:
                lane.graphs = []
            self._state = self._backend.submit_lane(lane, self._state)
        finally:
            lane.graphs = graphs
        return lane

    def drain(self) -> None:
        """Wait for every frame in flight."""
        for lane in self.lanes:
            lane.collect()

    @property
    def how(self) -> str:
        """How a frame is queued, in words."""
        lane = self.lanes[0]
        if not lane.graphs:
            return f"stream launches ({lane.why_no_graph})"
        return f"one graph of {lane.nodes} nodes{', copies beside it' if lane.is_chained else ''}"

    def free(self) -> None:
        """Give everything back."""
        self.drain()
        self.lanes.clear()
        self._backend.drop_frames(self._memory)


def pieces(lane: FrameLane) -> dict[str, Callable[[], None]]:
    """What a frame is made of; each only queues."""
    return {
        "copy in": lane._copy_in,
        "pre": lambda: lane._launch([lane._before]),
        "engine": lambda: lane.program.enqueue(lane.stream),
        "post": lambda: lane._launch(lane._after),
        "copy out": lane._copy_out,
    }


def launches(lane: FrameLane) -> tuple[Launch, ...]:
    """The kernels before and after the network."""
    return (lane._before, *lane._after)
