"""What is measured: one run's settings, durations as people write them, and sweeps over several."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import LivecutError, UsageError
from ..registry import DEFAULT_MODEL
from ..turns import BATCHING

OUTPUTS = ("RGBA", "BGRA", "YUVA420", "ALPHA")
MOST_RUNS = 512
"""Of a sweep; what cannot run here is told at the end."""


@dataclass(frozen=True)
class Settings:
    """One run: a camera, a session, how long. What is None is chosen by livecut, and reported."""

    model: str = DEFAULT_MODEL
    size_wh: tuple[int, int] = (1920, 1080)
    """Of the camera's frames."""
    fps: float = 60.0
    seconds: float = 10.0
    """Of the steady state, after the warm-up."""
    warm_up_seconds: float = 2.0
    """Of the stream, told apart: its frames count for nothing else."""
    paced: bool = True
    """An open-loop camera; else frames as fast as they are taken."""
    output: str = "RGBA"
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    input_size_wh: tuple[int, int] | None = None
    streams: int = 1
    shared: bool = False
    """One engine for all streams, frames of several queued together; else each stream has its own."""
    batching: str = "auto"
    """With ``shared``: whether frames of several streams go through the network in one inference: ``auto``,
    ``always`` where it can be done, or ``never``."""
    bound_ms: float = 33.0
    """With ``shared``: how long a frame may take on the device before cameras drop instead."""
    temporal: bool = True
    require_gpu: bool = False
    rebuild: bool = True
    """Whether a TensorRT engine that is missing may be built; the run waits for it."""
    post: str = "auto"
    """Where the full-resolution work is done: ``auto``, ``cpu`` or ``gpu``."""
    marked: bool = True
    """Whether alphas carry the index of their picture, where they pass through host memory."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            expected = ", ".join(name.lower() for name in OUTPUTS)
            raise UsageError(f"output: expected {expected}, got {self.output.lower()!r}")
        if self.batching not in BATCHING:
            raise UsageError(f"batching: expected {', '.join(BATCHING)}, got {self.batching!r}")
        if self.streams < 1:
            raise UsageError(f"streams: expected at least 1, got {self.streams}")
        if not self.seconds > 0 or self.warm_up_seconds < 0:
            raise UsageError(f"seconds: expected more than 0, got {self.seconds:g}")

    @property
    def warm_up_frames(self) -> int:
        """Frames of each camera before the steady state."""
        return round(self.warm_up_seconds * self.fps)

    @property
    def frames(self) -> int:
        """Frames of each camera in all."""
        return max(1, round(self.seconds * self.fps)) + self.warm_up_frames

    def camera(self, stream: int) -> str:
        """URI of one stream's camera; each shows another product."""
        width, height = self.size_wh
        seconds = self.frames / self.fps
        pace, seed = int(self.paced), self.seed + stream
        return f"synthetic://{width}x{height}@{self.fps:g}?seconds={seconds:.6f}&pace={pace}&seed={seed}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


def parse_duration(text: str, option: str, *, zero: bool = False) -> float:
    """``"90"``, ``"90s"``, ``"30m"``, ``"1.5h"`` to seconds; UsageError naming ``option`` else.

    With ``zero`` a length of 0 is fine.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else math.nan
    if not (seconds > 0 or (zero and seconds == 0)):
        raise UsageError(f"{option}: expected a duration such as 90s, 30m or 2h, got {text!r}")
    return seconds


# -- sweeps


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise ValueError("WIDTHxHEIGHT, such as 1920x1080")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number from 1")
    return int(text)


def _word(text: str) -> str:
    return text


# axis -> field of Settings, how a value is read
AXES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("model", _word),
    "size": ("size_wh", _size),
    "input-size": ("input_size_wh", _size),
    "precision": ("precision", _word),
    "backend": ("backend", _word),
    "threads": ("threads", _count),
    "streams": ("streams", _count),
    "batching": ("batching", _word),
}


def parse_sweep(texts: Iterable[str], base: Settings) -> dict[str, list[Any]]:
    """What ``--sweep`` asks for: axis to values, in the order given.

    ``"precision,threads"`` takes each axis's usual values, ``"size=1280x720,1920x1080"`` those that are
    named; both may stand in one text.

    Raises
    ------
    UsageError
        If an axis or a value does not make sense; the message lists what does.
    """
    found: dict[str, list[Any]] = {}
    axis: str | None = None
    for token in (token.strip() for text in texts for token in text.split(",")):
        name, equals, value = token.partition("=")
        if equals or name in AXES:
            if name not in AXES:
                raise UsageError(f"--sweep: no axis {name!r}; there are {', '.join(AXES)}")
            axis = name
            found.setdefault(name, [])
            if not equals:
                continue
        elif axis is None:
            raise UsageError(f"--sweep: no axis {token!r}; there are {', '.join(AXES)}")
        else:
            value = token
        try:
            found[axis].append(AXES[axis][1](value))
        except ValueError as error:
            raise UsageError(f"--sweep {axis}: expected {error}, got {value!r}") from None
    return {axis: values or usual_values(axis, base) for axis, values in found.items()}


def usual_values(axis: str, base: Settings) -> list[Any]:
    """What an axis is swept over when no values are named: what can run here."""
    from ..threads import available_cpus

    cores = available_cpus()
    doubled = sorted({1, cores, *(2**power for power in range(1, 10) if 2**power < cores)})
    if axis == "model":
        from ..registry import available_models

        return sorted(available_models())
    if axis == "size":
        return [(1280, 720), (1920, 1080), (3840, 2160)]
    if axis == "input-size":
        from ..registry import load_manifest

        wide = base.size_wh[0] >= base.size_wh[1]
        sizes = [tuple(size) for size in load_manifest(base.model).sizes_wh]
        return sorted(size for size in sizes if (size[0] >= size[1]) == wide)
    if axis == "backend":
        from ..backends import available_backends

        return [name for name, reason in available_backends().items() if not reason and name != "null"]
    if axis == "precision":
        return usable_precisions(base)
    if axis == "batching":
        return ["never", "always"]
    return doubled


def usable_precisions(base: Settings) -> list[str]:
    """Those that the device computes with this model and backend."""
    from ..backends.base import PRECISIONS
    from ..session import Session

    found = []
    for precision in PRECISIONS:
        if precision == "auto":
            continue
        try:
            with Session(base.model, backend=base.backend, precision=precision) as session:
                session.warm_up(base.size_wh)
        except LivecutError:
            continue
        found.append(precision)
    return found


def expand(base: Settings, sweep: dict[str, list[Any]]) -> list[Settings]:
    """Every combination, the last axis changing fastest.

    Raises
    ------
    UsageError
        If there are none, or more than ``MOST_RUNS``.
    """
    count = math.prod(len(values) for values in sweep.values())
    if not 1 <= count <= MOST_RUNS:
        raise UsageError(f"--sweep: {count} combinations; expected 1 to {MOST_RUNS}: name fewer values")
    fields = [AXES[axis][0] for axis in sweep]
    return [
        replace(base, **dict(zip(fields, values, strict=True)))
        for values in itertools.product(*sweep.values())
    ]


def differences(runs: Sequence[Settings]) -> list[str]:
    """Each run named by what sets it apart from the others."""
    told = [run.to_json() for run in runs]
    keys = [key for key in told[0] if any(run[key] != told[0][key] for run in told)] if told else []
    return [", ".join(f"{key} {_shown(run[key])}" for key in keys) or "the run" for run in told]


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
