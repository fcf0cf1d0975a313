"""Validation by rule, not by chance."""

from __future__ import annotations

import hashlib


def is_validation(file_name: str) -> bool:
    """Whether the picture ``file_name`` (no folder) is held out.

    It is when the SHA-1 of the name, read as an integer, is divisible by ten. Such a picture, its mask
    and its plate are never trained on, under any guise.
    """
    return int(hashlib.sha1(file_name.encode()).hexdigest(), 16) % 10 == 0
