"""Still pictures in: any common file becomes straight RGB, alpha apart, with what is needed to write it back.

Writing is in :mod:`livecut.engine.picture_files`; its functions are also here by name.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import PictureError
from .picture_files import FORMATS, encode_picture, format_of, write_atomically, write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "FORMATS",
    "PICTURE_SUFFIXES",
    "Picture",
    "encode_picture",
    "format_of",
    "max_pixels",
    "picture_from_pil",
    "read_picture",
    "write_atomically",
    "write_picture",
]

MAX_PIXELS = 100_000_000
PICTURE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".tga", ".ico", ".jp2", ".avif"),
    )
)
# Only decoders that parse pixels: EPS would start Ghostscript. The two commonest first, they need no other
# import.
_DECODERS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "PPM", "WEBP", "TIFF", "TGA", "ICO", "JPEG2000", "AVIF")
_ORIENTATION = 0x0112
# What EXIF is about the picture rather than its encoding or place: description, maker, software, date,
# artist, rights.
_KEPT_EXIF = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_EXIF_IFD, _MAKER_NOTE = 0x8769, 0x927C
_open_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """One still picture, upright (EXIF orientation applied)."""

    image: np.ndarray
    """uint8 ``(H, W, 3)`` RGB, C-contiguous, not multiplied by ``alpha``."""
    alpha: np.ndarray | None = None
    """Its own alpha, uint8 ``(H, W)``; None where it is opaque."""
    deep: np.ndarray | None = None
    """The same colours as uint16 ``(H, W, 3)`` RGB, where the file held 16 bits a channel."""
    icc_profile: bytes | None = None
    """Describes ``image``: the file's own RGB profile; None for sRGB or unknown."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, horizontal and vertical."""
    exif: bytes | None = None
    """EXIF without orientation, position, thumbnail and maker note."""
    format: str = ""
    """What the file was: ``PNG``, ``JPEG``, ..., by its content."""
    mode: str = "RGB"
    """Pillow's name of the file's own pixels: ``L``, ``P``, ``CMYK``, ``I;16``, ..."""
    frames: int = 1
    """How many the file holds; this is the first."""
    name: str = "picture"
    """What to call it in messages."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def cropped(self, box: tuple[int, int, int, int]) -> Picture:
        """The part inside ``box`` (x, y, width, height)."""
        x, y, width, height = box
        part = np.s_[y : y + height, x : x + width]

        def cut(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array[part])

        return replace(
            self,
            image=cut(self.image),
            alpha=None if self.alpha is None else cut(self.alpha),
            deep=None if self.deep is None else cut(self.deep),
        )


def max_pixels() -> int:
    """Width x height above which a picture is refused before decoding; ``LIVECUT_MAX_PIXELS``, else 100
    million.
    """
    text = os.environ.get("LIVECUT_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit <= 0:
        raise PictureError(f"LIVECUT_MAX_PIXELS: expected a number of pixels above 0, got {text!r}")
    return limit


def read_picture(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, limit: int | None = None, name: str | None = None
) -> Picture:
    """Read one still picture; its content decides what it is, not its name.

    Parameters
    ----------
    source : path, bytes or binary file
    limit : int, optional
        Most pixels (width x height) to decode; :func:`max_pixels` when omitted.
    name : str, optional
        What to call it in messages; the path when omitted.

    Returns
    -------
    Picture
        8-bit RGB. 16-bit files keep their own values in ``deep``. CMYK, LAB and grey with a profile go
        through it to
        sRGB; palette, 1-bit, grey and grey with alpha are widened; of an animation, the first frame.

    Raises
    ------
    PictureError
        If there is no such file, or it is not a picture that can be decoded whole, or it is above the limit.
    """
    if isinstance(source, (str, os.PathLike)):
        name = name or str(source)
        data = _read_file(Path(source), name)
    else:
        name = name or getattr(source, "name", None) or "picture"
        data = source if isinstance(source, bytes) else source.read()
    if not data:
        raise PictureError(f"{name}: the file is empty")
    limit = max_pixels() if limit is None else limit
    image = _open(data, name)
    with image:
        width, height = image.size
        if width * height > limit:
            raise PictureError(
                f"{name}: {width}x{height} is {width * height / 1e6:.0f} megapixels, above the limit of "
                f"{limit / 1e6:.0f}; set LIVECUT_MAX_PIXELS={width * height} to allow it"
            )
        try:
            image.load()
            deep, deep_alpha = _read_deep(data, image)
            picture = picture_from_pil(image, name=name, deep=deep, deep_alpha=deep_alpha)
        except PictureError:
            raise
        except MemoryError:
            raise PictureError(f"{name}: not enough memory for {width}x{height}") from None
        except (
            Exception
        ) as error:  # decoders raise anything on damaged data: OSError, SyntaxError, struct.error, ...
            raise PictureError(f"{name}: damaged {image.format}: {_one_line(error)}") from None
    return picture


def picture_from_pil(
    image: Image,
    *,
    name: str = "picture",
    deep: np.ndarray | None = None,
    deep_alpha: np.ndarray | None = None,
) -> Picture:
    """Make a Picture of a Pillow picture, as :func:`read_picture` does; ``deep`` are its 16-bit colours,
    if known.
    """
    image.load()  # a TIFF is turned upright by this, and its tag is then gone
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    icc_profile = image.info.get("icc_profile") or None
    if deep is None and image.mode.startswith("I"):
        deep = _deep_grey(image, name)
    if deep is not None:
        rgb, alpha = _to_8_bit(deep), None if deep_alpha is None else _to_8_bit(deep_alpha)
        if icc_profile and icc_profile[16:20] != b"RGB ":
            icc_profile = None
    else:
        rgb, alpha, icc_profile = _split(image, icc_profile, name)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return Picture(
        image=_upright(rgb, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        deep=None if deep is None else _upright(deep, orientation),
        icc_profile=icc_profile,
        dpi=_dpi(image.info.get("dpi"), turned=orientation >= 5),
        exif=_kept_exif(exif),
        format=image.format or "",
        mode=image.mode,
        frames=1
        if image.format == "MPO"
        else getattr(image, "n_frames", 1),  # an MPO is a JPEG with its previews
        name=name,
    )


def _read_file(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(f"{name}: is a directory, expected a picture")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise PictureError(f"{name}: is a device, expected a picture")
        return path.read_bytes()
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise PictureError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _open(data: bytes, name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    # Pillow's own bomb guard warns or raises before the size can be named; ours follows at once, before
    # any decoding.
    with _open_lock:
        pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=_known_decoders(data))
        except UnidentifiedImageError:
            start = data[:12].decode("latin-1")
            raise PictureError(f"{name}: not a picture that can be read; it begins with {start!r}") from None
        except Exception as error:  # a damaged header; see read_picture
            raise PictureError(f"{name}: damaged picture: {_one_line(error)}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = pillows_limit


def _known_decoders(data: bytes) -> tuple[str, ...]:
    from PIL import Image

    if data.startswith(b"\x89PNG"):
        return ("PNG",)  # without this shortcut Pillow imports all of its plugins for rarer formats
    if data.startswith(b"\xff\xd8"):
        return ("JPEG", "MPO")
    Image.init()
    return tuple(decoder for decoder in _DECODERS if decoder in Image.OPEN)


def _read_deep(data: bytes, image: Image) -> tuple[np.ndarray | None, np.ndarray | None]:
    """16-bit colours and alpha of a PNG or TIFF; Pillow would keep the upper byte only."""
    if image.format == "PNG":
        bits = data[24]
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
    else:
        return None, None
    if bits != 16 or image.mode.startswith("I") or image.mode not in ("RGB", "RGBA", "LA", "L"):
        return None, None
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (image.height, image.width):
        return None, None  # 8 bits are better than a refusal
    if decoded.ndim == 2:
        return np.repeat(decoded[:, :, None], 3, axis=2), None
    alpha = decoded[:, :, 3] if decoded.shape[2] == 4 else None
    return decoded[:, :, 2::-1], alpha


def _deep_grey(image: Image, name: str) -> np.ndarray:
    grey = np.asarray(image)
    if (
        grey.dtype.itemsize > 2
    ):  # mode "I": older Pillow's 16-bit PNG, or a real 32-bit TIFF, whose range nobody states
        if grey.min() < 0 or grey.max() > 65535:
            raise PictureError(f"{name}: 32 bits a channel; save it with 8 or 16 bits")
        grey = grey.astype(np.uint16)
    return np.repeat(grey.astype(np.uint16, copy=False)[:, :, None], 3, axis=2)


def _to_8_bit(deep: np.ndarray) -> np.ndarray:
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _split(
    image: Image, icc_profile: bytes | None, name: str
) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """RGB, alpha and the profile that describes the RGB, of an 8-bit picture in any mode."""
    if image.mode == "F":
        raise PictureError(f"{name}: floating point samples; save it with 8 or 16 bits")
    space = icc_profile[16:20] if icc_profile else b""
    if image.mode in ("CMYK", "LAB") or (image.mode in ("L", "1") and space == b"GRAY"):
        return np.array(_through_profile(image, icc_profile, space)), None, None
    if space != b"RGB ":
        icc_profile = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[:, :, :3]), np.ascontiguousarray(rgba[:, :, 3]), icc_profile
    return np.array(image if image.mode == "RGB" else image.convert("RGB")), None, icc_profile


def _through_profile(image: Image, icc_profile: bytes | None, space: bytes) -> Image:
    from PIL import ImageCms

    if image.mode == "1":
        image = image.convert("L")
    source: Any = None
    if icc_profile and space == {"CMYK": b"CMYK", "LAB": b"Lab ", "L": b"GRAY"}[image.mode]:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
    elif image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    if source is not None:
        with contextlib.suppress(ImageCms.PyCMSError):  # a broken profile: as if it had none
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    return image.convert("RGB")


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation: 1 as it is, 2..4 mirrored and turned by 180 degrees, 5..8 with the axes
    swapped.
    """
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _dpi(value: Any, *, turned: bool) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (1 < horizontal < 1e6 and 1 < vertical < 1e6):  # a TIFF that states none reads as 1
        return None
    return (vertical, horizontal) if turned else (horizontal, vertical)


def _kept_exif(exif: Any) -> bytes | None:
    from PIL import Image

    kept = Image.Exif()
    for tag in _KEPT_EXIF:
        if tag in exif:
            kept[tag] = exif[tag]
    details = {tag: value for tag, value in exif.get_ifd(_EXIF_IFD).items() if tag != _MAKER_NOTE}
    if details:
        kept.get_ifd(_EXIF_IFD).update(details)
    if not kept and not details:
        return None
    try:
        return kept.tobytes()
    except Exception:  # values that no EXIF writer accepts: the picture matters more than they do
        return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
