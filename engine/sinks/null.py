"""Frames out into nothing: counts, and hashes on request."""

from __future__ import annotations

import hashlib

import numpy as np

from ..errors import UsageError
from ..frame import Frame
from .base import Sink, StreamInfo


class NullSink(Sink):
    """Takes every frame and keeps none.

    Parameters
    ----------
    uri : str
        ``null://``; with ``?hash=1`` the pixels of all frames go into ``digest``; ``?format=yuva420`` asks
        the pipeline for that output format.
    """

    fixed_size = False

    def __init__(self, uri: str = "null://"):
        from urllib.parse import parse_qsl, urlsplit

        options = dict(parse_qsl(urlsplit(uri).query))
        self._hash = hashlib.sha256() if options.pop("hash", "0") == "1" else None
        wanted = options.pop("format", "").upper()
        if options or (wanted and wanted not in Sink.accepts):
            raise UsageError(f"{uri}: write null://?hash=1&format=rgba|bgra|rgb|bgr|alpha|i420|yuva420")
        if wanted:
            self.accepts = (wanted,)
        self.frames = 0
        """Frames written so far."""
        self.last_index: int | None = None
        """``Frame.index`` of the last one."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of all pixels so far, in order, in hexadecimal; None unless asked for."""
        return self._hash.hexdigest() if self._hash else None

    def open(self, stream: StreamInfo) -> None:
        self.frames, self.last_index = 0, None

    def write(self, frame: Frame) -> None:
        self.frames += 1
        self.last_index = frame.index
        if self._hash:
            for plane in frame.planes:
                self._hash.update(np.ascontiguousarray(plane).data)

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""
