"""Every kernel in plain NumPy, float64: the specification that the compiled kernels are tested against."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}  # of red and of blue


@lru_cache(maxsize=256)
def axis_weights(source: float, target: int) -> np.ndarray:
    """Weights ``(target, ceil(source))`` that resize one axis: area when shrinking, bilinear when enlarging.

    ``source`` may end in a half: the chroma axis of a frame with an odd number of luma samples, whose last
    sample counts for only half its width.
    """
    samples = int(np.ceil(source))
    scale = source / target
    weights = np.zeros((target, samples))
    for i in range(target):
        if scale >= 1:
            edges = np.clip(np.arange(samples + 1), i * scale, (i + 1) * scale)
            weights[i] = np.diff(edges) / scale
        else:
            centre = min(max((i + 0.5) * scale - 0.5, 0), samples - 1)
            left = min(int(centre), samples - 1)
            weights[i, left] += 1 - (centre - left)
            weights[i, min(left + 1, samples - 1)] += centre - left
    return weights


def resize(
    plane: np.ndarray, target_wh: tuple[int, int], source_wh: tuple[float, float] | None = None
) -> np.ndarray:
    """Resize ``(H, W)`` or ``(H, W, C)``; float64, not rounded."""
    width, height = source_wh or (plane.shape[1], plane.shape[0])
    rows = np.tensordot(axis_weights(height, target_wh[1]), plane.astype(np.float64), 1)
    return np.moveaxis(np.tensordot(axis_weights(width, target_wh[0]), rows, (1, 1)), 0, 1)


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: str, full_range: bool) -> np.ndarray:
    """Float YUV in 0..255 to float RGB in 0..255, clipped, not rounded."""
    red, blue = LUMA_WEIGHTS[matrix]
    if not full_range:
        y = (y - 16) * (255 / 219)
    cb, cr = (c - 128 if full_range else (c - 128) * (255 / 224) for c in (u, v))
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], axis=-1), 0, 255)


def resized_rgb(
    planes, format: str, target_wh, matrix: str = "bt709", full_range: bool = False
) -> np.ndarray:
    """The frame as float RGB ``(h, w, 3)``, 0..255: planar formats are converted after resizing."""
    if format in ("I420", "NV12"):
        height, width = planes[0].shape
        u, v = planes[1:] if format == "I420" else (planes[1][..., 0], planes[1][..., 1])
        luma = resize(planes[0], target_wh)
        cb, cr = (resize(c, target_wh, (width / 2, height / 2)) for c in (u, v))
        return yuv_to_rgb(luma, cb, cr, matrix, full_range)
    rgb = planes[0][..., :3] if format.startswith("RGB") else planes[0][..., 2::-1]
    return resize(rgb, target_wh)


def preprocess(planes, *, format, geometry, mean, std, order, layout, dtype, pad_value, matrix, full_range):
    """Return ``(out, small)``: the network input, and the un-normalised uint8 RGB of the same size."""
    width, height = geometry.input_wh
    x, y, w, h = geometry.roi
    rgb = np.empty((height, width, 3))
    rgb[:] = pad_value
    rgb[y : y + h, x : x + w] = resized_rgb(planes, format, (w, h), matrix, full_range)
    out = rgb if order == "RGB" else rgb[..., ::-1]
    out = (out - np.asarray(mean)) / np.asarray(std)
    if layout == "NCHW":
        out = np.moveaxis(out, -1, 0)
    if np.dtype(dtype) == np.uint8:
        out = np.clip(np.rint(out), 0, 255)
    return out[None].astype(dtype), np.rint(rgb).astype(np.uint8)


def denoise(image: np.ndarray, strength: int) -> np.ndarray:
    """uint8 ``(H, W, C)``: each sample plus a ninth of the tapered differences to its eight neighbours."""
    height, width = image.shape[:2]
    here = image.astype(np.int64)
    padded = np.pad(here, ((1, 1), (1, 1), (0, 0)), mode="edge")
    total = np.zeros_like(here)
    for dy in range(3):
        for dx in range(3):
            difference = padded[dy : dy + height, dx : dx + width] - here
            size = np.abs(difference)
            total += np.sign(difference) * np.minimum(size, np.maximum(2 * strength - size, 0))
    return (here + np.rint(total / 9).astype(np.int64)).astype(np.uint8)


def smooth_alpha(
    alpha, luma, previous_alpha, previous_luma, *, base, still, moving, steady, jump
) -> np.ndarray:
    """Float ``(h, w)``: the alpha of a frame mixed with the one put out before; see `TemporalSmoother`."""

    def mean_of_nine(change: np.ndarray) -> np.ndarray:
        padded = np.pad(change, 1, mode="edge")
        height, width = change.shape
        nine = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
        return np.mean(nine, axis=0)

    def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
        t = np.clip((value - low) / (high - low), 0, 1)
        return t * t * (3 - 2 * t)

    moved = mean_of_nine(np.abs(luma.astype(np.float64) - previous_luma))
    jumped = mean_of_nine(np.floor(np.abs(alpha - previous_alpha) * 255 + 0.5))
    weight = base + (1 - base) * np.maximum(
        smoothstep(moved, still, moving), smoothstep(jumped, steady, jump)
    )
    return previous_alpha + weight * (alpha - previous_alpha)


def luma_of(small: np.ndarray) -> np.ndarray:
    """uint8 luma of uint8 RGB, as the temporal kernel compares it."""
    weighted = small.astype(np.int64) @ np.array([38, 75, 15])
    return ((weighted + 64) // 128).astype(np.uint8)


def bounds(alpha: np.ndarray, threshold: int):
    """``(box, coverage, border_contact)`` of the pixels that are at least ``threshold``."""
    inside = alpha >= threshold
    contact = tuple(float(edge.mean()) for edge in (inside[0], inside[:, -1], inside[-1], inside[:, 0]))
    if not inside.any():
        return None, 0.0, contact
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y), float(inside.mean()), contact
