"""Still pictures out: encoded in memory, put in place under their final name only when whole."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import hidden_name
from .errors import SinkError, UsageError

if TYPE_CHECKING:
    from .pictures import Picture

# file name suffix -> what Pillow calls it
FORMATS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
_PNG_LEVEL = 3  # a third of the time of zlib's default 6 for some percent more bytes
_METRES_PER_INCH = 0.0254


def format_of(path: str | os.PathLike[str]) -> str:
    """``PNG``, ``WEBP``, ``TIFF`` or ``JPEG`` by the suffix; UsageError for any other."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: expected a name ending in {', '.join(FORMATS)}, got {suffix or 'no suffix'}"
        )
    return FORMATS[suffix]


def encode_picture(
    pixels: np.ndarray, *, format: str = "PNG", like: Picture | None = None, quality: int | None = None
) -> bytes:
    """Encode a cut-out, a composite or an alpha.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 4), (H, W, 3) or (H, W)
        Straight RGBA, RGB, or alpha alone.
    format : {"PNG", "WEBP", "TIFF", "JPEG"}
        WEBP is lossless unless ``quality`` is given; TIFF is deflated; JPEG takes no alpha.
    like : Picture, optional
        What the pixels were made of: its ICC profile, resolution and EXIF are written with RGB and RGBA.
        Where it has
        16 bits, ``format`` is PNG and the size is the same, so has the result; the other formats are 8-bit.
    quality : int, optional
        1..100, for JPEG (default 92) and lossy WEBP.

    Raises
    ------
    UsageError
        If the format is unknown, or JPEG is asked to hold alpha.
    """
    if format not in FORMATS.values():
        raise UsageError(f"format: expected PNG, WEBP, TIFF or JPEG, got {format!r}")
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    if format == "JPEG" and has_alpha:
        raise UsageError(
            "JPEG has no transparency: give a background colour or picture, or write png, webp or tiff"
        )
    if pixels.ndim == 2:
        like = None  # an alpha has no colour profile, and is not the photograph its EXIF speaks of
    if (
        format == "PNG"
        and like is not None
        and like.deep is not None
        and like.deep.shape[:2] == pixels.shape[:2]
    ):
        return _encode_deep_png(pixels, like, like.deep)
    from PIL import Image

    options: dict[str, Any] = {}
    if like is not None:
        options = {"icc_profile": like.icc_profile, "dpi": like.dpi, "exif": like.exif}
        options = {key: value for key, value in options.items() if value}
    if format == "PNG":
        options["compress_level"] = _PNG_LEVEL
    elif format == "WEBP":
        options |= {"lossless": quality is None, "quality": 40 if quality is None else quality, "method": 2}
        options["exact"] = (
            True  # keep colour under zero alpha: edges stay clean when somebody enlarges the file
        )
    elif format == "TIFF":
        options["compression"] = "tiff_deflate"
    else:
        options |= {"quality": 92 if quality is None else quality, "subsampling": 0}
    stream = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format, **options)
    except (OSError, ValueError, struct.error) as error:
        raise SinkError(
            f"cannot be encoded as {format} ({pixels.shape[1]}x{pixels.shape[0]}): {error}"
        ) from None
    return stream.getvalue()


def write_picture(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    *,
    like: Picture | None = None,
    format: str | None = None,
    quality: int | None = None,
) -> None:
    """Write ``pixels`` as :func:`encode_picture` encodes them; ``format`` is by the suffix when omitted.

    Atomic: the file appears whole under its name, or not at all, and an older one stays until then.

    Raises
    ------
    UsageError
        If the suffix or format is unknown, or JPEG is asked to hold alpha.
    SinkError
        If it cannot be written: no such folder, no permission, disk full.
    """
    try:
        data = encode_picture(pixels, format=format or format_of(path), like=like, quality=quality)
    except SinkError as error:
        raise SinkError(f"{os.fspath(path)}: {error}") from None
    write_atomically(path, data)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` at ``path`` through a temporary name in the same folder; SinkError, and nothing left,
    on failure.
    """
    path = Path(path)
    part = path.with_name(f"{hidden_name(path.name)}.{secrets.token_hex(4)}.part")
    try:
        try:
            part.write_bytes(data)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        sink_error = SinkError(f"{path}: cannot be written: {error.strerror or error}")
        sink_error.errno = error.errno if error.errno is not None else errno.EIO
        raise sink_error from None


def _encode_deep_png(pixels: np.ndarray, like: Picture, deep: np.ndarray) -> bytes:
    """16-bit PNG: the picture's own 16-bit colours, moved by what the cut-out changed in their 8-bit ones."""
    import cv2

    change = pixels[:, :, :3].astype(np.int32) - like.image
    colour = np.clip(deep + change * 257, 0, 65535).astype(np.uint16)
    channels = [colour[:, :, 2], colour[:, :, 1], colour[:, :, 0]]
    if pixels.shape[2] == 4:
        channels.append(pixels[:, :, 3].astype(np.uint16) * 257)
    done, encoded = cv2.imencode(".png", np.dstack(channels), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    if not done:
        raise SinkError("cannot be encoded as 16-bit PNG")
    data = encoded.tobytes()
    header_end = 8 + 25  # signature and IHDR; colour and resolution belong between them and the pixels
    chunks = b""
    if like.icc_profile:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(like.icc_profile))
    if like.dpi:
        per_metre = [round(value / _METRES_PER_INCH) for value in like.dpi]
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if like.exif:
        chunks += _chunk(b"eXIf", like.exif.removeprefix(b"Exif\0\0"))
    return data[:header_end] + chunks + data[header_end:]


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
