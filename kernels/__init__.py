"""The full-resolution work, compiled: NumPy arrays in and out, no model, device or stream known here."""

from .preprocess import Geometry, fit, preprocess

__all__ = ["Geometry", "fit", "preprocess"]
