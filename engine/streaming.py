"""From what a person asks of a stream to a pipeline that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .compositor import Compositor, choose_output
from .errors import SourceError, UsageError
from .frame import Frame
from .pictures import PICTURE_SUFFIXES, read_picture
from .pipeline import POLICIES, Pipeline
from .session import Session
from .sinks.base import Sink
from .sinks.window import WindowSink
from .sources.base import Source, SourceInfo
from .stats import Progress


def make_pipeline(
    source: Source,
    sink: Sink,
    session: Session,
    *,
    only_mask: bool = False,
    bgcolor: tuple[int, int, int, int] | None = None,
    background: str | None = None,
    policy: str = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> Pipeline:
    """Connect an opened or unopened source, a session and a sink.

    Parameters
    ----------
    only_mask : bool
        Send the alpha alone.
    bgcolor : (int, int, int, int), optional
        Opaque colour behind the cut-out; the last number must be 255.
    background : str, optional
        ``blur``, a picture, or a video of which each frame takes the next.
    policy : {"auto", "wait", "drop-oldest"}
        ``auto`` is ``drop-oldest`` for a live source, else ``wait``.

    Raises
    ------
    UsageError
        If the options do not make sense, or the sink cannot carry what is asked for.
    """
    if policy not in POLICIES:
        raise UsageError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
    behind: Any = None
    if bgcolor is not None:
        if bgcolor[3] != 255:
            raise UsageError(
                f"bgcolor: a stream's colour is opaque (R G B 255), got {' '.join(map(str, bgcolor))}"
            )
        behind = bgcolor[:3]
    elif background is not None:
        behind = _background(background)
    output = choose_output(sink.accepts, background=behind, only_mask=only_mask)
    compositor = Compositor(output, behind)
    pipeline = Pipeline(source, session, compositor, sink, policy=policy, on_progress=on_progress)
    if isinstance(sink, WindowSink):
        sink.on_closed = pipeline.stop
    return pipeline


def check_apart(source: str, sink: str, background: str | None = None) -> None:
    """UsageError if what is read would be replaced by what is written: the same file, or the same folder."""
    for name, what in ((source, "input"), (background, "background")):
        if name is None or not os.path.exists(name):
            continue
        places = [sink]
        if "%" in os.path.basename(sink):  # numbered pictures
            places.append(os.path.dirname(sink) or ".")
        if any(os.path.exists(place) and os.path.samefile(name, place) for place in places):
            raise UsageError(f"{sink}: is the {what} too; the output would replace its original")


def _background(background: str) -> Any:
    if background == "blur":
        return background
    if os.path.splitext(background)[1].lower() in PICTURE_SUFFIXES:
        return read_picture(background).image
    if not os.path.isfile(background):
        raise SourceError(f"{background}: no such file; --background takes a picture, a video or blur")
    return _video_frames(background)


def _video_frames(path: str) -> Iterator[np.ndarray]:
    """Frames of a video as RGB, from the start again when it ends."""
    import av

    frames = 0
    while True:
        try:
            with av.open(path) as container:
                for frame in container.decode(video=0):
                    frames += 1
                    yield frame.to_ndarray(format="rgb24")
        except (av.FFmpegError, IndexError) as error:  # IndexError: no video stream in it
            if not frames:
                reason = getattr(error, "strerror", None) or error
                raise SourceError(f"{path}: cannot be read as a background: {reason}") from None
        if not frames:
            raise SourceError(f"{path}: has no frames")


class Limited(Source):
    """A source that ends after some seconds of presentation time."""

    def __init__(self, source: Source, seconds: float) -> None:
        self._source, self._seconds = source, seconds

    def open(self) -> SourceInfo:
        self._source.open()
        return self.info

    @property
    def info(self) -> SourceInfo:
        info = self._source.info
        if info.fps is None:
            return info
        frames = max(1, round(info.fps * self._seconds))
        return replace(info, frames=min(frames, info.frames or frames))

    def read(self, out: Frame | None = None) -> Frame | None:
        frame = self._source.read(out)
        return None if frame is None or frame.pts_seconds >= self._seconds else frame

    def interrupt(self) -> None:
        self._source.interrupt()

    def close(self) -> None:
        self._source.close()
