"""The frame type: pixels with their index and times, from source to sink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PACKED_CHANNELS = {"BGR": 3, "RGB": 3, "RGBA": 4, "BGRA": 4, "ALPHA": 1}
PLANAR_FORMATS = ("I420", "NV12", "YUVA420")


@dataclass(slots=True)
class Frame:
    """One picture with its time.

    The arrays belong to whoever made the frame and may be reused by it once the frame has been handed back:
    a sink that keeps pixels copies them.
    """

    planes: tuple[np.ndarray, ...]
    """uint8 arrays: one ``(H, W, C)`` for packed formats (``(H, W)`` for ALPHA), else Y, U, V(, A) or Y,
    UV."""
    format: str
    """``BGR RGB RGBA BGRA ALPHA I420 NV12 YUVA420``. Alpha is straight."""
    index: int
    """Position in the source, from 0; frames that a live source lost leave gaps."""
    pts_seconds: float
    """Presentation time since the start of the source."""
    due_seconds: float
    """When the frame was due at the camera, on the pipeline's clock; latency is counted from here."""
    matrix: str = "bt709"
    """``bt601`` or ``bt709``, for planar formats."""
    full_range: bool = False
    """Whether luma spans 0..255 rather than 16..235, for planar formats."""
    alpha: np.ndarray | None = None
    """Input alpha, uint8 ``(H, W)``, multiplied into the result; None where the source has none."""
    repeated: bool = False
    """No new picture: a live source is down and the output shows its last good frame again. ``planes`` is
    empty."""

    @classmethod
    def repeat(cls, index: int, pts_seconds: float, due_seconds: float) -> Frame:
        """What a live source returns while it has no new picture; see ``Source.read``."""
        return cls((), "RGB", index, pts_seconds, due_seconds, repeated=True)

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return self.planes[0].shape[0]

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return self.planes[0].shape[1]

    @property
    def image(self) -> np.ndarray:
        """The pixels of a packed frame; ValueError for a planar one."""
        if self.format not in PACKED_CHANNELS:
            raise ValueError(f"frame is {self.format}, which has no single packed image; use planes")
        return self.planes[0]

    def __repr__(self) -> str:
        shapes = "+".join("x".join(map(str, plane.shape)) for plane in self.planes)
        return f"Frame({self.format} {shapes}, index={self.index}, pts_seconds={self.pts_seconds:.3f})"


def as_frame(image: np.ndarray | Frame) -> Frame:
    """A frame of one picture; an array is RGB, RGBA or grey (see ``Session.matte``)."""
    if isinstance(image, Frame):
        return image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        came = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"image: expected a uint8 array or a Frame, got {came}")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f"image: expected shape (H, W), (H, W, 3) or (H, W, 4), got {image.shape}")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    image = np.ascontiguousarray(image)
    alpha = np.ascontiguousarray(image[..., 3]) if channels == 4 else None
    return Frame((image,), "RGBA" if channels == 4 else "RGB", 0, 0.0, 0.0, alpha=alpha)
