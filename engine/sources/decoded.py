"""A decoder's picture as a frame: its own planes where we can use them, converted where we cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..frame import Frame

if TYPE_CHECKING:
    from av import VideoFrame

# Pixel format -> frame format, where the decoder's memory is handed on as it is.
DIRECT = {
    "yuv420p": "I420",
    "yuvj420p": "I420",
    "yuva420p": "I420",
    "nv12": "NV12",
    "rgb24": "RGB",
    "bgr24": "BGR",
}
# The same chroma as I420 but for more rows or columns of it: what cameras send as motion JPEG.
_NEARLY_I420 = frozenset(("yuvj422p", "yuv422p", "yuyv422", "uyvy422", "yuvj444p", "yuv444p"))
_BT709, _UNSPECIFIED, _BT601 = 1, 2, (4, 5, 6)  # AVColorSpace
_FULL_RANGE = 2  # AVColorRange
_HIGH_DEFINITION_ROWS = 720


class FrameConverter:
    """Makes frames of a decoder's pictures.

    Parameters
    ----------
    subsample : bool
        Turn 4:2:2 and 4:4:4 pictures into I420 instead of BGR: a quarter of the time, for live sources.
    """

    def __init__(self, *, subsample: bool = False):
        self._subsample = subsample

    def frame(self, picture: VideoFrame, index: int, pts_seconds: float, due_seconds: float) -> Frame:
        """Return ``picture`` as a frame, upright.

        The planes are read-only views of the decoder's memory, which lives as long as they do, unless the
        picture had to be converted or turned.
        """
        matrix, full_range = colour_of(picture)
        name = picture.format.name
        alpha: np.ndarray | None = None
        planes: tuple[np.ndarray, ...]
        if name not in DIRECT:
            picture, name = self._converted(picture, name, matrix, full_range)
        if name == "rgba":
            planes = (_packed(picture, 4),)
            format, alpha = "RGBA", np.ascontiguousarray(planes[0][..., 3])
        else:
            format = DIRECT[name]
            if format in ("RGB", "BGR"):
                planes = (_packed(picture, 3),)
            elif format == "NV12":
                luma, chroma = picture.planes
                pairs = _rows(chroma)[:, : 2 * chroma.width]
                planes = (_rows(luma)[:, : luma.width], pairs.reshape(chroma.height, chroma.width, 2))
            else:
                planes = tuple(_rows(plane)[:, : plane.width] for plane in picture.planes)
                if name == "yuva420p":
                    planes, alpha = planes[:3], planes[3]
        turns = round(picture.rotation / 90) % 4
        if turns:
            planes = tuple(np.ascontiguousarray(np.rot90(plane, turns)) for plane in planes)
            alpha = None if alpha is None else np.ascontiguousarray(np.rot90(alpha, turns))
        return Frame(
            planes, format, index, pts_seconds, due_seconds, matrix=matrix, full_range=full_range, alpha=alpha
        )

    def _converted(
        self, picture: VideoFrame, name: str, matrix: str, full_range: bool
    ) -> tuple[VideoFrame, str]:
        """``picture`` in a format of :data:`DIRECT` or RGBA."""
        from av.video.reformatter import ColorRange, Colorspace

        pixel_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        source: Colorspace | None = Colorspace.ITU709 if matrix == "bt709" else Colorspace.ITU601
        if picture.colorspace not in (_BT709, _UNSPECIFIED, *_BT601):
            source = None  # BT.2020 and the like: FFmpeg knows the matrix, the kernels do not
        if has_alpha(picture):
            target = "rgba"
        elif self._subsample and name in _NEARLY_I420 and source is not None:
            # The old name of the full-range format as well: some versions go by it and not by the range.
            target = "yuvj420p" if full_range else "yuv420p"
            return (
                picture.reformat(
                    format=target,
                    src_colorspace=source,
                    dst_colorspace=source,
                    src_color_range=pixel_range,
                    dst_color_range=pixel_range,
                ),
                target,
            )
        else:
            target = "bgr24"
        if picture.format.components and picture.format.is_rgb:
            return picture.reformat(format=target), target
        # Both sides in full: PyAV before 17 passes over a matrix that is the picture's own.
        return (
            picture.reformat(
                format=target,
                src_colorspace=source,
                dst_colorspace=source,
                src_color_range=pixel_range,
                dst_color_range=ColorRange.JPEG,
            ),
            target,
        )


def colour_of(picture: VideoFrame) -> tuple[str, bool]:
    """Colour matrix (``bt601`` or ``bt709``) and whether the range is full.

    A stream that does not say is taken as BT.709 from 720 rows up and BT.601 below, as players do.
    """
    space = int(picture.colorspace)
    if space == _BT709:
        matrix = "bt709"
    elif space in _BT601:
        matrix = "bt601"
    else:
        rows = min(picture.height, picture.width)
        matrix = "bt709" if rows >= _HIGH_DEFINITION_ROWS else "bt601"
    full = int(picture.color_range) == _FULL_RANGE or picture.format.name.startswith("yuvj")
    return matrix, full


def has_alpha(picture: VideoFrame) -> bool:
    """Whether the pixel format carries alpha."""
    name = picture.format.name
    return name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8"))


def _rows(plane: Any) -> np.ndarray:
    array = np.frombuffer(plane, np.uint8)
    high = plane.height
    array = array[: high * plane.line_size].reshape(high, plane.line_size)
    array.flags.writeable = False  # the decoder may predict later pictures from this memory
    return array


def _packed(picture: VideoFrame, channels: int) -> np.ndarray:
    rows = _rows(picture.planes[0])
    return rows[:, : picture.width * channels].reshape(picture.height, picture.width, channels)
