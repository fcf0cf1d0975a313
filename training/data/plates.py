"""Pictures with their clean plate: rendered ones with real shadows, and composites over their background.

What a fixed camera does to both is drawn here: other light, other white balance, a small shift, new noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset

from ..config import Stage
from . import geometry
from .augment import jpeg, photometric
from .backgrounds import backdrop
from .catalogue import COMPOSITE, FOLDERS, Quality
from .compose import compose
from .dataset import Batch, SceneMaker, stage_at

RENDERED, EMPTY = 0.55, 0.1  # shares of the sources; the rest are composites
SAME_LIGHT = 0.4  # share of pictures under exactly the plate's light
LIGHT, BALANCE = 0.3, 0.1  # the most that exposure and white balance differ by
SHIFTED, SHIFT = 0.5, 0.035  # how often, and the most, as a share of the width


@dataclass
class PlateBatch(Batch):
    """A ``Batch`` with ``plate``, uint8 (N, 3, H, W), RGB."""

    plate: torch.Tensor


class PlateMaker:
    """Draws a picture, its plate and its alpha from what a ``SceneMaker`` holds."""

    def __init__(self, scenes: SceneMaker) -> None:
        self.scenes = scenes
        packed = scenes.packed
        plates = {packed.items[index].image.name: index for index in scenes.plates}
        self.rendered = [
            (index, plates[name])
            for index in scenes.by_source.get("renders", [])
            if (name := packed.items[index].image.name.replace("_i.", "_p.")) in plates
        ]

    def draw(
        self, input_wh: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Quality]:
        """Picture and plate (H, W, 3) and alpha (H, W), uint8, of ``input_wh``."""
        chance = rng.random()
        if chance < RENDERED and self.rendered:
            image, plate, alpha = self._rendered(input_wh, rng)
            quality = FOLDERS["renders"]
        else:
            plate = backdrop(self.scenes.draw_behind(rng), input_wh, rng)
            quality = COMPOSITE
            if chance > 1 - EMPTY:
                image, alpha = plate, np.zeros(plate.shape[:2], np.uint8)
            else:
                count = 1 if rng.random() < 0.75 else 2
                image, alpha = compose(plate, [self.scenes.draw_subject(rng) for _ in range(count)], rng)
        look = int(rng.integers(2**31))  # the place as a whole, before anything changes
        image, plate = (photometric(x, np.random.default_rng(look)) for x in (image, plate))
        return (*disturb(image, plate, alpha, rng), quality)

    def _rendered(
        self, input_wh: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, plate = self.rendered[int(rng.integers(len(self.rendered)))]
        rgba = self.scenes.packed[image]
        bare = np.dstack([self.scenes.packed[plate], rgba[..., 3]])
        view = int(rng.integers(2**31))  # the same crop of both
        seen = geometry.random_crop(rgba, input_wh, np.random.default_rng(view))
        bare = geometry.random_crop(bare, input_wh, np.random.default_rng(view))
        return seen[..., :3].copy(), bare[..., :3].copy(), seen[..., 3].copy()


def disturb(
    image: np.ndarray, plate: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What has changed since the plate was taken: light, white balance, the camera's place, noise."""
    if rng.random() > SAME_LIGHT:
        gains = (1 + rng.uniform(-LIGHT, LIGHT)) * (1 + rng.uniform(-BALANCE, BALANCE, 3))
        image = np.clip(image * gains.astype(np.float32), 0, 255).astype(np.uint8)
    if rng.random() < SHIFTED:
        reach = SHIFT * plate.shape[1]
        plate = shifted(plate, rng.uniform(-reach, reach), rng.uniform(-reach, reach))
    sigma = rng.uniform(0, 7)
    image, plate = (
        np.clip(x + rng.standard_normal(x.shape, dtype=np.float32) * sigma, 0, 255).astype(np.uint8)
        for x in (image, plate)
    )
    if rng.random() < 0.3:
        quality = int(rng.integers(40, 92))
        image, plate = jpeg(image, quality), jpeg(plate, quality)
    return image, plate, alpha


def shifted(picture: np.ndarray, right: float, down: float) -> np.ndarray:
    """``picture`` moved by so many pixels; its edge goes on."""
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


class PlateStream(IterableDataset):
    """Endless ``PlateBatch``es; the parameters are those of ``SceneStream``."""

    def __init__(self, maker: PlateMaker, stages: Sequence[Stage], progress: Synchronized, seed: int) -> None:
        self.maker, self.stages, self.progress, self.seed = maker, stages, progress, seed

    def __iter__(self) -> Iterator[PlateBatch]:
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            stage = stage_at(self.stages, self.progress.value)
            width, height = stage.sizes[int(rng.integers(len(stage.sizes)))]
            drawn = [self.maker.draw((width, height), rng) for _ in range(stage.batch)]
            images, plates, alphas, qualities = zip(*drawn, strict=True)
            yield PlateBatch(
                _pictures(images),
                torch.from_numpy(np.stack(alphas))[:, None],
                torch.tensor([quality.trust for quality in qualities]),
                torch.tensor([quality.edge for quality in qualities]),
                _pictures(plates),
            )


def _pictures(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
