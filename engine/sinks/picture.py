"""One frame out into one picture."""

from __future__ import annotations

import os

import numpy as np

from ..errors import SinkError, UsageError
from ..frame import Frame
from ..originals import is_same
from ..picture_files import format_of, write_picture
from .base import Sink, StreamInfo


def picture_formats(path: str) -> tuple[str, ...]:
    """Frame formats that a picture of this name can hold, the preferred first."""
    return ("RGB", "ALPHA") if format_of(path) == "JPEG" else ("RGBA", "RGB", "ALPHA")


def check_quality(quality: int | None) -> None:
    """UsageError unless ``quality`` is one of pictures."""
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality: expected 1..100 for pictures, got {quality}")


class PictureSink(Sink):
    """Writes the one frame of a source as PNG, WebP, TIFF, or (composited) JPEG, when it is closed.

    Parameters
    ----------
    path : str
        The suffix says which.
    quality : int, optional
        Of JPEG and lossy WebP, 1..100.

    Raises
    ------
    UsageError
        If the suffix is none of a picture, or the quality out of range.
    """

    fixed_size = False

    def __init__(self, path: str, *, quality: int | None = None):
        self._path = path
        self._quality = quality
        self.accepts = picture_formats(path)
        check_quality(quality)
        self._pixels: np.ndarray | None = None

    def would_replace(self, path: str) -> bool:
        return is_same(path, self._path)

    def open(self, stream: StreamInfo) -> None:
        if os.path.isdir(self._path):
            raise SinkError(f"{self._path}: is a folder, a file name was expected")
        folder = os.path.dirname(self._path)
        if folder and not os.path.isdir(folder):
            raise SinkError(f"{self._path}: there is no folder {folder}; make it first")
        self._pixels = None

    def write(self, frame: Frame) -> None:
        if self._pixels is not None:
            stem, suffix = os.path.splitext(self._path)
            raise SinkError(
                f"{self._path}: holds one picture and the source has more; "
                f"write {stem}_%06d{suffix} or a video"
            )
        self._pixels = frame.image.copy()

    def close(self) -> None:
        pixels, self._pixels = self._pixels, None
        if pixels is not None:
            write_picture(self._path, pixels, quality=self._quality)

    def abort(self) -> None:
        self._pixels = None
