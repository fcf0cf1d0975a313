"""How thorough a run is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """``quick`` proves that a benchmark works; its figures are no results."""

    quick: bool = False
    model: str = "livecut-s"
    data: Path | None = None
    """Folder of training data, for errors on its held-out pictures; None or missing: none are measured."""
    cache: Path = Path("runs/benchmarks-cache")
    """Where its decoded pictures are kept."""

    @property
    def rounds(self) -> int:
        """Rounds of interleaved kernel timings."""
        return 6 if self.quick else 60

    @property
    def loop_rounds(self) -> int:
        """Rounds of whole loops, each of some dozen frames."""
        return 3 if self.quick else 25

    @property
    def open_loop_seconds(self) -> float:
        """Length of the open-loop run."""
        return 10.0 if self.quick else 60.0
