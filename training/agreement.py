"""How far a second outline agrees with held-out masks, and how far a model agrees with either.

    python -m livecut.training.agreement ../shared/data livecut-s livecut-m

Held-out pictures have the mask that they came with; most photographs among them have a second outline
(``data/outlines/second``) that a general vision model drew and checked over the picture, seeing neither mask
nor any answer. The distance of the two is about what a network's error can come down to on these masks.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..engine.registry import find_bundle
from .data.cache import pack
from .data.catalogue import read_catalogue
from .data.outlines import outlined_mask, second_outlines_for
from .evaluate import Summary, markdown, measure, summarise
from .pairs import Sample, packed_samples
from .predictors import Predictor, open_predictor
from .program import exit_code, parser_of

MEASURED = ("mae", "iou", "boundary_f")


@dataclasses.dataclass
class Drawn:
    """Answers with one outline after another, in the order of the pictures."""

    outlines: Iterator[np.ndarray]
    begins_with_plate: bool = False

    def reset(self) -> None:
        """Nothing is remembered."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The next outline, float32 (H, W), 0..1."""
        return next(self.outlines)


def twice_outlined(data: Path, cache: Path) -> list[tuple[Sample, np.ndarray]]:
    """The held-out pictures with a second outline: each with its mask, and that outline, float32 (H, W).

    Raises
    ------
    ValueError, OSError
        If ``data`` holds no such picture.
    """
    items = [
        item
        for item in read_catalogue(data).items
        if item.kind == "pair"
        and item.validation
        and item.image.name in second_outlines_for(item.folder).pictures
    ]
    if not items:
        raise ValueError(f"{data}: holds no picture that has a second outline")
    both = []
    for sample in packed_samples(pack(items, cache)):
        path = second_outlines_for(sample.group).path
        drawn = outlined_mask(path, sample.name, (sample.alpha.shape[1], sample.alpha.shape[0]))
        both.append((sample, drawn.astype(np.float32) / 255))
    return both


def agreement(both: Sequence[tuple[Sample, np.ndarray]], models: Mapping[str, Predictor]) -> Summary:
    """MAE, IoU and boundary F by folder, and over ``all``, of each pair of answers to the same pictures."""
    masks = [sample for sample, _ in both]
    seconds = [dataclasses.replace(sample, alpha=drawn) for sample, drawn in both]

    def means(predict: Predictor, samples: Sequence[Sample]) -> Summary:
        return summarise(list(measure(predict, samples, MEASURED)))

    compared = {"second outline, mask": means(Drawn(iter([drawn for _, drawn in both])), masks)}
    for name, predict in models.items():
        compared[f"{name}, mask"] = means(predict, masks)
        compared[f"{name}, second outline"] = means(predict, seconds)
    groups = next(iter(compared.values()))
    return {f"{group}: {who}": rows[group] for group in groups for who, rows in compared.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("agreement", __doc__)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("models", nargs="*", help="models to compare, by name or folder")
    parser.add_argument("--cache", type=Path, default=Path("out/cache"), help="for decoded pictures")
    return exit_code(_compare, parser.parse_args(arguments))


def _compare(options: argparse.Namespace) -> None:
    models = {name: open_predictor(find_bundle(name)) for name in options.models}
    rows = agreement(twice_outlined(options.data, options.cache), models)
    print(markdown(rows, "data: who, against what"))


if __name__ == "__main__":
    sys.exit(main())
