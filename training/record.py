"""What a run leaves in its folder to be read: log, table of curves, their picture, sample pictures."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import sheets
from .evaluate import Result

VALIDATED = ("mae", "iou", "boundary_f")
SAMPLES = 24


class Record:
    """``log.txt``, ``curve.csv``, ``curve.png`` and ``samples-*.png`` of one run.

    Parameters
    ----------
    folder : Path
        Made where missing.
    terms : sequence of str
        The loss terms, which become columns.
    say : callable
        Shows a line of the log.
    """

    def __init__(self, folder: Path, terms: Sequence[str], say: Callable[[str], None]) -> None:
        self.folder, self._say = folder, say
        folder.mkdir(parents=True, exist_ok=True)
        counted = ("minutes", "step", "pictures", "learning_rate", "total")
        self.columns = (*counted, *terms, *(f"val_{name}" for name in VALIDATED))

    def log(self, line: str) -> None:
        """Show a line, and keep it in ``log.txt``."""
        text = f"{time.strftime('%H:%M:%S')} {line}"
        self._say(text)
        with open(self.folder / "log.txt", "a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    def add_row(self, values: Mapping[str, float]) -> None:
        """Append to ``curve.csv`` and draw it anew; columns not given stay empty."""
        path = self.folder / "curve.csv"
        self._match_columns(path)
        fresh = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerow(values)
        drawn = [name for name in self.columns if name not in ("minutes", "step", "pictures")]
        sheets.curves(path, self.folder / "curve.png", drawn)

    def draw_samples(self, measured: Sequence[Result], step: int) -> None:
        """Draw some of the held-out pictures: picture, mask, alpha, cut-out over magenta."""
        shown = measured[:: max(1, len(measured) // SAMPLES)][:SAMPLES]
        rows = sheets.doubled([sheets.tiles(result) for result in shown])
        sheets.sheet(rows, self.folder / f"samples-{step:06d}.png", 128)

    def _match_columns(self, path: Path) -> None:
        """Bring a table that an earlier version began to the columns of this one."""
        if not path.exists():
            return
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) == self.columns:
                return
            rows = list(reader)
        partial = path.with_suffix(".part")
        with open(partial, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)
