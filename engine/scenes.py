"""What lies in a folder of pictures: which of its files are pictures, which masks, which clean plates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .pictures import PICTURE_SUFFIXES

PLATE_LAYOUTS = (
    "N_p.jpg beside N_i.jpg, NAME_plate.jpg beside NAME.jpg, plates/NAME.jpg beside images/NAME.jpg, or one "
    "plate.jpg in their folder"
)
"""For people: where the plate of a picture is looked for, in this order."""
MOST_STRETCH = 1.02
"""Plate and frame may differ so much in aspect: rounding, not another camera."""
_ASIDE = {"_a": "_i", "_mask": "", "_p": "_i", "_plate": ""}
"""Endings of masks and plates, and those of the pictures they belong to."""
_BESIDE = ("masks", "plates")
"""Folders beside ``images`` whose files are no pictures themselves."""


@dataclass(frozen=True)
class Scene:
    """A picture file and, where there are such files, what is right in it and the place without it."""

    image: Path
    mask: Path | None = None
    """255 subject, 0 background."""
    plate: Path | None = None
    """The same camera's picture with nothing on the stand."""


def find_scenes(folder: Path) -> list[Scene]:
    """The pictures of ``folder`` with all that is below, by path; hidden files are passed over.

    A mask is ``N_a.png`` beside ``N_i.jpg``, ``NAME_mask.png`` beside ``NAME.jpg``, or ``masks/NAME.png``
    beside ``images/NAME.jpg``. A plate lies as ``PLATE_LAYOUTS`` says; the first that there is counts.
    """
    folders: dict[Path, dict[str, Path]] = defaultdict(dict)
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith("."):
            folders[path.parent].setdefault(path.stem, path)
    scenes = []
    for parent, by_stem in folders.items():
        if parent.name in _BESIDE and (parent.parent / "images").is_dir():
            continue
        masks, plates = (
            folders.get(parent.parent / name, {}) if parent.name not in _BESIDE else {} for name in _BESIDE
        )
        whole = by_stem.get("plate") if len(by_stem) > 1 else None
        for stem, path in by_stem.items():
            if path == whole or any(
                stem.endswith(end) and stem.removesuffix(end) + of in by_stem for end, of in _ASIDE.items()
            ):
                continue
            mask = by_stem.get(f"{stem}_mask", masks.get(stem))
            plate = by_stem.get(f"{stem}_plate", plates.get(stem))
            if stem.endswith("_i"):
                mask, plate = by_stem.get(f"{stem[:-2]}_a", mask), by_stem.get(f"{stem[:-2]}_p", plate)
            scenes.append(Scene(path, mask, plate or whole))
    return scenes


def same_camera(plate_wh: Sequence[int], frame_wh: Sequence[int]) -> bool:
    """Whether pictures of these two sizes (width, height) can be from one camera: they have one aspect."""
    ratio = (plate_wh[0] / plate_wh[1]) / (frame_wh[0] / frame_wh[1])
    return max(ratio, 1 / ratio) <= MOST_STRETCH
