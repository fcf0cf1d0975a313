"""Pictures with known alpha, to measure on: what training holds out, or any folder of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..engine.errors import SourceError
from .data.cache import Packed, pack
from .data.catalogue import is_training_data, read_catalogue
from .data.find import Pair, find_pairs, read_pair, read_picture
from .data.holdout import is_validation


@dataclass(frozen=True)
class Sample:
    """A picture, uint8 (H, W, 3) RGB, its alpha, float32 (H, W), 0..1, and the same place empty, if known."""

    name: str
    group: str
    image: np.ndarray
    alpha: np.ndarray
    clip: str = ""
    plate: np.ndarray | None = None


@dataclass
class Samples:
    """Samples read one after another. ``skipped`` grows by a line for each that cannot be used.

    ``len`` is how many there are, those that will be skipped included.
    """

    pairs: list[Pair] = field(default_factory=list)
    packed: Packed | None = None
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        if self.packed is None:
            return len(self.pairs)
        return sum(item.kind == "pair" for item in self.packed.items)

    def __iter__(self) -> Iterator[Sample]:
        if self.packed is not None:
            yield from packed_samples(self.packed)
            return
        for pair in self.pairs:
            try:
                image, alpha = read_pair(pair)
                plate = None if pair.plate is None else read_picture(pair.plate)
                if plate is not None and plate.shape != image.shape:
                    raise ValueError(f"{pair.plate}: plate and picture differ in size")
            except ValueError as error:
                self.skipped.append(str(error))
                continue
            yield Sample(pair.image.name, pair.group, image, alpha, pair.clip, plate)


def packed_samples(packed: Packed) -> Iterator[Sample]:
    """The pairs of packed training data, with the plates that are packed with them."""
    plates = {item.image.name: index for index, item in enumerate(packed.items) if item.kind == "plate"}
    for index, item in enumerate(packed.items):
        if item.kind != "pair":
            continue
        rgba = packed[index]
        place = plates.get(item.image.name.replace("_i.", "_p."))
        plate = None if place is None else packed[place]
        alpha = rgba[..., 3].astype(np.float32) / 255
        yield Sample(item.image.name, item.folder, rgba[..., :3], alpha, plate=plate)


def open_samples(folder: Path, cache: Path, *, plates: bool = False, held_out: bool = False) -> Samples:
    """What ``folder`` has to measure on: a training data folder's held-out pairs, or every pair of any other.

    Parameters
    ----------
    folder : Path
        A training data folder (see ``training/README.md``) is known by the names in it; its pictures are
        measured at 512 pixels at most, as training keeps them. Any other is searched by the rules above, and
        measured at full size.
    cache : Path
        Where the decoded pictures of a training data folder are kept.
    plates : bool
        Only pictures that have a clean plate.
    held_out : bool
        Only pictures that training on ``folder`` leaves out, see ``data.holdout``.

    Raises
    ------
    SourceError
        If the folder is not there, or holds no pair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; expected pictures with masks")
    if is_training_data(folder):
        catalogue = read_catalogue(folder)
        apart = [item for item in catalogue.items if item.validation and item.kind in ("pair", "plate")]
        bare = {item.image.name for item in apart if item.kind == "plate"} if plates else set()
        chosen = [
            item
            for item in apart
            if item.image.name in bare
            or (item.kind == "pair" and (not plates or item.image.name.replace("_i.", "_p.") in bare))
        ]
        packed = pack(chosen, cache)
        if not len(packed):
            wanted = "held-out pair with a clean plate" if plates else "held-out pair"
            raise SourceError(f"{folder}: a training data folder without a single {wanted}")
        return Samples(packed=packed, skipped=list(packed.skipped))
    found = find_pairs(folder)
    samples = Samples(found.pairs, skipped=found.skipped)
    if held_out:
        samples.pairs = [pair for pair in found.pairs if is_validation(pair.image.name)]
        if found.pairs and not samples.pairs:
            raise SourceError(
                f"{folder}: none of {len(found.pairs)} pictures is held out: one in ten is, by the SHA-1 of "
                "its name; measure all of them without --held-out, or add more"
            )
    if plates and samples.pairs:
        samples.pairs = [pair for pair in samples.pairs if pair.plate is not None]
        if not samples.pairs:
            raise SourceError(
                f"{folder}: no picture with a clean plate in it, which the model begins with; "
                "expected plates/NAME.* or NAME_plate.*"
            )
    if not samples.pairs:
        without = f"; {len(samples.skipped)} pictures without an alpha" if samples.skipped else ""
        raise SourceError(
            f"{folder}: no picture with an alpha in it{without}. Expected images/NAME.* with masks/NAME.*, "
            "NAME.* with NAME_mask.*, or NAME.jpg with NAME.png; without masks there is --sheets, to look"
        )
    return samples
