"""Frames out as raw bytes on standard output, as ``ffmpeg -f rawvideo -i -`` reads them."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from ..errors import SinkError, UsageError
from ..frame import Frame
from ..standard import standard_output
from .base import Sink, StreamInfo
from .temporary import write_failure

PIXEL_FORMATS = {
    "rgba": "RGBA",
    "rgb24": "RGB",
    "bgra": "BGRA",
    "bgr24": "BGR",
    "gray": "ALPHA",
    "yuv420p": "I420",
    "yuva420p": "YUVA420",
}


class RawSink(Sink):
    """Frame after frame of bytes, without any header.

    Parameters
    ----------
    pixel_format : str, optional
        One of :data:`PIXEL_FORMATS`. When omitted, ``rgba``, or with a background ``rgb24``, or for a mask
        ``gray``.
    stream : binary file, optional
        Standard output when omitted.

    Raises
    ------
    UsageError
        If the pixel format is unknown.
    """

    def __init__(self, *, pixel_format: str | None = None, stream: BinaryIO | None = None):
        if pixel_format is not None and pixel_format not in PIXEL_FORMATS:
            raise UsageError(
                f"pixel format: expected one of {', '.join(PIXEL_FORMATS)}, got {pixel_format!r}"
            )
        self.accepts = (PIXEL_FORMATS[pixel_format],) if pixel_format else ("RGBA", "RGB", "ALPHA")
        self._given = stream
        self._stream: Any = None

    def open(self, stream: StreamInfo) -> None:
        self._stream = self._given or standard_output()
        if self._stream.isatty():
            raise SinkError("standard output is a terminal; pipe the frames somewhere, or name a file")

    def write(self, frame: Frame) -> None:
        try:
            for plane in frame.planes:
                self._stream.write(np.ascontiguousarray(plane))
        except BrokenPipeError as error:
            raise SinkError("standard output: whoever was reading has closed it") from error
        except OSError as error:
            raise SinkError(write_failure("standard output", error)) from error

    def close(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except BrokenPipeError as error:
            raise SinkError("standard output: whoever was reading has closed it") from error
        except OSError as error:
            raise SinkError(write_failure("standard output", error)) from error

    def abort(self) -> None:
        """What went through a pipe cannot be taken back."""
