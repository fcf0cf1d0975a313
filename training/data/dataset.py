"""Endless batches for training, and the fixed validation pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from multiprocessing.sharedctypes import Synchronized

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset

from ..config import Stage
from . import geometry
from .augment import photometric
from .backgrounds import backdrop, crowd, patterned, toned
from .cache import Packed
from .cartons import carton
from .catalogue import COMPOSITE, Quality, quality_of
from .compose import compose, cut_out, heap, line_up

# Shares of the sources in a batch; a source without pictures gives its share to the others.
SOURCES = {
    "composite": 0.36,
    "renders": 0.14,
    "clothing_cc0": 0.10,
    "ccp_person": 0.08,
    "caltech101_contours": 0.22,
    "coco_ccby": 0.02,
    "small_objects_class5": 0.01,
    "trashnet_packaging": 0.03,
    "grocery_inhand_unlabelled": 0.11,
    "clothing_cc0_unlabelled": 0.03,
    "empty": 0.05,
}
# Shares of the places that a composite's subjects are cut out of.
SUBJECTS = {
    "renders": 0.32,
    "cutouts_rgba": 0.22,
    "cutouts_rendered": 0.36,
    "clothing_cc0": 0.14,
    "caltech101_contours": 0.14,
    "trashnet_packaging": 0.06,
    "small_objects_class5": 0.04,
    "ccp_person": 0.11,
    "cartons": 0.10,
}
OWN_SOURCES, OWN_SUBJECTS = 0.5, 0.5  # the same, of all folders together that are not known by name
CLEAN_OUTLINES = {"renders", "cutouts_rgba", "cutouts_rendered"}
# Heaps of fruit make good backgrounds but are no empty scene.
NOT_EMPTY = {"grocery_store"}
CROWDS = 0.15  # share of composites with a shelf of things behind the subject
ALIKE = 0.5  # share of shelves that hold more of what the subject is
GROUPS = 0.12  # share of composites with a group of things of one kind for the subject
HEAPS = 0.2  # share of composites with a heap, or a row, of a thing and its like for the subject
PLAIN = 0.7  # share of heaps before a drawn background
IN_GROUPS = SUBJECTS | {"ccp_person": 0.5}  # whose kind groups are of
PATTERNED = 0.2  # share of backgrounds that repeat a part of their picture, where there is one
TONED = 0.15  # share of composites whose background takes a colour of the subject's
MIN_SIDE_PX = 48


@dataclass
class Batch:
    """One batch, as tensors.

    Attributes
    ----------
    image : uint8 (N, 3, H, W), RGB
    alpha : uint8 (N, 1, H, W)
    trust, edge : float32 (N,)
        See ``catalogue.Quality``.
    """

    image: torch.Tensor
    alpha: torch.Tensor
    trust: torch.Tensor
    edge: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``; without waiting where the memory is page-locked."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; the loader calls this for a GPU."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return type(self)(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


def to_network(image: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 to the network's float32 -1..1."""
    return image.float() / 127.5 - 1


def to_alpha(alpha: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 to float32 0..1."""
    return alpha.float() / 255


class SceneMaker:
    """Draws one training picture after another from packed data.

    Parameters
    ----------
    packed : Packed
        Training items only.
    """

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self.by_source: dict[str, list[int]] = {}
        self.behind: list[int] = []
        self.empty: list[int] = []
        for index, item in enumerate(packed.items):
            if item.kind in ("pair", "cutout"):
                self.by_source.setdefault(item.folder, []).append(index)
            else:
                self.behind.append(index)
                if item.folder not in NOT_EMPTY:
                    self.empty.append(index)
        self.plates = [index for index in self.behind if packed.items[index].kind == "plate"]
        self.photos = [index for index in self.behind if packed.items[index].kind == "background"]
        present = {"composite", *self.by_source, *(["empty"] if self.empty else [])}
        own = {
            name: len(indices)
            for name, indices in self.by_source.items()
            if name not in SOURCES and name not in SUBJECTS
        }
        sources = SOURCES | _shared(OWN_SOURCES, own)
        subjects = SUBJECTS | _shared(OWN_SUBJECTS, own)
        self.sources = _normalised({name: share for name, share in sources.items() if name in present})
        there = {*self.by_source, *(["cartons"] if self.photos and self.by_source else [])}
        self.subjects = _normalised({name: share for name, share in subjects.items() if name in there})
        groups = IN_GROUPS | _shared(OWN_SUBJECTS, own)
        self.groups = _normalised({name: share for name, share in groups.items() if name in there})
        self.pairs = _normalised({name: sources[name] for name in self.by_source if name in sources})
        if not self.subjects:
            raise ValueError(
                "no labelled picture to train on: the data folder holds neither pairs nor cut-outs"
            )

    def draw(
        self, input_wh: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, Quality]:
        """One picture (H, W, 3) and its alpha (H, W), uint8, of ``input_wh``, and how good that alpha is."""
        source = _pick(self.sources, rng)
        if source == "composite":
            image, alpha = self._composite(self._frame(input_wh, rng), rng)
            quality = COMPOSITE
        elif source == "empty":
            frame_wh = self._frame(input_wh, rng)
            image = backdrop(self.packed[rng.choice(self.empty)], frame_wh, rng)
            alpha, quality = np.zeros(image.shape[:2], np.uint8), COMPOSITE
        else:
            index = rng.choice(self.by_source[source])
            rgba = self.packed[index]
            natural = rgba.shape[1] / rgba.shape[0] * np.exp(rng.normal(0, 0.12))
            crop = geometry.random_crop(rgba, self._frame(input_wh, rng, natural), rng)
            image, alpha, quality = crop[..., :3], crop[..., 3], quality_of(self.packed.items[index])
        image = photometric(np.ascontiguousarray(image), rng)
        image, alpha = geometry.letterbox(image, np.ascontiguousarray(alpha), input_wh)
        return image, alpha, quality

    def batch(self, input_wh: tuple[int, int], count: int, rng: np.random.Generator) -> Batch:
        """``count`` pictures together."""
        images, alphas, qualities = zip(*(self.draw(input_wh, rng) for _ in range(count)), strict=True)
        return Batch(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack(alphas))[:, None],
            torch.tensor([quality.trust for quality in qualities]),
            torch.tensor([quality.edge for quality in qualities]),
        )

    def _frame(
        self, input_wh: tuple[int, int], rng: np.random.Generator, natural: float | None = None
    ) -> tuple[int, int]:
        """Size of the frame inside the input: all of it, the picture's own shape, or any usual shape."""
        chance = rng.random()
        if chance < 0.4:
            return input_wh
        aspect = natural if natural is not None and chance < 0.85 else np.exp(rng.uniform(-0.58, 0.58))
        _, _, width, height = geometry.fit_inside((aspect, 1.0), input_wh)
        return max(MIN_SIDE_PX, width), max(MIN_SIDE_PX, height)

    def _composite(
        self, frame_wh: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        heaped = rng.random() < HEAPS
        picture = None if heaped and rng.random() < PLAIN else self.draw_behind(rng)
        if picture is not None and rng.random() < PATTERNED:
            background = patterned(picture, frame_wh, rng)
        else:
            background = backdrop(picture, frame_wh, rng)
        if heaped:
            subjects = [heap(self._alike(rng), rng)]
        elif rng.random() < GROUPS:
            kind = _pick(self.groups, rng)
            subjects = [line_up([self.draw_subject(rng, kind) for _ in range(int(rng.integers(2, 6)))], rng)]
        elif rng.random() < CROWDS:
            subject, *behind = (self.draw_subject(rng) for _ in range(3))
            if rng.random() < ALIKE:
                behind[0] = subject
            background, subjects = crowd(background, behind, rng), [subject]
        else:
            count = int(rng.choice([1, 2, 3], p=[0.66, 0.22, 0.12]))
            subjects = [self.draw_subject(rng) for _ in range(count)]
        if rng.random() < TONED:
            background = toned(background, subjects[0], rng)
        return compose(background, subjects, rng)

    def _alike(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Two to nine things of one kind, of one or two shapes."""
        kind = _pick(self.subjects, rng)
        shapes = [self.draw_subject(rng, kind) for _ in range(int(rng.integers(1, 3)))]
        return [shapes[int(rng.integers(len(shapes)))] for _ in range(int(rng.integers(2, 10)))]

    def draw_behind(self, rng: np.random.Generator) -> np.ndarray | None:
        """A picture to put behind a subject, uint8 (H, W, 3); None: draw a background."""
        chance = rng.random()
        if chance < 0.5 and self.photos:
            return self.packed[rng.choice(self.photos)]
        if chance < 0.85 and self.plates:
            return self.packed[rng.choice(self.plates)]
        return None

    def draw_subject(self, rng: np.random.Generator, kind: str | None = None) -> np.ndarray:
        """A subject cut out of its picture, or a drawn carton, uint8 (h, w, 4).

        ``kind`` is a key of ``subjects``; None: any, by their shares.
        """
        folder = kind or _pick(self.subjects, rng)
        if folder == "cartons":
            return carton(self.packed[rng.choice(self.photos)], rng)
        rgba = self.packed[rng.choice(self.by_source[folder])]
        return cut_out(rgba, tighten=folder not in CLEAN_OUTLINES)

    def draw_pair(self, rng: np.random.Generator) -> np.ndarray:
        """A labelled picture, uint8 (H, W, 4)."""
        return self.packed[rng.choice(self.by_source[_pick(self.pairs, rng)])]


class SceneStream(IterableDataset):
    """Endless batches; the input size follows the shared ``progress`` of the run.

    Parameters
    ----------
    stages : sequence of Stage
        In the order of ``until``, the progress 0..1 at which each ends.
    seed : int
        Together with the worker's number it fixes the order, though not which size a batch gets:
        that depends on the clock.
    """

    def __init__(
        self,
        maker: SceneMaker,
        stages: Sequence[Stage],
        progress: Synchronized,
        seed: int,
    ) -> None:
        self.maker, self.stages, self.progress, self.seed = maker, stages, progress, seed

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            stage = stage_at(self.stages, self.progress.value)
            width, height = stage.sizes[int(rng.integers(len(stage.sizes)))]
            yield self.maker.batch((width, height), stage.batch, rng)


def stage_at(stages: Sequence[Stage], progress: float) -> Stage:
    """The stage in force at ``progress`` 0..1 of the run."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])


def _normalised(shares: dict[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _shared(share: float, counts: dict[str, int]) -> dict[str, float]:
    """``share``, split by the counts."""
    total = sum(counts.values())
    return {name: share * count / total for name, count in counts.items()}


def _pick(shares: dict[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
