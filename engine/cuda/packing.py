"""Kernel arguments as the bytes that a launch takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pack(arguments: Sequence[np.generic]) -> bytes:
    """Lay arguments out as a C compiler lays out a struct: each on a multiple of its own alignment.

    Parameters
    ----------
    arguments : sequence of NumPy scalars
        ``np.uint64`` for a pointer, ``np.int32``, ``np.float32``, ...; ``np.void`` of an aligned struct dtype
        (``np.dtype(..., align=True)``) for a struct passed by value.

    Raises
    ------
    TypeError
        If one is a plain Python number, whose size the kernel cannot know.

    Examples
    --------
    >>> pack([np.int32(1), np.uint64(2)]).hex()
    '01000000000000000200000000000000'
    """
    packed = bytearray()
    for number, value in enumerate(arguments):
        if not isinstance(value, np.generic):
            raise TypeError(f"argument {number}: expected a NumPy scalar, got {type(value).__name__}")
        packed += bytes(-len(packed) % value.dtype.alignment)
        packed += value.tobytes()
    return bytes(packed)
