"""One still picture through a session: cut out, composited or masked, and cropped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from .buffers import Slot
from .compositor import Compositor
from .frame import Frame
from .pictures import Picture, read_picture

if TYPE_CHECKING:
    from .session import Session


class Cutter:
    """Cuts pictures with one session; call it with each. Not to be shared between threads.

    Parameters
    ----------
    session : Session
        Stays the caller's to close.
    only_mask : bool
        Give the alpha alone.
    bgcolor : (int, int, int, int), optional
        Red, green, blue and opacity, 0..255, put behind the cut-out. Opaque colours give RGB, others RGBA.
    background : "blur", path or ndarray of uint8 (h, w, 3), optional
        A blur of the picture itself, or an RGB picture scaled to cover and cropped, put behind the cut-out.
    margin : float, optional
        Crop to the product's bounds and leave this share of their longer side as room; None for no crop. A
        picture in which nothing was found stays whole.

    Raises
    ------
    PictureError
        If the background cannot be read.
    """

    def __init__(
        self,
        session: Session,
        *,
        only_mask: bool = False,
        bgcolor: tuple[int, int, int, int] | None = None,
        background: str | os.PathLike[str] | np.ndarray | None = None,
        margin: float | None = None,
    ) -> None:
        behind: Any = background
        if isinstance(background, (str, os.PathLike)) and background != "blur":
            behind = read_picture(background).image
        elif bgcolor is not None and bgcolor[3] == 255:
            behind = bgcolor[:3]
        self._translucent = bgcolor if bgcolor is not None and behind is None else None
        self._output = "ALPHA" if only_mask else "RGBA" if behind is None else "RGB"
        self._compositor = Compositor(self._output, behind)
        self._alpha_only = Compositor("ALPHA")
        self._session = session
        self._margin = margin
        self._slot = Slot()

    def __call__(self, picture: Picture) -> tuple[np.ndarray, Picture]:
        """Cut one picture.

        Returns
        -------
        ndarray of uint8
            ``(H, W, 4)`` straight RGBA, ``(H, W, 3)`` RGB over an opaque background, or ``(H, W)`` alpha.
        Picture
            ``picture``, cropped as the array is: what ``write_picture`` takes as ``like``.
        """
        slot, session = self._slot, self._session
        session.reset()
        session.preprocess(Frame((picture.image,), "RGB", 0, 0.0, 0.0, alpha=picture.alpha), slot)
        try:
            with slot.engine.thread_context():
                session.infer(slot)
            pixels = session.postprocess(slot, self._compositor).planes[0]
            box = None
            if self._margin is not None:
                box = self._box(self._alpha_of(pixels), self._margin)
        finally:
            slot.frame = None  # pictures can be large: do not keep the last one alive
        if self._translucent is not None:
            pixels = over_colour(pixels, self._translucent)
        if box is not None:
            x, y, width, height = box
            pixels, picture = pixels[y : y + height, x : x + width], picture.cropped(box)
        return np.ascontiguousarray(pixels), picture

    def _alpha_of(self, pixels: np.ndarray) -> np.ndarray:
        if self._output == "ALPHA":
            return pixels
        if self._output == "RGBA":
            return np.ascontiguousarray(pixels[:, :, 3])
        return self._session.postprocess(self._slot, self._alpha_only).planes[0]

    def _box(self, alpha: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
        found = kernels.bounds(alpha).box
        if found is None:
            return None
        x, y, width, height = found
        room = round(margin * max(width, height))
        left, top = max(0, x - room), max(0, y - room)
        right, bottom = min(alpha.shape[1], x + width + room), min(alpha.shape[0], y + height + room)
        return left, top, right - left, bottom - top


def over_colour(rgba: np.ndarray, colour: tuple[int, int, int, int]) -> np.ndarray:
    """Straight RGBA over a colour with its own opacity (0..255 each): straight RGBA again."""
    from PIL import Image

    height, width = rgba.shape[:2]
    behind = Image.new("RGBA", (width, height), tuple(colour))
    return np.asarray(Image.alpha_composite(behind, Image.fromarray(rgba)))
