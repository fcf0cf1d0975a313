"""The shop behind the synthetic camera's product: an out-of-focus shelf, a wooden table, a vignette."""

from __future__ import annotations

import cv2
import numpy as np

_GOODS = ((176, 84, 70), (70, 110, 150), (104, 142, 92), (206, 170, 92), (150, 112, 160), (214, 206, 194))


def draw_backdrop(width: int, height: int, *, seed: int) -> np.ndarray:
    """Draw a shop-like background, uint8 RGB ``(height, width, 3)``. The same seed gives the same picture."""
    rng = np.random.default_rng(seed)
    # Drawn at half size: everything but the table's grain is blurred anyway, and start-up stays quick.
    w, h = max(2, width // 2), max(2, height // 2)
    horizon = round(table_row(height) * h / height)
    scene: np.ndarray = np.empty((h, w, 3), np.float32)
    wall = rng.uniform(150, 200) * np.array([1.0, 0.97, 0.92], np.float32)
    scene[:] = wall * np.linspace(1.12, 0.82, h, dtype=np.float32)[:, None, None]
    _shelves(scene[:horizon], rng)
    blur = max(1.0, h / 70)
    scene = cv2.GaussianBlur(scene, (0, 0), blur)
    scene[horizon:] = _table(w, h - horizon, rng)
    edge = slice(max(0, horizon - 2), min(h, horizon + 2))
    scene[edge] = cv2.GaussianBlur(scene[edge], (0, 0), 1.0)
    scene = cv2.resize(scene, (width, height), interpolation=cv2.INTER_LINEAR)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    scene = scene * (1.06 - 0.30 * (x * x + y * y) ** 1.2 * 0.5)[..., None]
    grain = rng.normal(0, 2.0, (128, 128, 1)).astype(np.float32)  # sensor noise, tiled
    tiles = (-(-height // 128), -(-width // 128), 1)
    scene = scene + np.tile(grain, tiles)[:height, :width]
    return np.rint(scene.clip(0, 255)).astype(np.uint8)


def table_row(height: int) -> int:
    """The row at which the wall meets the table."""
    return round(height * 0.66)


def _shelves(wall: np.ndarray, rng: np.random.Generator) -> None:
    h, w = wall.shape[:2]
    for board in (0.34, 0.80):
        y = round(board * h)
        x = 0
        while x < w:
            wide = max(1, round(rng.uniform(0.25, 0.7) * 0.25 * h))
            high = max(1, round(rng.uniform(0.35, 0.95) * 0.30 * h))
            colour = np.array(_GOODS[int(rng.integers(len(_GOODS)))], np.float32) * rng.uniform(0.75, 1.1)
            if rng.random() < 0.82:
                cv2.rectangle(wall, (x, y - high), (x + wide, y), colour.tolist(), -1)
                cv2.rectangle(
                    wall, (x, y - high // 2), (x + wide, y - high // 3), (colour * 0.6 + 90).tolist(), -1
                )
            x += wide + max(1, round(rng.uniform(0.05, 0.2) * 0.2 * h))
        cv2.rectangle(wall, (0, y), (w, y + max(1, h // 24)), (122, 98, 76), -1)


def _table(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    wood = np.array([172, 126, 84], np.float32) * rng.uniform(0.85, 1.1)
    grain: np.ndarray = cv2.GaussianBlur(
        rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), sigmaX=14, sigmaY=0.7
    )
    grain = grain * (11 / max(float(grain.std()), 1e-6))
    planks = (np.arange(height) * 4 // max(height, 1))[:, None]
    tone = rng.uniform(0.93, 1.05, 5).astype(np.float32)[planks]
    depth = np.linspace(0.86, 1.08, height, dtype=np.float32)[:, None]
    return (wood * (tone * depth)[..., None]) + grain[..., None] * np.array([1.0, 0.85, 0.65], np.float32)
