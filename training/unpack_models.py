"""Unpacks catalogues of 3D models of Sweet Home 3D, for scenes to be rendered of.

    python -m livecut.training.unpack_models DATA/objects3d CATALOGUE.sh3f ...

A catalogue is a ZIP archive of Wavefront OBJ files and a ``PluginFurnitureCatalog.properties`` that says
what each is, whose, and under which licence. Debian's package ``sweethome3d-furniture`` has five, all of them
CC0 or CC-BY. What is a part of a building, or lies flat on its ground, is left out.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..engine.errors import UsageError
from .ledger import LICENCE_FILE
from .program import exit_code, parser_of

PROPERTIES = "PluginFurnitureCatalog.properties"
FLATTEST = 0.05
"""Least height of what stands on a ground, as a share of its longer side there."""
BUILDING = re.compile(
    r"\b(aisle|blind|carpet|chimney|column|crossing|curtain|door|elevator|escalator|fence|fireplace|garage|hedge"
    r"|plug|pool|railing|rails|sandpit|shutter|sidewalk|socket|staircase|switch|trampoline|wall|window)\b",
    re.IGNORECASE,
)
"""Names of what belongs to a building or its ground."""
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class Model:
    """One model of a catalogue."""

    name: str
    file: str
    """In the archive."""
    creator: str
    part_of_building: bool
    size: tuple[float, float, float]
    """Width, depth and height, centimetres."""

    @property
    def is_thing(self) -> bool:
        """Whether it can stand about by itself."""
        width, depth, height = self.size
        flat = height < FLATTEST * max(width, depth)
        return not (self.part_of_building or flat or BUILDING.search(self.name))


def read_properties(text: str) -> tuple[dict[str, str], list[Model]]:
    """What a catalogue says of itself (``name``, ``license``, ...), and its models."""
    about: dict[str, str] = {}
    numbered: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals or key.startswith("#"):
            continue
        name, hash_, number = key.strip().partition("#")
        into = numbered.setdefault(int(number), {}) if hash_ and number.isdigit() else about
        into[name] = ESCAPE.sub(lambda code: chr(int(code[1], 16)), value.strip())
    return about, [_model(entry) for _, entry in sorted(numbered.items()) if "model" in entry]


def _model(entry: dict[str, str]) -> Model:
    return Model(
        name=entry.get("name", ""),
        file=entry["model"].lstrip("/"),
        creator=entry.get("creator", ""),
        part_of_building=entry.get("doorOrWindow") == "true" or "staircaseCutOutShape" in entry,
        size=tuple(float(entry.get(side, "nan")) for side in ("width", "depth", "height")),  # type: ignore[arg-type]
    )


def unpack(archive: Path, out: Path) -> tuple[dict[str, str], list[Model]]:
    """Unpack the things of ``archive`` into ``out``, each with the files beside it.

    Returns
    -------
    dict, list of Model
        What the catalogue says of itself; the models that are in ``out`` now.

    Raises
    ------
    UsageError
        If it is no such catalogue.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            about, models = read_properties(packed.read(PROPERTIES).decode("latin-1"))
            there = set(packed.namelist())
            things = [model for model in models if model.is_thing and model.file in there]
            folders = {str(PurePosixPath(model.file).parent) for model in things}
            for name in there:
                parent = str(PurePosixPath(name).parent)
                if parent in folders and not PurePosixPath(name).is_absolute() and ".." not in name:
                    packed.extract(name, out)
    except (OSError, KeyError, zipfile.BadZipFile, ValueError) as error:
        raise UsageError(f"{archive}: expected a catalogue of Sweet Home 3D (.sh3f): {error}") from None
    return about, things


def statement(archives: Iterable[tuple[Path, dict[str, str], Sequence[Model]]]) -> str:
    """The text of ``LICENCE.txt``: each catalogue's source, licence and whom it credits."""
    lines = [
        "source: Debian package sweethome3d-furniture, 3D models for Sweet Home 3D (www.sweethome3d.com)"
    ]
    for archive, about, things in archives:
        creators = ", ".join(sorted({thing.creator for thing in things if thing.creator}))
        lines.append(f"licence: {archive.name}: {about.get('license', 'not stated')}")
        lines.append(f"credit: {archive.name}: {creators or about.get('provider', 'not stated')}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = parser_of("unpack_models", __doc__)
    parser.add_argument("out", type=Path, help="folder for the models")
    parser.add_argument("catalogues", type=Path, nargs="+", metavar="CATALOGUE.sh3f")
    return exit_code(_unpack, parser.parse_args(arguments))


def _unpack(chosen: argparse.Namespace) -> None:
    chosen.out.mkdir(parents=True, exist_ok=True)
    archives = [(archive, *unpack(archive, chosen.out)) for archive in chosen.catalogues]
    for archive, _, things in archives:
        print(f"{archive.name}: {len(things)} models", file=sys.stderr)
    (chosen.out / LICENCE_FILE).write_text(statement(archives), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
