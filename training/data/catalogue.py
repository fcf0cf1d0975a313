"""Finds the data folders' files and says what each is good for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .holdout import is_validation

Kind = Literal["pair", "cutout", "background", "plate"]
PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Quality:
    """How far a folder's masks are believed.

    ``trust`` is the share of the target that is the mask, once training has found its feet; the rest
    is the network's own answer. ``edge`` weighs the losses that look at outlines only.
    """

    trust: float
    edge: float


FOLDERS = {
    "clothing_cc0": Quality(0.85, 0.5),
    "ccp_person": Quality(0.90, 0.2),
    "caltech101_contours": Quality(0.95, 0.3),
    "coco_ccby": Quality(0.80, 0.1),
    "small_objects_class5": Quality(1.0, 0.5),
    "trashnet_packaging": Quality(0.95, 0.4),
    "renders": Quality(1.0, 1.0),
}
# Composites know their alpha exactly, whatever the mask they were cut out with.
COMPOSITE = Quality(1.0, 0.8)


@dataclass(frozen=True)
class Item:
    """One picture: ``image`` with ``mask`` for a pair; alone for the other kinds."""

    kind: Kind
    folder: str
    image: Path
    mask: Path | None = None

    @property
    def validation(self) -> bool:
        """Whether it is held out. A plate follows its picture."""
        return is_validation(self.image.name.replace("_p.jpg", "_i.jpg"))


@dataclass
class Catalogue:
    """Every usable item, and for each file passed over, why."""

    items: list[Item] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def select(self, kind: Kind, folder: str | None = None, validation: bool = False) -> list[Item]:
        """The items of ``kind``, of one folder or all, of one side of the hold-out rule."""
        return [
            item
            for item in self.items
            if item.kind == kind and item.validation == validation and folder in (None, item.folder)
        ]


def read_catalogue(root: Path) -> Catalogue:
    """List the data under ``root``.

    Raises
    ------
    FileNotFoundError
        If ``root`` is not there, or nothing in it is usable.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the data folder with --data")
    catalogue = Catalogue()
    for folder in FOLDERS:
        if (root / folder / "images").is_dir():
            _add_pairs(catalogue, root / folder)
    _add_renders(catalogue, root / "renders")
    for image in _pictures(root / "cutouts_rgba"):
        catalogue.items.append(Item("cutout", "cutouts_rgba", image))
    for image in _pictures(root / "backgrounds"):
        catalogue.items.append(Item("background", image.parent.name, image))
    if not catalogue.items:
        raise FileNotFoundError(
            f"{root}: holds none of the expected data folders ({', '.join(FOLDERS)}, ...)"
        )
    return catalogue


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def _add_pairs(catalogue: Catalogue, folder: Path) -> None:
    for image in _pictures(folder / "images"):
        mask = folder / "masks" / f"{image.stem}.png"
        if mask.is_file():
            catalogue.items.append(Item("pair", folder.name, image, mask))
        else:
            catalogue.skipped.append(f"{image}: no mask {mask.name}")


def _add_renders(catalogue: Catalogue, folder: Path) -> None:
    for image in sorted(folder.glob("*_i.jpg")):
        number = image.name.removesuffix("_i.jpg")
        mask, plate = folder / f"{number}_a.png", folder / f"{number}_p.jpg"
        if mask.is_file():
            catalogue.items.append(Item("pair", folder.name, image, mask))
        else:
            catalogue.skipped.append(f"{image}: no alpha {mask.name}")
        if plate.is_file():
            catalogue.items.append(Item("plate", folder.name, plate))
