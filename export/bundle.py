"""Writes a model bundle: all of it or nothing.

A bundle is a folder with ``model.onnx``, ``manifest.json``, ``MODEL_CARD.md`` and ``LEDGER.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.atomic import sha256_of, write_text

__all__ = ["add_variant", "replace_model", "sha256_of", "write_bundle"]

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
CARD_FILE = "MODEL_CARD.md"
LEDGER_FILE = "LEDGER.json"


def write_bundle(
    folder: Path,
    *,
    model: Path,
    manifest: Mapping[str, Any],
    card: str,
    ledger: Mapping[str, Any],
    others: Mapping[str, bytes] | None = None,
) -> Path:
    """Write the bundle ``folder``; a bundle already there is replaced only once the new one is complete.

    Parameters
    ----------
    folder : Path
        The bundle; its parent is made where missing.
    model : Path
        The ONNX file to copy in. ``file`` and ``sha256`` of the manifest are filled in from it.
    manifest, ledger : mapping
        Written as JSON.
    card : str
        The model card, Markdown.
    others : mapping, optional
        Names and contents of more files, such as pictures that the card shows.

    Raises
    ------
    FileNotFoundError
        If ``model`` does not exist.
    NotADirectoryError
        If ``folder`` exists and is not a folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder for the bundle, found a file")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        shutil.copyfile(model, fresh / MODEL_FILE)
        complete = {**manifest, "file": MODEL_FILE, "sha256": sha256_of(fresh / MODEL_FILE)}
        _write_text(fresh / MANIFEST_FILE, json.dumps(complete, indent=2) + "\n")
        _write_text(fresh / LEDGER_FILE, json.dumps(ledger, indent=2, ensure_ascii=False) + "\n")
        _write_text(fresh / CARD_FILE, card)
        for name, content in (others or {}).items():
            (fresh / name).write_bytes(content)
        fresh.chmod(0o755)
        _swap(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def replace_model(
    folder: Path, *, model: Path, manifest: Mapping[str, Any], card: str, ledger: Mapping[str, Any]
) -> None:
    """Put a new model into the bundle ``folder``, which may hold other files: derived artefacts stay.

    Parameters
    ----------
    folder : Path
        Must exist.
    model : Path
        The finished ONNX file, on the same disk; moved.
    manifest, card, ledger :
        As for ``write_bundle``; variants are kept where the model is the same.

    Notes
    -----
    Everything is written before the first name changes, and then the names change one after another. Should
    the machine stop in between, the manifest's hash does not fit the model: the bundle is refused, never
    misread, and the next export mends it.
    """
    complete = {**manifest, "file": MODEL_FILE, "sha256": sha256_of(model)}
    if variants := _variants_of(folder, complete["sha256"]):
        complete["variants"] = variants
    texts = {
        LEDGER_FILE: json.dumps(ledger, indent=2, ensure_ascii=False) + "\n",
        CARD_FILE: card,
        MANIFEST_FILE: json.dumps(complete, indent=2) + "\n",
    }
    for name, text in texts.items():
        _write_text(model.with_name(name), text)
    with open(model, "rb") as stream:
        os.fsync(stream.fileno())
    for name in (MODEL_FILE, *texts):
        os.replace(model.with_name(name) if name in texts else model, folder / name)


def _variants_of(folder: Path, sha256: str) -> dict[str, Any]:
    """Variants of the model that is there, if it is this one; what is not readable has none."""
    try:
        before = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        return before.get("variants", {}) if before.get("sha256") == sha256 else {}
    except (OSError, ValueError, AttributeError):
        return {}


def add_variant(folder: Path, name: str, file: str) -> None:
    """Enter the derived ONNX file ``file`` of the bundle ``folder`` into its manifest, as ``name``."""
    path = Path(folder) / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    entry = {"file": file, "sha256": sha256_of(Path(folder) / file)}
    if manifest.get("variants", {}).get(name) == entry:
        return
    manifest["variants"] = {**manifest.get("variants", {}), name: entry}
    write_text(path, json.dumps(manifest, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _swap(fresh: Path, folder: Path) -> None:
    """Put ``fresh`` in the place of ``folder``, which steps aside: a rename cannot replace a full folder."""
    if not folder.exists():
        os.rename(fresh, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.rename(folder, old / folder.name)
    try:
        os.rename(fresh, folder)
    except BaseException:
        os.rename(old / folder.name, folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
