"""Pictures from folders as a network gets them: still ones, clips that move, and what is right in them.

One picture in ten is held out: it never calibrates, it judges. Which, the SHA-1 of its file name says, as it
does for training, so that what training held out is held out here too.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine.errors import UsageError
from ..engine.manifest import Manifest
from ..engine.scenes import PLATE_LAYOUTS, Scene, find_scenes, same_camera
from .motion import moving_views, pan

CALIBRATING, STILLS, CLIPS = 120, 72, 16
"""Pictures that calibrate, that judge as they are, and that judge in motion; fewer where there are fewer."""
CLIP_FRAMES = 6
FEWEST_HELD_OUT = 8
Label = Callable[[np.ndarray, "np.ndarray | None"], np.ndarray]
"""Gives the mask of a picture beside its plate, if it has one."""
NOISE = 1.5
"""Standard deviation of a clip's sensor noise, of 255."""


@dataclass(frozen=True)
class Clip:
    """Frames in order as the network gets them; a still picture has one."""

    name: str
    images: tuple[np.ndarray, ...]
    """float32 ``(1, 3, H, W)`` each, normalised."""
    alphas: tuple[np.ndarray, ...] | None
    """What is right: float32 ``(H, W)``, 0..1, each; None where nobody said."""
    inside: tuple[slice, slice]
    """Rows and columns that are picture, not letterbox bars."""
    plate: np.ndarray | None = None
    """What the network is shown before ``images``, as one of them; its answer to it means nothing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the network's input."""
        return self.images[0].shape

    @property
    def shown(self) -> tuple[np.ndarray, ...]:
        """Everything that the network is shown, in order: the plate, if there is one, and the images."""
        return self.images if self.plate is None else (self.plate, *self.images)


@dataclass(frozen=True)
class Frames:
    """What calibrates, and what judges."""

    calibrating: list[Clip]
    stills: list[Clip]
    moving: list[Clip]
    labelled: bool
    """Whether what judges came with masks; else ``label`` made them, and only moving clips judge."""


def held_out(name: str) -> bool:
    """Whether the picture ``name`` (no folder) judges rather than calibrates."""
    return _rank(name) % 10 == 0


def _rank(name: str) -> int:
    return int(hashlib.sha1(name.encode()).hexdigest(), 16)


def find_pictures(folder: Path) -> list[Scene]:
    """The pictures of ``folder`` with all that is below, in an order that mixes them and is always the same.

    Masks and plates are found as ``engine.scenes.find_scenes`` finds them.

    Raises
    ------
    UsageError
        If there is no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"--calibrate: expected a folder of pictures, {folder} is none")
    found = find_scenes(folder)
    if not found:
        raise UsageError(
            f"--calibrate: no picture in {folder}; give some dozens like those that will be filmed"
        )
    return sorted(found, key=lambda scene: _rank(scene.image.name))


def _with_plates(lists: list[list[Scene]], folders: Sequence[Path], name: str) -> list[list[Scene]]:
    found = [[scene for scene in scenes if scene.plate is not None] for scenes in lists]
    if not any(found):
        where = ", ".join(str(folder) for folder in folders)
        raise UsageError(
            f"--calibrate: {name} begins with a clean plate, and no picture of {where} has one; expected "
            f"{PLATE_LAYOUTS}"
        )
    return found


def read_frames(
    folders: Sequence[Path],
    manifest: Manifest,
    label: Label,
    *,
    calibrating: int = CALIBRATING,
    stills: int = STILLS,
    clips: int = CLIPS,
) -> Frames:
    """Read pictures of all ``folders``, each folder taking part alike, and lay them out for ``manifest``.

    Parameters
    ----------
    folders : sequence of Path
        As ``find_pictures`` takes them.
    manifest : Manifest
        Says size, colour and normalisation; a model with state calibrates on short clips, one that begins
        with a plate on pictures that have one.
    label : callable
        Gives the mask of a picture (uint8, as are the picture and its plate) where no picture that judges
        came with one: the float model's own answer at rest is then what both models are held to in motion.
    calibrating, stills, clips : int
        How many at most.

    Raises
    ------
    UsageError
        If there are fewer than two readable pictures, or none with the plate that the model begins with.
    """
    lists = [find_pictures(folder) for folder in folders]
    with_plates = manifest.begins_with == "plate"
    if with_plates:
        lists = _with_plates(lists, folders, manifest.name)
    judging = [[p for p in pictures if held_out(p.image.name)] for pictures in lists]
    if sum(len(pictures) for pictures in judging) < FEWEST_HELD_OUT:
        # a small folder: the first fifth judges, in an order that has nothing to do with what they show
        judging = [pictures[: max(1, len(pictures) // 5)] for pictures in lists]
    rest = [
        [picture for picture in pictures if picture not in kept]
        for pictures, kept in zip(lists, map(set, judging), strict=True)
    ]
    labelled = any(p.mask for p in itertools.chain(*judging))
    judges = [p for p in _in_turn(judging) if p.mask or not labelled]
    # A model with a memory needs frames in a row, so fewer pictures; one with a plate remembers only that.
    frames = CLIP_FRAMES // 2 if manifest.state and not with_plates else 1
    calibrating = -(-2 * calibrating // (frames + 1))
    found = Frames(
        list(_clips(_in_turn(rest), manifest, calibrating, frames)),
        list(_clips(judges, manifest, stills, 1)) if labelled else [],
        list(_clips(judges, manifest, clips if labelled else 2 * clips, CLIP_FRAMES, label)),
        labelled,
    )
    if not found.calibrating or not found.moving:
        where = ", ".join(str(folder) for folder in folders)
        raise UsageError(
            f"--calibrate: {where}: fewer than two pictures that can be read: one to calibrate and one to "
            "judge are the least, some dozens are right"
        )
    return found


def _in_turn(lists: Iterable[Sequence[Scene]]) -> Iterator[Scene]:
    for row in itertools.zip_longest(*lists):
        yield from (picture for picture in row if picture is not None)


def _clips(
    pictures: Iterable[Scene], manifest: Manifest, most: int, frames: int, label: Label | None = None
) -> Iterator[Clip]:
    taken = 0
    for picture in pictures:
        if taken == most:
            return
        read = _read(picture, manifest.begins_with == "plate")
        if read is not None:
            taken += 1
            image, mask, plate = read
            if mask is None and label is not None:
                mask = label(image, plate)
            yield make_clip(image, mask, manifest, frames=frames, name=picture.image.name, plate=plate)


def _read(picture: Scene, with_plate: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None] | None:
    """Pixels, uint8 ``(H, W, 3)`` RGB, mask and plate; None where one does not decode or they do not fit."""
    import cv2

    image = _pixels(picture.image)
    if image is None:
        return None
    plate = _pixels(picture.plate) if with_plate and picture.plate is not None else None
    if with_plate and (plate is None or not same_camera(plate.shape[1::-1], image.shape[1::-1])):
        return None
    if picture.mask is None:
        return image, None, plate
    mask = cv2.imread(str(picture.mask), cv2.IMREAD_GRAYSCALE)
    return None if mask is None or mask.shape != image.shape[:2] else (image, mask, plate)


def _pixels(path: Path) -> np.ndarray | None:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def make_clip(
    image: np.ndarray,
    mask: np.ndarray | None,
    manifest: Manifest,
    *,
    frames: int = 1,
    name: str = "",
    plate: np.ndarray | None = None,
) -> Clip:
    """One picture as a clip: whole and still for one frame, else before a noisy camera with something moving.

    Without a plate the camera moves: it pans over the picture. With one it is fixed, and the subject, cut out
    by its mask, drifts over the plate.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    mask : ndarray of uint8, shape (H, W), optional
        255 subject, 0 background. Several frames with a plate need it.
    frames : int
        Length of the clip.
    plate : ndarray of uint8, shape (H, W, 3), optional
        The picture's place without its subject, from the same camera.
    """
    import cv2

    height, width = image.shape[:2]
    size_wh = manifest.size_for((width, height))
    scale, (x, y, inner_w, inner_h) = _placed((width, height), size_wh, manifest.fit)
    inside = (slice(y, y + inner_h), slice(x, x + inner_w))
    rng = np.random.default_rng(_rank(name) % 2**32)
    shrink = cv2.INTER_AREA if max(scale) < 1 else cv2.INTER_LINEAR

    def small(pixels: np.ndarray | None) -> np.ndarray | None:
        return None if pixels is None else cv2.resize(pixels, (inner_w, inner_h), interpolation=shrink)

    def framed(pixels: np.ndarray) -> np.ndarray:
        whole = np.empty((size_wh[1], size_wh[0], 3), np.float32)
        whole[:] = manifest.pad_value
        whole[inside] = pixels
        if frames > 1:
            whole[inside] += rng.normal(0, NOISE, whole[inside].shape)
        return _normalised(whole, manifest)

    seen, cut, bare = small(image), small(mask), small(plate)
    assert seen is not None
    views = [(seen, cut)] if frames == 1 else list(moving_views(seen, cut, bare, pan(frames, rng)))
    images, alphas = [], []
    for pixels, shape in views:
        images.append(framed(pixels))
        if shape is not None:
            alpha = np.zeros((size_wh[1], size_wh[0]), np.float32)
            alpha[inside] = shape.astype(np.float32) / 255
            alphas.append(alpha)
    shown = None if bare is None else framed(bare)
    return Clip(name, tuple(images), tuple(alphas) if alphas else None, inside, shown)


def _placed(
    frame_wh: tuple[int, int], size_wh: tuple[int, int], fit: str
) -> tuple[tuple[float, float], tuple[int, int, int, int]]:
    scale = (size_wh[0] / frame_wh[0], size_wh[1] / frame_wh[1])
    if fit == "stretch":
        return scale, (0, 0, *size_wh)
    least = min(scale)
    width = min(size_wh[0], max(1, round(frame_wh[0] * least)))
    height = min(size_wh[1], max(1, round(frame_wh[1] * least)))
    return (least, least), ((size_wh[0] - width) // 2, (size_wh[1] - height) // 2, width, height)


def _normalised(framed: np.ndarray, manifest: Manifest) -> np.ndarray:
    pixels = framed if manifest.color == "RGB" else framed[..., ::-1]
    pixels = (pixels - np.array(manifest.mean, np.float32)) / np.array(manifest.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def first_state(manifest: Manifest, shape: Sequence[int]) -> dict[str, np.ndarray]:
    """Zeros for every state input at an input of ``shape``."""
    return {
        tensor.input: np.zeros(tensor.shape_for((shape[3], shape[2])), np.float32)
        for tensor in manifest.state
    }


def feeds(
    clips: Iterable[Clip],
    manifest: Manifest,
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None,
) -> Iterator[dict[str, np.ndarray]]:
    """Every frame of ``clips`` with the state that the frames before left: what an inference is fed.

    Parameters
    ----------
    run : callable, optional
        Computes one inference of the float model; only a model with state needs it.
    """
    for clip in clips:
        state = first_state(manifest, clip.shape)
        for image in clip.shown:
            feed = {manifest.input_name: image, **state}
            yield feed
            if manifest.state and run is not None:
                results = run(feed)
                state = {tensor.input: results[tensor.output] for tensor in manifest.state}
