"""Real frames as a network gets them, to prove and calibrate an export on: from a folder, or what is here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import kernels
from .buffers import aligned_zeros
from .errors import PictureError, UsageError
from .frame import Frame
from .pictures import read_picture
from .scenes import Scene, find_scenes

SYNTHETIC = "synthetic://640x360@30?seconds=4&pace=0&seed=7"
SYNTHETIC_STEP = 15
"""Frames between two that are taken: the product has moved by then."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Samples:
    """Frames of one origin. Calling it gives them as the inputs of one network at one size."""

    origin: str
    """For people: ``120 pictures of photographs/``."""
    key: Mapping[str, Any]
    """What identifies them: what was derived from others is not the same."""
    frames: Callable[[bool, bool], Iterator[tuple[str, Frame]]]
    """Name and frame, each time anew: as a stream, or so that the first few are from all over; and, where
    there are plates, each picture behind its own."""

    def __call__(
        self, manifest: Mapping[str, Any], size_wh: tuple[int, int]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Name and network input, float32 (1, 3, height, width), as a session would feed it.

        A network that begins with a plate gets them in pairs: a plate, and a picture of the same place. From
        folders without plates, and from what is here anyhow, pictures of different places make the pairs.

        Parameters
        ----------
        manifest : mapping
            As in ``manifest.json``: its ``input`` says how pictures go in.
        size_wh : (int, int)
            Width and height of the input.
        """
        spec = manifest["input"]
        plates = manifest.get("begins_with") == "plate"
        for name, frame in self.frames(bool(manifest.get("state")) and not plates, plates):
            out = aligned_zeros((1, 3, size_wh[1], size_wh[0]), np.float32)
            kernels.preprocess(
                frame.planes,
                format=frame.format,
                geometry=kernels.fit((frame.width, frame.height), size_wh, spec["fit"]),
                mean=spec["mean"],
                std=spec["std"],
                order=spec["color"],
                pad_value=spec["pad_value"],
                matrix=frame.matrix,
                full_range=frame.full_range,
                out=out,
            )
            yield name, out


def find_samples(folders: Sequence[Path] = ()) -> Samples:
    """Frames of ``folders``, with all that is below; without one, the photographs of scikit-image where it is
    installed, else the synthetic camera.

    Raises
    ------
    UsageError
        If one of them is no folder, or has no picture that can be read.
    """
    if folders:
        return _of_folders([Path(folder) for folder in folders])
    from .demo import photographs

    if found := photographs():
        key = {"photographs": sorted(found)}
        return Samples(
            "the photographs of scikit-image", key, lambda stream, plates: _read(list(found.values()))
        )
    return Samples("the synthetic camera", {"camera": SYNTHETIC}, lambda stream, plates: _synthetic())


def _of_folders(folders: list[Path]) -> Samples:
    digest, found = hashlib.sha256(), []
    for folder in folders:
        scenes = _scenes(folder)
        for path in (path for scene in scenes for path in (scene.image, scene.plate) if path is not None):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        found.append(scenes)
    count = sum(map(len, found))

    def frames(stream: bool, plates: bool) -> Iterator[tuple[str, Frame]]:
        chosen = list(chain(*found)) if stream else _in_turn([spread(scenes) for scenes in found])
        if plates and (paired := [scene for scene in chosen if scene.plate is not None]):
            return _pairs(paired)
        return _read([scene.image for scene in chosen])

    return Samples(
        f"{count} pictures of {', '.join(map(str, folders))}",
        {"pictures": count, "listing_sha256": digest.hexdigest()},
        frames,
    )


def _scenes(folder: Path) -> list[Scene]:
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise UsageError(f"--calibrate {folder}: {what}; give one with pictures in it")
    scenes = find_scenes(folder)
    if next(_read([scene.image for scene in scenes]), None) is None:
        seen = f"{len(scenes)} that cannot be read" if scenes else "none"
        raise UsageError(
            f"--calibrate {folder}: expected pictures of what will be cut out, found {seen}; give a folder "
            "of JPEG or PNG files"
        )
    return scenes


def _in_turn(lists: list[list[Scene]]) -> list[Scene]:
    """One of each list after another, until all are used up."""
    return [scene for row in zip_longest(*lists) for scene in row if scene is not None]


def spread(items: list[Item]) -> list[Item]:
    """The same items, so ordered that the first few are from all over the list."""
    count = len(items)
    order = sorted(range(count), key=lambda index: int(f"{index:032b}"[::-1], 2))
    return [items[index] for index in order]


def _pairs(scenes: list[Scene]) -> Iterator[tuple[str, Frame]]:
    """The plate and the picture of each scene of which both can be read."""
    for scene in scenes:
        both = list(_read([path for path in (scene.plate, scene.image) if path is not None]))
        if len(both) == 2:
            yield from both


def _read(paths: list[Path]) -> Iterator[tuple[str, Frame]]:
    for index, path in enumerate(paths):
        try:
            picture = read_picture(path)
        except PictureError:
            continue  # one bad file among many costs a sample, not the export
        image = np.ascontiguousarray(picture.image)
        yield path.name, Frame((image,), "RGB", index, 0.0, 0.0)


def _synthetic() -> Iterator[tuple[str, Frame]]:
    from .sources import open_source

    with open_source(SYNTHETIC) as source:
        while (frame := source.read()) is not None:
            if frame.index % SYNTHETIC_STEP == 0:
                yield f"frame {frame.index}", frame
