"""New scenes: subjects cut out of labelled pictures, laid over other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from . import geometry
from .hands import hand

SHADED, CAST = 0.6, 0.35  # share of subjects with a shadow, and of these with a hard one, flat on the ground
HELD = 0.22  # share of composites whose last subject a hand holds
PROPS = 0.06  # share with something narrow, a rod or a tag, before it
REFLECTIONS = 0.12  # share of subjects that stand on something that shines
RUN_OUT = 0.3  # share of single subjects that may fill the frame's other side, too, and run out of it
GROUP_PX = 256  # height of a group
HEAP_PX = 384  # side of the square that a heap is laid out in


def cut_out(rgba: np.ndarray, *, tighten: bool) -> np.ndarray:
    """Crop a labelled picture to its subject and free the outline of the old background's colour.

    Parameters
    ----------
    rgba : ndarray of uint8, shape (H, W, 4)
    tighten : bool
        Pull the outline in by about a pixel: for masks that are binary and drawn by hand.

    Returns
    -------
    ndarray of uint8, shape (h, w, 4)
        Colour is defined, and plausible, for several pixels outside the subject too.
    """
    x, y, width, height = cv2.boundingRect((rgba[..., 3] > 32).astype(np.uint8))
    margin = 4
    top, left = max(0, y - margin), max(0, x - margin)
    rgba = rgba[top : y + height + margin, left : x + width + margin]
    alpha = rgba[..., 3]
    if tighten:
        soft = cv2.GaussianBlur(alpha, (0, 0), 1.2).astype(np.float32)
        alpha = np.clip((soft - 110) * 2, 0, 255).astype(np.uint8)
    inner = cv2.erode(
        (alpha > 242).astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE
    )
    weight = inner.astype(np.float32)
    colour = rgba[..., :3].astype(np.float32)
    spread = cv2.blur(colour * weight[..., None], (9, 9))
    share = cv2.blur(weight, (9, 9))[..., None]
    known = inner[..., None] > 0
    filled = np.where(known, colour, np.where(share > 0.02, spread / np.maximum(share, 0.02), colour))
    return np.dstack([filled.astype(np.uint8), alpha])


def line_up(things: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """``things`` beside each other, overlapping in part, as one subject: a group.

    Parameters
    ----------
    things : sequence of ndarray of uint8, shape (h, w, 4)
        From ``cut_out``.

    Returns
    -------
    ndarray of uint8, shape (h, w, 4)
        They stand on about one line and are about equally tall.
    """
    shown: list[tuple[int, int, np.ndarray]] = []
    left = 0
    for thing in things:
        tall = int(GROUP_PX * rng.uniform(0.75, 1.0))
        small = as_tall(thing, tall)
        small[..., :3] = cv2.convertScaleAbs(small[..., :3], alpha=rng.uniform(0.85, 1.1))
        shown.append((left, int((GROUP_PX - tall) * rng.uniform(0.6, 1.0)), small))
        left += max(1, round(small.shape[1] * rng.uniform(0.5, 1.05)))
    group: np.ndarray = np.zeros(
        (GROUP_PX, max(left + thing.shape[1] for left, _, thing in shown), 4), np.uint8
    )
    for number in rng.permutation(len(shown)):
        left, top, thing = shown[number]
        at = group[top : top + thing.shape[0], left : left + thing.shape[1]]
        _lay(at, thing, at[..., :3], thing[..., 3].astype(np.float32) / 255)
    return group


def heap(things: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """``things`` strewn, or side by side in a row, with gaps and overlaps, as one subject.

    Parameters
    ----------
    things : sequence of ndarray of uint8, shape (h, w, 4)
        From ``cut_out``, about equally large in the heap; the last lies on top.

    Returns
    -------
    ndarray of uint8, shape (h, w, 4)
    """
    count, middle = len(things), HEAP_PX / 2
    in_a_row = rng.random() < 0.5
    side = HEAP_PX * (0.5 if in_a_row else rng.uniform(0.75, 1.0) / np.sqrt(count))
    turned, apart = rng.uniform(0, 360), rng.uniform(0.7, 1.25)
    group: np.ndarray = np.zeros((HEAP_PX, HEAP_PX, 4), np.uint8)
    for number, thing in enumerate(things):
        height, width = thing.shape[:2]
        scale = side * rng.uniform(0.85, 1.0) / max(height, width)
        if in_a_row:  # across their longer side, so that long ones lie as in a bundle
            pitch = min(apart * min(height, width) * scale, HEAP_PX / count)
            offset = np.array([(number - (count - 1) / 2) * pitch, rng.normal(0, 0.05) * side])
            angle = (90 if width > height else 0) + rng.normal(0, 5)
        else:
            offset = rng.uniform(-0.5, 0.5, 2) * (HEAP_PX - side)
            angle = rng.uniform(0, 360)
        onto = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
        onto[:, 2] += middle + offset - (width / 2, height / 2)
        laid = cv2.warpAffine(thing, onto, (HEAP_PX, HEAP_PX))
        cover = laid[..., 3].astype(np.float32) / 255
        shade = 1 - rng.uniform(0, 0.4) * _softened(cover, 3.0)  # on what lies below
        _lay(group, laid, group[..., :3] * shade[..., None], cover)
    whole = cv2.getRotationMatrix2D((middle, middle), turned if in_a_row else 0.0, 0.7 if in_a_row else 1.0)
    group = cv2.warpAffine(group, whole, (HEAP_PX, HEAP_PX))
    left, top, width, height = cv2.boundingRect((group[..., 3] > 8).astype(np.uint8))
    return np.ascontiguousarray(group[top : top + height, left : left + width])


def _lay(group: np.ndarray, thing: np.ndarray, below: np.ndarray, cover: np.ndarray) -> None:
    """Lay ``thing`` over ``group``, both uint8 (h, w, 4), in place; ``below`` is how it looks there."""
    group[..., :3] = over(below, thing[..., :3], np.where(group[..., 3] == 0, 1.0, cover))
    group[..., 3] = np.maximum(group[..., 3], thing[..., 3])


def as_tall(thing: np.ndarray, tall: int) -> np.ndarray:
    """``thing``, smaller, ``tall`` pixels high."""
    wide = max(2, round(thing.shape[1] * tall / thing.shape[0]))
    return cv2.resize(thing, (wide, tall), interpolation=cv2.INTER_AREA)


def compose(
    background: np.ndarray, subjects: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lay ``subjects`` over ``background`` with shadows, soft edges and light that goes with the scene.

    Some are reflected by what they stand on, and a hand, a rod or a tag may be before the last: all of that
    is background.

    Parameters
    ----------
    background : ndarray of uint8, shape (H, W, 3)
    subjects : sequence of ndarray of uint8, shape (h, w, 4)
        From ``cut_out``.

    Returns
    -------
    image : ndarray of uint8, shape (H, W, 3)
    alpha : ndarray of uint8, shape (H, W)
        Of all subjects together.
    """
    height, width = background.shape[:2]
    image: np.ndarray = background.astype(np.float32)
    total: np.ndarray = np.zeros((height, width), np.float32)
    for number, subject in enumerate(subjects, start=1):
        placed = place(subject, (width, height), len(subjects), rng)
        sharp = placed[..., 3].astype(np.float32) / 255
        alpha = _softened(sharp, rng.uniform(0.3, 1.0)) if rng.random() < 0.7 else sharp
        colour = relight(placed[..., :3].astype(np.float32), alpha, image, rng)
        if rng.random() < SHADED:
            falls = cast_shadow if rng.random() < CAST else shadow
            image = image * (1 - falls(alpha, rng))[..., None]
        if rng.random() < REFLECTIONS:
            image = _reflected(image, colour, alpha, rng)
        held = hand(alpha, rng) if number == len(subjects) and rng.random() < HELD else None
        if held is not None:
            image = over(image, held.behind, held.behind_cover)
            total = total * (1 - held.behind_cover)
        image = over(image, colour, alpha)
        total = 1 - (1 - total) * (1 - alpha)
        if held is not None:
            image = image * (1 - 0.3 * _softened(held.before_cover, 3.0))[..., None]  # what the fingers shade
            image = over(image, held.before, held.before_cover)
            total = total * (1 - held.before_cover)
    if rng.random() < PROPS:
        colour, cover = _prop(total, rng)
        image, total = over(image, colour, cover), total * (1 - cover)
    return np.clip(image, 0, 255).astype(np.uint8), np.rint(total * 255).astype(np.uint8)


def over(image: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """``colour`` laid over ``image``, both (H, W, 3), where ``cover`` (H, W), 0..1, says."""
    return colour * cover[..., None] + image * (1 - cover[..., None])


def _reflected(
    image: np.ndarray, colour: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """``image`` with a subject mirrored below itself, fainter with distance."""
    height = alpha.shape[0]
    rows = np.flatnonzero(alpha.max(1) > 0.5)
    if not len(rows) or (floor := int(rows[-1])) >= height - 4:
        return image
    reach = min(height - 1 - floor, floor)
    below = slice(floor + 1, floor + 1 + reach)
    mirrored = slice(floor, floor - reach, -1)
    fade = np.linspace(rng.uniform(0.15, 0.45), 0, reach, dtype=np.float32)[:, None]
    cover = _softened(np.ascontiguousarray(alpha[mirrored]), 1.0) * fade
    out = image.copy()
    out[below] = over(image[below], colour[mirrored], cover)
    return out


def _prop(alpha: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A rod across the picture or a tag: colour (H, W, 3) 0..255 and cover (H, W) 0..1, both float32."""
    height, width = alpha.shape
    rows, columns = np.nonzero(alpha > 0.5)
    place = rng.integers(len(rows)) if len(rows) else 0
    at = (float(columns[place]), float(rows[place])) if len(rows) else (width / 2, height / 2)
    mask = np.zeros((height, width), np.uint8)
    if rng.random() < 0.5:
        angle, far = rng.uniform(0, np.pi), width + height
        step = (far * np.cos(angle), far * np.sin(angle))
        ends = [(round(at[0] + sign * step[0]), round(at[1] + sign * step[1])) for sign in (-1, 1)]
        cv2.line(mask, ends[0], ends[1], 255, max(2, round(rng.uniform(0.01, 0.05) * min(height, width))))
    else:
        size = rng.uniform(0.05, 0.18, 2) * (width, height)
        box = cv2.boxPoints((at, tuple(size.tolist()), float(rng.uniform(-30, 30))))
        cv2.fillConvexPoly(mask, np.rint(box).astype(np.int32), 255)
    grey = np.full(3, rng.uniform(10, 250)) if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    ramp = np.linspace(rng.uniform(0.8, 1.0), 1.0, width, dtype=np.float32)[None, :, None]
    colour = np.broadcast_to(ramp * grey.astype(np.float32), (height, width, 3))
    return colour, cv2.GaussianBlur(mask, (0, 0), 0.6).astype(np.float32) / 255


def _softened(alpha: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(alpha, (0, 0), sigma_px)


def place(subject: np.ndarray, size_wh: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Scale, turn, tilt and move one subject onto an empty canvas of ``size_wh``; uint8 (H, W, 4)."""
    height, width = subject.shape[:2]
    fit, cover = sorted((size_wh[0] / width, size_wh[1] / height))
    if count == 1 and rng.random() < RUN_OUT:  # long things, and people in a wide picture, are seen in part
        fit *= min(cover / fit, 4.0) ** rng.random()
    close_up = count == 1 and rng.random() < geometry.CLOSE_UPS
    scale = fit * (
        rng.uniform(1.0, 1.9) if close_up else rng.uniform(*((0.3, 0.95) if count == 1 else (0.22, 0.65)))
    )
    quad = geometry.corners(width * scale, height * scale)
    quad = geometry.turn(quad, rng.uniform(-180, 180) if rng.random() < 0.2 else rng.normal(0, 12))
    quad = geometry.tilt(quad, 0.1, rng) if rng.random() < 0.4 else quad
    if rng.random() < 0.5:
        quad = quad[[1, 0, 3, 2]]
    low, high = quad.min(0), quad.max(0)
    room = np.array(size_wh) - (high - low)
    overhang = 0.3 * (high - low) if rng.random() < 0.15 else np.zeros(2)
    position = rng.uniform(np.minimum(room, 0) - overhang, np.maximum(room, 0) + overhang)
    quad = (quad - low + position).astype(np.float32)
    # Colour outside the subject keeps its edge value, alpha is nothing there.
    placed = geometry.warp(subject, geometry.corners(width, height), quad, size_wh, cv2.BORDER_REPLICATE)
    covered = np.zeros(placed.shape[:2], np.uint8)
    cv2.fillConvexPoly(covered, np.rint(quad).astype(np.int32), 255)
    placed[..., 3] = np.minimum(placed[..., 3], covered)
    return placed


def shadow(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of light that a subject takes from what lies behind it, float32 (H, W) in 0..1."""
    height, width = alpha.shape
    reach = 0.12 * max(height, width)
    shift = np.array(
        [[1, rng.normal(0, 0.15), rng.uniform(-reach, reach)], [0, 1, rng.uniform(-0.3, 1) * reach]]
    )
    moved = cv2.warpAffine(alpha, shift.astype(np.float32), (width, height))
    return cv2.GaussianBlur(moved, (0, 0), rng.uniform(1.5, 0.05 * max(height, width))) * rng.uniform(
        0.1, 0.6
    )


def cast_shadow(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As ``shadow``, of one lamp or the sun: dark, nearly sharp, flat on the ground from the foot on."""
    height, width = alpha.shape
    foot = np.flatnonzero(alpha.max(1) > 0.5)
    if not foot.size:
        return np.zeros_like(alpha)
    lean, flat = rng.uniform(-1.5, 1.5), rng.choice([rng.uniform(0.15, 0.7), rng.uniform(-0.5, -0.1)])
    # Upwards of the foot by y: to the side by lean * y, and up, or down towards the camera, by flat * y.
    onto = np.array([[1, -lean, lean * foot[-1]], [0, flat, (1 - flat) * foot[-1]]], np.float32)
    moved = cv2.warpAffine(alpha, onto, (width, height))
    blurred = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.4, 0.012 * max(height, width)))
    return blurred * rng.uniform(0.3, 0.8)


def relight(colour: np.ndarray, alpha: np.ndarray, scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary a subject's light; part of the time towards the mean of the scene, which hides it better."""
    if rng.random() < 0.35:
        weight = float(alpha.sum()) + 1e-3
        own = (colour * alpha[..., None]).sum((0, 1)) / weight
        return np.clip(colour + (scene.mean((0, 1)) - own) * rng.uniform(0.1, 0.45), 0, 255)
    return np.clip(colour * rng.uniform(0.75, 1.2) * np.exp(rng.normal(0, 0.04, 3)), 0, 255).astype(
        np.float32
    )
