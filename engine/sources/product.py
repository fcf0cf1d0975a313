"""A product drawn by the synthetic camera: a bottle, a cup or a box, shaded, with a label and true alpha."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

KINDS = ("bottle", "cup", "box")
_OVERSAMPLING = 2
_PALETTE = ((196, 62, 48), (38, 112, 168), (52, 132, 92), (222, 160, 48), (118, 74, 150), (236, 232, 222))


class Product(NamedTuple):
    """A drawn product, cropped to a canvas with a little room around it."""

    rgb: np.ndarray
    """Straight RGB colours, uint8 ``(h, w, 3)``."""
    alpha: np.ndarray
    """Opacity, uint8 ``(h, w)``."""
    foot: tuple[int, int]
    """Column and row of the middle of its foot, where the contact shadow lies."""


def draw_product(height_px: int, *, kind: str, seed: int) -> Product:
    """Draw a product about ``height_px`` tall.

    ``kind`` is one of :data:`KINDS`; ``seed`` chooses colours and label. ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    tall = max(8, height_px) * _OVERSAMPLING
    rgb, alpha = {"bottle": _bottle, "cup": _cup, "box": _box}[kind](tall, rng)
    small_wh = (alpha.shape[1] // _OVERSAMPLING, alpha.shape[0] // _OVERSAMPLING)
    # Colours are shrunk premultiplied, so that the black around the product does not darken its rim.
    premultiplied = cv2.resize(
        (rgb * alpha[..., None]).astype(np.float32), small_wh, interpolation=cv2.INTER_AREA
    )
    alpha = cv2.resize(alpha.astype(np.float32), small_wh, interpolation=cv2.INTER_AREA)
    rgb = premultiplied / np.maximum(alpha, 1e-3)[..., None]
    alpha_u8 = np.rint(alpha * 255).astype(np.uint8)
    rows = np.flatnonzero(alpha_u8.any(axis=1))
    return Product(
        np.rint(rgb.clip(0, 255)).astype(np.uint8), alpha_u8, (alpha_u8.shape[1] // 2, int(rows[-1]))
    )


def _label(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A printed label, float ``(height, width, 3)`` 0..255."""
    paper = np.array(_PALETTE[5], float) * rng.uniform(0.94, 1.0)
    ink = tuple(float(c) for c in _PALETTE[int(rng.integers(5))])
    label = np.full((height, width, 3), paper, np.uint8)  # putText wants uint8
    cv2.rectangle(label, (0, 0), (width, height // 5), ink, -1)
    cv2.circle(label, (width // 2, int(height * 0.42)), max(1, height // 8), ink, -1, cv2.LINE_AA)
    text, font = "LIVECUT", cv2.FONT_HERSHEY_DUPLEX
    (text_w, _), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = 0.62 * width / text_w
    thick = max(1, round(scale * 2))
    origin = (int(width / 2 - text_w * scale / 2), int(height * 0.70))
    cv2.putText(label, text, origin, font, scale, (40, 36, 34), thick, cv2.LINE_AA)
    for row in (0.80, 0.86, 0.92):
        y = int(height * row)
        cv2.line(label, (int(width * 0.3), y), (int(width * 0.7), y), (120, 116, 112), max(1, height // 90))
    return label.astype(np.float32)


def _revolve(canvas_wh, radius, top, bottom, colour, rng, *, gloss=0.9, label_rows=None):
    """Shade a solid of revolution: ``radius`` gives the half width in pixels for each canvas row."""
    width, height = canvas_wh
    rows = np.arange(height, dtype=np.float32)[:, None]
    across = (np.arange(width, dtype=np.float32)[None, :] + 0.5) - width / 2
    half = np.maximum(radius.astype(np.float32), 1e-3)[:, None]
    u = np.clip(across / half, -1, 1)
    coverage = np.clip(half - np.abs(across) + 0.5, 0, 1)
    # Feet and shoulders are rounded by the bulge that a camera slightly above the table sees.
    bulge = 0.16 * half * np.sqrt(1 - u * u)
    coverage *= np.clip(rows - (top - 0.25 * bulge) + 0.5, 0, 1)
    coverage *= np.clip((bottom - 0.16 * half + bulge) - rows + 0.5, 0, 1)
    surface = np.broadcast_to(np.asarray(colour, np.float32), (height, width, 3)).copy()
    if label_rows is not None:
        label_top, label_bottom = label_rows
        turn = np.arcsin(u) / np.pi * 2  # the label is wound around the front, seen through the curve
        label = _label(round(1.6 * half.max()), label_bottom - label_top, rng)
        map_x = ((turn / 0.86 + 1) / 2 * (label.shape[1] - 1)).astype(np.float32)
        map_y = np.broadcast_to(rows - label_top - bulge * 0.6, map_x.shape).astype(np.float32)
        printed = cv2.remap(label, map_x, np.ascontiguousarray(map_y), cv2.INTER_LINEAR)
        inside = (np.abs(turn) < 0.86) & (map_y >= 0) & (map_y < label.shape[0] - 1)
        surface[inside] = printed[inside]
    shade = 0.30 + 0.72 * np.sqrt(np.clip(1 - (u * 0.96 + 0.22) ** 2, 0, 1))
    glint = np.exp(-(((u + 0.48) / 0.07) ** 2)) + 0.35 * np.exp(-(((u - 0.74) / 0.05) ** 2))
    rgb = surface * shade[..., None] + 120 * gloss * glint[..., None]
    return np.clip(rgb, 0, 255), coverage


def _over(rgb, alpha, rgb_above, alpha_above):
    total = alpha_above + alpha * (1 - alpha_above)
    mixed = rgb_above * alpha_above[..., None] + rgb * (alpha * (1 - alpha_above))[..., None]
    return mixed / np.maximum(total, 1e-6)[..., None], total


def _bottle(tall, rng):
    width, height = round(tall * 0.52), tall
    t = np.linspace(0, 1, height)
    body, neck = 0.40 * width, 0.145 * width
    shoulder = 1 / (1 + np.exp(-(t - 0.30) / 0.028))
    radius = neck + (body - neck) * shoulder
    colour = _PALETTE[int(rng.integers(5))]
    rows = (round(0.46 * height), round(0.86 * height))
    rgb, alpha = _revolve(
        (width, height), radius, 0.10 * height, 0.975 * height, colour, rng, label_rows=rows
    )
    cap_radius = np.full(height, neck * 1.22)
    cap_rgb, cap_alpha = _revolve(
        (width, height), cap_radius, 0.025 * height, 0.15 * height, (52, 50, 54), rng, gloss=0.5
    )
    ridges = 1 + 0.14 * np.sin(np.arange(width) / width * 150)
    return _over(rgb, alpha, np.clip(cap_rgb * ridges[None, :, None], 0, 255), cap_alpha)


def _cup(tall, rng):
    width, height = round(tall * 1.20), tall
    t = np.linspace(0, 1, height)
    radius = width * (0.335 - 0.085 * t)
    colour = _PALETTE[int(rng.integers(6))]
    rows = (round(0.34 * height), round(0.84 * height))
    rgb, alpha = _revolve(
        (width, height), radius, 0.12 * height, 0.97 * height, colour, rng, gloss=0.7, label_rows=rows
    )
    handle = np.zeros((height, width), np.float32)
    centre, axes = (round(width * 0.80), round(height * 0.50)), (round(width * 0.125), round(height * 0.23))
    cv2.ellipse(handle, centre, axes, 0, 0, 360, 1.0, max(2, round(width * 0.05)), cv2.LINE_AA)
    shade = np.linspace(1.0, 0.55, width, dtype=np.float32)[None, :, None]
    rgb, alpha = _over(np.asarray(colour, np.float32) * 0.8 * shade, handle, rgb, alpha)
    mouth = np.zeros((height, width), np.float32)
    lip = np.zeros_like(mouth)
    centre = (width // 2, round(0.12 * height))
    outer = (round(radius[round(0.12 * height)]), round(0.075 * height))
    inner = (round(outer[0] * 0.93), round(outer[1] * 0.80))
    cv2.ellipse(lip, centre, outer, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    cv2.ellipse(mouth, centre, inner, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    rgb, alpha = _over(rgb, alpha, np.full_like(rgb, 236.0), lip)
    depth = np.linspace(30, 70, width, dtype=np.float32)[None, :, None]
    return _over(rgb, alpha, np.broadcast_to(depth, rgb.shape), mouth)


def _box(tall, rng):
    width, height = round(tall * 0.82), tall
    colour = np.asarray(_PALETTE[int(rng.integers(5))], np.float32)
    rgb = np.zeros((height, width, 3), np.float32)
    alpha = np.zeros((height, width), np.float32)

    def corner(x, y):
        return [round(x * width), round(y * height)]

    faces = (
        ((0.06, 0.13), (0.68, 0.10), (0.68, 0.97), (0.06, 0.92), 0.95),
        ((0.68, 0.10), (0.95, 0.15), (0.95, 0.89), (0.68, 0.97), 0.52),
        ((0.06, 0.13), (0.34, 0.04), (0.95, 0.15), (0.68, 0.10), 1.12),
    )
    for *corners, light in faces:
        polygon = np.array([corner(*point) for point in corners], np.int32)
        cv2.fillPoly(rgb, [polygon], (colour * light).clip(0, 255).tolist(), cv2.LINE_AA)
        cv2.fillPoly(alpha, [polygon], 1.0, cv2.LINE_AA)
    label = _label(round(0.5 * width), round(0.52 * height), rng)
    high, wide = label.shape[:2]
    target = np.array(
        [corner(0.13, 0.27), corner(0.61, 0.255), corner(0.61, 0.82), corner(0.13, 0.79)], np.float32
    )
    move = cv2.getPerspectiveTransform(
        np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32), target
    )
    printed = cv2.warpPerspective(label, move, (width, height), flags=cv2.INTER_LINEAR)
    inside = cv2.warpPerspective(np.ones((high, wide), np.float32), move, (width, height))
    shade = np.linspace(1.04, 0.90, height, dtype=np.float32)[:, None, None]
    rgb, _ = _over(rgb, np.ones_like(alpha), printed, inside)
    return np.clip(rgb * shade, 0, 255), alpha
