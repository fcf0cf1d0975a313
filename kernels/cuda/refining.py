"""Small alpha to the output picture in two launches or three: the CUDA side of `refine_and_composite`.

Nothing here touches a GPU. Arguments mean what they mean in `livecut.kernels`; arrays are device addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import _checks
from ..preprocess import Geometry
from ..refine import COMPOSITED, EPS, FUSION_RADIUS, MAX_RADIUS, OUTPUTS, RADIUS
from .arguments import (
    BLUR,
    BLURRED,
    COLOUR,
    COMPOSITE,
    FORMATS,
    NO_PLANES,
    PACKED,
    PLANES,
    SMALL,
    Launch,
    Planes,
    block_of,
    picture_bytes,
)  # fmt: skip
from .launches import GRID_X, GRID_Y, NEAR, PIXELS, SLACK, blocks, check_planes, check_size, to_yuv

LUMA = {"bt709": (27, 92, 9), "bt601": (38, 75, 15)}
"""The guide's weights of R, G, B, in 128ths."""


@dataclass(frozen=True)
class Work:
    """Addresses of the work buffers of one frame in flight, carved from one block of ``work_bytes``."""

    slope: int
    coefficients: int
    rows: int
    colours: int
    blurred: tuple[int, int]

    @classmethod
    def at(cls, pointer: int, roi_wh: tuple[int, int]) -> Work:
        """Lay the buffers out from ``pointer``, a multiple of 256."""
        return cls._carve(pointer, roi_wh)[0]

    @classmethod
    def _carve(cls, pointer: int, roi_wh: tuple[int, int]) -> tuple[Work, int]:
        cells = roi_wh[0] * roi_wh[1]
        halves = ((roi_wh[0] + 1) // 2) * ((roi_wh[1] + 1) // 2)
        taken = []
        for count in (4 * cells, 16 * cells, 32 * halves, 32 * halves, 16 * cells, 16 * cells):
            taken.append(pointer)
            pointer += blocks(count, 256) * 256
        return cls(taken[0], taken[1], taken[2], taken[3], (taken[4], taken[5])), pointer


def work_bytes(roi_wh: tuple[int, int]) -> int:
    """Bytes of device memory that `refine_launches` works in, for a frame that covers ``roi_wh`` cells."""
    return Work._carve(0, roi_wh)[1]


def refine_launches(
    planes: Planes,
    alpha: int,
    *,
    format: str,
    geometry: Geometry,
    output: str,
    out: Planes,
    work: int,
    small: int = 0,
    small_stride: int = 0,
    alpha_stride: int = 0,
    alpha_dtype: object = "float32",
    background: tuple[int, int, int] | Planes | str | None = None,
    blur_radius: int = 12,
    input_alpha: int = 0,
    input_alpha_stride: int = 0,
    refine: bool = True,
    decontaminate: bool = True,
    radius: int = RADIUS,
    eps: float = EPS,
    fusion_radius: int = FUSION_RADIUS,
    matrix: str = "bt709",
    full_range: bool = False,
    status: int = 0,
) -> tuple[Launch, ...]:
    """Small alpha to the output picture, as `livecut.kernels.refine_and_composite`: two or three launches.

    Parameters
    ----------
    planes, out : Planes
        The frame and the output. ``out`` may be the frame in the same format, or the background. ``planes``
        is not read for ALPHA without refining, and may then be ``NO_PLANES``.
    alpha : int
        Address of the network's whole output ``(h, w)``, float32 or float16 (``alpha_dtype``), rows
        ``alpha_stride`` bytes apart (0: no gaps).
    work : int
        Address of ``work_bytes(geometry.roi[2:])`` bytes, a multiple of 256; one frame at a time.
    small : int
        Address of the guide that `preprocess_launch` filled: to refine, decontaminate or blur.
    background : (r, g, b), Planes, "blur" or None
        For RGB, BGR and I420 alone. Planes are one packed picture (in the channel order of a packed output,
        RGB for I420), or Y, U and V for I420. ``blur`` is the frame itself, blurred by ``blur_radius``.
    status : int
        Address of a uint32, unless 0: `NOT_FINITE` and `OUT_OF_RANGE` are added to it if the alpha is so.

    Returns
    -------
    tuple of Launch
        To be queued in this order on one stream.

    Raises
    ------
    ValueError
        If a word, size or number does not fit, or a background is missing or has no use.

    Notes
    -----
    Within 1 of 255 of `reference_refine.refine_and_composite`. With a radius above 8 each cell reads its own
    window from memory: the work grows with the square.
    """
    _checks.check_choice("format", format, _checks.FORMATS)
    _checks.check_choice("output", output, OUTPUTS)
    _checks.check_choice("matrix", matrix, _checks.MATRICES)
    check_size(geometry)
    for name, value in (("radius", radius), ("fusion_radius", fusion_radius), ("blur_radius", blur_radius)):
        if not 1 <= value <= MAX_RADIUS:
            raise ValueError(f"{name}: expected 1 to {MAX_RADIUS}, got {value}")
    if not 1e-6 <= eps <= 1:
        raise ValueError(f"eps: expected 1e-6 to 1, got {eps}")
    if (background is not None) != (output in COMPOSITED):
        raise ValueError(f"background: expected {'one' if output in COMPOSITED else 'none'} for {output}")
    decontaminate = decontaminate and output != "ALPHA"
    if (refine or decontaminate or background == "blur") and not small:
        raise ValueError("small: expected the guide's address to refine, decontaminate or blur, got 0")
    reads_frame = output != "ALPHA" or refine
    if reads_frame:
        check_planes("planes", planes, format)
    check_planes("out", out, output)
    planar = format in _checks.PLANAR and output in ("I420", "YUVA420")
    x, y, roi_w, roi_h = geometry.roi
    alpha_size = np.dtype(alpha_dtype).itemsize  # type: ignore[call-overload]
    alpha_stride = alpha_stride or geometry.input_wh[0] * alpha_size
    small_stride = small_stride or 3 * geometry.input_wh[0]
    buffers = Work.at(work, (roi_w, roi_h))
    guide = small + y * small_stride + 3 * x if small else 0
    across, down = blocks(roi_w, GRID_X), blocks(roi_h, GRID_Y)
    half_w, half_h = (roi_w + 1) // 2, (roi_h + 1) // 2
    halves = blocks(half_w, GRID_X) * blocks(half_h, GRID_Y) if decontaminate else 0
    fields = {
        "alpha": alpha + y * alpha_stride + alpha_size * x, "alpha_stride": alpha_stride,
        "small": guide, "small_stride": small_stride, "slope": buffers.slope,
        "coefficients": buffers.coefficients, "rows": buffers.rows, "colours": buffers.colours,
        "status": status, "alpha_half": alpha_size == 2, "rw": roi_w, "rh": roi_h, "fw": half_w, "fh": half_h,
        "refine": refine, "decontaminate": decontaminate, "radius": radius, "fusion_radius": fusion_radius,
        "luma": LUMA[matrix], "eps": eps, "slack": SLACK, "colours_yuv": planar,
        "to_yuv": to_yuv(matrix, full_range),
    }  # fmt: skip
    launches = []
    block = (GRID_X, GRID_Y, 1)
    cells, cells_half = roi_w * roi_h, half_w * half_h
    if refine or decontaminate:
        guide_blocks = across * down if refine else 0
        near = 8 * (GRID_X + 2 * radius) * (GRID_Y + 2 * radius) if refine and radius <= NEAR else 0
        shared = max(near, 32 * (GRID_X + 2 * fusion_radius) * GRID_Y if decontaminate else 0)
        arguments = (block_of(SMALL, {**fields, "guide_blocks": guide_blocks}),)
        written = (4 * cells if refine else 0) + (32 * cells_half if decontaminate else 0)
        launches.append(
            Launch(
                "lc_measure", (guide_blocks + halves, 1, 1), block, arguments, shared,
                (alpha_size + 3) * cells + written,
            )
        )  # fmt: skip
    arguments = (block_of(SMALL, {**fields, "guide_blocks": across * down}),)
    read = (alpha_size + (7 if refine else 0)) * cells
    floor = read + 16 * cells + (64 * cells_half if decontaminate else 0)
    launches.append(Launch("lc_solve", (across * down + halves, 1, 1), block, arguments, 0, floor))
    if background == "blur":
        launches += _blur_launches(guide, small_stride, buffers, (roi_w, roi_h), blur_radius)
    launches.append(
        _composite_launch(
            planes if reads_frame else NO_PLANES, out, format, geometry, output, background, buffers,
            input_alpha, input_alpha_stride or geometry.frame_wh[0], decontaminate, matrix, full_range,
        )
    )  # fmt: skip
    return tuple(launches)


def _blur_launches(
    guide: int, small_stride: int, buffers: Work, roi_wh: tuple[int, int], radius: int
) -> list[Launch]:
    """Three box blurs, each along both axes; the last one lands in ``buffers.blurred[1]``."""
    launches = []
    grid = (blocks(roi_wh[0], GRID_X), blocks(roi_wh[1], GRID_Y), 1)
    for number in range(6):
        fields = {
            "small": guide if number == 0 else 0, "small_stride": small_stride,
            "from": buffers.blurred[1 - number % 2], "to": buffers.blurred[number % 2],
            "rw": roi_wh[0], "rh": roi_wh[1], "radius": radius, "down": number % 2,
        }  # fmt: skip
        floor = (16 + (16 if number else 3)) * roi_wh[0] * roi_wh[1]
        launches.append(Launch("lc_blur", grid, (GRID_X, GRID_Y, 1), (block_of(BLUR, fields),), 0, floor))
    return launches


def _composite_launch(
    planes: Planes, out: Planes, format: str, geometry: Geometry, output: str,
    background: tuple[int, int, int] | Planes | str | None, buffers: Work, input_alpha: int,
    input_alpha_stride: int, decontaminate: bool, matrix: str, full_range: bool,
) -> Launch:  # fmt: skip
    width, height = geometry.frame_wh
    planar = output in ("I420", "YUVA420")
    yuv_of = to_yuv(matrix, full_range)
    fields = {
        "in": planes, "out": out, "input_alpha": input_alpha, "input_alpha_stride": input_alpha_stride,
        "coefficients": buffers.coefficients, "colours": buffers.colours, "blurred": buffers.blurred[1],
        "in_format": FORMATS.index(format), "out_format": FORMATS.index(output),
        "width": width, "height": height, "rw": geometry.roi[2], "rh": geometry.roi[3],
        "fw": (geometry.roi[2] + 1) // 2, "fh": (geometry.roi[3] + 1) // 2, "decontaminate": decontaminate,
        "in_words": planes.words, "out_words": out.words, "luma": [k / 128 / 255 for k in LUMA[matrix]],
        "guide_scale": 1 / 255 if full_range else 1 / 219, "guide_offset": 0 if full_range else -16 / 219,
        "yuv": _checks.yuv_constants(matrix, full_range), "to_yuv": yuv_of,
    }  # fmt: skip
    floor = picture_bytes(output, (width, height))
    if planes.pointers:
        floor += width * height if output == "ALPHA" and format in _checks.PLANAR else picture_bytes(
            format, (width, height)
        )  # fmt: skip
    if isinstance(background, Planes):
        if len(background.pointers) not in ((1, 3) if output == "I420" else (1,)):
            raise ValueError(f"background: expected one packed picture for {output}, or Y, U, V for I420")
        packed = len(background.pointers) == 1
        fields |= {"background": background, "background_kind": PACKED if packed else PLANES}
        fields["background_words"] = background.words
        floor += picture_bytes("RGB" if packed else "I420", (width, height))
    elif background == "blur":
        fields["background_kind"] = BLURRED
    elif background is not None:
        colour = np.asarray(background, np.float64)
        if colour.shape != (3,) or colour.min() < 0 or colour.max() > 255:
            raise ValueError(f"background: expected a colour in 0..255, got {background}")
        if output == "I420":
            colour = np.array(yuv_of).reshape(3, 4) @ [*colour, 1]
        fields |= {"background_kind": COLOUR, "colour": colour.tolist()}
    kernel = {"ALPHA": "alpha", "RGBA": "straight", "BGRA": "straight"}.get(
        output, "planar" if planar else "packed"
    )
    rows = blocks(height, 2) if planar else height
    grid = (blocks(blocks(width, PIXELS), GRID_X), blocks(rows, GRID_Y), 1)
    block = block_of(COMPOSITE, fields)
    return Launch(f"lc_composite_{kernel}", grid, (GRID_X, GRID_Y, 1), (block,), 0, floor)
