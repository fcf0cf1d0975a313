"""Two networks that should compute the same: on real frames and on edge cases, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.errors import ModelError
from .onnx_shapes import shapes_at
from .runners import Arrays, Runner

# Float32 sums in another order differ by a few 1e-6 per layer; a real mistake is above 1e-2.
MAX_DIFFERENCE = 1e-3
MAX_MEAN_DIFFERENCE = 1e-5
ALPHA_SLACK = 1e-3
"""How far outside 0..1 an alpha may lie: what a clamp in reduced precision leaves."""


class ParityError(ModelError):
    """An exported file does not compute what its source computes."""


@dataclass(frozen=True)
class Limits:
    """What is still the same: largest and mean difference of alpha (0..1) and state, see ``_apart``."""

    max_abs: float = MAX_DIFFERENCE
    mean_abs: float = MAX_MEAN_DIFFERENCE


@dataclass(frozen=True)
class Parity:
    """How far two networks are apart over some frames. In alpha, 0..1."""

    inputs: int
    max_abs: float
    """Largest difference of any value of any output on any frame, edge cases included."""
    mean_abs: float
    """Mean difference of the outputs over all frames."""
    alpha_mad: float = 0.0
    """Mean absolute difference of alpha over the real frames alone; over all where there are none."""
    real_frames: int = 0
    """How many of the inputs were pictures, plates included, rather than edge cases."""

    def to_json(self) -> dict[str, float]:
        """As a passport has it."""
        return {
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "alpha_mad": self.alpha_mad,
            "inputs": float(self.inputs),
            "real_frames": float(self.real_frames),
        }

    def __str__(self) -> str:
        return (
            f"max {self.max_abs:.1e}, mean {self.mean_abs:.1e}, alpha MAD {self.alpha_mad:.1e} over "
            f"{self.inputs} inputs, {self.real_frames} of them pictures"
        )


@dataclass(frozen=True)
class Case:
    """Frames of one short stream, in order: state runs from each to the next."""

    name: str
    frames: Sequence[np.ndarray]
    """Network inputs, float32 (N, 3, H, W)."""
    is_real: bool = False
    begins_with_plate: bool = False
    """Whether the first frame is a plate, to which only the state matters and not the alpha."""


def edge_pictures(height: int, width: int) -> dict[str, np.ndarray]:
    """Pictures where a wrong padding, scale, axis or overflow shows, float32 (3, height, width) in 0..255.

    Black, white, grey, noise, a step, one bright pixel, and lines of one pixel each way.
    """
    rng = np.random.default_rng(17)
    black = np.zeros((3, height, width), np.float32)
    step, point, across, down = (black.copy() for _ in range(4))
    step[..., width // 3 :] = 255
    point[:, height // 2, width // 2] = 255
    across[:, height // 3] = 255
    down[..., width // 3] = 255
    return {
        "black": black,
        "white": black + 255,
        "grey": black + 127.5,
        "noise": rng.uniform(0, 255, black.shape).astype(np.float32),
        "step": step,
        "point": point,
        "line across": across,
        "line down": down,
    }


def edge_streams(manifest: Mapping[str, Any], size_wh: tuple[int, int], batch: int = 1) -> list[Case]:
    """The edge cases as the network of ``manifest`` gets them; of a recurrent one, in pairs."""
    width, height = size_wh
    spec = manifest["input"]
    mean, std = (np.asarray(spec[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    pictures = edge_pictures(height, width)
    inputs = {name: np.repeat(((p - mean) / std)[None], batch, 0) for name, p in pictures.items()}
    if not manifest.get("state"):
        return [Case(name, [value]) for name, value in inputs.items()]
    names, plate = list(inputs), manifest.get("begins_with") == "plate"
    return [
        Case(f"{one}, then {other}", [inputs[one], inputs[other]], begins_with_plate=plate)
        for one, other in zip(names, [*names[1:], names[0]], strict=True)
    ]


def compare(
    reference: Runner,
    candidate: Runner,
    cases: Iterable[Case],
    manifest: Mapping[str, Any],
    *,
    name: str,
    limits: Limits | None = None,
) -> Parity:
    """Run both on every frame, each with the state it left itself, and return how far they are apart.

    Parameters
    ----------
    reference, candidate : Runner
        What is right, and what is to be proved.
    cases : iterable of Case
        At least one.
    manifest : mapping
        Names the input, the alpha and the state.
    name : str
        Of the candidate, for messages.

    Raises
    ------
    ParityError
        If the candidate passes a limit, gives another shape, an alpha outside 0..1 or a value that is not
        finite; the message names the case.
    """
    limits = limits or Limits()
    alpha = manifest["output"]["name"]
    names = [alpha, *(tensor["output"] for tensor in manifest.get("state", ()))]
    count, real, largest, worst_case, total = 0, 0, 0.0, "", 0.0
    mads: dict[bool, list[float]] = {True: [], False: []}
    for case in cases:
        states: list[Arrays] = [{}, {}]
        for index, image in enumerate(case.frames):
            is_plate = case.begins_with_plate and index == 0
            expected, got = (
                _step(runner, image, manifest, states, which)
                for which, runner in enumerate((reference, candidate))
            )
            _check_alpha(got[alpha], expected[alpha], f"{name}: on {case.name!r}")
            differences = [_apart(got[n], expected[n]) for n in (names[1:] if is_plate else names)]
            frame_worst = max(float(d.max()) for d in differences)
            if frame_worst >= largest:
                largest, worst_case = frame_worst, case.name
            total += float(np.mean([d.mean() for d in differences]))
            if not is_plate:
                mads[case.is_real].append(float(differences[0].mean()))
            count, real = count + 1, real + case.is_real
    if count == 0:
        raise ParityError(f"{name}: no inputs to compare on")
    parity = Parity(count, largest, total / count, float(np.mean(mads[True] or mads[False])), real)
    if parity.max_abs > limits.max_abs or parity.mean_abs > limits.mean_abs:
        raise ParityError(
            f"{name} differs from its source by {parity.max_abs:.2e} at most (on {worst_case!r}) and "
            f"{parity.mean_abs:.2e} on average; the limits are {limits.max_abs:.0e} and {limits.mean_abs:.0e}"
        )
    return parity


def _apart(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Difference of each value; of a state that reaches beyond 1, in shares of its largest value."""
    return np.abs(got.astype(np.float64) - expected) / max(1.0, float(np.abs(expected).max()))


def _step(
    runner: Runner, image: np.ndarray, manifest: Mapping[str, Any], states: list[Arrays], index: int
) -> Arrays:
    """One frame; leaves the state for the next one in ``states[index]``."""
    state = states[index] or first_state(manifest, image.shape)
    values = runner({manifest["input"]["name"]: image, **state})
    states[index] = {tensor["input"]: values[tensor["output"]] for tensor in manifest.get("state", ())}
    return values


def first_state(manifest: Mapping[str, Any], image_shape: Sequence[int]) -> Arrays:
    """The state before the first frame: zeros."""
    if not manifest.get("state"):
        return {}
    batch, _, height, width = image_shape
    shapes = shapes_at(manifest, (width, height), batch)
    return {tensor["input"]: np.zeros(shapes[tensor["input"]], np.float32) for tensor in manifest["state"]}


def feeds(runner: Runner, cases: Iterable[Case], manifest: Mapping[str, Any]) -> Iterable[Arrays]:
    """Every input of every frame, state included as ``runner`` leaves it: what calibration looks at."""
    for case in cases:
        state: Arrays = {}
        for image in case.frames:
            feed = {manifest["input"]["name"]: image, **(state or first_state(manifest, image.shape))}
            yield feed
            if manifest.get("state"):
                values = runner(feed)
                state = {tensor["input"]: values[tensor["output"]] for tensor in manifest["state"]}


def _check_alpha(got: np.ndarray, expected: np.ndarray, where: str) -> None:
    if got.shape != expected.shape:
        raise ParityError(f"{where}: alpha has shape {got.shape}, its source gives {expected.shape}")
    low, high = float(got.min()), float(got.max())
    if not (low >= -ALPHA_SLACK and high <= 1 + ALPHA_SLACK):  # false for NaN, too
        raise ParityError(
            f"{where}: alpha is {low:.3g}..{high:.3g}, outside 0..1 or not finite; the network must end in a "
            "sigmoid or a clamp, or its recipe must say so"
        )
