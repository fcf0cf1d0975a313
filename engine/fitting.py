"""Fits a frame of another size into the size a stream began with: a camera may come back in another mode."""

from __future__ import annotations

import numpy as np

from .buffers import planes_for
from .frame import Frame

_PLANAR_BLACK = {"I420": (16, 128, 128), "NV12": (16, 128)}


def fit_frame(frame: Frame, size_wh: tuple[int, int], out: Frame | None = None) -> Frame:
    """Scale ``frame`` into the middle of ``size_wh``, aspect kept; what it does not cover is cut out.

    Parameters
    ----------
    frame : Frame
        Any format that sources give.
    size_wh : (int, int)
        Width and height wanted.
    out : Frame, optional
        An earlier result to write into; a new one is made where its size or format differs.

    Returns
    -------
    Frame
        Black around the picture, and with an ``alpha`` of 0 there, so that the margins become background.
    """
    import cv2

    width, height = size_wh
    if out is None or out.format != frame.format or (out.width, out.height) != size_wh:
        out = Frame(planes_for(frame.format, size_wh), frame.format, 0, 0.0, 0.0)
        out.alpha = np.zeros((height, width), np.uint8)
    scale = min(width / frame.width, height / frame.height)
    # Even offsets and sizes keep subsampled planes on whole samples.
    inner_w = min(width, max(2, round(frame.width * scale / 2) * 2))
    inner_h = min(height, max(2, round(frame.height * scale / 2) * 2))
    left, top = (width - inner_w) // 4 * 2, (height - inner_h) // 4 * 2
    black = _PLANAR_BLACK.get(frame.format, (0,))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for number, (source, target) in enumerate(zip(frame.planes, out.planes, strict=True)):
        step = 2 if number and len(out.planes) > 1 else 1
        target[...] = black[min(number, len(black) - 1)]
        rows = slice(top // step, top // step + -(-inner_h // step))
        columns = slice(left // step, left // step + -(-inner_w // step))
        part = target[rows, columns]
        part[...] = cv2.resize(source, (part.shape[1], part.shape[0]), interpolation=how).reshape(part.shape)
    alpha: np.ndarray = out.alpha  # type: ignore[assignment]  # made above with the planes
    alpha[...] = 0
    part = alpha[top : top + inner_h, left : left + inner_w]
    part[...] = 255 if frame.alpha is None else cv2.resize(frame.alpha, (inner_w, inner_h), interpolation=how)
    out.index, out.pts_seconds, out.due_seconds = frame.index, frame.pts_seconds, frame.due_seconds
    out.matrix, out.full_range = frame.matrix, frame.full_range
    return out
