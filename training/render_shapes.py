"""Shapes and printed surfaces for rendered products, made of numbers: NumPy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LABEL_PX = 256
AROUND = 64
"""Segments around a turned shape."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices (n, 3), faces as tuples of vertex numbers, a texture coordinate for each corner of a face."""

    vertices: np.ndarray
    faces: list[tuple[int, ...]]
    corners: np.ndarray
    """(sum of the faces' lengths, 2), in the order of ``faces``; 0..1."""


def shape(kind: str, seed: int) -> Mesh:
    """A shape of ``render_layout.SHAPES``, standing on z = 0, about one unit high.

    Raises
    ------
    ValueError
        If there is no such shape.
    """
    rng = np.random.default_rng(seed)
    if kind == "carton":
        return _box(rng.uniform(0.35, 1.0), rng.uniform(0.18, 0.6), 1.0)
    if kind == "block":
        return _superellipsoid(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), 0.5, float(rng.uniform(2.2, 8)))
    if kind == "bangle":
        return _ring(float(rng.uniform(0.32, 0.42)), float(rng.uniform(0.05, 0.14)))
    if kind in ("bottle", "can", "jar"):
        return _turned(_profile(kind, rng))
    raise ValueError(f"shape: expected one of carton, block, bangle, bottle, can, jar, got {kind!r}")


def _box(width: float, depth: float, height: float) -> Mesh:
    x, y = width / 2, depth / 2
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    vertices = np.array([(*corner, z) for z in (0.0, height) for corner in corners])
    sides = [(k, (k + 1) % 4, (k + 1) % 4 + 4, k + 4) for k in range(4)]
    faces: list[tuple[int, ...]] = [*sides, (4, 5, 6, 7), (3, 2, 1, 0)]
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    return Mesh(vertices, faces, np.concatenate([square] * len(faces)))


def _profile(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(n, 2): radius and height from the bottom's middle to the top's."""
    body = float(rng.uniform(0.16, 0.34))
    if kind == "can":
        edge = body * 0.93
        return np.array([(0, 0), (edge, 0), (body, 0.04), (body, 0.95), (edge, 0.98), (edge, 1), (0, 1)])
    if kind == "jar":
        lid = body * float(rng.uniform(0.8, 1.02))
        return np.array([(0, 0), (body, 0), (body, 0.72), (lid * 0.95, 0.78), (lid, 0.8), (lid, 1), (0, 1)])
    neck = body * float(rng.uniform(0.25, 0.5))
    shoulder, cap = float(rng.uniform(0.5, 0.72)), float(rng.uniform(0.84, 0.92))
    bend = np.linspace(0, math.pi / 2, 12)
    top = shoulder + (cap - shoulder) * 0.8
    curve = np.stack(
        [neck + (body - neck) * np.cos(bend), shoulder + (top - shoulder) * np.sin(bend)], axis=1
    )
    closure = [(neck, cap), (neck * 1.25, cap), (neck * 1.25, 1), (0, 1)]
    return np.concatenate([[(0, 0), (body * 0.92, 0), (body, 0.03)], curve, closure])


def _turned(profile: np.ndarray) -> Mesh:
    """A profile turned around the vertical; texture goes around once and from the bottom to the top."""
    angles = np.linspace(0, 2 * math.pi, AROUND, endpoint=False)
    vertices = np.concatenate(
        [np.stack([r * np.cos(angles), r * np.sin(angles), np.full(AROUND, z)], 1) for r, z in profile]
    )
    faces: list[tuple[int, ...]] = []
    corners: list[tuple[float, float]] = []
    for ring in range(len(profile) - 1):
        low, high = profile[ring, 1], profile[ring + 1, 1]
        for k in range(AROUND):
            here, there = ring * AROUND, (ring + 1) * AROUND
            faces.append((here + k, here + (k + 1) % AROUND, there + (k + 1) % AROUND, there + k))
            left, right = k / AROUND, (k + 1) / AROUND
            corners += [(left, low), (right, low), (right, high), (left, high)]
    return Mesh(vertices, faces, np.array(corners))


def _ring(radius: float, thickness: float) -> Mesh:
    """A torus that lies on z = 0."""
    turn = np.linspace(0, 2 * math.pi, 25)
    profile = np.stack([radius + thickness * np.cos(turn), thickness + thickness * np.sin(turn)], axis=1)
    return _turned(profile)


def _superellipsoid(x: float, y: float, z: float, power: float) -> Mesh:
    """Between an ellipsoid (power 2) and a box with round edges."""
    rows = np.linspace(-math.pi / 2, math.pi / 2, 33)
    angles = np.linspace(0, 2 * math.pi, AROUND, endpoint=False)

    def rounded(values: np.ndarray) -> np.ndarray:
        values = np.where(np.abs(values) < 1e-9, 0.0, values)  # a root would make much of what is nearly zero
        return np.sign(values) * np.abs(values) ** (2 / power)

    flat = _turned(np.stack([np.cos(rows), (np.sin(rows) + 1) / 2], axis=1))
    radial, vertical = rounded(np.cos(rows)), rounded(np.sin(rows))
    vertices = np.concatenate(
        [
            np.stack(
                [x * r * rounded(np.cos(angles)), y * r * rounded(np.sin(angles)), np.full(AROUND, z * v)], 1
            )
            for r, v in zip(radial, vertical, strict=True)
        ]
    )
    vertices[:, 2] += z
    return Mesh(vertices, flat.faces, flat.corners)


def label(seed: int) -> np.ndarray:
    """A printed surface: fields, bands, spots, lines like words; uint8 (256, 256, 3) RGB."""
    rng = np.random.default_rng(seed)
    ink = rng.uniform(0, 1, (5, 3)) ** rng.uniform(0.6, 1.8)
    rows, columns = np.mgrid[0:LABEL_PX, 0:LABEL_PX] / LABEL_PX
    along = rows if rng.random() < 0.5 else columns
    blend = np.clip((along - rng.uniform(0, 0.6)) / rng.uniform(0.05, 1.0), 0, 1)[..., None]
    image = ink[0] * (1 - blend) + ink[1] * blend
    for _ in range(int(rng.integers(0, 4))):
        start, wide = rng.uniform(0, 0.9), rng.uniform(0.02, 0.3)
        image[(along > start) & (along < start + wide)] = ink[int(rng.integers(5))]
    for _ in range(int(rng.integers(0, 5))):
        center, radius = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.28, 2)
        inside = ((rows - center[0]) / radius[0]) ** 2 + ((columns - center[1]) / radius[1]) ** 2 < 1
        image[inside] = ink[int(rng.integers(5))]
    for _ in range(int(rng.integers(0, 7))):
        _words(image, rng, ink[int(rng.integers(5))])
    if rng.random() < 0.25:
        _bars(image, rng)
    image = image + rng.normal(0, 0.008, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def _words(image: np.ndarray, rng: np.random.Generator, ink: np.ndarray) -> None:
    """A line of blocks with gaps, as text is from afar."""
    high = int(rng.integers(3, 28))
    top, x = int(rng.integers(0, LABEL_PX - high)), int(rng.integers(4, LABEL_PX // 2))
    end = x + int(rng.integers(20, LABEL_PX // 2))
    while x < end:
        wide = max(2, int(high * rng.uniform(0.25, 0.8)))
        if rng.random() < 0.85:
            image[top : top + high, x : x + wide] = ink
        x += wide + max(1, high // 6)


def _bars(image: np.ndarray, rng: np.random.Generator) -> None:
    """A bar code on white."""
    top, left = (int(value) for value in rng.integers(10, LABEL_PX - 70, 2))
    image[top : top + 36, left : left + 60] = 1
    bars = np.repeat(rng.random(26) < 0.5, 2)
    image[top + 3 : top + 30, left + 4 : left + 56][:, bars] = 0
