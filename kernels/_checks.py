"""What the public kernels check of their arguments, so that the compiled loops can trust them.

Every error is a ``TypeError`` or ``ValueError`` that names the argument, what was expected and what came.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UINT8 = np.dtype(np.uint8)
CHANNELS = {"BGR": 3, "RGB": 3, "RGBA": 4, "BGRA": 4}
PLANAR = ("I420", "NV12")
FORMATS = (*CHANNELS, *PLANAR)
MATRICES = ("bt601", "bt709")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_int(name: str, value: object, least: int, most: int) -> None:
    """``value`` is an int in ``least..most``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least}..{most}, got {value}")


def check_threads(threads: object) -> None:
    """``threads`` is a number of threads."""
    check_int("threads", threads, 1, 1024)


def check_array(name: str, array: object, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """``array`` is an ndarray of ``dtype`` and ``shape``; None in ``shape`` stands for any length."""
    if type(array) is np.ndarray and array.dtype == dtype and array.shape == shape:
        return  # the usual case, and all that a frame loop pays for
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {array.dtype}")
    same = len(array.shape) == len(shape)
    if not same or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {array.shape}")


def check_rows(name: str, array: np.ndarray) -> None:
    """``array`` is not empty and its rows are contiguous; rows may lie any non-negative stride apart."""
    if array.flags.c_contiguous and array.size:
        return
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one pixel, got shape {array.shape}")
    packed = array.itemsize
    for axis in range(array.ndim - 1, 0, -1):
        if array.shape[axis] != 1 and array.strides[axis] != packed:
            raise ValueError(
                f"{name}: expected contiguous rows, got strides {array.strides} for shape {array.shape}; "
                "numpy.ascontiguousarray makes a copy that fits"
            )
        packed *= array.shape[axis]
    if array.shape[0] > 1 and array.strides[0] < 0:
        raise ValueError(
            f"{name}: expected rows from top to bottom, got row stride {array.strides[0]}; "
            "numpy.ascontiguousarray makes a copy that fits"
        )


def check_writable(name: str, array: np.ndarray) -> None:
    """``array`` may be written, and no two of its rows overlap."""
    flags = array.flags
    if not flags.writeable:
        raise ValueError(f"{name}: expected a writable array, got a read-only one")
    if flags.c_contiguous:
        return
    row_bytes = array.itemsize * (array.size // array.shape[0])
    if array.shape[0] > 1 and array.strides[0] < row_bytes:
        raise ValueError(f"{name}: expected rows that do not overlap, got strides {array.strides}")


def check_apart(name: str, array: np.ndarray, other_name: str, other: np.ndarray) -> None:
    """``array`` shares no memory with ``other``."""
    if np.may_share_memory(array, other):
        raise ValueError(f"{name}: expected memory of its own, got an array that overlaps {other_name}")


def check_planes(
    planes: object, format: str, size_wh: tuple[int, int] | None = None
) -> tuple[np.ndarray, ...]:
    """Return the planes of a frame in ``format`` as a tuple; a packed frame may be given as the bare array.

    ``size_wh`` is the size the frame must have; None takes any.
    """
    check_choice("format", format, FORMATS)
    if isinstance(planes, np.ndarray):
        planes = (planes,)
    if not isinstance(planes, (tuple, list)):
        raise TypeError(f"planes: expected an array or a tuple of arrays, got {type(planes).__name__}")
    count = {"I420": 3, "NV12": 2}.get(format, 1)
    if len(planes) != count:
        raise ValueError(f"planes: expected {count} for {format}, got {len(planes)}")
    width, height = size_wh or (None, None)
    if format in CHANNELS:
        check_array("planes[0]", planes[0], UINT8, (height, width, CHANNELS[format]))
    else:
        check_array("planes[0]", planes[0], UINT8, (height, width))
        half = ((planes[0].shape[0] + 1) // 2, (planes[0].shape[1] + 1) // 2)
        for index in range(1, count):
            check_array(f"planes[{index}]", planes[index], UINT8, half if format == "I420" else (*half, 2))
    for index in range(count):
        check_rows(f"planes[{index}]", planes[index])
    return tuple(planes)


def yuv_constants(matrix: str, full_range: bool) -> tuple[float, ...]:
    """Return ``scale, offset, cr_r, cb_g, cr_g, cb_b``.

    ``R = Y * scale + offset + cr_r * Cr`` and so on, with chroma around 0.
    """
    check_choice("matrix", matrix, MATRICES)
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    offset = 0.0 if full_range else -16 * luma
    cr_r, cb_b = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    return luma, offset, cr_r, -cb_b * blue / green, -cr_r * red / green, cb_b
