"""Each CUDA kernel against the NumPy specification, on whatever machine runs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from livecut.kernels import reference
from livecut.kernels import reference_refine as refined
from livecut.kernels.cuda import (
    NO_PLANES,
    Launch,
    Planes,
    memory_bytes,
    over_launch,
    plane_shapes,
    preprocess_launch,
    refine_launches,
    smooth_launches,
    work_bytes,
)
from livecut.kernels.refine import EPS, FUSION_RADIUS, RADIUS
from livecut.kernels.temporal import JUMP_ALPHA, STEADY_ALPHA

from .cases import COMPOSITED, PreprocessCase, RefineCase, disc, planes_of
from .machines import Machine

ROUNDED = 0.505
"""Of 255: rounding to 8 bits, and what is lost in 24 bits before it."""
ONE = 1.0
"""Of 255, where the specification rounds in between: a tie that falls the other way is a whole level."""
SEED = 20240


@dataclass(frozen=True)
class Outcome:
    """One case: the largest difference from the specification, and what it may be, in levels of 255."""

    kernel: str
    case: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


def strided(machine: Machine, arrays: Iterable[np.ndarray], gap: int) -> Planes:
    """Planes in the machine's memory, ``gap`` bytes before the first row and after each one."""
    pointers, strides = [], []
    for array in arrays:
        rows = np.ascontiguousarray(array).reshape(array.shape[0], -1).view(np.uint8)
        stride = rows.shape[1] + gap
        wide = np.zeros((rows.shape[0], stride), np.uint8)
        wide[:, : rows.shape[1]] = rows
        base = machine.take(gap + wide.nbytes - gap) + gap if gap else machine.take(wide.nbytes)
        machine.write(base, wide.reshape(-1)[: wide.nbytes - gap])
        pointers.append(base)
        strides.append(stride)
    return Planes(tuple(pointers), tuple(strides))


def fetched(machine: Machine, planes: Planes, format: str, size_wh: tuple[int, int]) -> list[np.ndarray]:
    """The pictures back from the machine's memory."""
    found = []
    for pointer, stride, shape in zip(
        planes.pointers, planes.strides, plane_shapes(format, size_wh), strict=True
    ):
        row = int(np.prod(shape[1:]))
        flat = np.zeros(stride * shape[0], np.uint8)
        flat[: stride * (shape[0] - 1) + row] = machine.read(pointer, stride * (shape[0] - 1) + row)
        found.append(flat.reshape(shape[0], stride)[:, :row].reshape(shape))
    return found


def put(machine: Machine, array: np.ndarray) -> int:
    """An array without gaps; its address."""
    address = machine.take(array.nbytes)
    machine.write(address, array)
    return address


def check_preprocess(machine: Machine, case: PreprocessCase) -> list[Outcome]:
    """Input and guide of one frame."""
    rng = np.random.default_rng(SEED)
    frame = planes_of(rng, case.format, case.size_wh)
    width, height = case.input_wh
    dtype = np.dtype(case.dtype)
    layout = case.options.get("layout", "NCHW")
    shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    out, small = machine.take(3 * width * height * dtype.itemsize), machine.take(3 * width * height)
    planes = strided(machine, frame, case.gap)
    launch = preprocess_launch(
        planes, format=case.format, geometry=case.geometry, dtype=dtype, out=out, small=small, **case.options
    )
    machine.run([launch])
    got = machine.read(out, 3 * width * height * dtype.itemsize).view(dtype).reshape(shape)
    got_small = machine.read(small, 3 * width * height).reshape(height, width, 3)
    defaults = {
        "mean": (0, 0, 0), "std": (1, 1, 1), "order": "RGB", "layout": layout, "pad_value": (114, 114, 114),
        "matrix": "bt709", "full_range": False,
    }  # fmt: skip
    options = {**defaults, **case.options}
    want, want_small = reference.preprocess(
        frame, format=case.format, geometry=case.geometry, dtype=np.float64, **options
    )
    if dtype == np.uint8:
        want = np.clip(want, 0, 255)
    spread = np.asarray(options["std"]).reshape((1, 3, 1, 1) if layout == "NCHW" else 3)
    error = float(np.abs((got.astype(np.float64) - want) * spread).max())
    limit = {"float32": 1e-3, "float16": 0.07, "uint8": ROUNDED}[case.dtype]
    wrong = float(np.abs(got_small.astype(np.int64) - want_small).max())
    machine.free()
    return [
        Outcome("lc_preprocess", case.name, error, limit),
        Outcome("lc_preprocess", f"{case.name}: guide", wrong, ONE),
    ]


def check_refine(machine: Machine, case: RefineCase) -> list[Outcome]:
    """One frame and its alpha to the output."""
    rng = np.random.default_rng(SEED)
    frame = planes_of(rng, case.format, case.size_wh)
    noise = rng.normal(0, 0.01, case.input_wh[::-1])  # some of it on either side of what counts as sure
    alpha = np.clip(disc(case.input_wh) + noise, 0, 1).astype(case.alpha_dtype)
    geometry = case.geometry
    common = {key: case.options[key] for key in ("matrix", "full_range") if key in case.options}
    guide = reference.preprocess(
        frame, format=case.format, geometry=geometry, mean=(0,) * 3, std=(1,) * 3, order="RGB", layout="NHWC",
        dtype=np.float32, pad_value=(114,) * 3, **{"matrix": "bt709", "full_range": False, **common},
    )[1]  # fmt: skip
    background, expected_background = _background(machine, rng, case)
    input_alpha = rng.integers(0, 256, case.size_wh[::-1], dtype=np.uint8) if case.input_alpha else None
    out = strided(
        machine, [np.zeros(shape, np.uint8) for shape in plane_shapes(case.output, case.size_wh)], case.gap
    )
    launches = refine_launches(
        strided(machine, frame, case.gap), put(machine, alpha), alpha_dtype=alpha.dtype, format=case.format,
        geometry=geometry, output=case.output, out=out, work=machine.take(work_bytes(geometry.roi[2:])),
        small=put(machine, guide), background=background, blur_radius=4,
        input_alpha=0 if input_alpha is None else put(machine, input_alpha), **case.options,
    )  # fmt: skip
    machine.run(launches)
    got = fetched(machine, out, case.output, case.size_wh)
    machine.free()
    if isinstance(expected_background, str):
        blurred = refined.blur(refined.crop(guide, geometry.roi), 4)
        expected_background = np.rint(refined.enlarge(blurred, case.size_wh))
    settings = {"radius": RADIUS, "eps": EPS, "fusion_radius": FUSION_RADIUS, **case.options}
    want = refined.refine_and_composite(
        frame, alpha, format=case.format, geometry=geometry, output=case.output, small=guide,
        background=expected_background, input_alpha=input_alpha, **settings,
    )  # fmt: skip
    limit = ONE + 0.01 if case.input_alpha or case.background == "blur" else ROUNDED
    outcomes = [Outcome(launches[-1].kernel, case.name, _difference(case.output, got, want), limit)]
    if case.input_alpha and case.output == "ALPHA":  # ties are rare: rounding once less is not
        share = float((np.abs(got[0] - want[0]) > ROUNDED).mean())
        outcomes.append(Outcome(launches[-1].kernel, f"{case.name}: share of ties", share, 0.002))
    return outcomes


def _background(machine: Machine, rng: np.random.Generator, case: RefineCase) -> tuple[Any, Any]:
    """What the launch takes, and what the specification takes (RGB)."""
    if case.output not in COMPOSITED:
        return None, None
    if case.background == "blur":
        return "blur", "blur"
    if case.background == "planes":
        planes = planes_of(rng, "I420", case.size_wh)
        return strided(machine, planes, case.gap), planes
    if case.background == "picture":
        (picture,) = planes_of(rng, "RGB", case.size_wh)
        shown = picture[..., ::-1] if case.output == "BGR" else picture
        return strided(machine, [shown], case.gap), picture
    return case.background, case.background


def _difference(output: str, got: list[np.ndarray], want: tuple[np.ndarray, ...]) -> float:
    """The largest difference where the specification says something: not the colour of what is invisible."""

    def worst(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> float:
        difference = np.abs(a.astype(np.float64) - b)
        if where is not None:
            difference = difference * (where[..., None] if difference.ndim > where.ndim else where)
        return float(difference.max(initial=0))

    if output in ("RGBA", "BGRA"):
        colour = got[0][..., :3] if output == "RGBA" else got[0][..., 2::-1]
        return max(worst(got[0][..., 3], want[1]), worst(colour, want[0], got[0][..., 3] > 0))
    if output in ("RGB", "BGR"):
        return worst(got[0] if output == "RGB" else got[0][..., ::-1], want[0])
    if output == "YUVA420":
        seen = got[3] > 0
        whole = refined.quarter(seen.astype(np.float64)) == 1
        chroma = [worst(got[c], want[c], whole) for c in (1, 2)]
        return max(worst(got[3], want[3]), worst(got[0], want[0], seen), *chroma)
    return max(worst(a, b) for a, b in zip(got, want, strict=True))


def check_smooth(machine: Machine, size_wh: tuple[int, int], dtype: str = "float32") -> list[Outcome]:
    """Three frames of a stream: the first passes, the others are mixed."""
    rng = np.random.default_rng(SEED)
    width, height = size_wh
    cells = width * height
    memory = machine.take(memory_bytes(size_wh))
    machine.write(memory, np.zeros(256, np.uint8))
    status = put(machine, np.zeros(1, np.uint32))
    out = machine.take(4 * cells)
    previous_alpha = previous_luma = None
    error = 0.0
    for number in range(3):
        alpha = np.clip(disc(size_wh) + rng.normal(0, 0.05 * number, (height, width)), 0, 1).astype(dtype)
        small = np.clip(rng.normal(120, 3 + 6 * number, (height, width, 3)), 0, 255).astype(np.uint8)
        launches = smooth_launches(
            put(machine, alpha), small_wh=size_wh, small=put(machine, small), out=out, memory=memory,
            alpha_dtype=dtype, status=status,
        )  # fmt: skip
        machine.run(launches)
        got = machine.read(out, 4 * cells).view(np.float32).reshape(height, width)
        luma, want = reference.luma_of(small), alpha.astype(np.float64)
        if previous_alpha is not None:
            want = reference.smooth_alpha(
                want, luma, previous_alpha, previous_luma, base=0.25, still=3.0, moving=8.0,
                steady=STEADY_ALPHA, jump=JUMP_ALPHA,
            )  # fmt: skip
        error = max(error, 255 * float(np.abs(got - want).max()))
        previous_alpha, previous_luma = got.astype(np.float64), luma
    told = int(machine.read(status, 4).view(np.uint32)[0])
    machine.free()
    name = "{}x{} {}".format(*size_wh, dtype)
    return [
        Outcome("lc_smooth", name, error, 0.3),
        Outcome("lc_smooth", f"{name}: status", float(told), 0),
    ]


def check_over(machine: Machine, size_wh: tuple[int, int], gap: int = 0) -> list[Outcome]:
    """Composite by a full-size alpha: exact."""
    rng = np.random.default_rng(SEED)
    (image,), (behind,) = planes_of(rng, "RGB", size_wh), planes_of(rng, "RGB", size_wh)
    alpha = rng.integers(0, 256, size_wh[::-1], dtype=np.uint8)
    out = strided(machine, [np.zeros_like(image)], gap)
    parts = [strided(machine, [array], gap) for array in (image, alpha, behind)]
    machine.run([over_launch(*parts, out, size_wh=size_wh)])
    got = fetched(machine, out, "RGB", size_wh)[0]
    machine.free()
    error = float(np.abs(got.astype(np.int64) - refined.composite_over(image, alpha, behind)).max())
    return [Outcome("lc_over", "{}x{}".format(*size_wh) + (f" gap {gap}" if gap else ""), error, 0)]


def check_status(machine: Machine) -> list[Outcome]:
    """Alphas that no network may give are told."""
    size = (40, 20)
    outcomes = []
    for name, value, want in (("fine", 1.005, 0), ("beyond", 1.5, 2), ("nan", np.nan, 1), ("inf", np.inf, 1)):
        alpha = disc(size)
        alpha[7, 33] = value
        status = put(machine, np.zeros(1, np.uint32))
        case = RefineCase("RGB", "ALPHA", size, size)
        launches = refine_launches(
            NO_PLANES, put(machine, alpha), format="RGB", geometry=case.geometry, output="ALPHA",
            out=Planes((machine.take(800),), (40,)), work=machine.take(work_bytes(size)), refine=False,
            status=status,
        )  # fmt: skip
        machine.run(launches)
        told = int(machine.read(status, 4).view(np.uint32)[0])
        outcomes.append(Outcome("lc_solve", f"status of {name}", float(told != want), 0))
        machine.free()
    return outcomes


def check_in_place(machine: Machine, format: str) -> list[Outcome]:
    """The output onto the frame: as onto memory of its own."""
    case = RefineCase(format, format)
    rng = np.random.default_rng(SEED)
    frame = planes_of(rng, format, case.size_wh)
    alpha, guide = disc(case.input_wh), planes_of(rng, "RGB", case.input_wh)[0]
    results = []
    for apart in (True, False):
        source = strided(machine, frame, 0)
        out = strided(machine, [np.zeros_like(plane) for plane in frame], 0) if apart else source
        launches = refine_launches(
            source, put(machine, alpha), format=format, geometry=case.geometry, output=format, out=out,
            work=machine.take(work_bytes(case.geometry.roi[2:])), small=put(machine, guide),
            background=(9, 200, 30) if format in COMPOSITED else None,
        )  # fmt: skip
        machine.run(launches)
        results.append(fetched(machine, out, format, case.size_wh))
    machine.free()
    error = max(float(np.abs(a.astype(int) - b).max()) for a, b in zip(*results, strict=True))
    return [Outcome(launches[-1].kernel, f"{format} onto itself", error, 0)]


def check_half(machine: Machine, values: np.ndarray) -> list[Outcome]:
    """Float16 alphas read, and float16 inputs written: both as NumPy converts them."""
    count = values.size
    memory = machine.take(memory_bytes((count, 1)))
    machine.write(memory, np.zeros(256, np.uint8))
    out, small = machine.take(4 * count), machine.take(3 * count)
    launches = smooth_launches(
        put(machine, values), small_wh=(count, 1), small=small, out=out, memory=memory, alpha_dtype=np.float16
    )
    machine.run(launches[:1])
    read = machine.read(out, 4 * count).view(np.float32)
    wrong = float((read != np.clip(values.astype(np.float32), 0, 1)).sum())
    levels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    planes, written = Planes((put(machine, levels),), (768,)), machine.take(2 * 768)
    scale, mean = 3.7, 41.3
    options = {"mean": (mean,) * 3, "std": (scale,) * 3}
    case = PreprocessCase("RGB", (256, 1), (256, 1), dtype="float16", options=options)
    machine.run(
        [
            preprocess_launch(
                planes, format="RGB", geometry=case.geometry, dtype="float16", out=written, **options
            )
        ]
    )
    got = machine.read(written, 2 * 768).view(np.float16)[:256]
    exact = (np.arange(256) - mean) / scale
    apart = np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float16)).astype(
        float
    )
    machine.free()
    return [
        Outcome("lc_smooth", "float16 read", wrong, 0),
        Outcome("lc_preprocess", "float16 written, units of the last place", float(apart.max()), 0.51),
    ]


def floors(launches: Iterable[Launch]) -> int:
    """Bytes that the launches have to move, together."""
    return sum(launch.floor_bytes for launch in launches)
