"""From a frame and its small alpha to the output frame: over a background, or straight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import kernels
from .buffers import Slot, aligned_zeros, planes_for
from .errors import UsageError
from .frame import Frame
from .sinks.base import COMPOSITED_FORMATS, STRAIGHT_FORMATS

Background = None | str | tuple[int, int, int] | np.ndarray | Iterable[np.ndarray]
OUTPUTS = (*STRAIGHT_FORMATS, *COMPOSITED_FORMATS, "ALPHA")
BLUR_RADIUS = 12
"""Pixels of the network's input, for ``background="blur"``: about a fortieth of the width."""


def choose_output(accepts: tuple[str, ...], *, background: Any = None, only_mask: bool = False) -> str:
    """The output format for a sink: its first of the kind that is wanted.

    Raises
    ------
    UsageError
        If the sink takes none of that kind; the message says what to do.
    """
    if only_mask:
        formats: tuple[str, ...] = ("ALPHA",)
        kind, way = "a mask", "choose a picture or raw output, or drop --only-mask"
    elif background is None:
        formats = STRAIGHT_FORMATS
        kind, way = "transparency", "give a --background, or choose another output"
    else:
        formats = COMPOSITED_FORMATS
        kind, way = "a composited picture", "drop --background"
    for format in accepts:
        if format in formats:
            return format
    raise UsageError(f"this output cannot carry {kind} (it takes {', '.join(accepts)}): {way}")


class Compositor:
    """Makes output frames of one format over one background.

    Used by one thread at a time. Work buffers and the fitted background are kept for the last frame size,
    so that nothing is allocated while the size stays.

    Parameters
    ----------
    output : str
        ``RGBA BGRA YUVA420`` (straight alpha), ``RGB BGR I420`` (composited) or ``ALPHA``.
    background : None, tuple, "blur", ndarray or iterable of ndarray
        For composited outputs: a colour ``(r, g, b)``; a blur of the frame itself; an RGB picture uint8
        ``(h, w, 3)``; or a video, an iterable of such pictures, of which each frame takes the next and the
        last one stays. Pictures are scaled to cover the frame, and cropped. None for straight outputs and
        masks.

    Raises
    ------
    UsageError
        If the output or background is none of these, or they do not go together.
    """

    def __init__(self, output: str = "RGBA", background: Background = None) -> None:
        if output not in OUTPUTS:
            raise UsageError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
        composited = output in COMPOSITED_FORMATS
        if composited and background is None:
            raise UsageError(f"output {output} has no alpha: give a background to composite over")
        if not composited and background is not None:
            raise UsageError(f"output {output} keeps its transparency: a background makes no sense with it")
        self.output = output
        self._color: tuple[int, int, int] | None = None
        self._picture: np.ndarray | None = None
        self._video: Iterator[np.ndarray] | None = None
        self._blur = False
        self._take(background)
        self._frame_wh: tuple[int, int] | None = None
        self._input_wh: tuple[int, int] | None = None
        self._scratch: Any = None
        self._fitted: np.ndarray | None = None
        self._fitted_from: np.ndarray | None = None

    @property
    def is_video(self) -> bool:
        """Whether every frame takes the next picture of a video as its background."""
        return self._video is not None

    def _take(self, background: Background) -> None:
        if background is None:
            return
        if isinstance(background, str):
            if background != "blur":
                raise UsageError(
                    f"background: expected a colour, 'blur', a picture or a video, got {background!r}"
                )
            self._blur = True
        elif isinstance(background, np.ndarray):
            self._picture = _checked_picture(background)
        elif isinstance(background, (tuple, list)) and all(
            isinstance(v, (int, np.integer)) for v in background
        ):
            if len(background) != 3 or not all(0 <= int(v) <= 255 for v in background):
                raise UsageError(f"background: expected (r, g, b) of 0..255, got {background!r}")
            red, green, blue = background
            self._color = (int(red), int(green), int(blue))
        elif isinstance(background, Iterable):
            self._video = iter(background)  # type: ignore[arg-type,assignment]
        else:
            raise UsageError(
                "background: expected a colour, 'blur', a picture or a video, "
                f"got {type(background).__name__}"
            )

    def still_background(self, frame_wh: tuple[int, int]) -> Any:
        """What lies behind every frame of this size: a colour, ``"blur"``, a picture uint8 ``(h, w, 3)`` in
        the channel order of the output, or None. UsageError for a video, of which each frame has another."""
        if self._video is not None:
            raise UsageError("background: each frame has another")
        if self._blur or self._picture is None:
            return "blur" if self._blur else self._color
        self._frame_wh, self._input_wh, self._fitted = frame_wh, None, None
        return self._cover(self._picture)

    def compose(
        self,
        slot: Slot,
        out: Frame | None = None,
        *,
        refine: bool = True,
        decontaminate: bool = True,
        threads: int = 1,
    ) -> Frame:
        """Make the output of the slot's frame and alpha.

        Parameters
        ----------
        slot : Slot
            After inference: its ``frame``, ``buffer.alpha``, ``small`` and ``geometry`` are read.
        out : Frame, optional
            An earlier output of this compositor to write into; a new one is made where it does not fit.

        Returns
        -------
        Frame
            In ``output`` format, with the index and times of the slot's frame.
        """
        frame: Frame = slot.frame
        frame_wh, input_wh = (frame.width, frame.height), slot.geometry.input_wh
        if (frame_wh, input_wh) != (self._frame_wh, self._input_wh):
            self._frame_wh, self._input_wh = frame_wh, input_wh
            self._scratch = kernels.RefineScratch(frame_wh, input_wh, threads)
            self._fitted = self._fitted_from = None
        if out is None or out.format != self.output or (out.width, out.height) != frame_wh:
            out = Frame(planes_for(self.output, frame_wh), self.output, 0, 0.0, 0.0)
        kernels.refine_and_composite(
            frame.planes,
            slot.buffer.alpha,  # type: ignore[union-attr]
            format=frame.format,
            geometry=slot.geometry,
            output=self.output,
            out=out.planes if self.output in ("I420", "YUVA420") else out.planes[0],
            small=slot.small,
            background=self._background(slot, threads),
            refine=refine,
            decontaminate=decontaminate,
            input_alpha=frame.alpha,
            matrix=frame.matrix,
            full_range=frame.full_range,
            scratch=self._scratch,
            threads=threads,
        )
        out.index, out.pts_seconds, out.due_seconds = frame.index, frame.pts_seconds, frame.due_seconds
        out.matrix, out.full_range = frame.matrix, frame.full_range
        return out

    def _background(self, slot: Slot, threads: int) -> Any:
        if self._color is not None:
            return self._color
        if self._blur:
            return self._blurred(slot, threads)
        if self._video is not None:
            following = next(self._video, None)
            if following is not None:
                self._picture = _checked_picture(following)
            elif self._picture is None:
                raise UsageError("background: the video has no frames")
        if self._picture is None:
            return None
        if self._fitted_from is not self._picture or self._video is not None:
            self._fitted = self._cover(self._picture)
            self._fitted_from = self._picture
        return self._fitted

    def _blurred(self, slot: Slot, threads: int) -> np.ndarray:
        if self._fitted is None:
            self._fitted = self._new_background()
        frame: Frame = slot.frame
        kernels.blur_background(
            frame.planes,
            format=frame.format,
            geometry=slot.geometry,
            small=slot.small,
            radius=BLUR_RADIUS,
            order="BGR" if self.output == "BGR" else "RGB",
            out=self._fitted,
            matrix=frame.matrix,
            full_range=frame.full_range,
            scratch=self._scratch,
            threads=threads,
        )
        return self._fitted

    def _new_background(self) -> np.ndarray:
        width, height = self._frame_wh  # type: ignore[misc]
        return aligned_zeros((height, width, 3), np.uint8)

    def _cover(self, picture: np.ndarray) -> np.ndarray:
        """Scale and crop an RGB picture to the frame, in the channel order of the output."""
        import cv2

        width, height = self._frame_wh  # type: ignore[misc]
        fitted = self._fitted if self._fitted is not None else self._new_background()
        scale = max(width / picture.shape[1], height / picture.shape[0])
        crop_w = min(picture.shape[1], max(1, round(width / scale)))
        crop_h = min(picture.shape[0], max(1, round(height / scale)))
        left, top = (picture.shape[1] - crop_w) // 2, (picture.shape[0] - crop_h) // 2
        part = picture[top : top + crop_h, left : left + crop_w]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        cv2.resize(part, (width, height), dst=fitted, interpolation=how)
        if self.output == "BGR":
            cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR, dst=fitted)
        return fitted


def _checked_picture(picture: np.ndarray) -> np.ndarray:
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
    ):
        came = (
            f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        )
        raise UsageError(f"background: expected RGB pictures, uint8 of shape (h, w, 3), got {came}")
    return picture
