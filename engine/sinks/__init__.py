"""Frames out: ``open_sink`` turns what a person types into a sink."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .base import Sink

__all__ = ["SCHEMES", "open_sink"]

SCHEMES = ("null", "window", "display", "vcam")
_PICTURES = frozenset((".png", ".webp", ".tif", ".tiff", ".jpg", ".jpeg"))


def open_sink(
    uri: str | os.PathLike[str],
    *,
    format: str | None = None,
    threads: int = 2,
    preset: str | None = None,
    quality: int | None = None,
    keep_audio: bool = True,
    pixel_format: str | None = None,
    device: str | None = None,
) -> Sink:
    """Make the sink that ``uri`` means; the pipeline opens it.

    =================================  ===================================================================
    ``out.webm out.mov out.mkv``       video with alpha: VP9, ProRes 4444, FFV1 (lossless)
    ``out.mp4``                        composited video: H.264, the sound kept
    ``out.png .webp .tif .jpg``        one picture; ``frame_%06d.png`` one for each frame
    ``folder/``                        one picture for each frame, with ``format``
    ``-``                              raw frames on standard output
    ``window://``                      a window on the screen
    ``null://?hash=1``                 nothing: counts, and hashes the pixels
    ``vcam://``                        a virtual camera (needs the extra ``vcam``)
    =================================  ===================================================================

    ``.webp`` is a picture, ``.webm`` a video.

    Parameters
    ----------
    uri : str or path
        As in the table.
    format : str, optional
        Suffix of the pictures in a folder: ``png`` (default), ``webp``, ``tiff`` or ``jpg``.
    threads : int
        Of a video encoder.
    preset : str, optional
        Of H.264, ``ultrafast`` to ``slow``.
    quality : int, optional
        Of VP9 and H.264 (constant rate factor), or of JPEG and lossy WebP (1..100).
    keep_audio : bool
        Whether the sound of a file source goes into a video.
    pixel_format : str, optional
        Of raw frames: ``rgba`` (default), ``rgb24``, ``bgr24``, ``bgra``, ``gray``, ``yuv420p`` or
        ``yuva420p``.
    device : str, optional
        Of the virtual camera, where there is more than one.

    Raises
    ------
    UsageError
        If the URI or an option does not make sense.
    """
    text = os.fspath(uri)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if text == "-":
        from .raw import RawSink

        return RawSink(pixel_format=pixel_format)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+]*)://", text)
    if scheme and scheme[1].lower() != "file":
        return _open_scheme(scheme[1].lower(), text, device)
    path = text[len("file://") :] if scheme else text
    suffix = os.path.splitext(path)[1].lower()
    if path.endswith(("/", os.sep)) or os.path.isdir(path) or not suffix or "%" in os.path.basename(path):
        from .folder import FolderSink

        return FolderSink(path, format=format, quality=quality)
    if suffix in _PICTURES:
        from .picture import PictureSink

        return PictureSink(path, quality=quality)
    from .video import VideoSink

    options: dict[str, Any] = {"threads": threads, "preset": preset, "quality": quality}
    return VideoSink(path, keep_audio=keep_audio, **options)


def _open_scheme(scheme: str, uri: str, device: str | None) -> Sink:
    if scheme == "null":
        from .null import NullSink

        return NullSink(uri)
    if scheme in ("window", "display"):
        from .window import WindowSink

        return WindowSink()
    if scheme == "vcam":
        from .virtual_camera import VirtualCameraSink

        return VirtualCameraSink(device=device)
    raise UsageError(f"{uri}: no sink for {scheme}://; there are {', '.join(SCHEMES)}, and paths")
