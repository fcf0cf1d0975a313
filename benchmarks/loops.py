"""Whole loops, livecut's and others', behind one face: run some frames, tell when each was done.

Every loop takes its frames from memory and leaves its results there, so none pays for camera or screen.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from livecut.engine.backends.openvino import supported_precisions
from livecut.engine.clock import MonotonicClock
from livecut.engine.compositor import Compositor
from livecut.engine.frame import Frame
from livecut.engine.openvino_core import openvino_core
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session
from livecut.engine.sinks.base import Sink, StreamInfo
from livecut.engine.sources.base import Source, SourceInfo

# Pixels of every result that are kept and checked: cheap enough to do inside the timed run.
SPOTS = (
    slice(7, None, 67),
    slice(5, None, 61),
)


@dataclass
class Trace:
    """What a run of a loop left behind, one entry per finished frame."""

    index: list[int] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    spots: list[np.ndarray] = field(default_factory=list)
    offered: int = 0
    """Frames that were due while the loop ran; in a closed loop those it took."""

    def add(self, index: int, due: float, picture: np.ndarray) -> None:
        """A frame is done."""
        self.done.append(time.perf_counter())
        self.index.append(index)
        self.due.append(due)
        self.spots.append(picture[SPOTS].copy())

    def frame_ms(self, skip: int = 5) -> float:
        """Mean time from one result to the next, once the loop has filled."""
        return 1e3 * (self.done[-1] - self.done[skip]) / (len(self.done) - 1 - skip)

    def latency_ms(self, percent: float, skip: int = 5) -> float:
        """Percentile of the time from when a frame was due until it was done."""
        return 1e3 * float(np.percentile(np.subtract(self.done, self.due)[skip:], percent))

    @property
    def dropped(self) -> int:
        """Frames that were due and never came out."""
        return self.offered - len(self.index)

    def worst_difference(self, expected: Sequence[np.ndarray]) -> int:
        """Largest difference of any kept pixel from ``expected``, whose entries come in turn: a frame with
        another's alpha shows here."""
        worst = 0
        for index, spots in zip(self.index, self.spots, strict=True):
            wanted = expected[index % len(expected)][SPOTS]
            worst = max(worst, int(np.abs(spots.astype(np.int16) - wanted).max()))
        return worst


class MemorySource(Source):
    """Frames from memory in turn. With ``fps`` an open-loop camera whose driver keeps the newest frame only:
    a late reader finds frames gone."""

    def __init__(
        self, pictures: Sequence[np.ndarray], count: int, *, format: str = "BGR", fps: float | None = None
    ):
        self.pictures, self.count, self.format, self.fps = pictures, count, format, fps
        self.clock, self.stop = MonotonicClock(), threading.Event()
        self.start: float | None = None
        self.next = 0

    def open(self) -> SourceInfo:
        return self.info

    @property
    def info(self) -> SourceInfo:
        height, width = self.pictures[0].shape[:2]
        return SourceInfo(
            width, height, fps=self.fps or 60.0, frames=self.count, is_live=self.fps is not None
        )

    def read(self, out: Frame | None = None) -> Frame | None:
        now = self.clock.now()
        if self.start is None:
            self.start = now
        index, due = self.next, now
        if self.fps is not None:
            index = max(index, math.floor((now - self.start) * self.fps))
        if index >= self.count or self.stop.is_set():
            return None
        if self.fps is not None:
            due = self.start + index / self.fps
            if not self.clock.wait_until(due, self.stop):
                return None
        self.next = index + 1
        planes = (self.pictures[index % len(self.pictures)],)
        if out is None:
            return Frame(planes, self.format, index, index / (self.fps or 60.0), due)
        out.planes, out.index, out.pts_seconds, out.due_seconds = (
            planes,
            index,
            index / (self.fps or 60.0),
            due,
        )
        return out

    def interrupt(self) -> None:
        self.stop.set()

    def close(self) -> None:
        pass


class TraceSink(Sink):
    """Gives every result to a trace."""

    def __init__(self, output: str, trace: Trace):
        self.accepts = (output,)
        self.trace = trace

    def open(self, stream: StreamInfo) -> None:
        pass

    def write(self, frame: Frame) -> None:
        self.trace.add(frame.index, frame.due_seconds, frame.planes[0])

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class LivecutLoop:
    """livecut's own pipeline from memory to a trace, composited over ``background_rgb``; with ``output`` as
    well and no background, straight."""

    def __init__(
        self,
        session: Session,
        pictures: Sequence[np.ndarray],
        background_rgb: np.ndarray | None,
        *,
        format: str = "BGR",
        output: str | None = None,
    ):
        self.session, self.pictures, self.format = session, pictures, format
        self.compositor = Compositor(output or format, background_rgb)

    def run(self, count: int, fps: float | None = None) -> Trace:
        """Put ``count`` frames through."""
        trace = Trace(offered=count)
        Pipeline(
            MemorySource(self.pictures, count, format=self.format, fps=fps),
            self.session,
            self.compositor,
            TraceSink(self.compositor.output, trace),
            policy="drop-oldest" if fps else "wait",
        ).run()
        return trace


class SerialLoop:
    """Somebody's ``process(frame) -> picture``, frame after frame; at a camera always the newest frame."""

    def __init__(self, process: Callable[[np.ndarray], np.ndarray], pictures: Sequence[np.ndarray]):
        self.process, self.pictures = process, pictures

    def run(self, count: int, fps: float | None = None) -> Trace:
        """Put ``count`` frames through."""
        trace = Trace(offered=count)
        source = MemorySource(self.pictures, count, fps=fps)
        frame = source.read()
        while frame is not None:
            trace.add(frame.index, frame.due_seconds, self.process(frame.planes[0]))
            frame = source.read(frame)
        return trace


def on_cpu(model: str, **options: Any) -> Session:
    """A session as ``Network`` needs it: what is beside it runs on the CPU, whatever else the machine has."""
    return Session(model, backend="openvino", **options)


class Network:
    """The session's model in OpenVINO as an engineer would set it up: same size, precision and threads."""

    def __init__(self, session: Session, frame_wh: tuple[int, int]):
        import openvino

        info = session.warm_up(frame_wh)
        if info.name != "openvino":
            raise ValueError(
                f"session: expected the openvino backend that the reference loop uses, got {info.name}"
            )
        self.manifest = session.manifest
        self.size_wh = session.size_wh or self.manifest.size_for(frame_wh)
        width, height = self.size_wh
        model = openvino_core().read_model(str(self.manifest.path_for(info.precision)))
        shapes = {tensor.input: tensor.shape_for(self.size_wh) for tensor in self.manifest.state}
        model.reshape({self.manifest.input_name: [1, 3, height, width], **shapes})
        # An int8 model computes what is not int8 in the fastest precision, as the session's does.
        floats = supported_precisions()[-1] if info.precision == "int8" else info.precision
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": info.threads,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(floats, floats),
        }
        self.request = openvino_core().compile_model(model, "CPU", config).create_infer_request()
        self.tensor = openvino.Tensor
        zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.states = [{name: openvino.Tensor(value.copy()) for name, value in zeros.items()} for _ in "ab"]

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        """Alpha ``(h, w)``; valid until the next call."""
        before, after = self.states
        for tensor in self.manifest.state:
            self.request.set_tensor(tensor.input, before[tensor.input])
            self.request.set_tensor(tensor.output, after[tensor.input])
        self.states = [after, before]
        self.request.set_tensor(self.manifest.input_name, self.tensor(blob, shared_memory=True))
        self.request.infer(share_outputs=True)
        return self.request.get_tensor(self.manifest.output_name).data[0, 0]
