"""How many streams a machine holds: the largest number that keeps its rate within a latency bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import LivecutError
from .figures import Figures

DROPPED_SHARE = 0.001
"""A number of streams holds while at most this share of the frames is dropped."""


@dataclass(frozen=True)
class Trial:
    """One number of streams, tried once."""

    streams: int
    held: bool
    p99_ms: float | None
    """Of the worst stream."""
    dropped_share: float | None
    fps: float | None
    """Of all streams together."""
    why: str
    """What it missed, in words; empty where it held."""

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def judge_trial(streams: int, figures: Figures, p99_ms: float) -> Trial:
    """Whether a run held: every stream's p99 within the bound, next to nothing dropped, outputs right."""
    frames = figures.data["frames"]
    share = frames["dropped"] / frames["offered"] if frames["offered"] else 1.0
    missed = []
    if figures.worst_p99_ms > p99_ms:
        missed.append(f"p99 {figures.worst_p99_ms:.1f} ms")
    if share > DROPPED_SHARE:
        missed.append(f"{share:.1%} dropped")
    if not figures.gate_passed:
        missed.append("wrong output")
    return Trial(streams, not missed, figures.worst_p99_ms, share, figures.data["fps"], ", ".join(missed))


def find_streams(attempt: Callable[[int], Trial], most: int) -> tuple[int, list[Trial]]:
    """The largest number of streams that holds, and everything that was tried.

    Numbers are doubled until one does not hold, then halved in between; what is found must hold once more,
    or the next lower number must.

    Parameters
    ----------
    attempt : callable
        Runs so many streams and judges them. A LivecutError (such as too little memory) counts as not held.
    most : int
        Where to stop doubling.
    """
    trials: list[Trial] = []

    def holds(streams: int) -> bool:
        try:
            trials.append(attempt(streams))
        except LivecutError as error:
            trials.append(Trial(streams, False, None, None, None, " ".join(str(error).split())))
        return trials[-1].held

    low, high = 0, most + 1
    count = 1
    while count < high:
        if holds(count):
            low = count
            count = min(2 * count, most) if count < most else high
        else:
            high = count
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    while low and not holds(low):
        low -= 1
    return low, trials
