"""Contact sheets and curves as PNG, for looking at."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

MAGENTA = (255, 0, 255)
LINE_COLOURS = ((200, 80, 0), (0, 140, 0), (0, 0, 210), (160, 0, 160), (0, 140, 200))


def over(image: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int] = MAGENTA) -> np.ndarray:
    """``image`` (H, W, 3) uint8 over a plain colour, by ``alpha`` (H, W), 0..1."""
    share = alpha[..., None]
    return np.rint(image * share + np.array(colour) * (1 - share)).astype(np.uint8)


def grey(alpha: np.ndarray) -> np.ndarray:
    """An alpha (H, W), 0..1, as an RGB picture."""
    return np.repeat(np.rint(alpha[..., None] * 255).astype(np.uint8), 3, 2)


def sheet(
    rows: Sequence[Sequence[np.ndarray]], path: Path, tile_px: int = 192, labels: Sequence[str] = ()
) -> None:
    """Write a grid of RGB pictures, each fitted into a square tile. ``labels`` go at the left of the rows."""
    lines = []
    for position, row in enumerate(rows):
        line = np.hstack([_tile(image, tile_px) for image in row])
        if position < len(labels):
            cv2.putText(line, labels[position], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 2)
            cv2.putText(line, labels[position], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1)
        lines.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR))


def curves(table: Path, path: Path, columns: Sequence[str]) -> None:
    """Draw columns of a CSV file over its rows, each scaled to its own range, into one PNG."""
    with open(table, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    width, height, margin = 900, 320, 24
    canvas = np.full((height, width, 3), 255, np.uint8)
    for position, column in enumerate(columns):
        values = np.array([float(row[column]) for row in rows if row.get(column)])
        if len(values) < 2:
            continue
        low, high = float(values.min()), float(values.max())
        x = np.linspace(margin, width - margin, len(values))
        y = height - margin - (values - low) / max(high - low, 1e-9) * (height - 2 * margin)
        colour = LINE_COLOURS[position % len(LINE_COLOURS)]
        cv2.polylines(canvas, [np.stack([x, y], 1).astype(np.int32)], False, colour, 1, cv2.LINE_AA)
        text = f"{column} {low:.4g} .. {high:.4g}, now {values[-1]:.4g}"
        cv2.putText(
            canvas, text, (width - 330, 20 + 16 * position), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1
        )
    cv2.imwrite(str(path), canvas)


def _tile(image: np.ndarray, size: int) -> np.ndarray:
    scale = size / max(image.shape[:2])
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(
        image,
        (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))),
        None,
        0,
        0,
        mode,
    )
    canvas = np.full((size, size, 3), 40, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas
