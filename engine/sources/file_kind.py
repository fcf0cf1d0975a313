"""What a file is by its first bytes, so that a wrong name gets a plain answer."""

from __future__ import annotations

import os
import stat

from ..errors import SourceError

_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"BM": "BMP",
}


def picture_kind(start: bytes) -> str | None:
    """``PNG``, ``JPEG``, ``TIFF``, ``WEBP`` or ``BMP`` by a file's first 16 bytes, or None."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _PICTURES.items():
        if start.startswith(magic):
            return kind
    return None


def check_video_file(path: str) -> None:
    """Raise SourceError where ``path`` cannot be a video for a reason seen from outside."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                return  # a FIFO is read once, by FFmpeg
            start = file.read(16)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SourceError(f"{path}: is a folder, a video file was expected") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not start:
        raise SourceError(f"{path}: is empty (0 bytes)")
    kind = picture_kind(start)
    if kind:
        raise SourceError(f"{path}: holds a {kind} picture, not a video; rename it to end in .{kind.lower()}")
