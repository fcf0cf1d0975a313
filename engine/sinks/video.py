"""Frames out into a video file: VP9, ProRes 4444 and FFV1 with alpha, H.264 composited."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from ..errors import SinkError, UsageError
from ..frame import Frame
from ..originals import is_same
from .audio import AudioTrack
from .base import Sink, StreamInfo
from .encoders import H264_PRESETS, PIXEL_FORMATS, encoder_of
from .temporary import TemporaryFile, write_failure

_COLORSPACES = {"bt709": 1, "bt601": 6}  # AVColorSpace
_LIMITED, _FULL = 1, 2  # AVColorRange


class VideoSink(Sink):
    """A video file, one frame per written frame, each at its own time.

    Parameters
    ----------
    path : str
        ``.webm``, ``.mov`` and ``.mkv`` keep alpha, ``.mp4`` does not. The file appears when it is closed.
    threads : int
        Of the encoder.
    preset : str, optional
        Of H.264, ``ultrafast`` to ``slow``; ``veryfast`` when omitted.
    quality : int, optional
        Constant quality of VP9 and H.264: lower is better, 0..63 and 0..51.
    keep_audio : bool
        Whether the sound of a file source goes along.

    Raises
    ------
    UsageError
        If the suffix or an option is unknown.
    """

    def __init__(
        self,
        path: str,
        *,
        threads: int = 2,
        preset: str | None = None,
        quality: int | None = None,
        keep_audio: bool = True,
    ):
        self._path = path
        self._encoder = encoder_of(path)
        self.accepts = self._encoder.accepts
        self._options = dict(self._encoder.options)
        if preset is not None:
            if self._encoder.codec != "libx264" or preset not in H264_PRESETS:
                raise UsageError(
                    f"preset: {path} takes none, or one of {', '.join(H264_PRESETS)}; got {preset!r}"
                )
            self._options["preset"] = preset
        if quality is not None:
            if "crf" not in self._options:
                raise UsageError(f"quality: {os.path.splitext(path)[1]} has a fixed quality")
            if not 0 <= quality <= self._encoder.worst_quality:
                raise UsageError(
                    f"quality: expected 0..{self._encoder.worst_quality} for {os.path.splitext(path)[1]}, "
                    f"lower is better; got {quality}"
                )
            self._options["crf"] = str(quality)
        self._threads = threads
        self._keep_audio = keep_audio
        self._file: Any = None  # TemporaryFile
        self._container: Any = None  # av.container.OutputContainer
        self._stream: Any = None  # av.VideoStream
        self._audio: AudioTrack | None = None
        self._failure: SinkError | None = None
        self._reader: BinaryIO | None = None

    def would_replace(self, path: str) -> bool:
        return is_same(path, self._path)

    def open(self, stream: StreamInfo) -> None:
        import av

        if stream.format not in self.accepts:
            raise UsageError(f"{self._path}: takes {', '.join(self.accepts)} frames, got {stream.format}")
        pixel_format = self._encoder.pixel_formats[stream.format]
        if self._encoder.needs_even_size and (stream.width % 2 or stream.height % 2):
            raise SinkError(
                f"{self._path}: this codec needs even width and height, got {stream.width}x{stream.height}; "
                "write .webm or .mkv, which take any"
            )
        self._file = TemporaryFile(self._path)
        try:
            self._start(av, stream, pixel_format)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._fail(error) from error

    def _start(self, av: Any, stream: StreamInfo, pixel_format: str) -> None:
        encoder = self._encoder
        self._container = av.open(
            self._file,
            "w",
            format=encoder.container,
            container_options=encoder.container_options,
            buffer_size=1 << 18,
            io_open=self._reopen,
        )
        rate = Fraction(stream.fps or 30).limit_denominator(1001)
        self._stream = self._container.add_stream(encoder.codec, rate=rate, options=self._options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = stream.width, stream.height, pixel_format
        self._time_base = Fraction(1, encoder.ticks_per_second)
        context.time_base = self._stream.time_base = self._time_base
        context.thread_count = self._threads
        self._colorspace = _COLORSPACES[stream.matrix]
        self._range = _FULL if stream.full_range else _LIMITED
        if pixel_format.startswith("yuv"):
            context.colorspace, context.color_range = self._colorspace, self._range
        self._format, self._pixel_format = stream.format, pixel_format
        self._picture = av.VideoFrame(stream.width, stream.height, PIXEL_FORMATS[stream.format])
        self._last_ticks = -1
        self._first_pts: float | None = None
        self._end_seconds = 0.0
        self._period = 1 / float(rate)
        if stream.audio and self._keep_audio:
            self._audio = AudioTrack.open(stream.audio, self._container)

    def _reopen(self, url: str, flags: int, options: dict[str, str]) -> BinaryIO:
        """What FFmpeg reads from when it moves an MP4's index to the front of the finished file."""
        self._file.flush()
        self._reader = open(self._file.temporary_path, "rb")  # noqa: SIM115  closed in close and _release
        return self._reader

    def write(self, frame: Frame) -> None:
        import av

        if self._container is None:
            raise self._failure or SinkError(f"{self._path}: not open")
        picture = self._picture
        try:
            # The encoder may still hold the last picture (frame threads): then this gives us fresh memory.
            picture.make_writable()
            for plane, pixels in zip(picture.planes, frame.planes, strict=True):
                _fill(plane, pixels)
            ticks = round(self._seconds_of(frame) * self._encoder.ticks_per_second)
            # Containers want rising times; a camera that stamps two frames alike still gives two frames.
            self._last_ticks = ticks = max(ticks, self._last_ticks + 1)
            sent = self._converted(picture)
            sent.pts, sent.time_base = ticks, self._time_base
            self._mux(self._stream.encode(sent))
            self._end_seconds = ticks / self._encoder.ticks_per_second + self._period
            if self._audio is not None:
                self._audio.mux_until(self._end_seconds)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._fail(error) from error

    def _seconds_of(self, frame: Frame) -> float:
        # With sound, times are the file's own; without, the stream starts with its first frame.
        if self._first_pts is None:
            self._first_pts = 0.0 if self._audio is not None else frame.pts_seconds
        return max(0.0, frame.pts_seconds - self._first_pts)

    def _converted(self, picture: Any) -> Any:
        """``picture`` in the encoder's pixel format, saying its colour matrix and range."""
        is_yuv = self._pixel_format.startswith("yuv")
        if PIXEL_FORMATS[self._format] != self._pixel_format:
            if not is_yuv:
                return picture.reformat(format=self._pixel_format)
            from av.video.reformatter import ColorRange, Colorspace

            picture = picture.reformat(
                format=self._pixel_format,
                dst_colorspace=Colorspace.ITU709 if self._colorspace == 1 else Colorspace.ITU601,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.JPEG if self._range == _FULL else ColorRange.MPEG,
            )
        if is_yuv:
            # ProRes writes what its frames say, not what the stream does.
            picture.colorspace, picture.color_range = self._colorspace, self._range
        return picture

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._container.mux(packet)
        if self._file.error is not None:
            raise self._file.error

    def close(self) -> None:
        import av

        if self._failure is not None:
            raise self._failure
        if self._container is None:
            return
        try:
            self._mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.finish(self._end_seconds)
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._fail(error) from error
        self._container = None
        self._close_reader()
        self._file.commit()

    def abort(self) -> None:
        self._release()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _release(self) -> None:
        import av

        if self._audio is not None:
            self._audio.close()
        container, self._container = self._container, None
        if self._file is not None:
            self._file.discard()
        if container is not None:
            # Its file is gone, so it cannot write its end: that is what aborting means.
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                container.close()
        self._close_reader()

    def _fail(self, error: Exception) -> SinkError:
        """Give up the file and return what to raise; a later ``close`` raises the same."""
        cause = self._file.error if self._file is not None and self._file.error is not None else error
        self._release()
        if isinstance(cause, OSError):
            self._failure = SinkError(write_failure(self._path, cause))
        else:
            self._failure = SinkError(f"{self._path}: cannot be encoded: {cause}")
        return self._failure


def _fill(plane: Any, pixels: np.ndarray) -> None:
    rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(
        plane.height, plane.line_size
    )
    target = rows[:, : pixels.shape[1] * (pixels.shape[2] if pixels.ndim == 3 else 1)]
    np.copyto(target.reshape(pixels.shape), pixels)
