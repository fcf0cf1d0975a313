"""Hands made of capsules: what holds a product before the camera and is not the product.

Nobody's photographs are needed for them. Arm and palm lie behind the subject, fingers before it, so that a
network learns what of a held thing is the thing. They are plain shapes, shaded like cylinders; that is enough
to be neither the product nor its edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Skin from dark to light, RGB 0..255; a hand lies between two of them.
SKIN = np.array([[70, 45, 34], [116, 74, 53], [165, 112, 84], [205, 152, 121], [236, 190, 164]], np.float32)
SLEEVES = 0.45  # share of arms that wear one


@dataclass
class Hand:
    """Two layers to lay into a scene, each with its cover.

    Attributes
    ----------
    behind, before : float32 (H, W, 3), 0..255
        Arm and palm; fingers.
    behind_cover, before_cover : float32 (H, W), 0..1
    """

    behind: np.ndarray
    behind_cover: np.ndarray
    before: np.ndarray
    before_cover: np.ndarray


def hand(alpha: np.ndarray, rng: np.random.Generator) -> Hand | None:
    """A hand that comes from the rim of the picture and holds the subject of ``alpha``, float32 (H, W), 0..1.

    None where there is too little of a subject to hold.
    """
    height, width = alpha.shape
    outlines, _ = cv2.findContours((alpha > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    outline = max(outlines, key=len)[:, 0].astype(np.float32)
    left, top = outline.min(0)
    right, bottom = outline.max(0)
    finger = float(rng.uniform(0.05, 0.115) * min(right - left, bottom - top))
    if finger < 2.0:
        return None
    grip = outline[rng.integers(len(outline))]
    centre = outline.mean(0)
    inwards = centre - grip
    inwards = inwards / max(float(np.hypot(*inwards)), 1e-3)
    from_where = _turned(-inwards, rng.normal(0, 0.5))
    if from_where[1] < -0.3:  # arms seldom come from above
        from_where[1] = -from_where[1]
    palm = grip - inwards * finger * rng.uniform(0.5, 1.8)
    elbow = palm + from_where * (width + height)
    skin = _skin(rng)

    arm: np.ndarray = np.zeros((height, width), np.uint8)
    _capsule(arm, palm, elbow, finger * rng.uniform(1.7, 2.4))
    round_palm = np.zeros_like(arm)
    _capsule(round_palm, palm - inwards * finger, palm + inwards * finger, finger * rng.uniform(1.9, 2.5))
    behind = _shaded(cv2.max(arm, round_palm), skin, rng)
    if rng.random() < SLEEVES:
        cuff = palm + from_where * finger * rng.uniform(2.5, 7)
        sleeve = np.zeros_like(arm)
        _capsule(sleeve, cuff, elbow, finger * rng.uniform(2.3, 3.2))
        cloth = _shaded(sleeve, rng.uniform(10, 245, 3).astype(np.float32), rng)
        behind = np.where(sleeve[..., None] > 0, cloth, behind)
        arm = cv2.max(arm, sleeve)

    fingers: np.ndarray = np.zeros_like(arm)
    before = np.zeros((height, width, 3), np.float32)
    across = np.array([-inwards[1], inwards[0]])
    for place in range(int(rng.integers(2, 5))):
        start = palm + across * finger * 2.05 * (place - 1.4)
        tip = start + _turned(inwards, rng.normal(0, 0.16)) * finger * rng.uniform(2.2, 4.8)
        one = np.zeros_like(arm)
        _capsule(one, start, tip, finger * rng.uniform(0.85, 1.05))
        before = np.where(one[..., None] > 0, _shaded(one, skin, rng), before)
        fingers = cv2.max(fingers, one)
    return Hand(behind, _cover(cv2.max(arm, round_palm)), before, _cover(fingers))


def _skin(rng: np.random.Generator) -> np.ndarray:
    place = rng.uniform(0, len(SKIN) - 1)
    low = min(int(place), len(SKIN) - 2)
    tone: np.ndarray = SKIN[low] + (SKIN[low + 1] - SKIN[low]) * (place - low)
    return tone * rng.uniform(0.8, 1.15) * np.exp(rng.normal(0, 0.04, 3))


def _capsule(mask: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    fine = 16  # cv2 draws to a sixteenth of a pixel
    first, second = (tuple(round(float(v) * fine) for v in point) for point in (start, end))
    cv2.line(mask, first, second, 255, max(1, round(2 * radius)), cv2.LINE_8, shift=4)


def _shaded(mask: np.ndarray, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``colour`` on a round body of the shape of ``mask``: darker towards its rim and away from the light."""
    depth = cv2.distanceTransform((mask > 0).astype(np.uint8), cv2.DIST_L2, 3)
    round_off = np.sqrt(np.clip(depth / max(float(depth.max()), 1.0), 0, 1))
    slope_x, slope_y = cv2.Sobel(depth, cv2.CV_32F, 1, 0), cv2.Sobel(depth, cv2.CV_32F, 0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    lit = (np.cos(angle) * slope_x + np.sin(angle) * slope_y) / 8
    light = 0.62 + 0.38 * round_off + 0.22 * cv2.GaussianBlur(lit, (0, 0), 2.0)
    return np.clip(light[..., None] * colour, 0, 255).astype(np.float32)


def _cover(mask: np.ndarray) -> np.ndarray:
    """A mask of 0 and 255 as float32 0..1 with a soft rim."""
    return cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32) / 255


def _turned(direction: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array(
        [cosine * direction[0] - sine * direction[1], sine * direction[0] + cosine * direction[1]]
    )
