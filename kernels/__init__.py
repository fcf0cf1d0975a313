"""The full-resolution work, compiled: NumPy arrays in and out, no model, device or stream known here."""

from .composite import blur_background, composite_over, upsample_alpha
from .preprocess import Geometry, fit, preprocess
from .refine import RefineScratch, refine_and_composite

__all__ = [
    "Geometry",
    "RefineScratch",
    "blur_background",
    "composite_over",
    "fit",
    "preprocess",
    "refine_and_composite",
    "upsample_alpha",
]
