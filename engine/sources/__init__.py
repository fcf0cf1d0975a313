"""Frames in: ``open_source`` turns what a person types into a source."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..errors import SourceError, UsageError

if TYPE_CHECKING:
    from ..clock import Clock
    from .base import Source

__all__ = ["SCHEMES", "open_source"]

SCHEMES = {
    "synthetic": "synthetic",
    "lavfi": "lavfi",
    "camera": "camera",
    "v4l2": "camera",
    **dict.fromkeys(("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt", "rtp"), "url"),
}
"""Which module serves a URI of which scheme; everything else is a path."""


def open_source(
    uri: str | os.PathLike[str],
    *,
    size_wh: tuple[int, int] | None = None,
    fps: float | None = None,
    pixel_format: str | None = None,
    clock: Clock | None = None,
    leave_out: str | None = None,
) -> Source:
    """Make the source that ``uri`` means; it is opened by ``open`` or by entering it.

    ========================================  ====================================================
    ``clip.mp4``                              a video file
    ``picture.jpg``, ``folder``, ``*.png``    pictures, in name order, folders with all sub-folders
    ``0``, ``camera://0``, ``/dev/video0``,   a camera
    ``v4l2:///dev/video0``
    ``rtsp://`` ``http://`` ``udp://`` ...    a stream, opened again when it dies
    ``-``                                     raw frames on standard input
    ``lavfi:testsrc2=size=640x360:rate=30``   a test picture of FFmpeg's
    ``synthetic://1920x1080@60?seconds=10``   an open-loop camera with a moving product
    ========================================  ====================================================

    Parameters
    ----------
    uri : str or path
        As in the table.
    size_wh : (int, int), optional
        Frame size of raw frames on standard input, which need it, or the one asked of a camera.
    fps : float, optional
        Rate of raw frames, pictures and cameras.
    pixel_format : str, optional
        Of raw frames: ``rgb24`` (default), ``bgr24``, ``rgba``, ``yuv420p`` or ``nv12``.
    clock : Clock, optional
        Where ``due_seconds`` comes from; the monotonic clock when omitted.
    leave_out : str, optional
        A folder that is not searched where it lies inside a folder of pictures: that of the output.

    Raises
    ------
    UsageError
        If the URI or an option does not make sense.
    SourceError
        If there is no such file.
    """
    text = os.fspath(uri)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if text == "-":
        from .raw import RawSource

        return RawSource(size_wh=size_wh, fps=fps, pixel_format=pixel_format, clock=clock)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+]*)(?=://)|lavfi(?=:)", text)
    if text.isdigit() or re.fullmatch(r"/dev/video\d+", text):
        kind = "camera"
    elif scheme and scheme[0] == "file":
        text, kind = text[len("file://") :], "path"
    elif scheme:
        kind = SCHEMES.get(scheme[0].lower(), "")
        if not kind:
            known = ", ".join(sorted(SCHEMES))
            raise UsageError(f"{text}: no source for {scheme[0]}://; there are {known}, and paths")
    else:
        kind = "path"
    if kind == "synthetic":
        from .synthetic import SyntheticSource

        return SyntheticSource(text, clock=clock)
    if kind == "lavfi":
        from .video import VideoSource

        return VideoSource(text, clock=clock)
    if kind == "camera":
        from .camera import CameraSource

        return CameraSource(text, size_wh=size_wh, fps=fps, clock=clock)
    if kind == "url":
        from .url import UrlSource

        return UrlSource(text, clock=clock)
    return _open_path(text, fps, clock, leave_out)


def _open_path(path: str, fps: float | None, clock: Clock | None, leave_out: str | None) -> Source:
    from ..pictures import PICTURE_SUFFIXES

    is_pattern = any(c in path for c in "*?[") and not os.path.lexists(path)
    if is_pattern or os.path.isdir(path) or os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES - {".gif"}:
        from .pictures import PicturesSource

        return PicturesSource(path, fps=fps, clock=clock, leave_out=leave_out)
    if not os.path.lexists(path):
        raise SourceError(f"{path}: no such file; give a picture, folder, video, camera or URL")
    from .video import VideoSource

    return VideoSource(path, clock=clock)
