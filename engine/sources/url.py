"""Frames out of a network stream: RTSP, HTTP (MPEG-TS, MJPEG, HLS), UDP, SRT, RTMP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..clock import Clock
from ..errors import SourceError
from ..frame import Frame
from .decoded import FrameConverter
from .live import Feed, LiveSource

OPEN_SECONDS, READ_SECONDS = 10.0, 5.0
"""A server that says nothing for so long while connecting, or while streaming, is taken as gone."""
_ENDLESS_FORMATS = ("mpegts", "mpjpeg", "mjpeg", "rtsp", "rtp", "sdp", "flv", "live_flv", "h264", "hevc")
_PATIENCE_WITH_DAMAGED_PACKETS = 100
# Not ``fflags=nobuffer``: it throws away what was read while probing, which of a short file is all of it.
_COMMON = {"analyzeduration": "1000000", "probesize": "1000000"}
_BY_SCHEME = {
    "rtsp": {"rtsp_transport": "tcp", "max_delay": "500000"},
    "rtsps": {"rtsp_transport": "tcp", "max_delay": "500000"},
    "udp": {"fifo_size": "262144", "overrun_nonfatal": "1"},
    "srt": {"latency": "200000"},
}


class UrlSource(LiveSource):
    """A network stream, opened again when it dies; a file on a web server gives every frame, then ends.

    Parameters
    ----------
    url : str
        With a scheme FFmpeg knows. Credentials in it are kept out of messages.
    clock : Clock, optional
        Where arrival times come from.
    """

    def __init__(self, url: str, *, clock: Clock | None = None):
        name = without_credentials(url)
        super().__init__(name, lambda: _UrlFeed(url, name), clock=clock)


def without_credentials(url: str) -> str:
    """``url`` without user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class PyAVFeed(Feed):
    """Pictures of the first video stream of something FFmpeg can open."""

    def __init__(self, address: str, name: str, *, format: str | None = None, options: dict[str, str]):
        import av

        self._name = name
        self._container: Any = None
        try:
            self._container = av.open(
                address,
                format=format,
                options=options,
                timeout=(OPEN_SECONDS, READ_SECONDS),
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{name}: cannot be opened: {reason_of(error)}") from error
        if not self._container.streams.video:
            self.close()
            raise SourceError(f"{name}: has no picture")
        self._stream = self._container.streams.video[0]
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate and 1 <= rate <= 240 else None
        context = self._stream.codec_context
        # Frame threads would hold back as many pictures as there are threads.
        context.thread_type, context.thread_count = "SLICE", 2
        self._converter = FrameConverter(subsample=True)

    def pictures(self) -> Iterator[tuple[Any, float | None]]:
        import av

        damaged = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise SourceError(f"{self._name}: lost: {reason_of(error)}") from error
            if packet is None:
                return
            try:
                pictures = self._stream.codec_context.decode(packet)
            except av.error.FFmpegError as error:
                damaged += 1  # a stream is often joined between key frames
                if damaged > _PATIENCE_WITH_DAMAGED_PACKETS:
                    raise SourceError(f"{self._name}: cannot be decoded: {reason_of(error)}") from error
                continue
            if pictures:
                damaged = 0
            for picture in pictures:
                yield picture, picture.time

    def frame(self, picture: Any, index: int, pts_seconds: float, due_seconds: float) -> Frame:
        return self._converter.frame(picture, index, pts_seconds, due_seconds)

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


class _UrlFeed(PyAVFeed):
    def __init__(self, url: str, name: str):
        scheme = urlsplit(url).scheme.lower()
        super().__init__(url, name, options={**_COMMON, **_BY_SCHEME.get(scheme, {})})
        formats = self._container.format.name.split(",")
        is_file = self._container.duration is not None and not any(f in _ENDLESS_FORMATS for f in formats)
        self.is_finite = scheme in ("http", "https") and is_file


def reason_of(error: Exception) -> str:
    """What FFmpeg's error means, in words."""
    kind = type(error).__name__
    if kind == "ExitError":
        return f"no answer within {OPEN_SECONDS:.0f} s"
    if kind == "InvalidDataError":
        return "it sends no video FFmpeg knows"
    return getattr(error, "strerror", None) or str(error)
