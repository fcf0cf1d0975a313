"""``livecut.remove``: one call for scripts written for rembg; same names, the input's own kind back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from .cutout import Cutter, over_colour
from .errors import UsageError
from .pictures import Picture, encode_picture, picture_from_pil, read_picture
from .registry import DEFAULT_MODEL
from .session import Session, as_frame

if TYPE_CHECKING:
    from PIL.Image import Image

Data = TypeVar("Data", "bytes", "np.ndarray", "Image")
_guard = threading.Lock()
_default: Session | None = None
_locks: WeakKeyDictionary[Session, Any] = WeakKeyDictionary()


def new_session(
    model_name: str = DEFAULT_MODEL,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    size_wh: tuple[int, int] | None = None,
) -> Session:
    """Open a session for :func:`remove`; see ``Session`` for the options.

    As in ``livecut cut``, ``auto`` leaves int8 to streams.

    Raises
    ------
    ModelError, DeviceUnavailable
        If the model, or what should run it, is not here.
    """
    return Session(
        model_name, backend=backend, precision=precision, threads=threads, size_wh=size_wh, stills=True
    )


def remove(
    data: Data,
    session: Session | None = None,
    only_mask: bool = False,
    bgcolor: tuple[int, int, int, int] | None = None,
    *,
    alpha_matting: bool = False,
    alpha_matting_foreground_threshold: int = 240,
    alpha_matting_background_threshold: int = 10,
    alpha_matting_erode_size: int = 10,
    post_process_mask: bool = False,
    force_return_bytes: bool = False,
) -> Data | bytes:
    """Cut the product out of one picture.

    Parameters
    ----------
    data : bytes, PIL.Image.Image, or ndarray of uint8 with shape (H, W), (H, W, 3) RGB or (H, W, 4) RGBA
        Bytes are a picture file. EXIF orientation is applied.
    session : Session, optional
        From :func:`new_session`; one for the process is made when omitted.
    only_mask : bool
        Return the alpha alone.
    bgcolor : (int, int, int, int), optional
        Red, green, blue and opacity, 0..255, put behind the cut-out.
    alpha_matting, alpha_matting_foreground_threshold, alpha_matting_background_threshold, \
alpha_matting_erode_size
        Without effect, and here so that calls written for rembg work: edges are always matted.
    post_process_mask : bool
        Make the alpha two-valued, 0 or 255, with its specks removed and its outline smoothed.
    force_return_bytes : bool
        Return PNG bytes whatever came.

    Returns
    -------
    bytes, PIL.Image.Image or ndarray
        As ``data``: PNG bytes, a picture in mode ``RGBA`` (``L`` with ``only_mask``), or an array
        ``(H, W, 4)`` (``(H, W)``). Alpha is straight. ICC profile and resolution of bytes and pictures are
        kept.

    Raises
    ------
    TypeError, ValueError
        If ``data`` is none of these.
    PictureError
        If bytes cannot be decoded.

    Notes
    -----
    May be called from any thread; calls with the same session take turns.
    """
    picture = _picture_of(data)
    if bgcolor is not None and (len(bgcolor) != 4 or any(not 0 <= int(value) <= 255 for value in bgcolor)):
        raise UsageError(f"bgcolor: expected (r, g, b, a), each 0..255, got {bgcolor!r}")
    session = session or _default_session()
    with _lock_of(session):
        pixels, picture = Cutter(session, only_mask=only_mask)(picture)
    if post_process_mask:
        alpha = _two_valued(pixels if only_mask else pixels[:, :, 3])
        pixels = alpha if only_mask else np.dstack([pixels[:, :, :3], alpha])
    if bgcolor is not None and not only_mask:
        red, green, blue, opacity = (int(value) for value in bgcolor)
        pixels = over_colour(pixels, (red, green, blue, opacity))
    if force_return_bytes or isinstance(data, bytes):
        return encode_picture(pixels, like=picture)
    if isinstance(data, np.ndarray):
        return pixels
    return _pil_of(pixels, picture)  # type: ignore[return-value]


def _default_session() -> Session:
    global _default
    with _guard:
        if _default is None:
            _default = new_session()
        return _default


def _lock_of(session: Session) -> Any:
    with _guard:
        return _locks.setdefault(session, threading.Lock())


def _picture_of(data: Any) -> Picture:
    if isinstance(data, bytes):
        return read_picture(data, name="data")
    if isinstance(data, np.ndarray):
        frame = as_frame(data)
        return Picture(np.ascontiguousarray(frame.image[:, :, :3]), frame.alpha, name="data")
    if type(data).__module__.startswith("PIL.") or hasattr(data, "getexif"):
        return picture_from_pil(data, name="data")
    raise TypeError(f"data: expected bytes, a PIL picture or an array, got {type(data).__name__}")


def _pil_of(pixels: np.ndarray, picture: Picture) -> Image:
    from PIL import Image

    image = Image.fromarray(pixels)
    if pixels.ndim == 3 and picture.icc_profile:
        image.info["icc_profile"] = picture.icc_profile
    if picture.dpi:
        image.info["dpi"] = picture.dpi
    return image


def _two_valued(alpha: np.ndarray) -> np.ndarray:
    import cv2

    opened = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    smooth = cv2.GaussianBlur(opened, (5, 5), 2, borderType=cv2.BORDER_REPLICATE)
    return np.where(smooth < 128, 0, 255).astype(np.uint8)
