"""Which codec a video file's suffix means, and how it is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ..errors import UsageError

# Frame format -> FFmpeg pixel format of the same memory.
PIXEL_FORMATS = {
    "RGBA": "rgba",
    "BGRA": "bgra",
    "RGB": "rgb24",
    "BGR": "bgr24",
    "ALPHA": "gray",
    "I420": "yuv420p",
    "YUVA420": "yuva420p",
}
H264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow")


@dataclass(frozen=True)
class Encoder:
    """A codec in a container."""

    container: str
    """FFmpeg's name of the container format."""
    codec: str
    """FFmpeg's name of the encoder."""
    accepts: tuple[str, ...]
    """Frame formats it takes, the preferred first."""
    pixel_formats: dict[str, str]
    """Frame format -> pixel format given to the encoder."""
    needs_even_size: bool = False
    """Whether it refuses an odd width or height."""
    ticks_per_second: int = 90000
    """Resolution of times in this container."""
    options: dict[str, str] = field(default_factory=dict)
    """Of the encoder."""
    worst_quality: int = 0
    """Largest constant rate factor, where ``options`` has one."""
    container_options: dict[str, str] = field(default_factory=dict)
    """Of the muxer."""


_VP9 = Encoder(
    "webm",
    "libvpx-vp9",
    ("YUVA420", "I420", "RGBA", "BGRA", "RGB", "BGR", "ALPHA"),
    {
        "YUVA420": "yuva420p",
        "RGBA": "yuva420p",
        "BGRA": "yuva420p",
        **dict.fromkeys(("I420", "RGB", "BGR", "ALPHA"), "yuv420p"),
    },
    ticks_per_second=1000,
    # Realtime, no lookahead and no alternate reference: with them the encoder holds frames back, and alpha
    # and picture layers can fall out of step.
    options={
        "deadline": "realtime",
        "cpu-used": "8",
        "row-mt": "1",
        "tile-columns": "2",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "crf": "28",
        "b": "0",
    },
    worst_quality=63,
)
_PRORES = Encoder(
    "mov",
    "prores_aw",  # a fifth of the time of prores_ks, the same size and error within 0.02 of 255
    ("RGBA", "BGRA", "RGB", "BGR"),
    {**dict.fromkeys(("RGBA", "BGRA"), "yuva444p10le"), **dict.fromkeys(("RGB", "BGR"), "yuv422p10le")},
    needs_even_size=True,
    options={"vendor": "apl0"},
)
_FFV1 = Encoder(
    "matroska",
    "ffv1",
    ("BGRA", "RGBA", "BGR", "RGB", "ALPHA"),
    {**dict.fromkeys(("BGRA", "RGBA"), "bgra"), **dict.fromkeys(("BGR", "RGB"), "bgr0"), "ALPHA": "gray"},
    ticks_per_second=1000,
    options={"level": "3", "slices": "4", "slicecrc": "1", "coder": "rice", "context": "0", "g": "1"},
)
_H264 = Encoder(
    "mp4",
    "libx264",
    ("I420", "BGR", "RGB", "ALPHA"),
    dict.fromkeys(("I420", "BGR", "RGB", "ALPHA"), "yuv420p"),
    needs_even_size=True,
    options={"preset": "veryfast", "crf": "20"},
    worst_quality=51,
    container_options={"movflags": "+faststart"},
)
ENCODERS = {".webm": _VP9, ".mov": _PRORES, ".mkv": _FFV1, ".mp4": _H264, ".m4v": _H264}
"""File suffix -> encoder. WebM, MOV and MKV keep alpha; MP4 has none."""


def encoder_of(path: str) -> Encoder:
    """The encoder that a file name asks for; UsageError for an unknown suffix."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in ENCODERS:
        raise UsageError(
            f"{path}: no video format for {suffix or 'a name without suffix'}; with alpha there are .webm "
            "(VP9), .mov (ProRes 4444) and .mkv (FFV1, lossless), composited .mp4 (H.264)"
        )
    return ENCODERS[suffix]
