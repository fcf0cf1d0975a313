"""Launches of the kernels around the network, with their arguments: `refining` has those behind it.

Nothing here touches a GPU. Arguments mean what they mean in `livecut.kernels`; arrays are device addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import _checks
from ..preprocess import Geometry
from ..temporal import JUMP_ALPHA, STEADY_ALPHA
from .arguments import DTYPES, FORMATS, OVER, PREPROCESS, SMOOTH, Launch, Planes, block_of, picture_bytes

MAX_SIDE = 16384
"""Pixels: the resize weighs in whole numbers of 32 bits."""
SLACK = 0.01
"""How far outside 0..1 an alpha may lie unnoticed."""
TILE, GRID_X, GRID_Y, PIXELS, NEAR = 128, 32, 8, 4, 8  # as in types.cuh and pixels.cuh
_SHARES = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}  # of red and of blue


def blocks(count: int, size: int) -> int:
    """How many of ``size`` hold ``count``."""
    return -(-count // size)


def check_size(geometry: Geometry) -> None:
    """The sides are within what whole numbers of 32 bits can weigh."""
    if max(*geometry.frame_wh, *geometry.input_wh) > MAX_SIDE:
        raise ValueError(f"geometry: expected sides of at most {MAX_SIDE} pixels, got {geometry}")


def check_planes(name: str, planes: Planes, format: str) -> None:
    """``planes`` has as many planes as ``format``."""
    count = {"I420": 3, "NV12": 2, "YUVA420": 4}.get(format, 1)
    if len(planes.pointers) != count or len(planes.strides) != count:
        raise ValueError(f"{name}: expected {count} plane(s) for {format}, got {len(planes.pointers)}")


def to_yuv(matrix: str, full_range: bool) -> list[float]:
    """Rows of Y, U, V: weights of R, G, B and a constant."""
    red, blue = _SHARES[matrix]
    luma, chroma, offset = (1.0, 1.0, 0.0) if full_range else (219 / 255, 224 / 255, 16.0)
    y = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - y) / (2 * (1 - blue)) * chroma
    v = (np.array([1, 0, 0]) - y) / (2 * (1 - red)) * chroma
    return [float(k) for k in (*(y * luma), offset, *u, 128, *v, 128)]


def preprocess_launch(
    planes: Planes,
    *,
    format: str,
    geometry: Geometry,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    order: str = "RGB",
    layout: str = "NCHW",
    dtype: object = "float32",
    pad_value: Sequence[float] = (114, 114, 114),
    matrix: str = "bt709",
    full_range: bool = False,
    out: int,
    small: int = 0,
    small_stride: int = 0,
) -> Launch:
    """A frame to the network's input, as `livecut.kernels.preprocess`.

    Parameters
    ----------
    planes : Planes
        The frame, in device memory.
    dtype : dtype
        Of ``out``: float32, float16 or uint8.
    out, small : int
        Addresses of the input ``(1, 3, h, w)`` and, unless 0, of the uint8 RGB guide ``(h, w, 3)``; its rows
        lie ``small_stride`` bytes apart (0: no gaps).

    Raises
    ------
    ValueError, TypeError
        If a word, size or number does not fit.

    Notes
    -----
    Values are within 0.001 of the exact ones (of 255, before normalisation), in float16 rounded once.
    """
    _checks.check_choice("format", format, _checks.FORMATS)
    _checks.check_choice("order", order, ("RGB", "BGR"))
    _checks.check_choice("layout", layout, ("NCHW", "NHWC"))
    check_size(geometry)
    check_planes("planes", planes, format)
    kind = DTYPES.get(np.dtype(dtype))  # type: ignore[call-overload]
    if kind is None:
        raise TypeError(f"dtype: expected float32, float16 or uint8, got {np.dtype(dtype)}")  # type: ignore[call-overload]
    if len(mean) != 3 or len(std) != 3 or len(pad_value) != 3 or 0 in tuple(std):
        raise ValueError(
            f"mean, std, pad_value: expected three numbers, std none of them 0, got {mean}, {std}"
        )
    # mean and std are in the order of out, the kernel's in the order of R, G, B.
    turn = slice(None) if order == "RGB" else slice(None, None, -1)
    scale, offset = 1 / np.asarray(std, np.float64)[turn], (-np.asarray(mean) / np.asarray(std))[turn]
    pad = (np.asarray(pad_value) * scale + offset).tolist()
    x, y, width, height = geometry.roi
    input_w, input_h = geometry.input_wh
    cells = input_w * input_h
    written = 3 * cells * np.dtype(dtype).itemsize + (3 * cells if small else 0)  # type: ignore[call-overload]
    block = block_of(
        PREPROCESS,
        {
            "in": planes, "out": out, "small": small, "small_stride": small_stride or 3 * input_w,
            "format": FORMATS.index(format), "frame_w": geometry.frame_wh[0], "frame_h": geometry.frame_wh[1],
            "input_w": input_w, "input_h": input_h, "x": x, "y": y, "w": width, "h": height,
            "dtype": kind, "nhwc": layout == "NHWC", "bgr": order == "BGR", "words": planes.words,
            "scale": scale.tolist(), "offset": offset.tolist(), "pad": pad, "pad_small": list(pad_value),
            "yuv": _checks.yuv_constants(matrix, full_range),
        },
    )  # fmt: skip
    return Launch(
        "lc_preprocess", (blocks(input_w, TILE), input_h, 1), (TILE, 1, 1), (block,),
        floor_bytes=picture_bytes(format, geometry.frame_wh) + written,
    )  # fmt: skip


def over_launch(
    image: Planes, alpha: Planes, background: Planes, out: Planes, *, size_wh: tuple[int, int]
) -> Launch:
    """A whole picture over another by a full-size alpha, exactly as `livecut.kernels.composite_over`."""
    fields: dict[str, int] = {"width": size_wh[0], "height": size_wh[1]}
    for name, planes in (("image", image), ("alpha", alpha), ("background", background), ("out", out)):
        check_planes(name, planes, "ALPHA")
        fields |= {name: planes.pointers[0], f"{name}_stride": planes.strides[0]}
    grid = (blocks(blocks(size_wh[0], PIXELS), GRID_X), blocks(size_wh[1], GRID_Y), 1)
    block = block_of(OVER, fields)
    return Launch("lc_over", grid, (GRID_X, GRID_Y, 1), (block,), 0, 10 * size_wh[0] * size_wh[1])


def memory_bytes(small_wh: tuple[int, int]) -> int:
    """Bytes that `smooth_launches` keeps for a stream in device memory: clear the first 256 to start."""
    cells = small_wh[0] * small_wh[1]
    return 256 + blocks(4 * cells, 256) * 256 + blocks(cells, 256) * 256


def smooth_launches(
    alpha: int,
    *,
    small_wh: tuple[int, int],
    small: int,
    out: int,
    memory: int,
    alpha_dtype: object = "float32",
    strength: float = 0.75,
    noise: float = 2.0,
    status: int = 0,
) -> tuple[Launch, Launch]:
    """Smooth the network's alpha over time, as `livecut.kernels.TemporalSmoother`.

    Parameters
    ----------
    alpha, small : int
        Addresses of the alpha ``(h, w)`` and the guide ``(h, w, 3)``, rows without gaps.
    out : int
        Address of the smoothed float32 alpha ``(h, w)``; not ``alpha`` itself.
    memory : int
        Address of ``memory_bytes(small_wh)`` bytes that belong to the stream: 0 in the first 256 before its
        first frame.
    status : int
        As in `refine_launches`.
    """
    if not 0 <= strength < 1:
        raise ValueError(f"strength: expected 0 <= strength < 1, got {strength}")
    if not 0 < noise <= 64:
        raise ValueError(f"noise: expected 0 < noise <= 64, got {noise}")
    width, height = small_wh
    cells, size = width * height, np.dtype(alpha_dtype).itemsize  # type: ignore[call-overload]
    fields = {
        "alpha": alpha, "alpha_stride": width * size, "small": small, "small_stride": 3 * width, "out": out,
        "seen": memory, "previous": memory + 256, "luma": memory + 256 + blocks(4 * cells, 256) * 256,
        "status": status, "alpha_half": size == 2, "w": width, "h": height, "base": 1 - strength,
        "still": 1.5 * noise, "moving": 4 * noise, "steady": STEADY_ALPHA, "jump": JUMP_ALPHA, "slack": SLACK,
    }  # fmt: skip
    grid = (blocks(width, GRID_X), blocks(height, GRID_Y), 1)
    smooth = Launch(
        "lc_smooth", grid, (GRID_X, GRID_Y, 1), (block_of(SMOOTH, fields),), 0, (size + 12) * cells
    )
    return smooth, replace(smooth, kernel="lc_remember", floor_bytes=12 * cells)
