"""Finds model bundles by name or path."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from .errors import ModelError
from .manifest import Manifest

SHIPPED = Path(__file__).resolve().parent.parent / "models"
DEFAULT_MODEL = "livecut-s"


def model_folders() -> list[Path]:
    """Folders that hold bundles, the first to look in first: ``$LIVECUT_HOME/models``, the user's data
    folder, what ships in the package."""
    from platformdirs import user_data_path

    folders = [user_data_path("livecut", appauthor=False) / "models", SHIPPED]
    if home := os.environ.get("LIVECUT_HOME"):
        folders.insert(0, Path(home) / "models")
    return folders


def available_models() -> dict[str, Path]:
    """Every bundle that can be named, and where it lies."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        if folder.is_dir():
            for bundle in sorted(folder.iterdir()):
                if (bundle / "manifest.json").is_file():
                    found.setdefault(bundle.name, bundle)
    return found


def find_bundle(model: str | Path = DEFAULT_MODEL) -> Path:
    """The folder of a bundle.

    Parameters
    ----------
    model : str or path
        A name, or the path of a bundle's folder.

    Raises
    ------
    ModelError
        If there is no such bundle, or ``model`` is a bare ``.onnx`` file.
    """
    path = Path(model).expanduser()
    if path.suffix.lower() == ".onnx":
        raise ModelError(
            f"{model}: a model is a folder with model.onnx and a manifest.json that says how to feed it; "
            f"give the folder, or make one of the file: livecut export {model} --to onnx -o FOLDER"
        )
    if (path / "manifest.json").is_file():
        return path
    name = str(model)
    if path.is_dir() or os.sep in name or name.startswith("."):
        raise ModelError(f"{model}: not a model bundle: it has no manifest.json")
    found = available_models()
    if name in found:
        return found[name]
    close = get_close_matches(name, found, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ModelError(
        f"no model {name!r}; {hint}There are: {', '.join(found) or 'none'}; or give a bundle's folder"
    )


def load_manifest(model: str | Path = DEFAULT_MODEL) -> Manifest:
    """Find a bundle, read its manifest and check the hash of its ONNX file."""
    manifest = Manifest.load(find_bundle(model))
    manifest.check_file()
    return manifest
