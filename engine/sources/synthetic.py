"""An open-loop camera made of arithmetic: it never waits for whoever reads it."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from ..clock import Clock, MonotonicClock
from ..errors import SourceError, UsageError
from ..frame import Frame
from .base import Source, SourceInfo

if TYPE_CHECKING:
    from .scene import Scene

DRIVER_BUFFERS = 4
"""How many due frames the camera holds for a late reader before the oldest is lost, as a V4L2 driver does."""
_OPTIONS = ("seconds", "seed", "pace", "format", "kind")
_WAY_OUT = "write synthetic://WIDTHxHEIGHT@FPS?seconds=N&seed=S&pace=0|1&format=bgr|rgb|i420|nv12&kind=bottle|cup|box"


@dataclass(slots=True)
class _PaintedFrame(Frame):
    """A frame of this source: remembers which index its buffers show, to repaint only what moved."""

    painted: int | None = None
    owner: object = None


class SyntheticSource(Source):
    """A moving product over a shop-like background, each frame's index coded in its pixels.

    Frame *k* is due at ``start + k / fps`` whatever the reader does. ``read`` waits for the next frame to be
    due; a reader that is more than :data:`DRIVER_BUFFERS` frames late finds the oldest lost, and the gap in
    ``Frame.index`` says so. With ``pace=0`` every frame comes at once, in order, and the source is not live.

    Parameters
    ----------
    uri : str
        ``synthetic://WxH@FPS?seconds=N&seed=S&pace=0|1&format=bgr|rgb|i420|nv12&kind=bottle|cup|box``.
        Without ``seconds`` it never ends.
    clock : Clock, optional
        Where ``due_seconds`` comes from.

    Raises
    ------
    UsageError
        If the URI does not make sense.
    """

    def __init__(self, uri: str, *, clock: Clock | None = None):
        parts = urlsplit(uri)
        match = re.fullmatch(r"(\d+)x(\d+)(?:@(\d+(?:\.\d+)?))?", parts.netloc)
        if not match or parts.path.strip("/"):
            raise UsageError(f"{uri}: not a synthetic camera; {_WAY_OUT}")
        self._width, self._height = int(match[1]), int(match[2])
        self._fps = float(match[3] or 30)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise UsageError(f"{uri}: unknown option {unknown[0]!r}; {_WAY_OUT}")
        try:
            seconds = float(options.get("seconds", "inf"))
            self._seed = int(options.get("seed", "0"))
        except ValueError as error:
            raise UsageError(f"{uri}: {error}; {_WAY_OUT}") from None
        if self._fps <= 0 or not seconds > 0 or self._seed < 0 or options.get("pace", "1") not in ("0", "1"):
            raise UsageError(f"{uri}: a number is out of range; {_WAY_OUT}")
        self._frames = None if math.isinf(seconds) else max(1, round(seconds * self._fps))
        self._paced = options.get("pace", "1") == "1"
        self._format = options.get("format", "bgr").upper()
        self._kind = options.get("kind")
        self._uri = uri
        self._clock = clock or MonotonicClock()
        self._stop = threading.Event()
        self._scene: Scene | None = None
        self._start = 0.0
        self._started = False
        self._next = 0

    def open(self) -> SourceInfo:
        from .product import KINDS
        from .scene import Scene

        if self._kind is not None and self._kind not in KINDS:
            raise UsageError(f"{self._uri}: no product {self._kind!r}; choose {', '.join(KINDS)}")
        try:
            self._scene = Scene(self._width, self._height, self._fps, self._seed, self._format, self._kind)
        except ValueError as error:
            raise UsageError(f"{self._uri}: {error}") from None
        self._next = 0
        self._started = False
        return self.info

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(
            self._width, self._height, fps=self._fps, frames=self._frames, is_live=self._paced, name=self._uri
        )

    def read(self, out: Frame | None = None) -> Frame | None:
        if self._scene is None:
            raise SourceError(f"{self._uri}: not open")
        if self._stop.is_set():
            return None
        now = self._clock.now()
        if not self._started:  # the camera is switched on by the first read, when the pipeline is ready
            self._start, self._started = now, True
        index, due = self._next, now
        if self._paced:
            newest = math.floor((now - self._start) * self._fps)
            index = max(index, newest - (DRIVER_BUFFERS - 1))
        if self._frames is not None and index >= self._frames:
            return None
        if isinstance(out, _PaintedFrame) and out.owner is self._scene:
            frame = out
        else:
            planes = self._scene.new_planes()
            frame = _PaintedFrame(planes, self._format, 0, 0.0, 0.0, owner=self._scene)
        self._scene.paint(frame.planes, index, frame.painted)
        frame.painted = index
        if self._paced:
            # Painted before it is due, as light falls before the shutter closes: reading costs no latency.
            due = self._start + index / self._fps
            if not self._clock.wait_until(due, self._stop):
                return None
        frame.index, frame.pts_seconds, frame.due_seconds = index, index / self._fps, due
        self._next = index + 1
        return frame

    def alpha_of(self, index: int) -> np.ndarray:
        """True alpha of frame ``index``, uint8 ``(H, W)``; the product's shadow counts as background."""
        if self._scene is None:
            raise SourceError(f"{self._uri}: not open")
        return self._scene.alpha_of(index)

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """Switch off; ``alpha_of`` goes on answering."""
        self._stop.set()
