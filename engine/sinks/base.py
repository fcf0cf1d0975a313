"""What a sink of cut-outs owes the pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..frame import Frame

STRAIGHT_FORMATS = ("RGBA", "BGRA", "YUVA420")
COMPOSITED_FORMATS = ("RGB", "BGR", "I420")


@dataclass(frozen=True)
class StreamInfo:
    """What the pipeline tells a sink before the first frame."""

    width: int
    """Columns of every frame, as long as ``fixed_size`` holds."""
    height: int
    """Rows of every frame."""
    format: str
    """One of the sink's ``accepts``: the format of every frame it will be given."""
    fps: float | None = None
    """Nominal frames a second; None where there is none. ``Frame.pts_seconds`` is what counts."""
    frames: int | None = None
    """How many frames to expect, where known."""
    is_live: bool = False
    """Whether frames come in their own time."""
    matrix: str = "bt709"
    """Colour matrix of planar formats."""
    full_range: bool = False
    """Luma range of planar formats."""
    audio: str | None = None
    """Path of a file whose audio belongs to this stream; None without."""
    source: str = ""
    """Name of the source, for logs and file names."""


class Sink(ABC):
    """Cut-outs out, in order.

    Calls come in this order, from one thread at a time: ``open`` once, ``write`` any number of times, then
    exactly one of ``close`` and ``abort``; if ``close`` raises, ``abort`` follows.
    """

    accepts: tuple[str, ...] = ("RGBA", "BGRA", "RGB", "BGR", "ALPHA", "I420", "YUVA420")
    """Formats ``write`` takes, the preferred first. May be set on the instance (a codec decides). Without a
    background the pipeline takes the first straight one (RGBA BGRA YUVA420), with one the first composited
    (RGB BGR I420), and for a mask ALPHA; where there is none of the kind it says so before the stream
    starts."""
    fixed_size: bool = True
    """Whether every frame must have the size of ``StreamInfo``: the pipeline then fits a camera that comes
    back with another size into it. False where each frame stands alone (pictures, measuring)."""

    def would_replace(self, path: str) -> bool:
        """Whether this sink writes to the file ``path``, or may: asked before ``open``, to keep originals."""
        return False

    @abstractmethod
    def open(self, stream: StreamInfo) -> None:
        """Make ready for frames. Files are begun under a temporary name beside the final one. Raises
        SinkError."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take one cut-out: ``frame.format`` is ``StreamInfo.format``, alpha is straight.

        ``frame`` and its planes belong to the pipeline and are overwritten after this returns: copy what is
        kept. Times are those of the source; ``frame.index`` has gaps where frames were dropped. Raises
        SinkError.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish: what was written is complete and playable, and moves to its final name. Raises
        SinkError."""

    @abstractmethod
    def abort(self) -> None:
        """Give up: remove what is unfinished, leave nothing under a final name. Never raises; safe to call
        twice."""
