"""Frames out of still pictures: one, a folder with its sub-folders, or a pattern."""

from __future__ import annotations

import glob
import logging
import os
import re
import threading
from collections.abc import Iterator

import numpy as np

from ..clock import Clock, MonotonicClock
from ..errors import PartialFailure, PictureError, SourceError
from ..frame import Frame
from ..pictures import PICTURE_SUFFIXES, read_picture
from .base import Source, SourceInfo

_log = logging.getLogger(__name__)
_DEFAULT_FPS = 25.0


class PicturesSource(Source):
    """Every picture, in name order (``frame_2`` before ``frame_10``), each a frame of its own size.

    A picture that cannot be read is logged and stepped over; after the last one, PartialFailure says how many
    there were. Where none can be read, SourceError does.

    Parameters
    ----------
    path : str
        A picture, a folder (searched with all sub-folders) or a pattern such as ``shots/*.jpg``.
    fps : float, optional
        Sets ``pts_seconds``; 25 when omitted.
    clock : Clock, optional
        Where ``due_seconds`` comes from: the moment each picture was read.
    leave_out : str, optional
        A folder that is not searched.
    """

    def __init__(
        self,
        path: str,
        *,
        fps: float | None = None,
        clock: Clock | None = None,
        leave_out: str | None = None,
    ):
        self._path, self._leave_out = path, leave_out
        self._fps = fps
        self._clock = clock or MonotonicClock()
        self._stop = threading.Event()
        self._info: SourceInfo | None = None
        self.failed: list[tuple[str, str]] = []
        """Path and reason of each picture that could not be read."""

    def open(self) -> SourceInfo:
        self._root, self._paths = find_pictures(self._path, self._leave_out)
        self._position = 0
        self._names: dict[int, str] = {}
        self.failed = []
        self._waiting = self._read_next()
        if self._waiting is None:
            self.close()
            reason = self.failed[0][1] if len(self.failed) == 1 else f"none of {len(self.failed)} can be read"
            raise PictureError(reason if len(self.failed) == 1 else f"{self._path}: {reason}")
        first = self._waiting
        self._info = SourceInfo(
            first.width,
            first.height,
            fps=self._fps,
            frames=len(self._paths),
            has_alpha=first.alpha is not None,
            name=self._path,
        )
        return self._info

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise SourceError(f"{self._path}: not open")
        return self._info

    def relative_path(self, index: int) -> str:
        """Where the picture of frame ``index`` lies below the folder that was opened."""
        return os.path.relpath(self._paths[index], self._root)

    def read(self, out: Frame | None = None) -> Frame | None:
        if self._info is None:
            raise SourceError(f"{self._path}: not open")
        if self._stop.is_set():
            return None
        frame, self._waiting = self._waiting, None
        if frame is None:
            frame = self._read_next()
        if frame is None and self.failed and not self._stop.is_set():
            failed, self.failed = self.failed, []
            raise PartialFailure(
                f"{self._path}: {len(failed)} of {len(self._paths)} pictures could not be read; "
                f"the first: {failed[0][1]}"
            )
        if frame is not None:
            frame.due_seconds = self._clock.now()
        return frame

    def _read_next(self) -> Frame | None:
        while self._position < len(self._paths) and not self._stop.is_set():
            index = self._position
            self._position += 1
            path = self._paths[index]
            try:
                picture = read_picture(path)
            except PictureError as error:
                _log.warning("%s", error)
                self.failed.append((path, str(error)))
                continue
            pixels = np.ascontiguousarray(picture.image)
            pts = index / (self._fps or _DEFAULT_FPS)
            return Frame((pixels,), "RGB", index, pts, self._clock.now(), alpha=picture.alpha)
        return None

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._waiting = None


def find_pictures(path: str, leave_out: str | None = None) -> tuple[str, list[str]]:
    """Folder and pictures that ``path`` means, in name order; SourceError where there are none.

    Hidden files and folders are left out, and so is the folder ``leave_out``, if it lies inside.
    """
    if os.path.isdir(path):
        root = path
        found = list(_below(path))
        nothing = (
            f"{path}: there is no picture in this folder; looked for {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    elif os.path.lexists(path):
        return os.path.dirname(path) or ".", [path]
    else:
        fixed = re.split(r"[*?\[]", path, maxsplit=1)[0]
        root = os.path.dirname(fixed) or "."
        found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)]
        nothing = f"{path}: there is no such file, and nothing matches"
    if leave_out is not None:
        apart, inside = os.path.realpath(leave_out) + os.sep, os.path.realpath(root) + os.sep
        if apart != inside and apart.startswith(inside):
            found = [name for name in found if not os.path.realpath(name).startswith(apart)]
    if not found:
        raise SourceError(nothing)
    return root, sorted(found, key=_natural)


def _below(root: str) -> Iterator[str]:
    """Every picture below ``root`` that is not hidden, nor in a hidden folder."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES and not name.startswith("."):
                yield os.path.join(folder, name)


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Sort key that takes runs of digits as numbers, folder by folder."""
    parts = re.split(r"(\d+)", path.replace(os.sep, "\x00"))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
