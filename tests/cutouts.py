"""Cut-outs of every format, and a way to write some of them into a sink."""

import media
import numpy as np

from livecut.engine.frame import Frame
from livecut.engine.sinks import open_sink
from livecut.engine.sinks.base import StreamInfo

SIZE_WH = (96, 64)


def planes_of(format, index, size_wh=SIZE_WH):
    """One cut-out: a disc of opacity that moves over a gradient."""
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - width / 3 - 2 * index, y - height / 2)
    alpha = (np.clip((height / 3 - distance) / 4, 0, 1) * 255).astype(np.uint8)
    rgb = media.picture(index, size_wh)
    half = ((height + 1) // 2, (width + 1) // 2)
    luma = (40 + x).astype(np.uint8)
    chroma = [np.full(half, 100 + index, np.uint8), np.full(half, 160, np.uint8)]
    return {
        "RGBA": lambda: (np.dstack([rgb, alpha]),),
        "BGRA": lambda: (np.dstack([rgb[..., ::-1], alpha]),),
        "RGB": lambda: (rgb,),
        "BGR": lambda: (np.ascontiguousarray(rgb[..., ::-1]),),
        "ALPHA": lambda: (alpha,),
        "I420": lambda: (luma, *chroma),
        "YUVA420": lambda: (luma, *chroma, alpha),
    }[format]()


def frame_of(format, index, *, pts_seconds=None, size_wh=SIZE_WH):
    pts = index / 25 if pts_seconds is None else pts_seconds
    return Frame(planes_of(format, index, size_wh), format, index, pts, 0.0)


def write(path, format, *, frames=6, times=None, size_wh=SIZE_WH, audio=None, **options):
    sink = open_sink(path, **options)
    assert format in sink.accepts
    sink.open(StreamInfo(*size_wh, format, fps=25, audio=audio))
    for k, time in enumerate(times or [k / 25 for k in range(frames)]):
        sink.write(frame_of(format, k, pts_seconds=time, size_wh=size_wh))
    sink.close()
    return path
