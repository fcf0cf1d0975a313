"""Where a weight comes from: each data folder behind it with licence, source and credit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .data.holdout import is_validation
from .data.outlines import outlines_for
from .initial import PACKAGE, package_statement

LICENCE_FILE = "LICENCE.txt"
OUTLINES_LICENCE = "Apache-2.0; where an outline began with a folder's mask, that folder's licence as well"
OUTLINES_ORIGIN = "drawn by eye, or begun with the folder's mask or a livecut-m's answer and corrected by eye"
# What the rendered scenes were made from.
BEHIND_RENDERS = ("models3d", "envmaps")
FIELDS = {
    "source": r"(?:source|copies used[^:]*)",
    "licence": r"licen[cs]e",
    "credit": r"(?:citation / credit|citation|credit)",
}


def build_ledger(data: Path, folders: Iterable[str], initial_weights: Iterable[str]) -> dict[str, Any]:
    """The ledger of a weight trained on ``folders`` of ``data``.

    Parameters
    ----------
    initial_weights : iterable of str
        What the training began with, named as in a configuration: files of ``data`` or of packages.

    Raises
    ------
    ValueError
        If a folder, that of a file, or a package states no licence: such a weight must not ship.
    """
    folders = sorted(set(folders))
    if "renders" in folders:
        folders += [folder for folder in BEHIND_RENDERS if (data / folder).is_dir()]
    sources = [entry for folder in folders for entry in _entries(data, data / folder)]
    return {
        "format": 1,
        "initial_weights": [_initial(data, name) for name in initial_weights],
        "data": sources,
        "outlines": {
            "licence": OUTLINES_LICENCE,
            "origin": OUTLINES_ORIGIN,
            "pictures": _outlined(folders),
        },
    }


def _outlined(folders: Iterable[str]) -> dict[str, int]:
    """How many masks of each folder livecut's own outlines stand for."""
    learnt = {
        folder: sum(not is_validation(name) for name in outlines_for(folder).pictures) for folder in folders
    }
    return {folder: count for folder, count in learnt.items() if count}


def with_earlier(ledger: dict[str, Any], earlier: dict[str, Any] | None) -> dict[str, Any]:
    """``ledger`` and what only ``earlier`` has, that of the model which the training began with.

    Raises
    ------
    ValueError
        If that model has none.
    """
    if earlier is None:
        raise ValueError("the model that the training began with has no ledger; this weight must not ship")
    merged = dict(ledger)
    for key in ("initial_weights", "data"):
        known = {_name(entry) for entry in ledger[key]}
        merged[key] = [*ledger[key], *(entry for entry in earlier.get(key, []) if _name(entry) not in known)]
    drawn = {**earlier.get("outlines", {}).get("pictures", {}), **ledger["outlines"]["pictures"]}
    merged["outlines"] = {**ledger["outlines"], "pictures": drawn}
    return merged


def of_both(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    """What two weights were made from whose mean a training begins with: None where one does not say."""
    if one is None or other is None:
        return None
    return with_earlier(one, other) if one and other else one or other


def _name(entry: dict[str, Any]) -> str:
    return str(entry["folder"] if "folder" in entry else entry["file"])


def parse_statement(text: str) -> dict[str, list[str]]:
    """``source``, ``licence`` and ``credit`` of a licence text: what follows such a key on a line."""
    found: dict[str, list[str]] = {name: [] for name in FIELDS}
    for line in text.splitlines():
        for name, pattern in FIELDS.items():
            match = re.match(rf"{pattern}:\s*(.+)", line.strip(), re.IGNORECASE)
            if match:
                found[name].append(match.group(1).strip())
    return found


def _entries(data: Path, folder: Path) -> list[dict[str, Any]]:
    """One entry for a folder, or one for each sub-folder where those carry the licences."""
    if (folder / LICENCE_FILE).is_file():
        name = folder.relative_to(data).as_posix() if folder != data else data.resolve().name
        return [{"folder": name, **_statement(folder / LICENCE_FILE)}]
    inner = [child for child in sorted(folder.iterdir()) if child.is_dir()] if folder.is_dir() else []
    inner = [] if folder == data else inner  # those are data folders themselves
    if not inner:
        raise ValueError(f"{folder}: no {LICENCE_FILE}; a weight trained on it must not ship")
    return [entry for child in inner for entry in _entries(data, child)]


def _initial(data: Path, name: str) -> dict[str, Any]:
    if name.startswith(PACKAGE):
        return package_statement(name)
    file = data / name
    return {"file": file.name, **_statement(file.parent / LICENCE_FILE)}


def _statement(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.parent}: no {LICENCE_FILE}; a weight made from it must not ship")
    text = path.read_text(encoding="utf-8").strip()
    return {**parse_statement(text), "statement": text}
