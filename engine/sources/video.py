"""Frames out of a video file, and FFmpeg's test pictures."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from fractions import Fraction
from typing import Any

from ..clock import Clock, MonotonicClock
from ..errors import SourceError
from ..frame import Frame
from .base import Source, SourceInfo
from .decoded import FrameConverter, colour_of, has_alpha
from .file_kind import check_video_file

_log = logging.getLogger(__name__)
_DECODE_THREADS = 4
# FFmpeg's own VP8 and VP9 decoders leave the alpha layer out; libvpx's read it.
_ALPHA_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}


class VideoSource(Source):
    """Every frame of a video file, in order, upright, at its own time.

    A file that is damaged at its end gives all frames that can be decoded, then raises SourceError; damage
    in the middle is stepped over and logged.

    Parameters
    ----------
    path : str
        A file FFmpeg can read, or ``lavfi:FILTERGRAPH``.
    clock : Clock, optional
        Where ``due_seconds`` comes from: the moment each frame was read.
    """

    def __init__(self, path: str, *, clock: Clock | None = None):
        self._path = path
        self._clock = clock or MonotonicClock()
        self._stop = threading.Event()
        self._container: Any = None  # av.container.InputContainer
        self._stream: Any = None  # av.VideoStream
        self._ready: deque[Any] = deque()
        self._converter = FrameConverter()
        self._info: SourceInfo | None = None

    def open(self) -> SourceInfo:
        import av

        is_test_picture = self._path.startswith("lavfi:")
        try:
            if is_test_picture:
                self._container = av.open(self._path[len("lavfi:") :], format="lavfi")
            else:
                check_video_file(self._path)
                self._container = av.open(self._path, metadata_errors="replace")
            if not self._container.streams.video:
                raise SourceError(f"{self._path}: has no picture, only sound")
            self._stream = self._container.streams.video[0]
            self._decoder = self._make_decoder()
            self._packets = self._container.demux(self._stream)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.close()
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{self._path}: cannot be opened: {_reason(error)}") from error
        self._next = self._damaged = 0
        self._damaged_at = self._last_pts = -1.0
        self._broken = ""
        self._ended = self._reported = False
        rate = self._stream.average_rate or self._stream.guessed_rate
        self._fps = float(rate) if rate else None
        self._time_base = self._stream.time_base or Fraction(1, 90000)
        self._start = (self._container.start_time or 0) / 1_000_000
        self._fill()
        if not self._ready:
            self.close()
            raise SourceError(f"{self._path}: no frame could be decoded; the file is empty or damaged")
        first = self._ready[0]
        turned = round(first.rotation / 90) % 2
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        matrix, full_range = colour_of(first)
        audio = self._path if self._container.streams.audio and not is_test_picture else None
        self._info = SourceInfo(
            width,
            height,
            fps=self._fps,
            frames=self._count_frames(),
            has_alpha=has_alpha(first),
            matrix=matrix,
            full_range=full_range,
            audio=audio,
            name=self._path,
        )
        return self._info

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise SourceError(f"{self._path}: not open")
        return self._info

    def read(self, out: Frame | None = None) -> Frame | None:
        if self._container is None:
            raise SourceError(f"{self._path}: not open")
        if not self._ready:
            self._fill()
        if not self._ready or self._stop.is_set():
            return None
        picture = self._ready.popleft()
        frame = self._converter.frame(picture, self._next, self._pts_of(picture), self._clock.now())
        self._next += 1
        return frame

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._ready.clear()
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def _make_decoder(self) -> Any:
        import av

        context = self._stream.codec_context
        name = _ALPHA_DECODERS.get(context.name)
        if name and self._stream.metadata.get("alpha_mode", self._stream.metadata.get("ALPHA_MODE")) == "1":
            context = av.CodecContext.create(name, "r")
            context.extradata = self._stream.codec_context.extradata
        context.thread_type = "AUTO"
        context.thread_count = min(_DECODE_THREADS, os.cpu_count() or 1)
        return context

    def _fill(self) -> None:
        """Decode until a picture is ready; at the end of a damaged file, raise once all pictures are out."""
        import av

        while not self._ready and not self._ended and not self._stop.is_set():
            try:
                packet = next(self._packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self._broken = _reason(error)
                packet = None
            try:
                if packet is None or (packet.size == 0 and packet.dts is None):
                    self._ended = True
                    self._ready.extend(self._decoder.decode(None))
                else:
                    if packet.is_corrupt:
                        self._note_damage(packet)
                    self._ready.extend(self._decoder.decode(packet))
            except av.error.FFmpegError:
                if packet is not None:
                    self._note_damage(packet)
        if self._ended and not self._ready and self._next > 0 and not self._reported:
            self._reported = True
            self._report()

    def _note_damage(self, packet: Any) -> None:
        self._damaged += 1
        ticks = packet.pts if packet.pts is not None else packet.dts  # AVI has no presentation times
        if ticks is not None:
            self._damaged_at = max(self._damaged_at, float(ticks * self._time_base) - self._start)

    def _report(self) -> None:
        """Say what was damaged: raise where the end is missing, log where only the middle was."""
        problem = self._broken
        period = 1 / self._fps if self._fps else 0.1
        if not problem and self._damaged and self._damaged_at >= self._last_pts:
            problem = "the rest cannot be decoded"
        declared = self._declared_seconds()
        missing = declared - (self._last_pts + period) if declared else 0
        if not problem and missing > max(0.5, 3 * period):
            problem = f"it should last {declared:.2f} s"
        if problem:
            raise SourceError(
                f"{self._path}: damaged or cut short after {self._last_pts + period:.2f} s: {problem}; "
                f"the {self._next} frames before are kept"
            )
        if self._damaged:
            _log.warning("%s: %d damaged packets were stepped over", self._path, self._damaged)

    def _declared_seconds(self) -> float | None:
        """How long the picture should last by the file's own account, from the start of the file."""
        stream, container = self._stream, self._container
        if stream.duration:
            start = float((stream.start_time or 0) * self._time_base) - self._start
            return start + float(stream.duration * self._time_base)
        tag = stream.metadata.get("DURATION", "").split(":")
        if len(tag) == 3:
            hours, minutes, seconds = tag
            try:
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            except ValueError:
                return None
        if container.duration and len(container.streams) == 1:
            return container.duration / 1_000_000
        return None

    def _count_frames(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        seconds = self._declared_seconds()
        return round(seconds * self._fps) if seconds and self._fps else None

    def _pts_of(self, picture: Any) -> float:
        """Seconds from the start of the file; frames without a time follow at the nominal rate."""
        if picture.pts is None:
            pts = self._last_pts + 1 / (self._fps or 25) if self._next else 0.0
        else:
            pts = max(0.0, float(picture.pts * self._time_base) - self._start)
        self._last_pts = pts
        return pts


def _reason(error: Exception) -> str:
    """What went wrong, without FFmpeg's error number and a second copy of the path."""
    if type(error).__name__ == "InvalidDataError":
        return "not a video FFmpeg knows, or damaged"
    if type(error).__name__ == "EOFError":
        return "it ends before its first picture"
    return getattr(error, "strerror", None) or str(error)
