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
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

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


@dataclass
class Found:
    """``pairs``, and in ``skipped`` a line for each picture that should have an alpha and has none."""

    pairs: list[Pair] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def find_pairs(root: Path) -> Found:
    """Every pair below ``root``."""
    found = Found()
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
    image, alpha = read_picture(pair.image), read_alpha(pair.mask)
    if alpha.shape != image.shape[:2]:
        raise ValueError(
            f"{pair.mask}: alpha is {alpha.shape[1]}x{alpha.shape[0]}, "
            f"the picture {image.shape[1]}x{image.shape[0]}"
        )
    return image, alpha


def read_alpha(path: Path) -> np.ndarray:
    """An alpha, float32 (H, W), 0..1. Raises ValueError if it does not decode."""
    alpha = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if alpha is None:
        raise ValueError(f"{path}: does not decode")
    if alpha.ndim == 3:
        alpha = alpha[..., 3] if alpha.shape[2] == 4 else cv2.cvtColor(alpha, cv2.COLOR_BGR2GRAY)
    full = 255 if alpha.dtype == np.uint8 else 65535 if alpha.dtype == np.uint16 else 1.0
    return (alpha / full).astype(np.float32)


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
