"""Changes to a finished picture: light, colour, blur, noise, compression."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

CODEC = "mpeg4"  # FFmpeg's own: every build has it


def photometric(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary light and camera of ``image``, uint8 (H, W, 3) RGB; returns a new array of the same kind."""
    out = tone(image, rng)
    if rng.random() < 0.35:
        out = saturation(out, rng.uniform(0.0, 1.6))
    if rng.random() < 0.25:
        out = light_ramp(out, rng)
    if rng.random() < 0.25:
        out = blur(out, rng)
    if rng.random() < 0.35:
        out = noise(out, rng)
    chance = rng.random()
    if chance < 0.28:
        out = jpeg(out, int(rng.integers(25, 90)))
    elif chance < 0.40:
        out = video(out, rng)
    return out


def tone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, gamma, contrast and white balance in one look-up per channel."""
    x = np.arange(256, dtype=np.float32) / 255
    exposure, gamma = np.exp(rng.normal(0, 0.22)), np.exp(rng.normal(0, 0.18))
    contrast, pivot = np.exp(rng.normal(0, 0.15)), rng.uniform(0.35, 0.65)
    balance = np.exp(rng.normal(0, 0.06, 3))
    curves = np.clip((x[:, None] * exposure * balance[None]), 0, 1) ** gamma
    curves = np.clip((curves - pivot) * contrast + pivot, 0, 1) * 255
    return cv2.LUT(image, np.rint(curves).astype(np.uint8).reshape(256, 1, 3))


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix with its own grey; 0 is grey, 1 unchanged."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def light_ramp(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brighter on one side than on the other."""
    height, width = image.shape[:2]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5)
    ramp = np.cos(angle) * np.linspace(-1, 1, width, dtype=np.float32)[None]
    ramp = ramp + np.sin(angle) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    gain = np.clip(1 + strength * ramp, 0.2, 1.8).astype(np.float32)
    return np.clip(image * gain[..., None], 0, 255).astype(np.uint8)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or moved along a line."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    length = int(rng.integers(3, 8))
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(line, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6))


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise; on a coarser grid half of the time, as a scaled picture has it."""
    height, width = image.shape[:2]
    sigma = rng.uniform(1, 12)
    if rng.random() < 0.5:
        height, width = (height + 1) // 2, (width + 1) // 2
    grain = rng.standard_normal((height, width, 3), dtype=np.float32) * sigma
    full = cv2.resize(grain, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(image + full, 0, 255).astype(np.uint8)


def video(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As the second frame of a video at a low rate: predicted from another picture, and quantised coarsely.

    The first frame is the picture itself a few pixels on, as if the camera had moved.
    """
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    shift = np.array([[1, 0, rng.uniform(-6, 6)], [0, 1, rng.uniform(-6, 6)]], np.float32)
    moved = cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    encoder: Any = av.CodecContext.create(CODEC, "w")
    decoder: Any = av.CodecContext.create(CODEC, "r")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.thread_count = 1
    quality = int(rng.integers(4, 16))  # of 2 to 31, 2 the best
    encoder.qmin = encoder.qmax = quality
    decoder.thread_count = 1
    decoder.extradata = encoder.extradata
    packets = []
    for picture in (moved, image):
        crop = np.ascontiguousarray(picture[:height, :width])
        packets += encoder.encode(av.VideoFrame.from_ndarray(crop, "rgb24").reformat(format="yuv420p"))
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    out = image.copy()
    out[:height, :width] = frames[-1].to_ndarray(format="rgb24")
    return out


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compressed and decoded again."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
