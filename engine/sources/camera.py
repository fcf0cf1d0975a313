"""Frames out of a camera: V4L2 through FFmpeg, otherwise whatever OpenCV finds."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..clock import Clock
from ..errors import SourceError, UsageError
from ..frame import Frame
from .live import Feed, LiveSource
from .url import PyAVFeed

_log = logging.getLogger(__name__)
_NO_CAMERA = "plug one in, or try synthetic://1280x720@30 or a video file"


class CameraSource(LiveSource):
    """A camera, opened again when it dies or is unplugged, perhaps with another size.

    Parameters
    ----------
    uri : str
        ``0``, ``camera://0``, ``/dev/video0`` or ``v4l2:///dev/video0``.
    size_wh : (int, int), optional
        Asked of the camera, which may choose the nearest it has; its own default when omitted.
    fps : float, optional
        Asked of the camera.
    clock : Clock, optional
        Where arrival times come from.

    Raises
    ------
    UsageError
        If the URI names no camera.
    """

    def __init__(
        self,
        uri: str,
        *,
        size_wh: tuple[int, int] | None = None,
        fps: float | None = None,
        clock: Clock | None = None,
    ):
        device = device_of(uri)
        super().__init__(f"camera {device}", lambda: _open_camera(device, size_wh, fps), clock=clock)


def device_of(uri: str) -> str:
    """Number or path of the camera; UsageError where ``uri`` names none."""
    device = re.sub(r"^(camera|v4l2)://", "", uri)
    if not re.fullmatch(r"\d+|/dev/\S+", device):
        raise UsageError(f"{uri}: not a camera; write 0, camera://0 or v4l2:///dev/video0")
    return device


def _open_camera(device: str, size_wh: tuple[int, int] | None, fps: float | None) -> Feed:
    if not sys.platform.startswith("linux"):
        return _OpenCvFeed(device, size_wh, fps)
    path = f"/dev/video{device}" if device.isdecimal() else device
    if not os.path.exists(path):
        raise SourceError(f"camera {device}: there is no {path}; {_NO_CAMERA}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"camera {device}: not allowed to use {path}; join the group video")
    options = {}
    if size_wh is not None:
        options["video_size"] = f"{size_wh[0]}x{size_wh[1]}"
    if fps is not None:
        options["framerate"] = f"{fps:g}"
    # Motion JPEG first: raw pictures above 640x480 do not fit through USB 2 at full rate.
    reasons = []
    for extra in ({"input_format": "mjpeg"}, {}):
        try:
            return PyAVFeed(path, f"camera {device}", format="v4l2", options={**options, **extra})
        except SourceError as error:
            reasons.append(str(error))
    try:
        return _OpenCvFeed(device, size_wh, fps)
    except SourceError:
        raise SourceError(reasons[-1]) from None


class _OpenCvFeed(Feed):
    def __init__(self, device: str, size_wh: tuple[int, int] | None, fps: float | None):
        import cv2

        self._name = f"camera {device}"
        self._capture = cv2.VideoCapture(int(device) if device.isdecimal() else device)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{self._name}: cannot be opened; {_NO_CAMERA}")
        if size_wh is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
        if fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, fps)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 1 <= rate <= 240 else fps

    def pictures(self) -> Iterator[tuple[Any, float | None]]:
        while True:
            is_good, picture = self._capture.read()
            if not is_good:
                raise SourceError(f"{self._name}: gives no more pictures")
            yield picture, None

    def frame(self, picture: Any, index: int, pts_seconds: float, due_seconds: float) -> Frame:
        return Frame((np.ascontiguousarray(picture),), "BGR", index, pts_seconds, due_seconds)

    def close(self) -> None:
        self._capture.release()
