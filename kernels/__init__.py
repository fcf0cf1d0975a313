"""The full-resolution work, compiled: NumPy arrays in and out, no model, device or stream known here."""

from ._threads import cpu_features
from .bounds import Bounds, bounds
from .composite import blur_background, composite_over, upsample_alpha
from .denoise import denoise
from .preprocess import Geometry, fit, preprocess
from .refine import RefineScratch, refine_and_composite
from .temporal import TemporalSmoother

__all__ = [
    "Bounds",
    "Geometry",
    "RefineScratch",
    "TemporalSmoother",
    "blur_background",
    "bounds",
    "composite_over",
    "cpu_features",
    "denoise",
    "fit",
    "preprocess",
    "refine_and_composite",
    "upsample_alpha",
]
