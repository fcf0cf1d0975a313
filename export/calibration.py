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

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
CALIBRATING, STILLS, CLIPS = 120, 72, 16
"""Pictures that calibrate, that judge as they are, and that judge in motion; fewer where there are fewer."""
CLIP_FRAMES = 6
FEWEST_HELD_OUT = 8
PAN_SHARE = 0.9
"""Share of a picture's width and height that a moving clip shows at a time."""
Label = Callable[[np.ndarray], np.ndarray]
NOISE = 1.5
"""Standard deviation of a clip's sensor noise, of 255."""


@dataclass(frozen=True)
class Picture:
    """A picture file and, where there is one, the mask that says what in it is the subject."""

    image: Path
    mask: Path | None = None


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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the network's input."""
        return self.images[0].shape


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


def find_pictures(folder: Path) -> list[Picture]:
    """The pictures of ``folder`` with all that is below, in an order that mixes them and is always the same.

    Masks are found where data sets keep them: ``masks/NAME.png`` beside ``images/NAME.jpg``, or ``N_a.png``
    beside ``N_i.jpg``; ``N_p.jpg``, the same scene without its subject, is passed over.

    Raises
    ------
    UsageError
        If there is no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"--calibrate: expected a folder of pictures, {folder} is none")
    paths = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    numbered = {(path.parent, path.stem[:-2]) for path in paths if path.stem.endswith("_i")}
    found = []
    for path in paths:
        of_scene = (path.parent, path.stem[:-2]) in numbered
        if (of_scene and path.stem[-2:] in ("_a", "_p")) or _is_mask_folder(path.parent):
            continue
        mask = path.parent.parent / "masks" / f"{path.stem}.png"
        if of_scene and path.stem.endswith("_i"):
            mask = path.with_name(f"{path.stem[:-2]}_a.png")
        found.append(Picture(path, mask if mask.is_file() else None))
    if not found:
        raise UsageError(
            f"--calibrate: no picture in {folder}; give some dozens like those that will be filmed"
        )
    return sorted(found, key=lambda picture: _rank(picture.image.name))


def _is_mask_folder(folder: Path) -> bool:
    return folder.name == "masks" and (folder.parent / "images").is_dir()


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
        Says size, colour and normalisation; a model with state calibrates on short clips.
    label : callable
        Gives the mask of a picture (both uint8) where no picture that judges came with one: the float
        model's own answer at rest is then what both models are held to in motion.
    calibrating, stills, clips : int
        How many at most.

    Raises
    ------
    UsageError
        If there are fewer than two readable pictures.
    """
    lists = [find_pictures(folder) for folder in folders]
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
    frames = CLIP_FRAMES // 2 if manifest.state else 1
    calibrating = -(
        -2 * calibrating // (frames + 1)
    )  # a stateful model needs frames in a row: fewer pictures
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


def _in_turn(lists: Iterable[Sequence[Picture]]) -> Iterator[Picture]:
    for row in itertools.zip_longest(*lists):
        yield from (picture for picture in row if picture is not None)


def _clips(
    pictures: Iterable[Picture], manifest: Manifest, most: int, frames: int, label: Label | None = None
) -> Iterator[Clip]:
    taken = 0
    for picture in pictures:
        if taken == most:
            return
        read = _read(picture)
        if read is not None:
            taken += 1
            image, mask = read
            if mask is None and label is not None:
                mask = label(image)
            yield make_clip(image, mask, manifest, frames=frames, name=picture.image.name)


def _read(picture: Picture) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Pixels, uint8 ``(H, W, 3)`` RGB, and mask; None where one does not decode or they do not fit."""
    import cv2

    image = cv2.imread(str(picture.image), cv2.IMREAD_COLOR)
    if image is None:
        return None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if picture.mask is None:
        return image, None
    mask = cv2.imread(str(picture.mask), cv2.IMREAD_GRAYSCALE)
    return None if mask is None or mask.shape != image.shape[:2] else (image, mask)


def make_clip(
    image: np.ndarray, mask: np.ndarray | None, manifest: Manifest, *, frames: int = 1, name: str = ""
) -> Clip:
    """One picture as a clip: whole and still for one frame, else a noisy camera that pans over it.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    mask : ndarray of uint8, shape (H, W), optional
        255 subject, 0 background.
    frames : int
        Length of the clip.
    """
    import cv2

    height, width = image.shape[:2]
    size_wh = manifest.size_for((width, height))
    scale, (x, y, inner_w, inner_h) = _placed((width, height), size_wh, manifest.fit)
    inside = (slice(y, y + inner_h), slice(x, x + inner_w))
    images, alphas = [], []
    rng = np.random.default_rng(_rank(name) % 2**32)
    path = _pan(frames, rng)
    shrink = cv2.INTER_AREA if max(scale) < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, (inner_w, inner_h), interpolation=shrink)
    small_mask = None if mask is None else cv2.resize(mask, (inner_w, inner_h), interpolation=shrink)
    for left, top, share in path:
        view = np.array(
            [[1 / share, 0, -left * inner_w / share], [0, 1 / share, -top * inner_h / share]], np.float32
        )

        def seen(pixels: np.ndarray, view: np.ndarray = view) -> np.ndarray:
            if frames == 1:
                return pixels
            how = cv2.INTER_LINEAR
            return cv2.warpAffine(pixels, view, (inner_w, inner_h), flags=how, borderMode=cv2.BORDER_REFLECT)

        framed = np.empty((size_wh[1], size_wh[0], 3), np.float32)
        framed[:] = manifest.pad_value
        framed[inside] = seen(small)
        if frames > 1:
            framed[inside] += rng.normal(0, NOISE, framed[inside].shape)
        images.append(_normalised(framed, manifest))
        if small_mask is not None:
            alpha = np.zeros((size_wh[1], size_wh[0]), np.float32)
            alpha[inside] = seen(small_mask).astype(np.float32) / 255
            alphas.append(alpha)
    return Clip(name, tuple(images), tuple(alphas) if alphas else None, inside)


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


def _pan(frames: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Left, top and size of the view in each frame, as shares of the picture: a slow drift with a zoom."""
    if frames == 1:
        return [(0.0, 0.0, 1.0)]
    room = 1 - PAN_SHARE
    start, end = rng.uniform(0, room, 2), rng.uniform(0, room, 2)
    steps = np.linspace(0, 1, frames)
    return [(*(start + (end - start) * step), PAN_SHARE * (1 - 0.02 * step)) for step in steps]  # type: ignore[misc]


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
        for image in clip.images:
            feed = {manifest.input_name: image, **state}
            yield feed
            if manifest.state and run is not None:
                results = run(feed)
                state = {tensor.input: results[tensor.output] for tensor in manifest.state}
