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
from .originals import is_same, keep_originals, replaced
from .pictures import PICTURE_SUFFIXES, read_picture
from .pipeline import POLICIES, Pipeline
from .session import Session
from .sinks.base import Sink
from .sinks.folder import FolderSink
from .sinks.window import WindowSink
from .sources.base import Source, SourceInfo
from .sources.pictures import find_pictures
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


def check_apart(
    source: str,
    sink: Sink,
    *,
    background: str | None = None,
    plate: str | os.PathLike[str] | None = None,
    report: str | None = None,
) -> None:
    """UsageError if what is written, video, pictures or report, would replace what is read, or each other."""
    folder = sink.folder if isinstance(sink, FolderSink) else None
    if folder is not None and os.path.isdir(source) and is_same(source, folder):
        raise UsageError(f"{folder}: is the input folder too; choose another, or a new one in it")
    read = [("input", name) for name in _files_of(source, leave_out=folder)]
    if background is not None and background != "blur":
        read.append(("background", background))
    if plate is not None:
        read.append(("clean plate", os.fspath(plate)))
    for what, name in read:
        if os.path.exists(name) and sink.would_replace(name):
            raise replaced(name, what)
    if report is not None and report != "-":
        keep_originals([report], read)
        if sink.would_replace(report):
            raise UsageError(f"{report}: is the output too; the report would replace it")


def _files_of(source: str, leave_out: str | None) -> list[str]:
    """The files that a source of pictures or a video reads; none of what is no file."""
    try:
        return find_pictures(source.removeprefix("file://"), leave_out)[1]
    except SourceError:
        return []


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
