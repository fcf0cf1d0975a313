"""The clean plate: what a fixed camera sees while nothing is on the stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels
from .backends.base import Backend
from .errors import UsageError
from .frame import Frame
from .manifest import Manifest
from .scenes import same_camera


class Plate:
    """A picture that a model is shown before the first frame of a stream, see ``Manifest.begins_with``.

    Parameters
    ----------
    frame : Frame
        Of the same camera as the stream, at any resolution.
    manifest : Manifest
        Of a model that begins with a plate.
    threads : int
        For the kernel that prepares it.
    """

    def __init__(self, frame: Frame, manifest: Manifest, threads: int) -> None:
        self.frame, self.manifest, self.threads = frame, manifest, threads

    def check(self, frame_wh: tuple[int, int]) -> None:
        """Raise UsageError where a frame of this size cannot be from the plate's camera."""
        if not same_camera((self.frame.width, self.frame.height), frame_wh):
            raise UsageError(
                f"plate: expected a picture of the shape of the frames, {frame_wh[0]}x{frame_wh[1]}, got "
                f"{self.frame.width}x{self.frame.height}; take it with the camera that makes the frames"
            )

    def first_state(self, backend: Backend) -> Any:
        """The state of ``backend`` once it has been shown the plate."""
        buffer = backend.new_buffer()
        manifest, (height, width) = self.manifest, buffer.input.shape[2:]
        kernels.preprocess(
            self.frame.planes,
            format=self.frame.format,
            geometry=kernels.fit((self.frame.width, self.frame.height), (width, height), manifest.fit),
            mean=manifest.mean,
            std=manifest.std,
            order=manifest.color,
            pad_value=manifest.pad_value,
            matrix=self.frame.matrix,
            full_range=self.frame.full_range,
            out=buffer.input,
            threads=self.threads,
        )
        state = backend.submit(buffer, backend.new_state())
        backend.collect(buffer)
        return state


def open_plate(plate: str | Path | np.ndarray | None, manifest: Manifest, threads: int) -> Plate | None:
    """The plate for a model, from a file or an array uint8 (H, W, 3) RGB.

    Raises
    ------
    UsageError
        If the model needs a plate and there is none, or takes none and there is one.
    PictureError
        If the file is not a picture.
    """
    from .session import as_frame

    if manifest.begins_with != "plate":
        if plate is not None:
            raise UsageError(f"plate: {manifest.name} does not take one; use livecut-plate, or leave it out")
        return None
    if plate is None:
        raise UsageError(
            f"{manifest.name} needs a clean plate, a picture of the place with nothing on it: --plate PICTURE"
        )
    if isinstance(plate, np.ndarray):
        return Plate(as_frame(plate), manifest, threads)
    from .pictures import read_picture

    return Plate(as_frame(read_picture(plate).image), manifest, threads)
