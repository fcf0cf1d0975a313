"""Measures a model on pictures and clips with known alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import metrics
from .data.cache import Packed
from .pairs import Sample, Samples, packed_samples

if TYPE_CHECKING:
    from .predictors import Predictor  # needs PyTorch, which measuring alone does not

METRICS = ("mae", "mse", "sad", "grad", "conn", "iou", "max_f", "s_measure", "boundary_f")
HIGHER_IS_BETTER = {"iou", "max_f", "s_measure", "boundary_f"}
TITLES = {
    "mae": "MAE",
    "mse": "MSE",
    "sad": "SAD",
    "grad": "Grad",
    "conn": "Conn",
    "iou": "IoU",
    "max_f": "max F",
    "s_measure": "S",
    "boundary_f": "bound F",
    "dtssd": "dtSSD",
    "mparams": "M params",
    "gmac": "GMAC",
}
WORST = 20
FORMAT = 1
Summary = dict[str, dict[str, float]]


@dataclass
class Result:
    """One measured picture, at its own size: what was measured, and what to show."""

    name: str
    folder: str
    image: np.ndarray
    alpha: np.ndarray
    predicted: np.ndarray
    values: dict[str, float]
    f_curve: np.ndarray | None = None
    clip: str = ""


@dataclass
class Evaluation:
    """All that was measured of one model.

    Attributes
    ----------
    summary : dict
        Means by folder, and over ``all``; ``max_f`` is the best of the mean curve, ``dtssd`` the mean over
        clips.
    pictures, clips : list of dict
        Name, folder and values of each.
    skipped : list of str
        One line for each picture that could not be used.
    worst : list of Result
        With their pixels, the worst first.
    """

    summary: Summary
    pictures: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    skipped: list[str]
    worst: list[Result]
    model: dict[str, Any] = field(default_factory=dict)
    data: str = ""

    def as_json(self) -> dict[str, Any]:
        """What is written to ``evaluation.json``."""
        keys = ("model", "data", "summary", "pictures", "clips", "skipped")
        return {"format": FORMAT, **{key: getattr(self, key) for key in keys}}


def measure(
    predict: Predictor,
    samples: Iterable[Sample],
    names: Sequence[str] = METRICS,
    *,
    frame_by_frame: bool = False,
) -> Iterator[Result]:
    """Measure each sample with the metrics called ``names``.

    The model forgets what it has seen before every picture, but within a clip only before the first frame.
    One that begins with a clean plate is then shown the sample's. With ``frame_by_frame`` frames of clips are
    unrelated pictures too.
    """
    clip = ""
    for sample in samples:
        if frame_by_frame or not sample.clip or sample.clip != clip:
            predict.reset()
            if predict.begins_with_plate and sample.plate is not None:
                predict(sample.plate)
        clip = sample.clip
        predicted = predict(sample.image)
        values = {name: getattr(metrics, name)(predicted, sample.alpha) for name in names if name != "max_f"}
        curve = None
        if "max_f" in names:
            curve = metrics.f_curve(predicted, sample.alpha)
            values["max_f"] = float(curve.max())
        values = {name: values[name] for name in names}
        yield Result(sample.name, sample.group, sample.image, sample.alpha, predicted, values, curve, clip)


def results(predict: Predictor, packed: Packed, names: Sequence[str] = METRICS) -> Iterator[Result]:
    """Measure each pair of packed training data."""
    return measure(predict, packed_samples(packed), names)


def evaluate(
    predict: Predictor,
    samples: Samples,
    names: Sequence[str] = METRICS,
    *,
    worst: int = WORST,
    frame_by_frame: bool = False,
    on_picture: Callable[[int, str], None] | None = None,
) -> Evaluation:
    """Measure every sample, keep the pixels of the ``worst`` only, and sum up.

    ``on_picture`` is called with the number measured so far, and the name of each. ``frame_by_frame``: see
    ``measure``.

    Raises
    ------
    ValueError
        If a clip's frames differ in size.
    """
    kept: list[Result] = []
    light: list[Result] = []
    flickers: dict[tuple[str, str], list[float]] = {}
    before: tuple[str, np.ndarray] | None = None
    for count, result in enumerate(measure(predict, samples, names, frame_by_frame=frame_by_frame), 1):
        if result.clip:
            error = result.predicted - result.alpha
            steps = flickers.setdefault((result.folder, result.clip), [])
            if before is not None and before[0] == result.clip:
                if before[1].shape != error.shape:
                    raise ValueError(
                        f"{result.clip}: frames of one clip differ in size, from {result.name} on"
                    )
                steps.append(metrics.flicker(error, before[1]))
            before = result.clip, error
        kept = sorted([*kept, result], key=badness, reverse=True)[:worst]
        nothing = np.empty(0, np.uint8)
        light.append(
            Result(
                result.name,
                result.folder,
                nothing,
                nothing,
                nothing,
                result.values,
                result.f_curve,
                result.clip,
            )
        )
        if on_picture is not None:
            on_picture(count, result.name)
    summary = summarise(light)
    means = {place: float(np.mean(steps)) for place, steps in flickers.items() if steps}
    clips = [
        {"name": clip, "folder": folder, "frames": len(flickers[folder, clip]) + 1, "dtssd": dtssd}
        for (folder, clip), dtssd in means.items()
    ]
    for group, values in summary.items():
        inside = [dtssd for (folder, _), dtssd in means.items() if group in ("all", folder)]
        if inside:
            values["dtssd"] = float(np.mean(inside))
    pictures = [{"name": r.name, "folder": r.folder, **r.values} for r in light]
    return Evaluation(summary, pictures, clips, samples.skipped, kept)


def badness(result: Result) -> tuple[float, float]:
    """What the worst are sorted by: what IoU lacks, then the mean absolute error."""
    return 1 - result.values.get("iou", 1.0), result.values.get("mae", 0.0)


def summarise(measured: Sequence[Result]) -> Summary:
    """Mean of every metric and the number of pictures: over each folder, and over ``all``."""
    groups: dict[str, list[Result]] = {"all": list(measured)}
    for result in measured:
        groups.setdefault(result.folder, []).append(result)
    return {group: _means(members) for group, members in groups.items() if members}


def _means(members: Sequence[Result]) -> dict[str, float]:
    means = {name: float(np.mean([member.values[name] for member in members])) for name in members[0].values}
    curves = [member.f_curve for member in members if member.f_curve is not None]
    if "max_f" in means and len(curves) == len(members):
        means["max_f"] = float(np.mean(curves, axis=0).max())
    return {"pictures": len(members), **means}


def table(summary: Summary) -> str:
    """A summary as a Markdown table, one row for each folder."""
    return markdown(summary, "data")


def markdown(rows: Summary, corner: str) -> str:
    """A Markdown table of named rows of numbers; a number that a row lacks stays empty."""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    lines = [f"| {corner} | " + " | ".join(map(title, names)) + " |", "|---" * (len(names) + 1) + "|"]
    for group, values in rows.items():
        cells = [shown(name, values[name]) if name in values else "" for name in names]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def title(name: str) -> str:
    """A metric as tables name it."""
    return TITLES.get(name, name)


def shown(name: str, value: float) -> str:
    """A number as tables show it."""
    if name in ("pictures", "frames"):
        return f"{value:.0f}"
    return f"{value:.2f}" if name in ("gmac", "mparams") else f"{value:.4f}"
