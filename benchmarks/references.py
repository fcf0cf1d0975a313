"""What people write today, with care: OpenCV calls with ``dst=``, NumPy with ``out=`` wherever they allow it.

Each class holds its buffers, so that its ``__call__`` allocates only where the libraries leave no choice.
"""

from __future__ import annotations

import cv2
import numpy as np


class Cv2Preprocess:
    """``cv2.resize``, ``cv2.cvtColor``, NumPy normalisation: BGR frame to NCHW float32 RGB."""

    def __init__(self, input_wh, mean, std, interpolation=cv2.INTER_LINEAR):
        width, height = input_wh
        self.size, self.interpolation = input_wh, interpolation
        self.mean, self.scale = np.float32(mean), 1 / np.float32(std)
        self.small = np.empty((height, width, 3), np.uint8)
        self.rgb = np.empty((height, width, 3), np.uint8)
        self.normalised = np.empty((height, width, 3), np.float32)
        self.out = np.empty((1, 3, height, width), np.float32)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        cv2.resize(frame, self.size, dst=self.small, interpolation=self.interpolation)
        cv2.cvtColor(self.small, cv2.COLOR_BGR2RGB, dst=self.rgb)
        np.subtract(self.rgb, self.mean, out=self.normalised)
        np.multiply(self.normalised, self.scale, out=self.normalised)
        self.out[0] = self.normalised.transpose(2, 0, 1)
        return self.out


def plain_preprocess(frame: np.ndarray, input_wh, mean, std, interpolation=cv2.INTER_LINEAR) -> np.ndarray:
    """The same as most code has it: an expression, with its temporaries."""
    small = cv2.cvtColor(cv2.resize(frame, input_wh, interpolation=interpolation), cv2.COLOR_BGR2RGB)
    normalised = (small.astype(np.float32) - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def blob_preprocess(frame: np.ndarray, input_wh, mean, std) -> np.ndarray:
    """``cv2.dnn.blobFromImage``; it knows one scale for all channels, so ``std`` must be the same in each."""
    if len(set(std)) != 1:
        raise ValueError(f"std: blobFromImage knows one value for all channels, got {std}")
    return cv2.dnn.blobFromImage(frame, 1 / std[0], input_wh, mean, swapRB=True)


class NumpyComposite:
    """Alpha enlarged by ``cv2.resize``, then the float composite as it stands in most programs."""

    def __init__(self, size_wh):
        self.size = size_wh
        self.alpha = np.empty((size_wh[1], size_wh[0]), np.float32)

    def __call__(self, frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
        cv2.resize(alpha_small, self.size, dst=self.alpha, interpolation=cv2.INTER_LINEAR)
        return over(frame, self.alpha, background)


def over(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Float composite in NumPy, rounded to nearest; ``alpha`` is ``(H, W)`` in 0..1."""
    weight = alpha[..., None]
    return (frame.astype(np.float32) * weight + background.astype(np.float32) * (1 - weight) + 0.5).astype(
        np.uint8
    )


class NumpyCompositeInPlace:
    """The same sum with every temporary kept: ``bg + (fg - bg) * alpha``; OpenCV does the conversions."""

    def __init__(self, size_wh):
        width, height = size_wh
        self.size = size_wh
        self.alpha = np.empty((height, width), np.float32)
        self.difference = np.empty((height, width, 3), np.float32)
        self.out = np.empty((height, width, 3), np.uint8)

    def __call__(self, frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
        cv2.resize(alpha_small, self.size, dst=self.alpha, interpolation=cv2.INTER_LINEAR)
        cv2.subtract(frame, background, dst=self.difference, dtype=cv2.CV_32F)
        np.multiply(self.difference, self.alpha[..., None], out=self.difference)
        return cv2.add(self.difference, background, dst=self.out, dtype=cv2.CV_8U)


class BlendLinear:
    """``cv2.blendLinear``: the composite that OpenCV itself offers."""

    def __init__(self, size_wh):
        width, height = size_wh
        self.size = size_wh
        self.alpha, self.rest = np.empty((2, height, width), np.float32)
        self.out = np.empty((height, width, 3), np.uint8)

    def __call__(self, frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
        cv2.resize(alpha_small, self.size, dst=self.alpha, interpolation=cv2.INTER_LINEAR)
        self.blend(frame, background)
        return self.out

    def blend(self, frame: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Composite with the full-size weights that lie in ``self.alpha``."""
        cv2.subtract(1.0, self.alpha, dst=self.rest)
        return cv2.blendLinear(frame, background, self.alpha, self.rest, dst=self.out)


def guided_filter(guide: np.ndarray, alpha: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Guided filter (He, Sun, Tang 2013) with a grey guide, made of six ``cv2.boxFilter`` calls.

    ``guide`` and ``alpha`` are float32 ``(H, W)`` in 0..1; so is the result before the clip at the end.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(picture):
        return cv2.boxFilter(picture, cv2.CV_32F, size)

    mean_guide, mean_alpha = mean(guide), mean(alpha)
    variance = mean(guide * guide) - mean_guide * mean_guide
    covariance = mean(guide * alpha) - mean_guide * mean_alpha
    slope = covariance / (variance + eps)
    offset = mean_alpha - slope * mean_guide
    return np.clip(mean(slope) * guide + mean(offset), 0, 1)


class FullGuidedComposite:
    """Alpha enlarged, refined by a full-resolution guided filter, composited in NumPy. No decontamination."""

    def __init__(self, size_wh, radius: int, eps: float):
        self.size, self.radius, self.eps = size_wh, radius, eps

    def refined(self, frame: np.ndarray, alpha_small: np.ndarray) -> np.ndarray:
        """The full-size alpha, float32 in 0..1."""
        alpha = cv2.resize(alpha_small, self.size, interpolation=cv2.INTER_LINEAR)
        guide = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32) * np.float32(1 / 255)
        return guided_filter(guide, alpha, self.radius, self.eps)

    def __call__(self, frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
        return over(frame, self.refined(frame, alpha_small), background)


class FastGuidedComposite:
    """What a careful engineer does with OpenCV: slopes and offsets at the network's size, enlarged; a blend.

    The fast guided filter (He and Sun 2015) with a grey guide, and ``cv2.blendLinear``. No decontamination.
    """

    def __init__(self, size_wh, radius: int, eps: float):
        self.size, self.radius, self.eps = size_wh, radius, eps
        width, height = size_wh
        self.grey = np.empty((height, width), np.uint8)
        self.guide, self.slope, self.offset = np.empty((3, height, width), np.float32)
        self.blender = BlendLinear(size_wh)

    def refined(self, frame: np.ndarray, alpha_small: np.ndarray) -> np.ndarray:
        """The full-size alpha, float32 in 0..1; a buffer that the next call overwrites."""
        box = (2 * self.radius + 1, 2 * self.radius + 1)

        def mean(picture):
            return cv2.boxFilter(picture, cv2.CV_32F, box)

        cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY, dst=self.grey)
        small = cv2.resize(self.grey, alpha_small.shape[::-1], interpolation=cv2.INTER_LINEAR)
        small = small.astype(np.float32) * np.float32(1 / 255)
        mean_guide, mean_alpha = mean(small), mean(alpha_small)
        variance = mean(small * small) - mean_guide * mean_guide
        slope = (mean(small * alpha_small) - mean_guide * mean_alpha) / (variance + self.eps)
        offset = mean_alpha - slope * mean_guide
        cv2.resize(mean(slope), self.size, dst=self.slope, interpolation=cv2.INTER_LINEAR)
        cv2.resize(mean(offset), self.size, dst=self.offset, interpolation=cv2.INTER_LINEAR)
        cv2.multiply(self.grey, self.slope, dst=self.guide, scale=1 / 255, dtype=cv2.CV_32F)
        cv2.add(self.guide, self.offset, dst=self.blender.alpha)
        return np.clip(self.blender.alpha, 0, 1, out=self.blender.alpha)

    def __call__(self, frame: np.ndarray, alpha_small: np.ndarray, background: np.ndarray) -> np.ndarray:
        self.refined(frame, alpha_small)
        return self.blender.blend(frame, background)
