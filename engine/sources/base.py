"""What a source of frames owes the pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType

from ..frame import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source once it is open."""

    width: int
    """Columns of the first frame, after rotation; later frames may differ."""
    height: int
    """Rows of the first frame."""
    fps: float | None = None
    """Nominal frames a second; None where there is no rate (pictures) or it is unknown."""
    frames: int | None = None
    """How many frames will come, where the source knows: for progress only."""
    is_live: bool = False
    """Whether frames come at their own time (camera, URL, synthetic camera): default policy
    ``drop-oldest``."""
    has_alpha: bool = False
    """Whether frames carry an input alpha."""
    matrix: str = "bt709"
    """``bt601`` or ``bt709``: colour matrix of planar frames."""
    full_range: bool = False
    """Luma range of planar frames."""
    audio: str | None = None
    """Path of a file whose audio belongs to this stream, for a sink that keeps it; None without audio."""
    name: str = ""
    """For logs and messages: the URI without credentials."""


class Source(ABC):
    """Frames in, in order.

    Calls come in this order, all from one thread: ``open`` once, ``read`` any number of times, ``close``
    once, also after an error in ``open``. Only ``interrupt`` may come from another thread, or a signal
    handler: it makes a blocked ``read`` return (None or SourceError) within a second, which is how a stream
    is stopped.

    Who owns the pixels: the planes of a frame that ``read`` returned are left alone by the source until
    that very frame is passed back as ``out``. A source that fills its own buffers therefore writes into
    ``out`` when the shapes fit and makes new arrays when they do not (or when ``out`` is None); one whose
    decoder hands out memory of its own may ignore ``out`` and return views of it. So nothing is overwritten
    in flight, and nothing is allocated in steady state.

    Times: ``due_seconds`` is on ``clock`` (``MonotonicClock`` unless another was given to the constructor):
    when the frame was due at the camera for an open-loop source, else the moment it was read. ``index``
    counts the frames of the camera from 0: frames lost before ``read`` leave a gap.
    """

    @abstractmethod
    def open(self) -> SourceInfo:
        """Open and return ``info``. Raises SourceError."""

    @property
    @abstractmethod
    def info(self) -> SourceInfo:
        """What is known of this source; only once open."""

    @abstractmethod
    def read(self, out: Frame | None = None) -> Frame | None:
        """Return the next frame, or None at the end; blocks until one or the other.

        A live source that is down does not block for longer than about two frame times: it returns
        ``Frame.repeat(index, pts_seconds, due_seconds)``, which has ``repeated=True`` and no pixels, at the
        stream's rate. The pipeline then writes its last good output once more and goes on; ``out`` stays
        with the pipeline.

        Parameters
        ----------
        out : Frame, optional
            A frame this source returned earlier and may now overwrite. It may be of another size or format
            than what comes next: then it is left alone and a new frame is made.

        Raises
        ------
        SourceError
            If the source fails for good.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what ``open`` took; safe to call twice."""

    def interrupt(self) -> None:  # noqa: B027  a source whose read never waits for long needs none
        """Make a blocked ``read`` return soon, later ones at once. Sets a flag or an event, frees nothing."""

    def __enter__(self) -> Source:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
