"""What lies behind the subjects of new scenes: crops of pictures, printed cloth, shelves, drawn grounds."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from . import geometry
from .compose import as_tall, over

STUDIO = 0.35  # share of drawn backgrounds that are nearly white, or nearly black
SPOT_PX = 8  # half the side of the spot whose colour a background takes
TILE, SMALLEST_TILE_PX = (0.05, 0.35), 8  # side of a pattern's tile, as a share of the frame's shorter one
FOLDED = 0.5  # share of patterns that lie in folds


def backdrop(picture: np.ndarray | None, size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A background of ``size_wh``: a crop of ``picture``, or drawn (plain, ramp, stripes) if None."""
    if picture is None:
        return _drawn(size_wh, rng)
    height, width = picture.shape[:2]
    aspect = size_wh[0] / size_wh[1]
    crop_height = min(width / aspect, height) * rng.uniform(0.45, 1.0)
    crop_width = crop_height * aspect
    corner = rng.uniform(0, 1, 2) * (width - crop_width, height - crop_height)
    source = (geometry.corners(crop_width, crop_height) + corner).astype(np.float32)
    if rng.random() < 0.3:
        source = geometry.turn(source, rng.uniform(-15, 15))
    out = geometry.warp(picture, source, geometry.corners(*size_wh), size_wh, cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        out = out[:, ::-1]
    if rng.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.8, 4.0))
    return np.ascontiguousarray(out)


def patterned(picture: np.ndarray, size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A background of ``size_wh`` that repeats a part of ``picture``: printed cloth, carpet, tiles."""
    width, height = size_wh
    cut = max(1, round(min(picture.shape[:2]) * rng.uniform(0.1, 0.5)))
    top, left = (int(rng.integers(0, side - cut + 1)) for side in picture.shape[:2])
    side = max(SMALLEST_TILE_PX, round(min(size_wh) * rng.uniform(*TILE)))
    part = picture[top : top + cut, left : left + cut]
    tile = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        tile = np.vstack([np.hstack([tile, tile[:, ::-1]]), np.hstack([tile[::-1], tile[::-1, ::-1]])])
    # Turned in any direction and seen at a slant, the frame still finds pattern everywhere.
    count = int(np.ceil(2 * max(size_wh) / len(tile)))
    repeated = np.tile(tile, (count, count, 1))
    source = geometry.corners(width, height) + (count * len(tile) - np.array(size_wh, np.float32)) / 2
    source = geometry.tilt(geometry.turn(source, rng.uniform(0, 360)), 0.15, rng)
    out = geometry.warp(repeated, source, geometry.corners(*size_wh), size_wh, cv2.BORDER_REFLECT_101)
    mean = out.mean((0, 1), dtype=np.float32)
    cloth = mean + (out - mean) * np.float32(rng.uniform(0.3, 1.0))
    if rng.random() < FOLDED:
        folds = rng.standard_normal(rng.integers(3, 9, 2)).astype(np.float32)
        cloth *= 1 + 0.15 * cv2.resize(folds, size_wh, interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(cloth, 0, 255).astype(np.uint8)


def crowd(background: np.ndarray, things: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """``background`` with rows of small copies of ``things``, out of focus: a shelf behind the subject.

    Parameters
    ----------
    background : ndarray of uint8, shape (H, W, 3)
    things : sequence of ndarray of uint8, shape (h, w, 4)
        From ``cut_out``. They become background.
    """
    height, width = background.shape[:2]
    image = background.copy()
    for row in range(int(rng.integers(1, 4))):
        thing = things[row % len(things)]
        tall = int(rng.uniform(0.14, 0.32) * height)
        small = as_tall(thing, tall)
        top = int(rng.uniform(0, height - tall))
        step = max(8, int(small.shape[1] * rng.uniform(0.9, 1.6)))
        for left in range(int(rng.uniform(-small.shape[1], 0)), width, step):
            shown = small[:, max(0, -left) : max(0, width - left)]
            place_at = image[top : top + tall, max(0, left) : max(0, left) + shown.shape[1]]
            place_at[...] = over(place_at, shown[..., :3], shown[..., 3].astype(np.float32) / 255)
    dim = cv2.convertScaleAbs(image, alpha=rng.uniform(0.55, 1.0))
    return cv2.GaussianBlur(dim, (0, 0), rng.uniform(0.7, 2.5))


def toned(background: np.ndarray, subject: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``background`` moved to about the colour of some spot of ``subject``: white on white, red on red.

    Parameters
    ----------
    background : ndarray of uint8, shape (H, W, 3)
    subject : ndarray of uint8, shape (h, w, 4)
        From ``cut_out``.
    """
    rows, columns = np.nonzero(subject[..., 3] > 242)
    if not rows.size:
        return background
    at = int(rng.integers(rows.size))
    top, left = max(0, rows[at] - SPOT_PX), max(0, columns[at] - SPOT_PX)
    spot = subject[top : rows[at] + SPOT_PX, left : columns[at] + SPOT_PX]
    colour = spot[spot[..., 3] > 242][:, :3].mean(0)
    shift = (colour - background.mean((0, 1))) * rng.uniform(0.7, 1.0)
    return np.clip(background + shift.astype(np.float32), 0, 255).astype(np.uint8)


def _drawn(size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    width, height = size_wh
    studio = rng.random() < STUDIO
    if studio:
        first = np.full(3, rng.uniform(225, 255) if rng.random() < 0.8 else rng.uniform(0, 25))
    else:
        first = np.clip(rng.choice([rng.uniform(0, 255, 3), np.full(3, rng.uniform(60, 250))]), 0, 255)
    second = np.clip(first + rng.normal(0, 6 if studio else 45, 3), 0, 255)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x / width + np.sin(angle) * y / height
    style = rng.random()
    if style < 0.65:
        share = (along - along.min()) / max(float(np.ptp(along)), 1e-6) * rng.uniform(0, 1)
    else:
        share = (np.sin(along * rng.uniform(12, 90)) > rng.uniform(-0.7, 0.7)).astype(np.float32)
        if style > 0.85:
            across = np.sin(angle) * x / width - np.cos(angle) * y / height
            share = np.abs(share - (np.sin(across * rng.uniform(12, 90)) > 0))
    return (first * (1 - share[..., None]) + second * share[..., None]).astype(np.uint8)
