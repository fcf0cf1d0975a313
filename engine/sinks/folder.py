"""Frames out into a folder: numbered pictures, or the relative paths of the pictures they came from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from ..errors import SinkError, UsageError
from ..frame import Frame
from ..originals import is_same
from ..picture_files import FORMATS, write_picture
from .base import Sink, StreamInfo
from .picture import check_quality, picture_formats
from .temporary import write_failure

_DEFAULT_NAME = "frame_%06d"


class FolderSink(Sink):
    """One picture for each frame. Each appears whole or not at all; those written stay when a stream fails.

    Parameters
    ----------
    path : str
        A folder, made when it is not there, or a pattern such as ``shots/frames_%06d.png``, numbered from 1
        in the order of writing.
    format : str, optional
        Suffix of pictures in a folder: ``png`` (default), ``webp``, ``tiff``, ``jpg``.
    quality : int, optional
        Of JPEG and lossy WebP, 1..100.
    names : callable, optional
        Gives the relative path for a ``Frame.index``; its suffix is replaced. Numbers when omitted.

    Raises
    ------
    UsageError
        If the format or pattern is unknown, or the quality out of range.
    """

    fixed_size = False

    def __init__(
        self,
        path: str,
        *,
        format: str | None = None,
        quality: int | None = None,
        names: Callable[[int], str] | None = None,
    ):
        folder, name = os.path.split(path)
        if "%" in name:
            if len(re.findall(r"%", name)) != 1 or not re.search(r"%(0\d+)?d", name):
                raise UsageError(f"{path}: expected one number such as %06d in the name")
            suffix = os.path.splitext(name)[1]
            if format is not None and suffix.lower() != f".{format.lower().lstrip('.')}":
                raise UsageError(f"{path}: its suffix and the format {format!r} disagree")
            self._folder, self._pattern = folder or ".", name
        else:
            suffix = f".{(format or 'png').lower().lstrip('.')}"
            self._folder, self._pattern = path, _DEFAULT_NAME + suffix
        if suffix.lower() not in FORMATS:
            raise UsageError(
                f"{path}: expected pictures in png, webp, tiff or jpg, got {suffix.lstrip('.')!r}"
            )
        check_quality(quality)
        self._suffix = suffix
        self.accepts = picture_formats("x" + suffix)
        self._quality = quality
        self._names = names
        self.frames = 0
        """Pictures written so far."""

    @property
    def folder(self) -> str:
        """Where the pictures go."""
        return self._folder

    def would_replace(self, path: str) -> bool:
        if self._names is not None:
            return False  # by names that only the frames tell
        before, after = re.split(r"%(?:0\d+)?d", self._pattern)
        named = re.fullmatch(re.escape(before) + r"\d+" + re.escape(after), os.path.basename(path))
        return named is not None and is_same(os.path.dirname(path) or ".", self._folder)

    def open(self, stream: StreamInfo) -> None:
        self.frames = 0
        if os.path.lexists(self._folder) and not os.path.isdir(self._folder):
            raise SinkError(f"{self._folder}: is a file, a folder was expected")
        self._make(self._folder)

    def write(self, frame: Frame) -> None:
        self.frames += 1
        if self._names is None:
            name = self._pattern % self.frames
        else:
            name = os.path.splitext(self._names(frame.index))[0] + self._suffix
        path = os.path.join(self._folder, name)
        if self._names is not None:
            self._make(os.path.dirname(path))
        write_picture(path, frame.image, quality=self._quality)

    def _make(self, folder: str) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise SinkError(write_failure(folder, error)) from error

    def close(self) -> None:
        """Nothing to finish: every picture is whole."""

    def abort(self) -> None:
        """Nothing to remove: every picture is whole."""
