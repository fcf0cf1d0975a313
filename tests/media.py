"""Small clips and sounds, made on the spot by the tests that need them."""

from fractions import Fraction

import av
import numpy as np
import pytest


def picture(index, size_wh=(64, 48)):
    """A smooth RGB picture with a bright square that moves with ``index``."""
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.dstack([x * 255 // width, y * 255 // height, np.full_like(x, 60)]).astype(np.uint8)
    left = (4 * index) % max(1, width - 12)
    rgb[height // 2 : height // 2 + 10, left : left + 12] = (250, 240, 230)
    return rgb


def write_clip(
    path,
    *,
    frames=12,
    size_wh=(64, 48),
    fps=25,
    codec="libx264",
    pixel_format="yuv420p",
    times=None,
    rotation=0,
    audio=None,
    audio_start=0.0,
    alpha=None,
    options=None,
    container_options=None,
    colorspace=None,
    color_range=None,
    draw=picture,
):
    """Write a video with PyAV.

    ``times`` are the seconds of each frame; ``rotation`` degrees counter-clockwise into the container;
    ``audio`` the codec of a tone as long as the picture; ``alpha`` a function of the index giving uint8
    ``(H, W)``.
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 1000)
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if color_range is not None:
            stream.codec_context.color_range = color_range
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip(f"PyAV {av.__version__} cannot write a rotation")
            stream.set_display_rotation(rotation)
        sound = container.add_stream(audio, rate=48000) if audio else None
        if sound is not None:
            sound.codec_context.layout = "mono"
        times = times or [k / fps for k in range(frames)]
        for index, time in enumerate(times):
            rgb = draw(index, size_wh)
            if alpha is None:
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            else:
                frame = av.VideoFrame.from_ndarray(np.dstack([rgb, alpha(index)]), format="rgba")
            frame = frame.reformat(
                format=pixel_format, dst_colorspace=colorspace, dst_color_range=color_range
            )
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            seconds = times[-1] + 1 / fps
            for frame in tone(seconds, start=audio_start):
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def tone(seconds, *, start=0.0, rate=48000, hertz=440):
    """Audio frames of a sine."""
    chunk = 1024
    for first in range(0, int(seconds * rate), chunk):
        time = (first + np.arange(chunk)) / rate
        samples = (0.3 * 32767 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = first + round(start * rate)
        yield frame


def read_all(source):
    """Open ``source``, read it to its end, close it; its info and all frames."""
    frames = []
    with source:
        info = source.info
        while (frame := source.read()) is not None:
            frames.append(frame)
    return info, frames


def decode(path, *, format="rgba", decoder=None):
    """All pictures of a file as arrays, and their times in seconds; ``decoder`` by FFmpeg's name."""
    arrays, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if decoder is not None:
            context = av.CodecContext.create(decoder, "r")
            context.extradata = stream.codec_context.extradata
        for packet in container.demux(stream):
            for frame in context.decode(packet if packet.size else None):
                if frame.format.name.startswith("yuv") and not format.startswith("yuv"):
                    # Both sides in full: PyAV before 17 passes over a matrix that is the picture's own.
                    matrix = {"src_colorspace": frame.colorspace, "dst_colorspace": frame.colorspace}
                    frame = frame.reformat(format=format, dst_color_range=2, **matrix)
                arrays.append(frame.to_ndarray(format=format))
                times.append(float(frame.pts * stream.time_base))
    return arrays, times
