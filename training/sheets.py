"""Contact sheets and curves as PNG, for looking at."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .evaluate import Result

MAGENTA = (255, 0, 255)
PANEL_WH, PANELS_ACROSS = (360, 200), 3
LINE_COLOURS = ((200, 80, 0), (0, 140, 0), (0, 0, 210), (160, 0, 160), (0, 140, 200))


def over(image: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int] = MAGENTA) -> np.ndarray:
    """``image`` (H, W, 3) uint8 over a plain colour, by ``alpha`` (H, W), 0..1."""
    share = alpha[..., None]
    return np.rint(image * share + np.array(colour) * (1 - share)).astype(np.uint8)


def grey(alpha: np.ndarray) -> np.ndarray:
    """An alpha (H, W), 0..1, as an RGB picture."""
    return np.repeat(np.rint(alpha[..., None] * 255).astype(np.uint8), 3, 2)


def tiles(result: Result) -> list[np.ndarray]:
    """What is shown of a measured picture, RGB: itself, mask, the alpha found, cut-out over magenta."""
    found = result.predicted
    return [result.image, grey(result.alpha), grey(found), over(result.image, found)]


def doubled(rows: Sequence[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Two rows on a line, so that a sheet of many is not a ribbon; a last odd one is left out."""
    return [left + right for left, right in zip(rows[::2], rows[1::2], strict=False)] or list(rows)


def grid(rows: Sequence[Sequence[np.ndarray]], tile_px: int = 192, labels: Sequence[str] = ()) -> np.ndarray:
    """A grid of RGB pictures, each fitted into a square tile. ``labels`` go at the left of the rows."""
    lines = []
    for position, row in enumerate(rows):
        line = np.hstack([_tile(image, tile_px) for image in row])
        if position < len(labels):
            cv2.putText(line, labels[position], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 2)
            cv2.putText(line, labels[position], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1)
        lines.append(line)
    return np.vstack(lines)


def sheet(
    rows: Sequence[Sequence[np.ndarray]], path: Path, tile_px: int = 192, labels: Sequence[str] = ()
) -> None:
    """Write a ``grid``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(grid(rows, tile_px, labels), cv2.COLOR_RGB2BGR))


def curves(table: Path, path: Path, columns: Sequence[str]) -> None:
    """Draw columns of a run's CSV file over its minutes, a panel for each that has values, into one PNG."""
    with open(table, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    panels: list[np.ndarray] = []
    for column in columns:
        points = [(float(row["minutes"]), float(row[column])) for row in rows if row.get(column)]
        if points:
            colour = LINE_COLOURS[len(panels) % len(LINE_COLOURS)]
            panels.append(_panel(column, np.array(points), colour))
    if not panels:
        return
    empty = np.full_like(panels[0], 255)
    panels += [empty] * (-len(panels) % PANELS_ACROSS)
    lines = [np.hstack(panels[at : at + PANELS_ACROSS]) for at in range(0, len(panels), PANELS_ACROSS)]
    cv2.imwrite(str(path), np.vstack(lines))


def _panel(title: str, points: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """One curve, BGR: ``points`` (N, 2), minutes and values."""
    width, height = PANEL_WH
    left, top, right, bottom = 64, 30, width - 16, height - 26
    canvas = np.full((height, width, 3), 255, np.uint8)
    (start, low), (end, high) = points.min(0), points.max(0)

    def write(text: str, x: int, y: int, ink: tuple[int, int, int] = (90, 90, 90)) -> None:
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)

    for share in (0.0, 0.5, 1.0):
        y = round(bottom - share * (bottom - top))
        cv2.line(canvas, (left, y), (right, y), (225, 225, 225), 1)
        write(f"{low + share * (high - low):.4g}", 6, y + 4)
    write(f"{start:.1f}", left - 8, height - 8)
    write(f"{end:.1f} min", right - 58, height - 8)
    write(f"{title}, now {points[-1, 1]:.4g}", left, 18, colour)
    x = left + (points[:, 0] - start) / max(end - start, 1e-9) * (right - left)
    y = bottom - (points[:, 1] - low) / max(high - low, 1e-9) * (bottom - top)
    places = np.rint(np.stack([x, y], 1)).astype(np.int32)
    cv2.polylines(canvas, [places], False, colour, 1, cv2.LINE_AA)
    if len(places) <= 40:  # few enough to be told apart
        for place in places:
            cv2.circle(canvas, (int(place[0]), int(place[1])), 2, colour, -1, cv2.LINE_AA)
    return canvas


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
