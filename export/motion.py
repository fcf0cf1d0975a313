"""One picture seen in motion: by a camera that pans over it, or by a fixed one while its subject drifts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

PAN_SHARE = 0.9
"""Share of a picture's width and height that a panning camera shows at a time."""
View = tuple[float, float, float]
"""Left, top and size of what is seen, as shares of the picture."""


def pan(frames: int, rng: np.random.Generator) -> list[View]:
    """What is seen in each of at least two frames: a slow drift with a zoom."""
    room = 1 - PAN_SHARE
    start, end = rng.uniform(0, room, 2), rng.uniform(0, room, 2)
    steps = np.linspace(0, 1, frames)
    return [(*(start + (end - start) * step), PAN_SHARE * (1 - 0.02 * step)) for step in steps]  # type: ignore[misc]


def moving_views(
    image: np.ndarray, mask: np.ndarray | None, plate: np.ndarray | None, path: Sequence[View]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Each frame and its mask along ``path``.

    Parameters
    ----------
    image, plate : ndarray of uint8, shape (H, W, 3)
        With a plate the camera stands still: the subject is laid over the plate, ever a little elsewhere.
    mask : ndarray of uint8, shape (H, W), optional
        255 subject, 0 background; needed with a plate.
    """
    return _camera_moves(image, mask, path) if plate is None else _subject_moves(image, mask, plate, path)


def _camera_moves(
    image: np.ndarray, mask: np.ndarray | None, path: Sequence[View]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    import cv2

    height, width = image.shape[:2]
    for left, top, share in path:
        view = np.array(
            [[1 / share, 0, -left * width / share], [0, 1 / share, -top * height / share]], np.float32
        )

        def seen(pixels: np.ndarray, view: np.ndarray = view) -> np.ndarray:
            how = cv2.INTER_LINEAR
            return cv2.warpAffine(pixels, view, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT)

        yield seen(image), None if mask is None else seen(mask)


def _subject_moves(
    image: np.ndarray, mask: np.ndarray | None, plate: np.ndarray, path: Sequence[View]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    import cv2

    if mask is None:
        raise ValueError("mask: a subject that moves over a plate needs one, got None")
    height, width = image.shape[:2]
    for left, top, _ in path:
        right, down = (2 * left - (1 - PAN_SHARE)) * width, (2 * top - (1 - PAN_SHARE)) * height
        view = np.array([[1, 0, right], [0, 1, down]], np.float32)
        cut = cv2.warpAffine(mask, view, (width, height))  # nothing comes in from outside
        moved = cv2.warpAffine(image, view, (width, height), borderMode=cv2.BORDER_REPLICATE)
        share = cut[..., None].astype(np.float32) / 255
        yield plate + share * (moved.astype(np.float32) - plate), cut
