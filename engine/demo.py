"""The demo's work: real photographs and a stream cut out into a folder, with a contact sheet to look at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .. import kernels
from .contact_sheet import Row, make_contact_sheet
from .cutout import Cutter
from .errors import PictureError, SourceError
from .frame import Frame
from .pictures import PICTURE_SUFFIXES, read_picture, write_picture
from .session import Session
from .sources import open_source
from .sources.base import Source, SourceInfo

# What scikit-image ships in its wheel, without a download: name here -> file there.
PHOTOGRAPHS = {"coffee": "coffee.png", "cat": "chelsea.png", "astronaut": "astronaut.png"}
CAMERA = "synthetic://1920x1080@30?seconds={seconds:g}"
SAME_TIME_SECONDS = 0.002
"""WebM counts in milliseconds."""


def photographs() -> dict[str, Path]:
    """The photographs that come with scikit-image; empty where it is not installed."""
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        return {}
    data = Path(package.submodule_search_locations[0]) / "data"
    return {name: data / file for name, file in PHOTOGRAPHS.items() if (data / file).is_file()}


def is_stream(uri: str) -> bool:
    """Whether a visitor's input is a video, camera or URL rather than pictures."""
    if os.path.isdir(uri) or Path(uri).suffix.lower() in PICTURE_SUFFIXES:
        return False
    return not (any(sign in uri for sign in "*?[") and "://" not in uri)


def cut_pictures(
    pictures: Iterable[tuple[str, Path]],
    out: Path,
    session: Session,
    on_picture: Callable[[str, tuple[int, int], float], None],
) -> tuple[list[Row], list[str]]:
    """Cut pictures out into ``out/<name>.png``.

    ``on_picture`` is told the name, the size and the seconds that cutting took, reading and writing apart.

    Returns
    -------
    rows : list of Row
        For the contact sheet.
    failed : list of str
        One line for each picture that could not be read.
    """
    cutter, rows, failed = Cutter(session), [], []
    for name, path in pictures:
        try:
            picture = read_picture(path)
        except PictureError as error:
            failed.append(str(error))
            continue
        session.warm_up(picture.size_wh)  # so that the time shown is that of cutting, not of compiling
        started = time.perf_counter()
        rgba, _ = cutter(picture)
        seconds = time.perf_counter() - started
        target = out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(target, rgba, like=picture)
        on_picture(name, picture.size_wh, seconds)
        rows.append(Row(f"{name}, {picture.size_wh[0]}x{picture.size_wh[1]}", picture.image, rgba))
    return rows, failed


class Sampled(Source):
    """A source that keeps copies of a few of its frames, to lay beside what became of them."""

    def __init__(self, source: Source, count: int, seconds: float) -> None:
        self._source, self._count, self._seconds = source, count, seconds
        self.samples: list[Frame] = []

    def open(self) -> SourceInfo:
        info = self._source.open()
        if info.frames and info.fps:
            self._seconds = min(self._seconds, info.frames / info.fps)
        return info

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def read(self, out: Frame | None = None) -> Frame | None:
        frame = self._source.read(out)
        if frame is not None and not frame.repeated and frame.pts_seconds >= self._next_at():
            self.samples.append(own_copy(frame))
        return frame

    def _next_at(self) -> float:
        taken = len(self.samples)
        return self._seconds * (taken + 0.5) / self._count if taken < self._count else float("inf")

    def interrupt(self) -> None:
        self._source.interrupt()

    def close(self) -> None:
        self._source.close()


def own_copy(frame: Frame) -> Frame:
    """A frame of its own: the source may overwrite the original."""
    return Frame(
        tuple(plane.copy() for plane in frame.planes),
        frame.format,
        frame.index,
        frame.pts_seconds,
        frame.due_seconds,
        frame.matrix,
        frame.full_range,
    )


def stream_rows(samples: list[Frame], video: Path, count: int = 3) -> list[Row]:
    """Rows of a stream: sampled frames, each beside the frame of the written video that has its very time.

    Samples that were dropped on the way are left out; of the others, ``count`` spread over the stream.

    Raises
    ------
    SourceError
        If the video cannot be decoded, or comes back without its alpha.
    """
    rows = []
    waiting = list(samples)
    with open_source(str(video)) as source:
        while waiting and (frame := source.read()) is not None:
            while waiting and waiting[0].pts_seconds < frame.pts_seconds - SAME_TIME_SECONDS:
                waiting.pop(0)
            if waiting and abs(waiting[0].pts_seconds - frame.pts_seconds) <= SAME_TIME_SECONDS:
                sample = waiting.pop(0)
                if frame.alpha is None:
                    raise SourceError(f"{video}: was written with transparency and decodes without")
                title = f"{video.name} at {sample.pts_seconds:.1f} s, {frame.width}x{frame.height}"
                rows.append(Row(title, to_rgb(sample), np.dstack([to_rgb(frame), frame.alpha])))
    chosen = sorted({round(index) for index in np.linspace(0, len(rows) - 1, min(count, len(rows)))})
    return [rows[index] for index in chosen]


def to_rgb(frame: Frame) -> np.ndarray:
    """The pixels of a frame in any format as uint8 ``(H, W, 3)`` RGB."""
    wh = (frame.width, frame.height)
    out = np.empty((1, frame.height, frame.width, 3), np.uint8)
    return kernels.preprocess(
        frame.planes,
        format=frame.format,
        geometry=kernels.fit(wh, wh),
        layout="NHWC",
        matrix=frame.matrix,
        full_range=frame.full_range,
        out=out,
    )[0]


def write_sheet(path: Path, rows: list[Row]) -> None:
    """Write the contact sheet of ``rows``."""
    write_picture(path, make_contact_sheet(rows))
