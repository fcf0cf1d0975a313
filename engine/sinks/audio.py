"""The sound of a file source, carried into the video that is written: copied, or re-encoded if it must be."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

_log = logging.getLogger(__name__)
_OPUS_RATE = 48000
_OPUS_CONTAINERS = ("webm",)


class AudioTrack:
    """One audio stream on its way from a source file into an open output container.

    Packets go in alongside the picture, so that a stream stopped early has sound up to its last frame and no
    more. Sound that turns out damaged ends there, with a warning: the picture goes on.
    """

    def __init__(self, path: str, source: av.container.InputContainer, sink: av.container.OutputContainer):
        self._path, self._source, self._sink = path, source, sink
        self._input = source.streams.audio[0]
        self._start = Fraction(source.start_time or 0, 1_000_000)
        name = self._input.codec_context.name
        # FFmpeg does put PCM into MP4, in a way that few players know.
        plays = not (sink.format.name == "mp4" and name.startswith("pcm_"))
        self.is_copied = plays and name in sink.supported_codecs
        if self.is_copied:
            self._output = sink.add_stream_from_template(self._input)
        else:
            opus = sink.format.name in _OPUS_CONTAINERS
            rate = _OPUS_RATE if opus else self._input.codec_context.sample_rate
            self._output = sink.add_stream("libopus" if opus else "aac", rate=rate)
            self._output.codec_context.layout = (
                "mono" if self._input.codec_context.channels == 1 else "stereo"
            )
            _log.info(
                "%s: %s cannot hold %s sound; it becomes %s", path, sink.format.name, name, self._output.name
            )
        self._packets = source.demux(self._input)
        self._waiting: Any = None
        self._ended = False

    @classmethod
    def open(cls, path: str, sink: av.container.OutputContainer) -> AudioTrack | None:
        """Add the first audio stream of ``path`` to ``sink``; None where it has none that can be read."""
        import av

        try:
            source = av.open(path, metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("%s: its sound cannot be read and is left out: %s", path, error)
            return None
        if not source.streams.audio or source.streams.audio[0].codec_context is None:
            source.close()
            return None
        return cls(path, source, sink)

    def mux_until(self, seconds: float) -> None:
        """Write all sound that begins before ``seconds`` from the start of the source."""
        import av

        while not self._ended:
            packet, self._waiting = self._waiting, None
            if packet is None:
                try:
                    packet = next(self._packets, None)
                except (av.error.FFmpegError, OSError) as error:
                    _log.warning("%s: its sound is damaged and ends early: %s", self._path, error)
                    packet = None
            if packet is None or (packet.size == 0 and packet.dts is None):
                self._ended = True
                return
            time = packet.dts if packet.dts is not None else packet.pts
            if time is not None and float(time * packet.time_base - self._start) >= seconds:
                self._waiting = packet
                return
            self._write(packet)

    def _write(self, packet: Any) -> None:
        import av

        if self.is_copied:
            offset = round(self._start / packet.time_base)
            if packet.pts is not None:
                packet.pts -= offset
            if packet.dts is not None:
                packet.dts -= offset
            packet.stream = self._output
            self._sink.mux(packet)
            return
        try:
            frames = self._input.codec_context.decode(packet)
        except av.error.FFmpegError:
            return  # one damaged packet is a click, not the end
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= round(self._start / (frame.time_base or packet.time_base))
            self._sink.mux(self._output.encode(frame))

    def finish(self, seconds: float) -> None:
        """Write the sound up to ``seconds``, the end of the picture, and close the source."""
        self.mux_until(seconds)
        if not self.is_copied:
            self._sink.mux(self._output.encode(None))
        self.close()

    def close(self) -> None:
        """Release the source; safe to call twice."""
        self._ended = True
        self._source.close()
