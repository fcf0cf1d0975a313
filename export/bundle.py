"""Writes a model bundle: all of it or nothing.

A bundle is a folder with ``model.onnx``, ``manifest.json``, ``MODEL_CARD.md`` and ``LEDGER.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
CARD_FILE = "MODEL_CARD.md"
LEDGER_FILE = "LEDGER.json"


def write_bundle(
    folder: Path, *, model: Path, manifest: Mapping[str, Any], card: str, ledger: Mapping[str, Any]
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
        fresh.chmod(0o755)
        _swap(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
