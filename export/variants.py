"""Puts another precision of a model into its bundle, where the engine finds it.

At every moment the bundle is one that the engine takes: the variant is struck from the manifest before its
file changes, and entered again once file and passport are complete.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.atomic import write_text
from ..engine.manifest import Manifest
from ..engine.passport import Passport
from .bundle import MANIFEST_FILE, add_variant
from .calibration import find_pictures
from .growth import LIMIT
from .int8 import Int8Report, quantise_folders
from .ranges import Progress

INT8, INT8_FILE = "int8", "model.int8.onnx"
LIBRARY = "onnx"


def add_int8(
    bundle: Path,
    calibrate: Sequence[Path],
    *,
    keep: Sequence[str] = (),
    limit: float = LIMIT,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> tuple[Passport, Int8Report]:
    """Make the INT8 variant of a bundle, for OpenVINO, with its passport; one that is there is replaced.

    Parameters
    ----------
    bundle : Path
        The model's folder.
    calibrate : sequence of Path
        Folders of pictures, see ``calibration.find_pictures``: nine in ten calibrate, the tenth judges.
    keep, limit, force, progress :
        As for ``int8.quantise``.
    command : str
        For the passport.

    Raises
    ------
    GateMissed
        If its error grows too much. The bundle is then as it was.
    ModelError, UsageError
        If the bundle or the pictures are not usable.
    """
    bundle = Path(bundle)
    manifest = Manifest.load(bundle)
    manifest.check_file()
    with tempfile.TemporaryDirectory(prefix=".livecut-", dir=bundle) as scratch:
        fresh = Path(scratch) / INT8_FILE
        report = quantise_folders(
            manifest.model_path,
            fresh,
            calibrate,
            manifest,
            keep=keep,
            limit=limit,
            force=force,
            progress=progress,
        )
        passport = _passport(fresh, manifest, report, calibrate, command)
        strike(bundle, INT8)
        fresh.replace(bundle / INT8_FILE)
    passport.write(bundle / INT8_FILE)
    add_variant(bundle, INT8, INT8_FILE)
    return passport, report


def strike(bundle: Path, name: str) -> None:
    """Take the variant ``name`` out of the manifest; its file stays, unused."""
    path = bundle / MANIFEST_FILE
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("variants", {}).pop(name, None) is not None:
        write_text(path, json.dumps(data, indent=2) + "\n")


def _passport(
    made: Path, manifest: Manifest, report: Int8Report, calibrate: Sequence[Path], command: str
) -> Passport:
    import onnx

    from .openvino import compiled_layers

    layers, found = compiled_layers(made, manifest)
    growth = report.growth
    return Passport.issue(
        made,
        manifest.model_path,
        target="int8",
        library=LIBRARY,
        library_version=onnx.__version__,
        precision_asked="int8",
        precision_found=found,
        precision_evidence="compiled model",
        shapes={manifest.input_name: [1, 3, "height", "width"]},
        parity=report.parity,
        layers=layers,
        kept_higher=report.kept_higher,
        build_seconds=report.seconds,
        command=command,
        extra={
            "flavour": report.flavour,
            "calibrated_on": report.calibrated_on,
            "pictures": [_listing(folder) for folder in calibrate],
            "judged_on": {"stills": growth.stills, "clips": growth.clips, "labelled": growth.labelled}
            if growth
            else {},
            "begins_with": manifest.begins_with,
            "forced": report.forced,
            "problems": report.problems,
        },
    )


def _listing(folder: Path) -> dict[str, Any]:
    """A folder by name and by the names in it: enough to tell whether another run saw the same pictures."""
    names = [picture.image.name for picture in find_pictures(folder)]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"folder": Path(folder).resolve().name, "pictures": len(names), "names_sha256": digest}
