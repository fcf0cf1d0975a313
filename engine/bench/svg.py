"""Plots as inline SVG: axes with round ticks, dots, lines, bars. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Point = tuple[float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 16, 38
_CHARACTER = 6.3
"""Mean width of a character of the labels, in pixels."""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``count`` of them.

    >>> ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``, thinned to powers where those are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if high <= 100 * low else (1,)
    made = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in made if low * 0.999 <= tick <= high * 1.001]


def tick_text(value: float) -> str:
    """A tick as short as can be: 0.5, 20, 1500."""
    return f"{value:g}" if abs(value) < 1e5 else f"{value:.0e}"


class Plot:
    """One plot of a given size; what is drawn first lies below.

    Parameters
    ----------
    size : (int, int)
        Width and height in CSS pixels.
    x, y : (float, float)
        Lowest and highest value of each axis.
    x_label, y_label : str
        Names with units.
    y_log : bool
        A logarithmic y axis; its lowest value must be above 0.
    x_ticks : sequence of float or mapping of float to str, optional
        Instead of round numbers; a mapping names them.
    margins : (int, int)
        Left and right of the plot, in pixels.
    """

    def __init__(
        self,
        size: tuple[int, int],
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        x_label: str,
        y_label: str,
        y_log: bool = False,
        x_ticks: Sequence[float] | Mapping[float, str] | None = None,
        margins: tuple[int, int] = (_LEFT, _RIGHT),
    ) -> None:
        self.width, self.height = size
        self._x, self._y, self._log = _opened(x), _opened(y), y_log
        self._labels = x_label, y_label
        self._x_ticks = x_ticks
        self._left, self._right = margins
        self._parts: list[str] = []
        self._over: list[str] = []
        self._taken: list[tuple[float, float, float, float]] = []
        self._wanted: list[tuple[float, float, str]] = []

    def at(self, x: float, y: float) -> Point:
        """Where a value lies, in pixels."""
        (left, right), (low, high) = self._x, self._y
        across = (x - left) / (right - left)
        up = (y - low) / (high - low)
        if self._log:
            up = math.log(max(y, low) / low) / math.log(high / low)
        wide, tall = self.width - self._left - self._right, self.height - _TOP - _BOTTOM
        return self._left + across * wide, _TOP + (1 - up) * tall

    def dots(self, points: Iterable[Point], style: str) -> None:
        """Many small dots, as one path."""
        places = (self.at(x, y) for x, y in points)
        self._parts.append(
            f'<path class="dots {style}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)}"/>'
        )

    def line(self, points: Iterable[Point], style: str) -> None:
        """A line through points."""
        places = [self.at(x, y) for x, y in points]
        if places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            self._parts.append(f'<path class="line {style}" d="M{path}"/>')

    def band(self, points: Iterable[tuple[float, float, float]], style: str) -> None:
        """An area between two lines: x, lower and upper y of each point."""
        rows = list(points)
        if rows:
            there = [self.at(x, high) for x, _, high in rows]
            back = [self.at(x, low) for x, low, _ in reversed(rows)]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in there + back)
            self._parts.append(f'<path class="band {style}" d="M{path}Z"/>')

    def bar(self, x: Point, y: Point, style: str, title: str = "") -> None:
        """A filled rectangle from ``x[0]`` to ``x[1]`` and ``y[0]`` to ``y[1]``."""
        (left, bottom), (right, top) = self.at(x[0], y[0]), self.at(x[1], y[1])
        told = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<rect class="bar {style}" x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left):.1f}" '
            f'height="{max(0.5, bottom - top):.1f}">{told}</rect>'
        )

    def mark(self, x: float, y: float, style: str, text: str = "", title: str = "") -> None:
        """One large dot with a word beside it where there is room, else with its title alone."""
        left, top = self.at(x, y)
        told = f"<title>{escape(title)}</title>" if title else ""
        self._over.append(
            f'<circle class="mark {style}" cx="{left:.1f}" cy="{top:.1f}" r="5">{told}</circle>'
        )
        self._taken.append((left - 6, top - 6, left + 6, top + 6))
        if text:
            self._wanted.append((left, top, text))

    def _place(self) -> list[str]:
        """A mark's word to its right, left, top or bottom: the first place where nothing else is."""
        made = []
        for left, top, text in self._wanted:
            wide = _CHARACTER * len(text)
            places = (
                (left + 9, top + 4, "start", left + 9),
                (left - 9, top + 4, "end", left - 9 - wide),
                (left, top - 10, "middle", left - wide / 2),
                (left, top + 19, "middle", left - wide / 2),
            )
            for x, y, anchor, start in places:
                box = (start, y - 11, start + wide, y + 3)
                inside = box[0] >= 0 and box[2] <= self.width
                if inside and not any(_overlap(box, other) for other in self._taken):
                    self._taken.append(box)
                    made.append(_text(x, y, text, anchor))
                    break
        return made

    def level(self, y: float, text: str, style: str) -> None:
        """A dashed line across, with its meaning above it at the right."""
        if not self._y[0] <= y <= self._y[1]:
            return
        left, top = self.at(self._x[0], y)
        right, _ = self.at(self._x[1], y)
        self._over.append(f'<path class="level {style}" d="M{left:.1f} {top:.1f}H{right:.1f}"/>')
        self._over.append(_text(right - 4, top - 5 if top > 24 else top + 14, text, "end", f"note {style}"))

    def upright(self, x: float, text: str, style: str, row: int = 0) -> None:
        """A dashed line upwards, with its meaning beside its top, ``row`` lines down."""
        left, top = self.at(x, self._y[1])
        _, bottom = self.at(x, self._y[0])
        self._over.append(f'<path class="level {style}" d="M{left:.1f} {bottom:.1f}V{top:.1f}"/>')
        fits = left + 6 + _CHARACTER * len(text) < self.width
        where = (left + 4, "start") if fits else (left - 4, "end")
        self._over.append(_text(where[0], top + 12 + 15 * row, text, where[1], f"note {style}"))

    def beside(self, y: float, name: str, value: str) -> None:
        """A row's name in the left margin and its value in the right one."""
        _, top = self.at(self._x[0], y)
        self._over.append(_text(2, top + 4, name, "start"))
        self._over.append(_text(self.width - 2, top + 4, value, "end"))

    def render(self, description: str, *, y_ticks: bool = True) -> str:
        """The SVG element; ``description`` is read out to who cannot see it."""
        axes = []
        (left, right), (low, high) = self._x, self._y
        narrow = self.width < 480
        chosen = self._x_ticks or ticks(left, right, 4 if narrow else 8)
        named = chosen if isinstance(chosen, Mapping) else {value: tick_text(value) for value in chosen}
        for value, name in named.items():
            x, bottom = self.at(value, low)
            axes.append(f'<path class="tick" d="M{x:.1f} {bottom:.1f}v4"/>')
            axes.append(_text(x, bottom + 17, name, "middle", "axis"))
        if y_ticks:
            for value in log_ticks(low, high) if self._log else ticks(low, high, 5):
                start, y = self.at(left, value)
                axes.append(f'<path class="grid" d="M{start:.1f} {y:.1f}H{self.width - self._right}"/>')
                axes.append(_text(start - 6, y + 4, tick_text(value), "end", "axis"))
        x_label, y_label = self._labels
        axes.append(_text(self.width - self._right, self.height - 4, x_label, "end", "axis name"))
        if y_label:
            axes.append(_text(2, 9, y_label, "start", "axis name"))
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(description)}">'
            f"{''.join(axes)}{''.join(self._parts)}{''.join(self._over + self._place())}</svg>"
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _opened(bounds: tuple[float, float]) -> tuple[float, float]:
    """Bounds that are apart, so that nothing is divided by nothing."""
    low, high = bounds
    return (low, high) if high > low else (low, low + 1.0)


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
