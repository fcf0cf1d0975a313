"""Pictures and cases on which the CUDA kernels are compared with the specification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from livecut.kernels import fit
from livecut.kernels.cuda import plane_shapes
from livecut.kernels.preprocess import Geometry

FORMATS = ("BGR", "RGB", "RGBA", "BGRA", "I420", "NV12")
OUTPUTS = ("RGB", "BGR", "RGBA", "BGRA", "ALPHA", "I420", "YUVA420")
COMPOSITED = ("RGB", "BGR", "I420")
SIZES = ((97, 61), (1, 1), (33, 2), (2, 35), (160, 50))
SMALL_WH = (48, 32)


def picture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth pattern with some noise: what a frame looks like to a guided filter."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    channels = shape[2] if len(shape) == 3 else 1
    waves = [127 + 70 * np.sin(x / (5 + c) + c) * np.cos(y / (7 + c)) for c in range(channels)]
    smooth = np.stack(waves, -1) if len(shape) == 3 else waves[0]
    return np.clip(smooth + rng.normal(0, 8, shape), 0, 255).astype(np.uint8)


def disc(size_wh: tuple[int, int]) -> np.ndarray:
    """Alpha of a disc with a soft edge: float32 ``(h, w)``."""
    width, height = size_wh
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width * 0.45, y - height * 0.55)
    return np.clip((min(size_wh) * 0.3 - distance) / 3 + 0.5, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class PreprocessCase:
    """One frame to the network's input."""

    format: str
    size_wh: tuple[int, int]
    input_wh: tuple[int, int] = SMALL_WH
    mode: str = "letterbox"
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    gap: int = 0
    """Bytes between rows, and before the first: an odd number keeps the kernel from reading words."""

    @property
    def geometry(self) -> Geometry:
        return fit(self.size_wh, self.input_wh, self.mode)

    @property
    def name(self) -> str:
        extra = " ".join(f"{key}={value}" for key, value in self.options.items())
        size, target = ("{}x{}".format(*wh) for wh in (self.size_wh, self.input_wh))
        parts = [self.format, f"{size} to {target}", self.mode, self.dtype, extra]
        return " ".join(part for part in (*parts, f"gap {self.gap}" if self.gap else "") if part)


@dataclass(frozen=True)
class RefineCase:
    """One frame, its small alpha and its output."""

    format: str
    output: str
    size_wh: tuple[int, int] = (97, 61)
    input_wh: tuple[int, int] = SMALL_WH
    background: Any = "picture"
    """For composited outputs: ``picture``, ``planes``, ``blur`` or a colour."""
    input_alpha: bool = False
    alpha_dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    gap: int = 0

    @property
    def geometry(self) -> Geometry:
        return fit(self.size_wh, self.input_wh)

    @property
    def name(self) -> str:
        extra = " ".join(f"{key}={value}" for key, value in self.options.items())
        parts = [f"{self.format} to {self.output}", "{}x{}".format(*self.size_wh), extra]
        if self.output in COMPOSITED and self.background != "picture":
            parts.append(f"over {self.background}")
        if self.input_alpha:
            parts.append("with input alpha")
        if self.alpha_dtype != "float32":
            parts.append(f"alpha {self.alpha_dtype}")
        return " ".join(part for part in (*parts, f"gap {self.gap}" if self.gap else "") if part)


def preprocess_cases() -> Iterator[PreprocessCase]:
    """Every format at odd sizes, smaller and larger than the input; every dtype, layout, order and matrix."""
    sizes = [*SIZES, (20, 14), (48, 32), (95, 64), (640, 33), (7, 300)]
    for format, size in product(FORMATS, sizes):
        yield PreprocessCase(format, size)
        yield PreprocessCase(format, size, mode="stretch")
    for format, gap in product(FORMATS, (1, 4)):
        yield PreprocessCase(format, (97, 61), gap=gap)
    options: tuple[dict[str, Any], ...] = (
        {"layout": "NHWC"},
        {"order": "BGR", "mean": (120.0, 110.0, 100.0), "std": (60.0, 70.0, 50.0)},
        {"mean": (127.5,) * 3, "std": (127.5,) * 3},
        {"matrix": "bt601"},
        {"full_range": True},
        {"pad_value": (0.0, 12.0, 255.0)},
    )
    for dtype, chosen, format in product(("float32", "float16", "uint8"), options, ("BGR", "NV12")):
        if dtype != "uint8" or "std" not in chosen:
            yield PreprocessCase(format, (97, 61), dtype=dtype, options=chosen)
    for size, target in (
        ((5000, 3), (20, 8)),
        ((4100, 2), (1, 1)),
        ((3, 2000), (300, 4)),
        ((1, 1), (130, 5)),
    ):
        for format in ("RGB", "RGBA", "I420", "NV12"):
            yield PreprocessCase(format, size, target, mode="stretch")


def refine_cases() -> Iterator[RefineCase]:
    """Every format to every output at odd sizes; then each option."""
    for format, output, size in product(FORMATS, OUTPUTS, SIZES):
        yield RefineCase(format, output, size)
    for format, output, refine, decontaminate in product(
        ("BGR", "I420"), OUTPUTS, (False, True), (False, True)
    ):
        yield RefineCase(format, output, options={"refine": refine, "decontaminate": decontaminate})
    pairs = (("RGB", "I420"), ("I420", "RGB"), ("NV12", "YUVA420"), ("RGB", "RGB"), ("RGBA", "ALPHA"))
    for (format, output), matrix, full in product(pairs, ("bt601", "bt709"), (False, True)):
        yield RefineCase(format, output, options={"matrix": matrix, "full_range": full})
    for format, output, gap in product(FORMATS, OUTPUTS, (1, 4)):
        yield RefineCase(format, output, gap=gap)
    for format, output in product(("RGB", "NV12"), OUTPUTS):
        yield RefineCase(format, output, input_alpha=True)
        yield RefineCase(format, output, alpha_dtype="float16")
        for size in ((20, 14), (48, 32), (60, 40)):
            yield RefineCase(format, output, size)
        for radius, fusion, eps in ((1, 1, 1e-6), (8, 2, 1e-3), (9, 31, 1e-2), (31, 4, 1.0)):
            options = {"radius": radius, "fusion_radius": fusion, "eps": eps}
            yield RefineCase(format, output, options=options)
    for format, output in product(("BGR", "NV12"), COMPOSITED):
        for background in ((250, 20, 130), "blur"):
            yield RefineCase(format, output, background=background)
    for format in ("RGB", "I420", "NV12"):
        yield RefineCase(format, "I420", background="planes")


def planes_of(rng: np.random.Generator, format: str, size_wh: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """A picture in ``format``."""
    return tuple(picture(rng, shape) for shape in plane_shapes(format, size_wh))
