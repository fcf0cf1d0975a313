"""Frames out onto the screen."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

import numpy as np

from ..errors import SinkError
from ..frame import Frame
from .base import Sink, StreamInfo

_TITLE = "livecut"
_ESCAPE, _Q = 27, ord("q")
_CHECKER_PX = 16


class WindowSink(Sink):
    """A window that shows each frame, straight ones over checkers; Escape, q or closing it ends the stream.

    Raises
    ------
    SinkError
        From ``open``, where there is no display or OpenCV was built without windows; from ``write``, when the
        window was closed and there is no ``on_closed`` to tell.
    """

    accepts = ("BGR", "BGRA")
    fixed_size = False
    on_closed: Callable[[], None] | None = None
    """Called once when somebody closes the window, to end the stream as one that was stopped."""

    def open(self, stream: StreamInfo) -> None:
        import cv2

        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise SinkError(
                "window: there is no display (DISPLAY is not set); write to a file, or to null://"
            )
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(_TITLE, min(stream.width, 1280), min(stream.height, 720))
        except cv2.error as error:
            raise SinkError(
                "window: this OpenCV cannot open one; install opencv-python, not -headless"
            ) from error
        self._checkers: np.ndarray | None = None
        self._is_closed = False

    def write(self, frame: Frame) -> None:
        import cv2

        if self._is_closed:
            return  # frames that were on their way when it was closed
        picture = frame.image if frame.format == "BGR" else self._over_checkers(frame.image)
        cv2.imshow(_TITLE, picture)
        key = cv2.waitKey(1) & 0xFF
        if key in (_ESCAPE, _Q) or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            if self.on_closed is None:
                raise SinkError("window: closed")
            self._is_closed = True
            self.on_closed()

    def _over_checkers(self, bgra: np.ndarray) -> np.ndarray:
        import cv2

        if self._checkers is None or self._checkers.shape[:2] != bgra.shape[:2]:
            self._checkers = _checkers(*bgra.shape[:2])
        opacity = bgra[..., 3].astype(np.float32) / 255
        return cv2.blendLinear(np.ascontiguousarray(bgra[..., :3]), self._checkers, opacity, 1 - opacity)

    def close(self) -> None:
        import cv2

        # Somebody may have closed it.
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(_TITLE)

    def abort(self) -> None:
        """The window goes with the process."""


def _checkers(height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    dark = (y // _CHECKER_PX + x // _CHECKER_PX) % 2 == 1
    return np.where(dark[..., None], np.uint8(160), np.uint8(210)).repeat(3, axis=2)
