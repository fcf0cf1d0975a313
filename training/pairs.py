"""Finds pictures with known alpha in a folder, by the names of its files.

In the given folder and every one below it, whichever of these fits first:

    images/NAME.*            masks/NAME.*          also image, img, im, rgb; mask, alphas, alpha, gt, pha
    NAME.* or NAME_i.*       NAME_mask.*           also NAME_alpha, NAME_matte, NAME_a; "-" serves as "_"
    NAME.jpg                 NAME.png

For models that begin with a clean plate, ``plates/NAME.*`` beside the pictures, or ``NAME_plate.*``.
A folder inside ``clips/`` is a clip: its pictures, in the order of their names, are frames. An alpha is read
as it is, 0 background to full scale subject: grey, 8 or 16 bits, or the alpha channel where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..engine.errors import SourceError
from .data.cache import Packed, pack
from .data.catalogue import FOLDERS, read_catalogue

IMAGE_FOLDERS = ("images", "image", "img", "im", "rgb")
ALPHA_FOLDERS = ("masks", "mask", "alphas", "alpha", "gt", "pha")
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
PLATE_FOLDERS = ("plates", "plate")
PLATE_ENDING = re.compile(r"(.+)[_-](plate|p)$", re.IGNORECASE)
ALPHA_ENDING = re.compile(r"(.+)[_-](mask|alpha|matte|a)$", re.IGNORECASE)
IMAGE_ENDING = re.compile(r"(.+)[_-](i|image|rgb)$", re.IGNORECASE)
CLIPS = "clips"


@dataclass(frozen=True)
class Pair:
    """A picture and its alpha, not read yet. ``group`` names the folder, ``clip`` its clip."""

    image: Path
    mask: Path
    group: str
    clip: str = ""
    plate: Path | None = None


@dataclass(frozen=True)
class Sample:
    """A picture, uint8 (H, W, 3) RGB, its alpha, float32 (H, W), 0..1, and the same place empty, if known."""

    name: str
    group: str
    image: np.ndarray
    alpha: np.ndarray
    clip: str = ""
    plate: np.ndarray | None = None


@dataclass
class Samples:
    """Samples read one after another. ``skipped`` grows by a line for each that cannot be used.

    ``len`` is how many there are, those that will be skipped included.
    """

    pairs: list[Pair] = field(default_factory=list)
    packed: Packed | None = None
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        if self.packed is None:
            return len(self.pairs)
        return sum(item.kind == "pair" for item in self.packed.items)

    def __iter__(self) -> Iterator[Sample]:
        if self.packed is not None:
            yield from packed_samples(self.packed)
            return
        for pair in self.pairs:
            try:
                image, alpha = read_pair(pair)
                plate = None if pair.plate is None else read_picture(pair.plate)
                if plate is not None and plate.shape != image.shape:
                    raise ValueError(f"{pair.plate}: plate and picture differ in size")
            except ValueError as error:
                self.skipped.append(str(error))
                continue
            yield Sample(pair.image.name, pair.group, image, alpha, pair.clip, plate)


def packed_samples(packed: Packed) -> Iterator[Sample]:
    """The pairs of packed training data, with the plates that are packed with them."""
    plates = {item.image.name: index for index, item in enumerate(packed.items) if item.kind == "plate"}
    for index, item in enumerate(packed.items):
        if item.kind != "pair":
            continue
        rgba = packed[index]
        place = plates.get(item.image.name.replace("_i.", "_p."))
        plate = None if place is None else packed[place]
        alpha = rgba[..., 3].astype(np.float32) / 255
        yield Sample(item.image.name, item.folder, rgba[..., :3], alpha, plate=plate)


def open_samples(folder: Path, cache: Path, *, plates: bool = False) -> Samples:
    """What ``folder`` has to measure on: a training data folder's held-out pairs, or every pair of any other.

    Parameters
    ----------
    folder : Path
        A training data folder (see ``training/README.md``) is known by the names in it; its pictures are
        measured at 512 pixels at most, as training keeps them. Any other is searched by the rules above, and
        measured at full size.
    cache : Path
        Where the decoded pictures of a training data folder are kept.
    plates : bool
        Only pictures that have a clean plate.

    Raises
    ------
    SourceError
        If the folder is not there, or holds no pair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; expected pictures with masks")
    if any((folder / name / "images").is_dir() for name in FOLDERS):
        catalogue = read_catalogue(folder)
        held_out = [item for item in catalogue.items if item.validation and item.kind in ("pair", "plate")]
        bare = {item.image.name for item in held_out if item.kind == "plate"} if plates else set()
        chosen = [
            item
            for item in held_out
            if item.image.name in bare
            or (item.kind == "pair" and (not plates or item.image.name.replace("_i.", "_p.") in bare))
        ]
        packed = pack(chosen, cache)
        if not len(packed):
            wanted = "held-out pair with a clean plate" if plates else "held-out pair"
            raise SourceError(f"{folder}: a training data folder without a single {wanted}")
        return Samples(packed=packed, skipped=list(packed.skipped))
    samples = find_pairs(folder)
    if plates and samples.pairs:
        samples.pairs = [pair for pair in samples.pairs if pair.plate is not None]
        if not samples.pairs:
            raise SourceError(
                f"{folder}: no picture with a clean plate in it, which the model begins with; "
                "expected plates/NAME.* or NAME_plate.*"
            )
    if not samples.pairs:
        without = f"; {len(samples.skipped)} pictures without an alpha" if samples.skipped else ""
        raise SourceError(
            f"{folder}: no picture with an alpha in it{without}. Expected images/NAME.* with masks/NAME.*, "
            "NAME.* with NAME_mask.*, or NAME.jpg with NAME.png; without masks there is --sheets, to look"
        )
    return samples


def find_pairs(root: Path) -> Samples:
    """Every pair below ``root``; pictures that should have an alpha and have none are in ``skipped``."""
    found = Samples()
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir())]:
        if folder.name.lower() in IMAGE_FOLDERS and (masks := _beside(folder, ALPHA_FOLDERS)):
            place = folder.parent.relative_to(root)
            alphas = {path.stem: path for path in _pictures(masks)}
            matched = [(image, alphas.get(image.stem)) for image in _pictures(folder)]
            beside = _beside(folder, PLATE_FOLDERS)
            plates = {} if beside is None else {path.stem: path for path in _pictures(beside)}
        elif holds_no_pictures(folder):
            continue
        else:
            place = folder.relative_to(root)
            named = {path: PLATE_ENDING.match(path.stem) for path in _pictures(folder)}
            plates = {match[1]: path for path, match in named.items() if match}
            matched = _by_ending([path for path, match in named.items() if not match])
        clip = place.as_posix() if CLIPS in place.parts[:-1] else ""
        for image, alpha in matched:
            if alpha is None:
                found.skipped.append(f"{image}: no alpha of that name")
            else:
                stem = image.stem
                match = IMAGE_ENDING.match(stem)
                plate = plates.get(stem) or plates.get(match[1] if match else stem)
                found.pairs.append(Pair(image, alpha, place.as_posix(), clip, plate))
    return found


def holds_no_pictures(folder: Path) -> bool:
    """Whether ``folder`` has the masks or the plates of pictures in a folder beside it."""
    return (
        folder.name.lower() in (*ALPHA_FOLDERS, *PLATE_FOLDERS) and _beside(folder, IMAGE_FOLDERS) is not None
    )


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Picture and alpha of a pair, as in ``Sample``.

    Raises
    ------
    ValueError
        If a file does not decode, or the sizes differ; the file is named.
    """
    image = read_picture(pair.image)
    alpha = cv2.imread(str(pair.mask), cv2.IMREAD_UNCHANGED)
    if alpha is None:
        raise ValueError(f"{pair.mask}: does not decode")
    if alpha.ndim == 3:
        alpha = alpha[..., 3] if alpha.shape[2] == 4 else cv2.cvtColor(alpha, cv2.COLOR_BGR2GRAY)
    if alpha.shape != image.shape[:2]:
        raise ValueError(
            f"{pair.mask}: alpha is {alpha.shape[1]}x{alpha.shape[0]}, "
            f"the picture {image.shape[1]}x{image.shape[0]}"
        )
    full = 255 if alpha.dtype == np.uint8 else 65535 if alpha.dtype == np.uint16 else 1.0
    return image, (alpha / full).astype(np.float32)


def read_picture(path: Path) -> np.ndarray:
    """A picture, uint8 (H, W, 3) RGB, turned as its camera noted. Raises ValueError if it does not decode."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: does not decode")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _pictures(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
    return sorted(
        paths, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)]
    )


def _beside(folder: Path, names: tuple[str, ...]) -> Path | None:
    inside = {path.name.lower(): path for path in folder.parent.iterdir() if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def _by_ending(paths: list[Path]) -> list[tuple[Path, Path | None]]:
    """Pictures of one folder with their alphas; a folder in which nothing is an alpha gives nothing."""
    alphas: dict[str, Path] = {}
    for path in paths:
        if match := ALPHA_ENDING.match(path.stem):
            alphas[match[1]] = path
    masks = set(alphas.values())
    if not masks:
        jpegs = {path.stem: path for path in paths if path.suffix.lower() in (".jpg", ".jpeg")}
        return [
            (jpegs[path.stem], path) for path in paths if path.suffix.lower() == ".png" and path.stem in jpegs
        ]
    matched: list[tuple[Path, Path | None]] = []
    for path in paths:
        if path not in masks:
            match = IMAGE_ENDING.match(path.stem)
            matched.append((path, alphas.get(path.stem) or alphas.get(match[1] if match else "")))
    return matched
