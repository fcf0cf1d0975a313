"""Frames out into a virtual camera that other programs see as a webcam."""

from __future__ import annotations

from typing import Any

from ..errors import SinkError
from ..frame import Frame
from .base import Sink, StreamInfo

_DEFAULT_FPS = 30.0


class VirtualCameraSink(Sink):
    """A virtual camera: v4l2loopback on Linux, OBS Virtual Camera elsewhere. They carry no alpha.

    Parameters
    ----------
    device : str, optional
        Such as ``/dev/video10``; the first free one when omitted.

    Raises
    ------
    SinkError
        From ``open``, where the package pyvirtualcam or the device is missing.
    """

    accepts = ("RGB", "BGR")

    def __init__(self, *, device: str | None = None):
        self._device = device
        self._camera: Any = None

    def open(self, stream: StreamInfo) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise SinkError(
                "vcam: the package pyvirtualcam is not installed; pip install 'livecut[vcam]'"
            ) from error
        formats = {"RGB": pyvirtualcam.PixelFormat.RGB, "BGR": pyvirtualcam.PixelFormat.BGR}
        try:
            self._camera = pyvirtualcam.Camera(
                stream.width,
                stream.height,
                stream.fps or _DEFAULT_FPS,
                fmt=formats[stream.format],
                device=self._device,
            )
        except (RuntimeError, OSError) as error:
            raise SinkError(
                f"vcam: no virtual camera: {error}; on Linux: sudo modprobe v4l2loopback exclusive_caps=1"
            ) from error

    def write(self, frame: Frame) -> None:
        try:
            self._camera.send(frame.image)
        except (RuntimeError, OSError) as error:
            raise SinkError(f"vcam: {error}") from error

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def abort(self) -> None:
        self.close()
