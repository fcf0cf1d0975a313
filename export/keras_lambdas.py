"""Layers of Keras that are Python code inside the file. It is never run: the few known go by its hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.errors import ModelError


@dataclass(frozen=True)
class Resize:
    """Bilinear, to a fixed size."""

    size_wh: tuple[int, int]
    align_corners: bool


@dataclass(frozen=True)
class Channel:
    """One channel of several."""

    index: int


# SHA-256 of the marshalled code -> what it does. Where the code takes a number from around it, the file holds
# that number beside the code, as data.
_KNOWN = {
    # SlimNet, github.com/anilsathyan7/Portrait-Segmentation, slim512.py: lambda r: bilinear_resize(r, rsize),
    # which is tf.image.resize_bilinear(x, [rsize, rsize], align_corners=True).
    "0292875f877bf334c3729dc6ed534576b3c537b706427aed9b45e1290555d553": "resize with aligned corners",
    # The same model's slice_foreground: tf.strided_slice over the second of two channels.
    "76c27a3a48ade8c6ebcdebe975f2007764e5bc926e4205e52a74d512727f471b": "second channel",
}


def known_lambda(settings: Mapping[str, Any], where: str) -> Resize | Channel:
    """What a ``Lambda`` layer does.

    Parameters
    ----------
    settings : mapping
        The layer's ``config``; its ``function`` is ``[code, defaults, closure]``.
    where : str
        Begins the message.

    Raises
    ------
    ModelError
        If it is not one of the few that are known.
    """
    code, closure = _parts(settings.get("function"))
    meaning = _KNOWN.get(hashlib.sha256(code).hexdigest()) if code else None
    if meaning == "second channel":
        return Channel(1)
    if meaning and closure and isinstance(closure[0], int) and closure[0] > 0:
        return Resize((closure[0], closure[0]), align_corners=True)
    raise ModelError(
        f"{where}: the layer {settings['name']!r} is a Lambda: code inside the file, which is not run; "
        "make ONNX of the model with tf2onnx where you trust it, and give that"
    )


def _parts(function: Any) -> tuple[bytes, list[Any]]:
    """The code's bytes and the values it closes over, from Keras 2's and Keras 3's way of writing it."""
    if isinstance(function, Mapping):
        inner = function.get("config", {})
        function = [inner.get("code"), inner.get("defaults"), inner.get("closure")]
    if not isinstance(function, list) or len(function) < 3 or not isinstance(function[0], str):
        return b"", []
    try:
        code = base64.b64decode("".join(function[0].split()), validate=True)
    except (binascii.Error, ValueError):
        return b"", []
    return code, function[2] if isinstance(function[2], list) else []
