"""Printed cartons, books and cards: boxes drawn in perspective, with parts of photographs for their prints.

A print may show anything, and what it shows is no hint at where the carton ends: only its outline is.
"""

from __future__ import annotations

import cv2
import numpy as np

from . import geometry

LONGEST_PX = 320  # longer side of what is drawn
FLAT = 0.3  # share of books, cards and screens
# Corners of each face, in the order of a print's own corners, as steps along width, height and depth.
FACES = np.array(
    [
        [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]],  # front
        [[1, -1, -1], [1, -1, 1], [1, 1, 1], [1, 1, -1]],  # right
        [[-1, -1, 1], [-1, -1, -1], [-1, 1, -1], [-1, 1, 1]],  # left
        [[-1, -1, 1], [1, -1, 1], [1, -1, -1], [-1, -1, -1]],  # top
    ],
    np.float32,
)
TEXT = "ABCDEFGHKLMNOPRSTUVaeilmnorstu0123456789 "


def carton(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A carton with parts of a picture for its prints, cropped to itself.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        Any photograph.

    Returns
    -------
    ndarray of uint8, shape (h, w, 4)
        The longer side is about ``LONGEST_PX``; colour outside the carton is that of its base.
    """
    size = np.array([rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0), rng.uniform(0.12, 0.7)], np.float32)
    if rng.random() < FLAT:
        size[2] = rng.uniform(0.005, 0.08)
    quads = _seen(FACES * size, rng)
    low, high = quads.reshape(-1, 2).min(0), quads.reshape(-1, 2).max(0)
    quads = (quads - low) * (LONGEST_PX / (high - low).max()) + 4
    width, height = (int(side) for side in np.ceil(quads.reshape(-1, 2).max(0)) + 4)
    base = rng.uniform(20, 250, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(20, 250))
    colour: np.ndarray = np.empty((height, width, 3), np.uint8)
    colour[...] = base
    alpha: np.ndarray = np.zeros((height, width), np.uint8)
    lights = rng.permutation([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.9)])[[0, 1, 1, 2]]
    for number, (quad, light) in enumerate(zip(quads, lights, strict=True)):
        if _area(quad) < 12:  # it is seen from behind, or as a line
            continue
        printed = _print(picture, base, rng, front=number == 0)
        source = geometry.corners(printed.shape[1], printed.shape[0])
        face = geometry.warp(printed, source, quad.astype(np.float32), (width, height), cv2.BORDER_REPLICATE)
        cover = _cover(quad, (width, height))
        cv2.copyTo(cv2.convertScaleAbs(face, alpha=light), cover, colour)
        cv2.max(alpha, cover, alpha)
    return np.dstack([colour, alpha])


def _seen(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Corners (faces, 4, 3) through a camera that looks at the box from a little above: (faces, 4, 2)."""
    yaw, pitch = np.deg2rad(rng.normal(0, 28)), np.deg2rad(rng.uniform(-5, 40))
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    turned = corners @ np.array(about_y).T @ np.array(about_x).T
    return turned[..., :2] / (turned[..., 2:] + rng.uniform(3, 9))


def _area(quad: np.ndarray) -> float:
    """Signed: positive where the corners go clockwise on the screen, as those of a face that is seen do."""
    x, y = quad.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _cover(quad: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """How far each pixel is covered, uint8 0..255."""
    mask = np.zeros(size_wh[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(quad * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    return mask


def _print(picture: np.ndarray, base: np.ndarray, rng: np.random.Generator, *, front: bool) -> np.ndarray:
    """What is printed on one face, uint8 (h, w, 3): the base colour, bands, letters, part of a picture."""
    width, height = (int(side) for side in rng.integers(96, 192, 2))
    out = np.empty((height, width, 3), np.uint8)
    out[...] = base
    if rng.random() < (0.75 if front else 0.4):
        whole = rng.random() < 0.4
        shown_wh = (width, height) if whole else (int(width * rng.uniform(0.4, 0.95)), int(height * 0.5))
        side = rng.uniform(0.25, 0.9) * min(picture.shape[:2])
        corner = rng.uniform(0, 1, 2) * (picture.shape[1] - side, picture.shape[0] - side)
        source = (geometry.corners(side, side) + corner).astype(np.float32)
        shown = geometry.warp(picture, source, geometry.corners(*shown_wh), shown_wh, cv2.BORDER_REPLICATE)
        left, top = (int(rng.integers(0, room + 1)) for room in (width - shown_wh[0], height - shown_wh[1]))
        out[top : top + shown_wh[1], left : left + shown_wh[0]] = shown
    for _ in range(int(rng.integers(0, 4))):
        top = int(rng.uniform(0, 0.9) * height)
        colour = tuple(rng.uniform(0, 255, 3).tolist())
        if rng.random() < 0.4:
            cv2.rectangle(out, (0, top), (width, top + int(rng.uniform(0.03, 0.2) * height)), colour, -1)
        text = "".join(rng.choice(list(TEXT), int(rng.integers(3, 14))))
        scale = rng.uniform(0.3, 1.4)
        at = (int(rng.uniform(0, 0.5) * width), top + int(20 * scale))
        cv2.putText(out, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, colour, 1 + (scale > 0.7), cv2.LINE_AA)
    return out
