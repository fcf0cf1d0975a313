"""Where a picture lies in the network's input, and how a training crop is taken from it."""

from __future__ import annotations

import cv2
import numpy as np

from ... import kernels

PAD_VALUE = 114  # the letterbox bars of the network's input, 0..255
CLOSE_UPS = 0.22  # share of crops in which the subject runs out of the picture
CLOSE_UP_ZOOM = (0.35, 0.65)


def fit_inside(frame_wh: tuple[float, float], input_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """The centred rectangle ``(x, y, width, height)`` that holds a frame of this shape without distortion."""
    scale = min(input_wh[0] / frame_wh[0], input_wh[1] / frame_wh[1])
    width = min(input_wh[0], max(1, round(frame_wh[0] * scale)))
    height = min(input_wh[1], max(1, round(frame_wh[1] * scale)))
    return (input_wh[0] - width) // 2, (input_wh[1] - height) // 2, width, height


def letterbox(
    image: np.ndarray, alpha: np.ndarray, input_wh: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Lay ``image`` (H, W, 3) and ``alpha`` (H, W), uint8, into an input; its bars are background.

    The picture goes through the engine's own kernel, so that a network meets in training what it will meet at
    work; only the rounding to uint8 is added.
    """
    frame_wh = (image.shape[1], image.shape[0])
    geometry = kernels.fit(frame_wh, input_wh)
    framed = np.empty((1, input_wh[1], input_wh[0], 3), np.uint8)
    kernels.preprocess(
        np.ascontiguousarray(image), format="RGB", geometry=geometry, layout="NHWC",
        pad_value=(PAD_VALUE,) * 3, out=framed,
    )  # fmt: skip
    x, y, width, height = geometry.roi
    if frame_wh != (width, height):
        mode = cv2.INTER_AREA if width < frame_wh[0] else cv2.INTER_LINEAR
        alpha = cv2.resize(alpha, (width, height), interpolation=mode)
    framed_alpha = np.zeros((input_wh[1], input_wh[0]), np.uint8)
    framed_alpha[y : y + height, x : x + width] = alpha
    return framed[0], framed_alpha


def corners(width: float, height: float) -> np.ndarray:
    """The corners of a rectangle at the origin, float32 (4, 2), clockwise from the top left."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def tilt(points: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Move each corner by up to ``amount`` of the quadrilateral's size: a perspective view."""
    size = points.max(0) - points.min(0)
    return (points + rng.uniform(-amount, amount, (4, 2)) * size).astype(np.float32)


def turn(points: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate about the centre."""
    angle, centre = np.deg2rad(degrees), points.mean(0)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((points - centre) @ matrix.T + centre).astype(np.float32)


def random_crop(rgba: np.ndarray, frame_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A view of a labelled picture, turned, tilted and zoomed, with a good part of its subject inside.

    Parameters
    ----------
    rgba : ndarray of uint8, shape (H, W, 4)
    frame_wh : tuple of int
        Width and height of the result, pixels.

    Returns
    -------
    ndarray of uint8, shape (frame height, frame width, 4)
    """
    height, width = rgba.shape[:2]
    aspect = frame_wh[0] / frame_wh[1]
    inside = min(width / aspect, height)  # height of the largest crop of this shape that fits
    outside = max(width / aspect, height)
    column, row = _centre(rgba[..., 3])
    close_up = rng.random() < CLOSE_UPS
    zoom = CLOSE_UP_ZOOM if close_up else (0.65, 1.08)
    subject = int((rgba[..., 3] > 127).sum())
    best, best_score = rgba, -1.0
    for _ in range(3):
        crop_height = min(inside * (outside / inside) ** rng.random(), inside * 1.6) * rng.uniform(*zoom)
        crop_width = crop_height * aspect
        pull = rng.uniform(0.3, 1.0)
        centre = np.array([width / 2 + pull * (column - width / 2), height / 2 + pull * (row - height / 2)])
        centre = centre + rng.uniform(-0.2, 0.2, 2) * (crop_width, crop_height)
        target = corners(crop_width, crop_height) + centre - (crop_width / 2, crop_height / 2)
        target = target.astype(np.float32)
        if rng.random() < 0.4:
            target = turn(target, rng.uniform(-14, 14))
        if rng.random() < 0.3:
            target = tilt(target, 0.08, rng)
        crop = warp(rgba, target, corners(*frame_wh), frame_wh, cv2.BORDER_REFLECT_101)
        inside_px = int((crop[..., 3] > 127).sum())
        if close_up:  # some of both must be seen
            cover = inside_px / (frame_wh[0] * frame_wh[1])
            score = min(cover, 1 - cover) / 0.15
        else:  # most of the subject must be seen
            score = inside_px / max(subject * (frame_wh[1] / crop_height) ** 2, 1) / 0.6
        if score > best_score:
            best, best_score = crop, score
        if score > 1:
            break
    if rng.random() < 0.5:
        best = best[:, ::-1]
    return np.ascontiguousarray(best)


def warp(
    pixels: np.ndarray, source: np.ndarray, target: np.ndarray, size_wh: tuple[int, int], border: int
) -> np.ndarray:
    """Map the quadrilateral ``source`` of ``pixels`` onto ``target`` of a new picture, without aliasing."""
    shrink = _diagonal(target) / max(_diagonal(source), 1e-6)
    if shrink < 0.7:
        scaled = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        ratio = np.array([scaled.shape[1] / pixels.shape[1], scaled.shape[0] / pixels.shape[0]])
        source, pixels = (source * ratio).astype(np.float32), scaled
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(source), np.ascontiguousarray(target))
    return cv2.warpPerspective(pixels, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=border)


def _diagonal(quad: np.ndarray) -> float:
    return float(np.linalg.norm(quad[1] - quad[3]))


def _centre(alpha: np.ndarray) -> tuple[float, float]:
    moments = cv2.moments(alpha)
    if moments["m00"] <= 0:
        return alpha.shape[1] / 2, alpha.shape[0] / 2
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
