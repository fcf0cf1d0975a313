"""Short clips with exact alpha: foreground, camera and light move, the picture is noisy, scenes are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing.sharedctypes import Synchronized

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset

from ..config import Stage
from . import geometry
from .augment import jpeg
from .backgrounds import backdrop
from .compose import over, relight, shadow
from .dataset import Batch, SceneMaker, stage_at

STILL = 0.3  # share of clips in which neither subject nor camera moves
PAIRS = 0.3  # share of clips that are a labelled picture under a moving camera
CUTS = 0.08  # share of clips in which another scene begins half-way
ROOM = 1.25  # a background is so much larger than the frame, for the camera to move over


class ClipMaker:
    """Draws one clip after another from what a ``SceneMaker`` holds."""

    def __init__(self, scenes: SceneMaker) -> None:
        self.scenes = scenes

    def draw(
        self, size_wh: tuple[int, int], frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One clip: pictures (frames, H, W, 3) RGB and alphas (frames, H, W), uint8."""
        if frames >= 4 and rng.random() < CUTS:
            half = frames // 2
            first, second = self.draw(size_wh, half, rng), self.draw(size_wh, frames - half, rng)
            return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
        pairs = rng.random() < PAIRS and bool(self.scenes.pairs)
        images, alphas = (self._pair if pairs else self._composite)(size_wh, frames, rng)
        return camera(light(images, rng), rng), alphas

    def _composite(
        self, size_wh: tuple[int, int], frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        speed = 0.0 if rng.random() < STILL else rng.uniform(0.2, 1.0)
        large = (round(ROOM * size_wh[0]), round(ROOM * size_wh[1]))
        behind = backdrop(self.scenes.draw_behind(rng), large, rng)
        view = Path(size_wh, speed * float(rng.random() < 0.5), rng)
        subjects = []
        for _ in range(1 if rng.random() < 0.75 else 2):
            subject = self.scenes.draw_subject(rng)
            fit = min(size_wh[0] / subject.shape[1], size_wh[1] / subject.shape[0])
            scale = fit * rng.uniform(0.35, 1.1)
            small = cv2.resize(subject, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            subjects.append((small, Path(size_wh, speed, rng, wander=0.25), int(rng.integers(2**31))))
        casts, seed = rng.random() < 0.5, int(rng.integers(2**31))
        images, alphas = [], []
        for frame in range(frames):
            image: np.ndarray = view.frame_of(behind, frame).astype(np.float32)
            total: np.ndarray = np.zeros(image.shape[:2], np.float32)
            for small, path, look in subjects:
                placed = path.place(small, frame)
                alpha = placed[..., 3].astype(np.float32) / 255
                # The same draws in every frame: the light does not flicker from frame to frame.
                colour = relight(
                    placed[..., :3].astype(np.float32), alpha, image, np.random.default_rng(look)
                )
                if casts:
                    image *= (1 - shadow(alpha, np.random.default_rng(seed)))[..., None]
                image = over(image, colour, alpha)
                total = 1 - (1 - total) * (1 - alpha)
            images.append(np.clip(image, 0, 255).astype(np.uint8))
            alphas.append(np.rint(total * 255).astype(np.uint8))
        return np.stack(images), np.stack(alphas)

    def _pair(
        self, size_wh: tuple[int, int], frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        large = (round(ROOM * size_wh[0]), round(ROOM * size_wh[1]))
        crop = geometry.random_crop(self.scenes.draw_pair(rng), large, rng)
        view = Path(size_wh, 0.0 if rng.random() < STILL else rng.uniform(0.2, 1.0), rng)
        seen = np.stack([view.frame_of(crop, frame) for frame in range(frames)])
        return seen[..., :3], seen[..., 3]


class Path:
    """Where something is in each frame: an even movement, turn and growth, with a little shake.

    Parameters
    ----------
    size_wh : tuple of int
        Width and height of the frame.
    speed : float
        0 stands still; 1 crosses up to 3 % of the frame in a frame.
    wander : float
        How far from the centre it begins, as a share of the frame.
    """

    def __init__(
        self, size_wh: tuple[int, int], speed: float, rng: np.random.Generator, wander: float = 0.05
    ) -> None:
        self.size_wh = size_wh
        size = np.array(size_wh, np.float64)
        self.start = rng.uniform(-wander, wander, 2) * size
        self.velocity = rng.uniform(-0.03, 0.03, 2) * size * speed
        self.degrees, self.turn = rng.normal(0, 8), rng.normal(0, 1.2) * speed
        self.grow = np.exp(rng.normal(0, 0.01) * speed)
        self.shake = rng.normal(0, 0.6, (64, 2)) * speed

    def _matrix(self, frame: int, width: int, height: int) -> np.ndarray:
        matrix = cv2.getRotationMatrix2D(
            (width / 2, height / 2), self.degrees + self.turn * frame, self.grow**frame
        )
        centre = np.array(self.size_wh) / 2 - (width / 2, height / 2)
        matrix[:, 2] += centre + self.start + self.velocity * frame + self.shake[frame % 64]
        return matrix

    def place(self, subject: np.ndarray, frame: int) -> np.ndarray:
        """``subject`` (h, w, 4) on an empty canvas (H, W, 4); its edge colours go on outside."""
        height, width = subject.shape[:2]
        matrix = self._matrix(frame, width, height)
        placed = cv2.warpAffine(
            subject, matrix, self.size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        inside = np.full((height, width), 255, np.uint8)
        placed[..., 3] = np.minimum(placed[..., 3], cv2.warpAffine(inside, matrix, self.size_wh))
        return placed

    def frame_of(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """The frame (H, W, channels) that a camera on this path sees of a larger ``picture``."""
        height, width = picture.shape[:2]
        matrix = self._matrix(frame, width, height)
        return cv2.warpAffine(
            picture, matrix, self.size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )


def light(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness and white balance that drift over the clip, uint8 (frames, H, W, 3) in and out."""
    if rng.random() < 0.3:
        return images
    start, end = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3)), np.exp(rng.normal(0, 0.06, 3))
    share = np.linspace(0, 1, len(images))[:, None]
    gains = start * (1 + (end - 1) * share)
    return np.clip(images * gains[:, None, None].astype(np.float32), 0, 255).astype(np.uint8)


def camera(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise that is new in every frame, and sometimes compression."""
    sigma = rng.uniform(0, 8) if rng.random() < 0.8 else 0.0
    if sigma:
        noise = rng.standard_normal(images.shape, dtype=np.float32) * sigma
        images = np.clip(images + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(35, 92))
        images = np.stack([jpeg(image, quality) for image in images])
    return images


class ClipStream(IterableDataset):
    """Endless batches of clips for ``recall``, laid out as pictures: clip after clip, frame after frame.

    Parameters
    ----------
    maker : ClipMaker
    stages : sequence of Stage
        ``batch`` counts clips. The sizes of a stage take turns at random.
    progress : Synchronized
        Of the run, 0..1.
    frames : int
        Of each clip.
    seed : int
    """

    def __init__(
        self, maker: ClipMaker, stages: Sequence[Stage], progress: Synchronized, frames: int, seed: int
    ) -> None:
        self.maker, self.stages, self.progress = maker, stages, progress
        self.frames, self.seed = frames, seed

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            stage = stage_at(self.stages, self.progress.value)
            width, height = stage.sizes[int(rng.integers(len(stage.sizes)))]
            clips = [self.maker.draw((width, height), self.frames, rng) for _ in range(stage.batch)]
            images = torch.from_numpy(np.concatenate([images for images, _ in clips]))
            alphas = torch.from_numpy(np.concatenate([alphas for _, alphas in clips]))
            known = torch.ones(len(images))
            yield Batch(images.permute(0, 3, 1, 2), alphas[:, None], known, known)
