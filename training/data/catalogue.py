"""Finds the data folders' files and says what each is good for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .find import find_pairs
from .holdout import is_validation
from .outlines import SUFFIX, outlines_for

Kind = Literal["pair", "cutout", "background", "plate"]
PICTURES = {".jpg", ".jpeg", ".png"}
CUTOUTS, BACKGROUNDS = "cutouts_rgba", "backgrounds"
RENDERED = "cutouts_rendered"
"""Cut-outs that ``render --cutouts`` made."""
NOT_PAIRS = (CUTOUTS, RENDERED, BACKGROUNDS)


@dataclass(frozen=True)
class Quality:
    """How far a folder's masks are believed.

    ``trust`` is the share of the target that is the mask, once training has found its feet; the rest
    is the network's own answer. ``edge`` weighs the losses that look at outlines only.
    """

    trust: float
    edge: float


FOLDERS = {
    "clothing_cc0": Quality(0.95, 0.5),
    "ccp_person": Quality(0.90, 0.2),
    "caltech101_contours": Quality(0.95, 0.3),
    "coco_ccby": Quality(0.80, 0.1),
    "small_objects_class5": Quality(1.0, 0.5),
    "trashnet_packaging": Quality(0.95, 0.4),
    "renders": Quality(1.0, 1.0),
}
OUTLINED = ("grocery_inhand_unlabelled", "clothing_cc0_unlabelled")
"""Folders of pictures without masks, for some of which ``outlines`` has an outline."""
OUTLINE = Quality(1.0, 0.8)
"""Of an outline drawn by eye, whatever its folder's masks are like."""
OWN = Quality(1.0, 0.5)
"""Of pairs in any other folder."""
# Composites know their alpha exactly, whatever the mask they were cut out with.
COMPOSITE = Quality(1.0, 0.8)


@dataclass(frozen=True)
class Item:
    """One picture: ``image`` with ``mask`` for a pair; alone for the other kinds.

    ``mask`` is a picture, or the file that has the outline of ``image`` (see ``outlines``).
    """

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
    """Every usable item, and for each file passed over, why.

    ``folders`` are those that the items are in, below the data folder, as far as licences go.
    """

    items: list[Item] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def select(self, kind: Kind, folder: str | None = None, validation: bool = False) -> list[Item]:
        """The items of ``kind``, of one folder or all, of one side of the hold-out rule."""
        return [
            item
            for item in self.items
            if item.kind == kind and item.validation == validation and folder in (None, item.folder)
        ]


def is_training_data(root: Path) -> bool:
    """Whether ``root`` has the folders that ``FOLDERS`` names, of which a part is held out."""
    return any((root / name / "images").is_dir() for name in FOLDERS)


def read_catalogue(root: Path) -> Catalogue:
    """List the data under ``root``: the folders that are known by name, or any pairs where there is none.

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
    # Held-out outlines are measured by themselves (``write_outlined``), so that figures over all held-out
    # pairs stay those of the pairs that the data folder came with.
    outlined = [pair for folder in OUTLINED for pair in outlined_pairs(root / folder) if not pair.validation]
    catalogue.items += outlined
    _add_renders(catalogue, root / "renders")
    if not catalogue.items:
        _add_found(catalogue, root)
    for folder in (CUTOUTS, RENDERED):
        catalogue.items += [Item("cutout", folder, image) for image in _pictures(root / folder)]
    for image in _pictures(root / BACKGROUNDS):
        catalogue.items.append(Item("background", image.parent.name, image))
    if not catalogue.items:
        raise FileNotFoundError(
            f"{root}: holds none of the expected data folders ({', '.join(FOLDERS)}, ...) and no pictures "
            "with masks: images/NAME.* with masks/NAME.*, NAME.* with NAME_mask.*, or NAME.jpg with NAME.png"
        )
    named = (*FOLDERS, *dict.fromkeys(pair.folder for pair in outlined), CUTOUTS, RENDERED, BACKGROUNDS)
    catalogue.folders += [name for name in named if (root / name).is_dir()]
    return catalogue


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def quality_of(pair: Item) -> Quality:
    """How far the mask of a pair is believed."""
    if pair.mask is not None and pair.mask.suffix == SUFFIX:
        return OUTLINE
    return FOLDERS.get(pair.folder, OWN)


def _add_pairs(catalogue: Catalogue, folder: Path) -> None:
    drawn = outlines_for(folder.name)
    for image in _pictures(folder / "images"):
        mask = folder / "masks" / f"{image.stem}.png"
        if why := drawn.left_out.get(image.name):
            catalogue.skipped.append(f"{image}: {why}")
        elif image.name in drawn.pictures:
            catalogue.items.append(Item("pair", folder.name, image, drawn.path))
        elif mask.is_file():
            catalogue.items.append(Item("pair", folder.name, image, mask))
        else:
            catalogue.skipped.append(f"{image}: no mask {mask.name}")


def outlined_pairs(folder: Path) -> list[Item]:
    """The pictures of a data folder that ``outlines`` has an outline of, held-out ones too."""
    drawn = outlines_for(folder.name)
    return [
        Item("pair", folder.name, image, drawn.path)
        for image in _pictures(folder / "images")
        if image.name in drawn.pictures
    ]


def _add_found(catalogue: Catalogue, root: Path) -> None:
    """Pairs as ``livecut eval`` finds them; backgrounds and cut-outs lie in folders of their own."""
    found = find_pairs(root)
    top = {pair: pair.group.partition("/")[0] for pair in found.pairs}
    pairs = [pair for pair in found.pairs if not pair.clip and top[pair] not in NOT_PAIRS]
    for pair in pairs:
        name = root.resolve().name if pair.group == "." else pair.group
        catalogue.items.append(Item("pair", name, pair.image, pair.mask))
    if frames := sum(bool(pair.clip) for pair in found.pairs):
        catalogue.skipped.append(f"{root}: {frames} frames of clips: single pictures are trained on")
    if pairs:
        catalogue.skipped += found.skipped
        catalogue.folders += sorted({top[pair] for pair in pairs})


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
