"""What the benchmarks work on: seeded frames of a product before a backdrop, a background, alphas."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np

FRAME_WH = (1920, 1080)
INPUT_WH = (512, 288)
MEAN = STD = (127.5, 127.5, 127.5)
# Several frames in turn: as with a camera, no contender finds the last call's pixels in its caches.
FRAMES = 4


@functools.cache
def frames(size_wh: tuple[int, int] = FRAME_WH, count: int = FRAMES) -> tuple[np.ndarray, ...]:
    """BGR frames ``(H, W, 3)``: a textured product moving over a lit backdrop, with noise. Read-only."""
    import cv2

    width, height = size_wh
    rng = np.random.default_rng(7)
    backdrop = cv2.resize(
        rng.uniform(120, 230, (5, 8, 3)).astype(np.float32), size_wh, interpolation=cv2.INTER_CUBIC
    )
    texture = cv2.resize(
        rng.uniform(0, 255, (60, 100, 3)).astype(np.float32), size_wh, interpolation=cv2.INTER_CUBIC
    )
    made = []
    for index in range(count):
        alpha = product_alpha(size_wh, shift=0.02 * index)[..., None]
        frame = (
            texture * alpha + backdrop * (1 - alpha) + rng.normal(0, 2, (height, width, 3)).astype(np.float32)
        )
        made.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
        made[-1].flags.writeable = False
    return tuple(made)


@functools.cache
def camera_frames(size_wh: tuple[int, int] = FRAME_WH, count: int = FRAMES) -> tuple[np.ndarray, ...]:
    """BGR frames of livecut's synthetic camera over two seconds: a product a network can find. Read-only."""
    from livecut.engine.sources import open_source

    width, height = size_wh
    source = open_source(f"synthetic://{width}x{height}@{count / 2:g}?seconds=2&pace=0")
    source.open()
    made = []
    for _ in range(count):
        made.append(source.read().image.copy())
        made[-1].flags.writeable = False
    source.close()
    return tuple(made)


@functools.cache
def background(size_wh: tuple[int, int] = FRAME_WH) -> np.ndarray:
    """A BGR picture ``(H, W, 3)`` to put behind the product. Read-only."""
    import cv2

    rng = np.random.default_rng(8)
    small = rng.uniform(0, 255, (27, 48, 3)).astype(np.float32)
    picture = np.clip(cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


def product_alpha(size_wh: tuple[int, int] = INPUT_WH, *, shift: float = 0.0) -> np.ndarray:
    """float32 ``(h, w)`` in 0..1, like a network's: a product over 30 % of the frame, edge 1 % of height.

    A sigmoid's output, so nearly nothing is exactly 0 or 1.
    """
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u = (x + 0.5) / width * 16 / 9 - 8 / 9 - shift
    v = (y + 0.5) / height - 0.5
    angle = np.arctan2(v, u)
    radius = 0.41 * (1 + 0.06 * np.sin(5 * angle) + 0.03 * np.sin(17 * angle))
    distance = np.hypot(u, v) - radius
    # 10 % to 90 % of the edge within 0.01 of the frame's height.
    return (1 / (1 + np.exp(np.clip(distance * 440, -40, 40)))).astype(np.float32)


def mixed_alpha(size_wh: tuple[int, int] = INPUT_WH) -> np.ndarray:
    """float32 ``(h, w)`` strictly between 0 and 1 everywhere: nothing can be skipped."""
    rng = np.random.default_rng(9)
    return rng.uniform(0.05, 0.95, (size_wh[1], size_wh[0])).astype(np.float32)


def coverage(alpha: np.ndarray) -> dict[str, float]:
    """Shares of the frame that are foreground (alpha summed) and that are mixed once alpha is a byte."""
    mixed = float(np.mean((alpha > 0.5 / 255) & (alpha < 1 - 0.5 / 255)))
    return {"foreground": round(float(alpha.mean()), 4), "mixed": round(mixed, 4)}


def over_frames(call: Callable[[np.ndarray], object]) -> Callable[[], object]:
    """``call`` on one frame after the other, a frame each time it is called."""
    turn = itertools.cycle(frames())
    return lambda: call(next(turn))
