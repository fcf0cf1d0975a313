"""Specification of `refine_and_composite` and its neighbours in plain NumPy, float64, nothing rounded but the
result.

The compiled kernels agree within 2 of 255 (see tests/kernels/test_refine.py): they hold alpha in 11 and 15
bits and round the decontaminated foreground to 8. A packed picture here is RGB; the callers swap channels.
"""

from __future__ import annotations

import numpy as np

from . import reference

LUMA = {"bt709": np.array([27, 92, 9]) / 128, "bt601": np.array([38, 75, 15]) / 128}
"""The guide's weights of R, G, B: those of the matrix, in 128ths."""
STEEPEST = 7.0
REACH = 1


def enlarging_weights(source: float, target: int) -> np.ndarray:
    """Bilinear weights ``(target, cells)``, half-pixel centres; the last cell may be half one."""
    cells = int(np.ceil(source))
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, cells - 1)
    left = np.floor(centre).astype(int)
    weights = np.zeros((target, cells))
    rows = np.arange(target)
    weights[rows, left] += 1 - (centre - left)
    weights[rows, np.minimum(left + 1, cells - 1)] += centre - left
    return weights


def enlarge(
    plane: np.ndarray, frame_wh: tuple[int, int], cells_wh: tuple[float, float] | None = None
) -> np.ndarray:
    """Enlarge ``(h, w)`` or ``(h, w, C)`` to the frame."""
    width, height = cells_wh or (plane.shape[1], plane.shape[0])
    rows = np.tensordot(enlarging_weights(height, frame_wh[1]), plane, 1)
    return np.moveaxis(np.tensordot(enlarging_weights(width, frame_wh[0]), rows, (1, 1)), 0, 1)


def box_sums(plane: np.ndarray, radius: int) -> np.ndarray:
    """Sums over windows of ``2 radius + 1`` cells square, cut off at the edges."""
    height, width = plane.shape
    down = (np.abs(np.subtract.outer(np.arange(height), np.arange(height))) <= radius).astype(float)
    across = (np.abs(np.subtract.outer(np.arange(width), np.arange(width))) <= radius).astype(float)
    return down @ plane @ across


def box_means(plane: np.ndarray, radius: int) -> np.ndarray:
    """Means over the same windows."""
    return box_sums(plane, radius) / box_sums(np.ones(plane.shape), radius)


def extremes(plane: np.ndarray, reach: int = REACH) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum over windows of ``2 reach + 1`` cells square."""
    padded = np.pad(plane, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return windows.min((2, 3)), windows.max((2, 3))


def crop(array: np.ndarray, roi: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a network-sized array that lies under the frame, float64."""
    x, y, width, height = roi
    return array[y : y + height, x : x + width].astype(np.float64)


def guided_alpha(alpha, small, guide, *, radius: int, eps: float, luma: np.ndarray) -> np.ndarray:
    """Bilinear alpha, plus the guided filter's slope times what the small picture lacks of the guide.

    ``alpha (h, w)`` in 0..1, ``small (h, w, 3)`` in 0..255, ``guide (H, W)`` in 0..1. The result stays within
    the envelope of the small alpha around.
    """
    alpha = np.where(alpha < 1 / 255, 0, np.where(alpha > 254 / 255, 1, alpha))
    intensity = small @ luma / 255
    mean_i, mean_p = box_means(intensity, radius), box_means(alpha, radius)
    covariance = box_means(intensity * alpha, radius) - mean_i * mean_p
    variance = box_means(intensity * intensity, radius) - mean_i**2
    slope = box_means(np.clip(covariance / (variance + eps), -STEEPEST, STEEPEST), radius)
    low, high = extremes(alpha)
    size = guide.shape[::-1]
    value = enlarge(slope, size) * guide + enlarge(alpha - slope * intensity, size)
    return np.clip(value, enlarge(low, size), enlarge(high, size))


def fused_colours(alpha, small, frame_wh, *, fusion_radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Blur fusion: enlarged foreground and background colours, ``(H, W, 3)`` each.

    Means of the picture weighted by the fourth powers of alpha and of 1 - alpha, on a grid of half the size.
    """
    height, width = alpha.shape
    edges = ((0, height % 2), (0, width % 2))

    def halve(plane):
        padded = np.pad(plane, edges, mode="edge")
        return padded.reshape(padded.shape[0] // 2, 2, -1, 2).mean((1, 3))

    sides = []
    for weight in (alpha**4, (1 - alpha) ** 4):
        colour = np.stack([box_sums(halve(weight * small[..., c]), fusion_radius) for c in range(3)], -1)
        sides.append((colour, box_sums(halve(weight), fusion_radius)[..., None]))
    all_colour, all_weight = sides[0][0] + sides[1][0], sides[0][1] + sides[1][1]
    grids = [(colour + 1e-4 * all_colour) / (weight + 1e-4 * all_weight) for colour, weight in sides]
    front, back = (enlarge(grid, frame_wh, (width / 2, height / 2)) for grid in grids)
    return front, back


def unmix(pixels, alpha, front, back) -> np.ndarray:
    """``F = F^ + a (I - a F^ - (1 - a) B^)``, clipped to 0..255."""
    a = alpha[..., None]
    return np.clip(front + a * (pixels - a * front - (1 - a) * back), 0, 255)


def multiply_alpha(alpha: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Round alpha to 8 bits and multiply by an 8-bit alpha, rounding again."""
    return np.rint(np.rint(alpha * 255) * other / 255) / 255


def rgb_to_yuv(rgb: np.ndarray, matrix: str, full_range: bool) -> np.ndarray:
    """Float RGB to float Y, U, V in 0..255."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    y = rgb @ np.array([red, 1 - red - blue, blue])
    u, v = (rgb[..., 2] - y) / (2 * (1 - blue)), (rgb[..., 0] - y) / (2 * (1 - red))
    luma, chroma, offset = (1, 1, 0) if full_range else (219 / 255, 224 / 255, 16)
    return np.stack([y * luma + offset, u * chroma + 128, v * chroma + 128], -1)


def quarter(plane: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2; the last row and column repeat where the size is odd."""
    padded = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, -1, 2).mean((1, 3))


def composite(pixels: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """``background + alpha (pixels - background)`` for 2 or 3 axes; not rounded."""
    a = alpha[..., None] if pixels.ndim == 3 else alpha
    return background + a * (pixels - background)


def composite_over(image: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """8-bit alpha over a whole picture, rounded."""
    a = alpha[..., None].astype(np.float64) / 255
    return np.rint(image * a + background * (1 - a)).astype(np.uint8)


def upsample_alpha(
    alpha_small: np.ndarray, frame_wh: tuple[int, int], roi: tuple[int, int, int, int]
) -> np.ndarray:
    """Bilinear, not rounded, 0..255; NaN counts as 0."""
    return enlarge(np.clip(np.nan_to_num(crop(alpha_small, roi), nan=0), 0, 1), frame_wh) * 255


def blur(small: np.ndarray, radius: int) -> np.ndarray:
    """Three box blurs of ``(h, w, 3)``, each channel by itself; not rounded."""
    planes = [small[..., c].astype(np.float64) for c in range(3)]
    for _ in range(3):
        planes = [box_means(plane, radius) for plane in planes]
    return np.stack(planes, -1)


def to_rgb(planes: tuple[np.ndarray, ...], format: str, matrix: str, full_range: bool) -> np.ndarray:
    """A frame as float RGB ``(H, W, 3)``; each chroma sample serves its two by two pixels."""
    if format not in ("I420", "NV12"):
        return planes[0][..., [0, 1, 2] if format.startswith("RGB") else [2, 1, 0]].astype(np.float64)
    y, u, v = to_yuv(planes, format)
    height, width = y.shape
    u, v = (plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in (u, v))
    return reference.yuv_to_rgb(y, u, v, matrix, full_range)


def to_yuv(planes: tuple[np.ndarray, ...], format: str) -> tuple[np.ndarray, ...]:
    """Y, U, V of a planar frame, float."""
    u, v = planes[1:] if format == "I420" else (planes[1][..., 0], planes[1][..., 1])
    return planes[0].astype(np.float64), u.astype(np.float64), v.astype(np.float64)


def refine_and_composite(
    planes, alpha_small, *, format, geometry, output, small=None, background=None, input_alpha=None,
    refine=True, decontaminate=True, radius, eps, fusion_radius, matrix="bt709", full_range=False,
):  # fmt: skip
    """The whole of `livecut.kernels.refine_and_composite`: a tuple of float planes, not rounded.

    A packed output and its background are RGB here, without alpha; RGBA and BGRA return ``(colours, alpha)``.
    Alpha is 0..255. Colours where alpha is 0 are not specified.
    """
    frame_wh, planar = geometry.frame_wh, format in ("I420", "NV12")
    rgb = to_rgb(planes, format, matrix, full_range)
    alpha = np.clip(np.nan_to_num(crop(alpha_small, geometry.roi), nan=0), 0, 1)
    if refine or decontaminate:
        small = crop(small, geometry.roi)
    opacity = enlarge(alpha, frame_wh)
    if refine:
        low, high = (0, 255) if full_range else (16, 235)
        guide = np.clip((planes[0] - low) / (high - low), 0, 1) if planar else rgb @ LUMA[matrix] / 255
        opacity = guided_alpha(alpha, small, guide, radius=radius, eps=eps, luma=LUMA[matrix])
        alpha = np.where(alpha < 1 / 255, 0, np.where(alpha > 254 / 255, 1, alpha))
    if input_alpha is not None:
        opacity = multiply_alpha(opacity, input_alpha)
    if output == "ALPHA":
        return (opacity * 255,)
    if output not in ("I420", "YUVA420") or not planar:
        if decontaminate:
            fused = fused_colours(alpha, small, frame_wh, fusion_radius=fusion_radius)
            rgb = unmix(rgb, opacity, *fused)
        if output in ("RGB", "BGR"):
            return (composite(rgb, opacity, np.asarray(background, np.float64)),)
        if output in ("RGBA", "BGRA"):
            return rgb, opacity * 255
        yuv = rgb_to_yuv(rgb, matrix, full_range)
        y, u, v = yuv[..., 0], quarter(yuv[..., 1]), quarter(yuv[..., 2])
    else:
        y, u, v = to_yuv(planes, format)
        if decontaminate:
            fused = fused_colours(alpha, small, frame_wh, fusion_radius=fusion_radius)
            front, back = (rgb_to_yuv(colour, matrix, full_range) for colour in fused)
            y = unmix(y[..., None], opacity, front[..., :1], back[..., :1])[..., 0]
            # Chroma takes the colour of its upper left pixel, which hardly differs: the grids are smooth.
            chroma = unmix(np.stack([u, v], -1), quarter(opacity), front[::2, ::2, 1:], back[::2, ::2, 1:])
            u, v = chroma[..., 0], chroma[..., 1]
    if output == "YUVA420":
        return y, u, v, opacity * 255
    if isinstance(background, np.ndarray) or not isinstance(background[0], np.ndarray):  # RGB, not planes
        yuv = rgb_to_yuv(np.broadcast_to(np.asarray(background, np.float64), rgb.shape), matrix, full_range)
        background = yuv[..., 0], quarter(yuv[..., 1]), quarter(yuv[..., 2])
    opacities = opacity, quarter(opacity), quarter(opacity)
    return tuple(composite(*planes) for planes in zip((y, u, v), opacities, background, strict=True))
