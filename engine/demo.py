"""The demo's work: real photographs and a stream cut out into a folder, with a contact sheet to look at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels
from .buffers import Slot
from .compositor import Compositor
from .contact_sheet import Row, make_contact_sheet
from .cutout import Cutter
from .errors import PictureError, SourceError
from .frame import Frame
from .pictures import PICTURE_SUFFIXES, read_picture, write_picture
from .session import Session
from .sources import open_source

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


class SampledCompositor(Compositor):
    """A compositor that keeps copies of a few frames it was given, spread over a stream of any length.

    Taken here, and not at the source, as every frame that is composed is also written.
    """

    MOST = 8

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.samples: list[Frame] = []
        self._every_seconds = 0.1
        self._next_seconds = 0.0

    def compose(self, slot: Slot, out: Frame | None = None, **options: Any) -> Frame:
        frame = slot.frame
        if frame.pts_seconds >= self._next_seconds:
            self.samples.append(own_copy(frame))
            if len(self.samples) > self.MOST:
                self.samples = self.samples[::2]
                self._every_seconds *= 2
            self._next_seconds = frame.pts_seconds + self._every_seconds
        return super().compose(slot, out, **options)


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
    """Rows of a stream: ``count`` of the sampled frames, each beside the written video's frame of that time.

    Raises
    ------
    SourceError
        If the video cannot be decoded, or comes back without its alpha.
    """
    count = min(count, len(samples))
    waiting = [samples[int((index + 0.5) * len(samples) / count)] for index in range(count)]
    rows = []
    with open_source(str(video)) as source:
        while waiting and (frame := source.read()) is not None:
            if frame.pts_seconds < waiting[0].pts_seconds - SAME_TIME_SECONDS:
                continue
            sample = waiting.pop(0)
            if frame.alpha is None:
                raise SourceError(f"{video}: was written with transparency and decodes without")
            title = f"{video.name} at {sample.pts_seconds:.1f} s, {frame.width}x{frame.height}"
            rows.append(Row(title, to_rgb(sample), np.dstack([to_rgb(frame), frame.alpha])))
    return rows


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
