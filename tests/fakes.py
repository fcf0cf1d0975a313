"""Stand-ins with behaviour, for tests: a source, a sink, a clock, backends that do as they are told."""

import threading

import numpy as np

from livecut.engine.backends.base import Backend, BackendInfo
from livecut.engine.buffers import HostBuffer
from livecut.engine.clock import Clock
from livecut.engine.errors import SinkError, SourceError
from livecut.engine.frame import Frame
from livecut.engine.sinks.base import Sink
from livecut.engine.sources.base import Source, SourceInfo

PATIENCE_SECONDS = 20
"""How long a fake waits for an event before it says that it never came; no test waits for it to pass."""


class FakeClock(Clock):
    """Time that stands still until ``advance``; waiting for a moment makes it that moment."""

    def __init__(self, now=100.0):
        self._now = now
        self._lock = threading.Lock()

    def now(self):
        return self._now

    def advance(self, seconds):
        with self._lock:
            self._now += seconds

    def wait_until(self, deadline, stop):
        with self._lock:
            self._now = max(self._now, deadline)
        return not stop.is_set()


def grey_frame(index, size_wh=(64, 32), *, value=None, fps=25.0, start=100.0, format="RGB"):
    """A frame whose every pixel says its index."""
    width, height = size_wh
    image = np.full((height, width, 3), index if value is None else value, np.uint8)
    return Frame((image,), format, index, index / fps, start + index / fps)


def frames(count, **options):
    """``grey_frame`` 0, 1, ..."""
    return [grey_frame(index, **options) for index in range(count)]


class MemorySource(Source):
    """Gives the frames of a list.

    ``before_read`` is called with the position of the frame to be given, ``len(frames)`` at the end: a test
    makes things happen at exact moments there. An exception in the list is raised in its turn.
    """

    def __init__(self, frames, *, fps=25.0, is_live=False, before_read=None, size_wh=(64, 32), endless=False):
        self.frames, self.fps, self.is_live, self.size_wh = list(frames), fps, is_live, size_wh
        self.before_read, self.endless = before_read, endless
        self.position = 0
        self.opened = self.closed = False
        self.interrupted = threading.Event()

    def open(self):
        self.opened = True
        return self.info

    @property
    def info(self):
        return SourceInfo(
            *self.size_wh, fps=self.fps, frames=len(self.frames), is_live=self.is_live, name="memory"
        )

    def read(self, out=None):
        if self.before_read is not None:
            self.before_read(self.position)
        if self.interrupted.is_set():
            return None
        if self.endless:
            self.position += 1
            return grey_frame(self.position - 1, self.size_wh, value=self.position % 256)
        if self.position == len(self.frames):
            return None
        self.position += 1
        frame = self.frames[self.position - 1]
        if isinstance(frame, BaseException):
            raise frame
        return frame

    def close(self):
        self.closed = True

    def interrupt(self):
        self.interrupted.set()


class RecordingSink(Sink):
    """Keeps copies of what it is given. ``before_write`` is called with the frame; it may raise."""

    def __init__(
        self, accepts=("RGBA", "BGR", "ALPHA"), *, before_write=None, fixed_size=True, fail_close=False
    ):
        self.accepts, self.fixed_size, self.before_write = accepts, fixed_size, before_write
        self.fail_close = fail_close
        self.stream = None
        self.frames = []
        self.closed = self.aborted = 0

    def open(self, stream):
        self.stream = stream

    def write(self, frame):
        if self.before_write is not None:
            self.before_write(frame)
        planes = tuple(plane.copy() for plane in frame.planes)
        self.frames.append(Frame(planes, frame.format, frame.index, frame.pts_seconds, frame.due_seconds))

    def close(self):
        if self.fail_close:
            raise SinkError("disk full: cannot finish")
        self.closed += 1

    def abort(self):
        self.aborted += 1

    @property
    def indices(self):
        return [frame.index for frame in self.frames]


class RedBackend(Backend):
    """Alpha is the red channel of the network's input: what a frame shows is what its matte must be."""

    name = "red"

    def __init__(self, before_infer=None, allocate=None):
        self.before_infer = before_infer
        self.inferred = 0
        self.closed = False

    def open(self, manifest, size_wh, *, precision, threads):
        self.size_wh = size_wh

    @property
    def info(self):
        return BackendInfo("red", "test", "fp32", 1)

    def new_buffer(self):
        return HostBuffer(self.size_wh, self.allocate)

    def infer(self, buffer, state):
        if self.before_infer is not None:
            self.before_infer(self.inferred)
        self.inferred += 1
        np.copyto(buffer.alpha, buffer.input[0, 0])

    def warm_up(self):
        """Nothing: tests count inferences."""

    def close(self):
        self.closed = True


class SlowBackend(RedBackend):
    """Takes its time: each ``infer`` says that it has started, then waits for ``release``."""

    name = "slow"

    def __init__(self):
        super().__init__()
        self.started = threading.Semaphore(0)
        self.release = threading.Semaphore(0)

    def infer(self, buffer, state):
        self.started.release()
        must(self.release.acquire(timeout=PATIENCE_SECONDS), "release")
        super().infer(buffer, state)


def must(happened, what):
    """Fail a test that waits for what never happens."""
    if not happened:
        raise SourceError(f"test: {what} did not happen within {PATIENCE_SECONDS} s")
