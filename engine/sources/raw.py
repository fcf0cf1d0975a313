"""Frames out of raw bytes on standard input, as ``ffmpeg -f rawvideo -`` writes them."""

from __future__ import annotations

import math
import os
import select
import threading
from typing import Any, BinaryIO

import numpy as np

from ..clock import Clock, MonotonicClock
from ..errors import SourceError, UsageError
from ..frame import Frame
from ..standard import standard_input
from .base import Source, SourceInfo

PIXEL_FORMATS = {"rgb24": "RGB", "bgr24": "BGR", "rgba": "RGBA", "yuv420p": "I420", "nv12": "NV12"}
_DEFAULT_FPS = 30.0
_POLL_SECONDS = 0.2


class RawSource(Source):
    """Frame after frame of bytes, without any header.

    Parameters
    ----------
    size_wh : (int, int)
        Needed: the bytes do not say it.
    pixel_format : str, optional
        One of :data:`PIXEL_FORMATS`; ``rgb24`` when omitted. Planar ones are taken as BT.709, limited range.
    fps : float, optional
        Sets ``pts_seconds``; 30 when omitted.
    stream : binary file, optional
        Standard input when omitted.
    clock : Clock, optional
        Where ``due_seconds`` comes from: the moment each frame was read.

    Raises
    ------
    UsageError
        If the size is missing or the pixel format unknown.
    """

    def __init__(
        self,
        *,
        size_wh: tuple[int, int] | None = None,
        pixel_format: str | None = None,
        fps: float | None = None,
        stream: BinaryIO | None = None,
        clock: Clock | None = None,
    ):
        if size_wh is None or min(size_wh) < 1:
            raise UsageError("raw frames on standard input need their size: --size 1280x720")
        pixel_format = pixel_format or "rgb24"
        if pixel_format not in PIXEL_FORMATS:
            raise UsageError(
                f"pixel format: expected one of {', '.join(PIXEL_FORMATS)}, got {pixel_format!r}"
            )
        self._width, self._height = size_wh
        self._format = PIXEL_FORMATS[pixel_format]
        self._fps = fps
        self._given = stream
        self._clock = clock or MonotonicClock()
        self._stop = threading.Event()
        self._shapes = plane_shapes(self._format, self._width, self._height)
        self._next = 0
        self._stream: Any = None

    def open(self) -> SourceInfo:
        self._stream = self._given or standard_input()
        if self._stream.isatty():
            raise SourceError("standard input is a terminal; pipe raw frames into it")
        return self.info

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(
            self._width, self._height, fps=self._fps, has_alpha=self._format == "RGBA", name="standard input"
        )

    def read(self, out: Frame | None = None) -> Frame | None:
        if self._stream is None:
            raise SourceError("standard input: not open")
        if out is not None and out.format == self._format and self._shapes == [p.shape for p in out.planes]:
            frame = out
        else:
            planes = tuple(np.empty(shape, np.uint8) for shape in self._shapes)
            frame = Frame(planes, self._format, 0, 0.0, 0.0)
            if self._format == "RGBA":
                frame.alpha = np.empty(self._shapes[0][:2], np.uint8)
        wanted = got = 0
        for plane in frame.planes:
            wanted += plane.nbytes
            got += self._fill(plane.data.cast("B"))
            if got < wanted:
                break
        if got == 0 or self._stop.is_set():
            return None
        if got < wanted:
            size = sum(math.prod(shape) for shape in self._shapes)
            raise SourceError(
                f"standard input ended inside frame {self._next}: {got} of {size} bytes; "
                "are --size and the pixel format right?"
            )
        if frame.alpha is not None:
            np.copyto(frame.alpha, frame.planes[0][..., 3])
        frame.index = self._next
        frame.pts_seconds = self._next / (self._fps or _DEFAULT_FPS)
        frame.due_seconds = self._clock.now()
        self._next += 1
        return frame

    def _fill(self, target: memoryview) -> int:
        """Read until ``target`` is full, the input ends or the source is interrupted; bytes read."""
        done = 0
        while done < len(target) and not self._stop.is_set():
            if not self._is_readable():
                continue
            # Unbuffered where it can be: a buffered read would hide waiting bytes from select.
            raw = getattr(self._stream, "raw", self._stream)
            count = raw.readinto(target[done:])
            if not count:
                break
            done += count
        return done

    def _is_readable(self) -> bool:
        try:
            descriptor = self._stream.fileno()
        except (OSError, AttributeError):
            return True  # bytes in memory never block
        if os.name == "nt":
            return True
        return bool(select.select([descriptor], [], [], _POLL_SECONDS)[0])

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._stream = None


def plane_shapes(format: str, width: int, height: int) -> list[tuple[int, ...]]:
    """Array shapes of the planes of a frame, in the order of the bytes."""
    half = ((height + 1) // 2, (width + 1) // 2)
    if format == "I420":
        return [(height, width), half, half]
    if format == "NV12":
        return [(height, width), (*half, 2)]
    return [(height, width, 4 if format == "RGBA" else 3)]
