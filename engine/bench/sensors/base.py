"""What a sensor owes the sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path


class NotReadable(Exception):
    """A sensor cannot be read here; the text says why."""


@dataclass(frozen=True)
class Reading:
    """What a sensor shows at one moment; whatever it does not measure stays empty."""

    watts: dict[str, float] = field(default_factory=dict)
    """Momentary power by rail."""
    joules: dict[str, float] = field(default_factory=dict)
    """Energy by rail since some moment; only ever rises."""
    celsius: dict[str, float] = field(default_factory=dict)
    mhz: dict[str, float] = field(default_factory=dict)
    throttled: dict[str, float] = field(default_factory=dict)
    """Counters of slowing down; only ever rise."""
    reasons: tuple[str, ...] = ()
    """Why clocks are held down at this moment, where the device says so."""
    memory_mb: dict[str, float] = field(default_factory=dict)
    """Device memory in use."""


class Sensor(ABC):
    """A source of readings. The constructor raises NotReadable where there is nothing to read."""

    name: str
    measures: str

    @abstractmethod
    def read(self) -> Reading:
        """Read now; what fails to be read this once is left out."""

    def total_of(self, rails: list[str]) -> list[str]:
        """Those rails that together are the whole, each watt counted once."""
        return rails

    def close(self) -> None:  # noqa: B027  most sensors are files, opened for each reading
        """Let go of the device."""


def text_of(path: Path) -> str | None:
    """The stripped content of a small file; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> float | None:
    """The number in a small file; None where there is none."""
    text = text_of(path)
    try:
        return float(text) if text else None
    except ValueError:
        return None
