"""Runs a file from elsewhere and its wrapped graph beside each other, and says how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError
from ..engine.openvino_core import openvino_core
from .foreign_graph import FLAT, Feed, Plan
from .parity import ParityError
from .recipes import Recipe, RecipeError
from .runners import onnx_runner

if TYPE_CHECKING:
    import onnx

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
Size = tuple[int, int]
LIMITS = {"fp32": (2e-3, 1e-4), "fp16": (2e-3, 5e-4), "int8": (1.0, 1e-3), "requantised": (1.0, 2e-2)}
"""Largest and mean difference of alpha, by the precision of the file. In fp32 only the order of sums differs;
an fp16 output is rounded to steps of up to 5e-4, which the wrapped one need not be. In int8 a rounding that
falls the other way goes on through the layers behind it: single pixels may differ by anything, their mean may
not, and by more where operators on bytes were rewritten."""


@dataclass(frozen=True)
class Answer:
    """What a file gave at one size."""

    size_wh: Size
    raw: np.ndarray
    """Its output, in its own layout and dtype."""
    states: Mapping[str, tuple[int, ...]]
    """State input -> shape."""
    constants: Mapping[str, np.ndarray]


def open_runner(model: onnx.ModelProto | Path, first: str = "openvino") -> tuple[Run, str]:
    """Something that computes ``model`` in fp32 on the CPU, and its name.

    Parameters
    ----------
    model : ModelProto or Path
        What to run.
    first : str
        ``openvino``: and ONNX Runtime where that cannot; ``onnxruntime``: that alone, for files with
        operators on bytes, of which OpenVINO computes some wrongly.

    Raises
    ------
    ModelError
        If it cannot be run.
    """
    reason = "openvino computes its operators on bytes wrongly"
    if first == "openvino":
        try:
            return _openvino(model), "openvino"
        except RuntimeError as error:
            reason = f"openvino cannot run the file: {_last_line(error)}"
    try:
        return onnx_runner(model, "the file"), "onnxruntime"
    except DeviceUnavailable:
        way = "pip install livecut[onnxruntime] for another try"
    except ModelError as error:
        way = str(error)
    raise ModelError(f"{reason}; {way}")


def _openvino(model: onnx.ModelProto | Path) -> Run:

    core = openvino_core()
    read = core.read_model(str(model) if isinstance(model, Path) else model.SerializeToString())
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            results = compiled.create_infer_request().infer(
                {port: feed[next(name for name in port.names if name in feed)] for port in compiled.inputs}
            )
        except RuntimeError as error:
            shown = ", ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in feed.items())
            raise ModelError(f"openvino cannot run the file with {shown}: {_last_line(error)}") from None
        return {name: np.array(results[port]) for port in compiled.outputs for name in port.names}

    return run


def pictures(recipe: Recipe, size_wh: Size, *, flat: bool = True) -> list[np.ndarray]:
    """Normalised pictures where a wrong layout, channel order or activation shows.

    Parameters
    ----------
    flat : bool
        Black and white among them. Whether those hold a subject a network need not know: a rounding may
        turn all of its answer over.

    Returns
    -------
    list of ndarray of float32, shape (1, 3, h, w)
        A disc on a coloured ramp with noise, thin bright lines, black and white.
    """
    width, height = size_wh
    rng = np.random.default_rng(17)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.stack([255 * x / width, 255 * y / height, np.full_like(x, 60)])
    disc = (x - width * 0.45) ** 2 + (y - height * 0.55) ** 2 < (0.3 * min(size_wh)) ** 2
    scene[:, disc] = np.array([[210], [140], [90]], np.float32)
    scene = np.clip(scene + rng.normal(0, 8, scene.shape), 0, 255)
    lines = np.full((3, height, width), 20, np.float32)
    lines[:, height // 3, :] = 250
    lines[0, :, width // 2] = 250
    shown = [scene, lines]
    if flat:
        shown += [np.full((3, height, width), value, np.float32) for value in (0, 255)]
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (recipe.mean, recipe.std))
    return [((picture - mean) / std)[None].astype(np.float32) for picture in shown]


def first_states(feed: Feed) -> dict[str, np.ndarray]:
    """Zeros for the first frame; a size that is free starts as 1, which every file that has them spreads."""
    return {
        name: np.zeros([1 if size is None else size for size in shape], np.dtype(dtype))
        for name, (_, dtype, shape) in feed.states.items()
    }


def settled_states(answers: list[Answer]) -> dict[str, tuple[int | str, ...]]:
    """Shape of each state over all sizes: a number, or ``height/4`` and the like where it follows the size.

    Raises
    ------
    RecipeError
        If it follows the size in no such way.
    """
    settled: dict[str, tuple[int | str, ...]] = {}
    for name, shape in answers[0].states.items():
        settled[name] = tuple(
            _settled_axis(name, axis, [(answer.states[name][axis], answer.size_wh) for answer in answers])
            for axis in range(len(shape))
        )
    return settled


def _settled_axis(name: str, axis: int, seen: list[tuple[int, Size]]) -> int | str:
    values = {value for value, _ in seen}
    if len(values) == 1:
        return values.pop()
    side, index = {2: ("height", 1), 3: ("width", 0)}.get(axis, ("", 0))
    divisors = {size[index] / value for value, size in seen}
    divisor = divisors.pop()
    if not side or divisors or divisor != int(divisor):
        raise _unsettled(name)
    return f"{side}/{int(divisor)}"


def _unsettled(name: str) -> RecipeError:
    return RecipeError(
        f"the state {name!r} follows the input's size in a way that a manifest cannot say: "
        "give one --size WxH"
    )


def compare(
    raw: np.ndarray, alpha: np.ndarray, plan: Plan, limits: tuple[float, float]
) -> tuple[float, float]:
    """Largest and mean difference between what a recipe reads out of a file's output and the wrapped alpha.

    Raises
    ------
    ParityError
        If they differ by more than ``limits``, largest and mean, or the alpha is not (1, 1, h, w) in 0..1.
    """
    expected = read_alpha(raw, plan)
    if alpha.ndim != 4 or alpha.shape[:2] != (1, 1) or not np.isfinite(alpha).all():
        raise ParityError("the file gives values that are not finite")
    if alpha.min() < 0 or alpha.max() > 1:
        raise ParityError("the wrapped alpha leaves 0..1")
    got = alpha[0, 0]
    difference = np.abs(got.astype(np.float64) - resized(expected, got.shape))
    largest, mean = float(difference.max()), float(difference.mean())
    most, most_mean = limits
    if largest > most or mean > most_mean:
        raise ParityError(
            f"the wrapped graph differs from the file by {largest:.2e} at most and {mean:.2e} on average; "
            f"the limits are {most:.0e} and {most_mean:.0e}"
        )
    return largest, mean


def read_alpha(raw: np.ndarray, plan: Plan) -> np.ndarray:
    """The alpha (h, w) in 0..1 that a recipe reads out of a file's output, float64: a second opinion."""
    values = raw.astype(np.float64)
    if values.ndim == 4:
        values = (values.transpose(0, 3, 1, 2) if plan.nhwc else values)[0]
        if "softmax" in plan.activations:
            powers = np.exp(values - values.max(0))
            values = powers / powers.sum(0)
        values = values[plan.channel or 0]
    values = values.reshape(values.shape[-2:])
    for step in plan.activations:
        if step == "sigmoid":
            values = 1 / (1 + np.exp(-values))
        elif step == "minmax":
            values = (values - values.min()) / max(np.ptp(values), FLAT)
    return np.clip(1 - values if plan.invert else values, 0, 1)


def resized(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``plane`` at ``shape``, linear between pixel centres, as ONNX's Resize does it."""
    for axis, (have, want) in enumerate(zip(plane.shape, shape, strict=True)):
        if have == want:
            continue
        place = np.clip((np.arange(want) + 0.5) * have / want - 0.5, 0, have - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape(-1, 1) if axis == 0 else place - low
        high = np.minimum(low + 1, have - 1)
        plane = np.take(plane, low, axis) * (1 - share) + np.take(plane, high, axis) * share
    return plane


def _last_line(error: Exception) -> str:
    """The last line of one of OpenVINO's multi-line messages that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
