"""The synthetic camera's scene: a product sweeping over a pre-rendered shop, painted by dirty rectangles."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .backdrop import draw_backdrop, table_row
from .frame_code import SMALLEST_HEIGHT, SMALLEST_WIDTH, encode_index, strip_wh
from .product import KINDS, draw_product

FORMATS = ("BGR", "RGB", "I420", "NV12")
_SWEEP_HZ, _DEPTH_HZ = 0.11, 0.17
_BT709 = np.array([[0.2126, 0.7152, 0.0722], [-0.1146, -0.3854, 0.5], [0.5, -0.4542, -0.0458]], np.float32)


class Scene:
    """What the synthetic camera sees: a pure function of size, rate, seed and index.

    Parameters
    ----------
    width, height : int
        At least 16 x 8; even for I420 and NV12.
    fps : float
        How fast the product moves is set in seconds, so the rate decides how far it moves per frame.
    seed : int
        Chooses product, colours, background and path.
    format : str
        One of :data:`FORMATS`; planar ones are BT.709, limited range.
    kind : str, optional
        One of :data:`product.KINDS`; chosen by the seed when omitted.
    """

    def __init__(self, width: int, height: int, fps: float, seed: int, format: str, kind: str | None = None):
        if width < SMALLEST_WIDTH or height < 4 * SMALLEST_HEIGHT:
            raise ValueError(f"size: the synthetic scene needs at least 16x8 pixels, got {width}x{height}")
        if format not in FORMATS:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
        if format in ("I420", "NV12") and (width % 2 or height % 2):
            raise ValueError(f"size: {format} needs an even width and height, got {width}x{height}")
        self.width, self.height, self.format = width, height, format
        self._fps = fps
        kind = kind or KINDS[seed % len(KINDS)]
        room = min(0.62 * height, width * {"bottle": 1.2, "cup": 0.55, "box": 0.8}[kind])
        product = draw_product(int(room), kind=kind, seed=seed)
        canvas = _with_shadow(product)
        # A frame of a few pixels cannot hold even the smallest product: it shows part of it.
        colour, opacity, self._sprite_alpha = (part[:height, :width] for part in canvas)
        self._sprite_wh = (colour.shape[1], colour.shape[0])
        rng = np.random.default_rng([seed, 1])
        self._phases = rng.uniform(0, 2 * math.pi, 2)
        background = draw_backdrop(width, height, seed=seed)
        self._luma = format in ("I420", "NV12")
        wide, high = strip_wh(width)
        self._layers = []
        for plane, sprite, alpha, step in _planes(background, colour, opacity, format):
            if self._luma and step == 2:
                plane[: -(-high // 2), : -(-wide // 2)] = 128  # the code is black and white
            inverse = 255 - alpha
            scaled = (sprite.astype(np.float32) * (alpha.astype(np.float32) / 255)).round().astype(np.uint8)
            self._layers.append((plane, scaled, inverse, np.empty_like(scaled), step))

    def new_planes(self) -> tuple[np.ndarray, ...]:
        """Buffers holding the bare background."""
        return tuple(layer[0].copy() for layer in self._layers)

    def position(self, index: int) -> tuple[int, int]:
        """Column and row of the sprite's top left corner in frame ``index``; even, for the chroma planes."""
        seconds = index / self._fps
        wide, high = self._sprite_wh
        sweep = math.sin(2 * math.pi * _SWEEP_HZ * seconds + self._phases[0])
        depth = math.sin(2 * math.pi * _DEPTH_HZ * seconds + self._phases[1])
        x = (self.width - wide) * (0.5 + 0.40 * sweep)
        nearest = self.height - high
        farthest = max(0, min(nearest, table_row(self.height) + 0.10 * self.height - high))
        y = farthest + (nearest - farthest) * (0.5 + 0.30 * depth)
        return int(x) & ~1, int(y) & ~1

    def paint(self, planes: tuple[np.ndarray, ...], index: int, previous: int | None) -> None:
        """Turn ``planes`` from frame ``previous`` (None: the bare background) into frame ``index``.

        Only the rectangles of the product's old and new place are touched, and the code; nothing is
        allocated but a few views.
        """
        if previous is not None:
            self._restore(planes, self.position(previous))
        x, y = self.position(index)
        for plane, (background, sprite, inverse, scratch, step) in zip(planes, self._layers, strict=True):
            high, wide = sprite.shape[:2]
            where = np.s_[y // step : y // step + high, x // step : x // step + wide]
            cv2.multiply(background[where], inverse, dst=scratch, scale=1 / 255)
            cv2.add(scratch, sprite, dst=plane[where])
        if self._luma:
            encode_index(planes[0], index, black=16, white=235)
        else:
            encode_index(planes[0], index)

    def _restore(self, planes: tuple[np.ndarray, ...], place: tuple[int, int]) -> None:
        x, y = place
        for plane, (background, sprite, _, _, step) in zip(planes, self._layers, strict=True):
            high, wide = sprite.shape[:2]
            where = np.s_[y // step : y // step + high, x // step : x // step + wide]
            np.copyto(plane[where], background[where])

    def alpha_of(self, index: int) -> np.ndarray:
        """True alpha of the product in frame ``index``, uint8 ``(H, W)``; its shadow is background."""
        alpha = np.zeros((self.height, self.width), np.uint8)
        x, y = self.position(index)
        high, wide = self._sprite_alpha.shape
        alpha[y : y + high, x : x + wide] = self._sprite_alpha
        return alpha


def _with_shadow(product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Product over its contact shadow, even-sized: RGB, combined opacity, the product's own alpha."""
    high, wide = product.alpha.shape
    side, below = max(1, round(wide * 0.14)), max(1, round(high * 0.07))
    canvas = ((high + below + 1) & ~1, (wide + 2 * side + 1) & ~1)
    alpha = np.zeros(canvas, np.uint8)
    alpha[:high, side : side + wide] = product.alpha
    colour = np.zeros((*canvas, 3), np.float32)
    colour[:high, side : side + wide] = product.rgb
    shadow = np.zeros(canvas, np.float32)
    lowest = product.alpha[int(product.foot[1] * 0.94)] > 127
    half = max(1, int(lowest.sum()) // 2)
    column = side + int(np.flatnonzero(lowest).mean()) if lowest.any() else side + product.foot[0]
    foot = (column, product.foot[1] - max(1, below // 3))
    cv2.ellipse(shadow, foot, (round(half * 1.16), max(1, round(below * 0.75))), 0, 0, 360, 1.0, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.5, below * 0.35)) * 0.62
    opacity = alpha.astype(np.float32) / 255
    total = opacity + shadow * (1 - opacity)
    # The shadow is nearly black, so only the product contributes colour.
    colour = colour * opacity[..., None] + 14.0 * (shadow * (1 - opacity))[..., None]
    colour = colour / np.maximum(total, 1e-3)[..., None]
    return np.rint(colour.clip(0, 255)).astype(np.uint8), np.rint(total * 255).astype(np.uint8), alpha


def _planes(background, colour, opacity, format):
    """Yield (background plane, sprite plane, its opacity, subsampling) for each plane of ``format``."""
    if format in ("BGR", "RGB"):
        order = slice(None, None, -1) if format == "BGR" else slice(None)
        packed = np.ascontiguousarray(background[..., order])
        yield packed, np.ascontiguousarray(colour[..., order]), np.dstack([opacity] * 3), 1
        return
    half_wh = (opacity.shape[1] // 2, opacity.shape[0] // 2)
    small_opacity = cv2.resize(opacity, half_wh, interpolation=cv2.INTER_AREA)
    below, above = _yuv420(background), _yuv420(colour)
    yield below[0], above[0], opacity, 1
    if format == "I420":
        yield below[1], above[1], small_opacity, 2
        yield below[2], above[2], small_opacity, 2
    else:
        yield np.dstack(below[1:]), np.dstack(above[1:]), np.dstack([small_opacity] * 2), 2


def _yuv420(rgb: np.ndarray) -> list[np.ndarray]:
    """BT.709 limited-range Y, U, V planes of an even-sized RGB picture."""
    yuv = cv2.transform(rgb.astype(np.float32), _BT709)
    half_wh = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    planes = [16 + yuv[..., 0] * (219 / 255)]
    planes += [
        128 + cv2.resize(yuv[..., c], half_wh, interpolation=cv2.INTER_AREA) * (224 / 255) for c in (1, 2)
    ]
    return [np.rint(plane.clip(0, 255)).astype(np.uint8) for plane in planes]
