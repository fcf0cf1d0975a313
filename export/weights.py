"""What weights come in: a file is known by its contents, never by its name, and none is trusted."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.atomic import sha256_of
from ..engine.errors import ModelError
from ..engine.manifest import Manifest
from .bundle import CARD_FILE, LEDGER_FILE
from .runners import Runner, onnx_runner

if TYPE_CHECKING:
    import onnx
    from torch import nn

KINDS = {
    "onnx": "an ONNX model",
    "bundle": "a livecut model",
    "safetensors": "weights as safetensors",
    "checkpoint": "a PyTorch checkpoint",
    "torchscript": "a TorchScript model",
    "keras-h5": "Keras weights (HDF5)",
    "keras-zip": "a Keras 3 model (.keras)",
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
# What people try, and the way from there.
_ELSEWHERE = {
    b"TFL3": "a TensorFlow Lite model; make ONNX of it first: tf2onnx --tflite FILE --output model.onnx",
    b"7767": "an ncnn model; export ONNX from the framework it was trained in",
    b"<?xm": "an OpenVINO model (or other XML); give the ONNX file it was made from",
    b"ftrt": "a TensorRT plan; a plan cannot be turned back: give the ONNX file it was made from",
}


class Apart(NamedTuple):
    """Largest and mean difference of what a step gives from what it was given."""

    max_abs: float
    mean_abs: float


@dataclass(frozen=True)
class Loaded:
    """A source once it is an ONNX graph: what goes in, how it is fed, and who says what is right."""

    model: onnx.ModelProto
    manifest: Mapping[str, Any]
    """As in ``manifest.json``, without ``file`` and ``sha256``."""
    reference: Runner
    """Computes what the source computes; under the manifest's names."""
    library: str
    library_version: str
    card: str = ""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What should be said to people."""
    before: Mapping[str, Apart] = field(default_factory=dict)
    """How far apart the steps that led to ``model`` are, each proved when it was taken."""


@dataclass(frozen=True)
class Source:
    """Weights to export. ``load`` reads them; it is called only where something has to be made."""

    name: str
    """Of the bundle that comes out."""
    kind: str
    """One of ``KINDS``, or ``module``."""
    sha256: str
    file: str
    """Name of the file, or of the module's class."""
    load: Callable[[tuple[int, int] | None], Loaded]
    """Takes the size that was asked for, or None."""
    key: Mapping[str, Any] = field(default_factory=dict)
    """What else the result depends on."""
    path: Path | None = None


def identify(path: Path) -> str:
    """What a file or folder holds, one of ``KINDS``.

    Raises
    ------
    ModelError
        If it is missing, or nothing that can be exported; the message says what it looks like.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "manifest.json").is_file():
            return "bundle"
        raise ModelError(
            f"{path}: a folder without a manifest.json is no model; give a file of weights, or the name "
            "of a model (livecut model list)"
        )
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if not head:
        raise ModelError(f"{path}: an empty file; copy or download it again")
    if head.startswith(_HDF5):
        return "keras-h5"
    if head.startswith(_ZIP):
        return _identify_zip(path)
    if head.startswith(_PICKLE):
        return "checkpoint"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    for mark, what in _ELSEWHERE.items():
        if mark in (head[:4], head[4:8]):
            raise ModelError(f"{path}: {what}")
    return "onnx"  # protobuf has no magic: the parser decides


def _identify_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()] + archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{path}: a damaged archive ({error}); copy or download it again") from None
    if "model.weights.h5" in names:
        return "keras-zip"
    if "constants.pkl" in names:
        return "torchscript"
    if "data.pkl" in names:
        return "checkpoint"
    raise ModelError(f"{path}: an archive that holds no model livecut knows; expected {_listed()}")


def _listed() -> str:
    return ", ".join(KINDS.values())


def bundle_source(folder: Path) -> Source:
    """A livecut model, its manifest kept."""
    manifest = Manifest.load(folder)
    manifest.check_file()

    def load(_size_wh: tuple[int, int] | None) -> Loaded:
        import json

        import onnx

        from .onnx_file import load_onnx

        spec = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        ledger, card = folder / LEDGER_FILE, folder / CARD_FILE
        return Loaded(
            load_onnx(manifest.model_path),
            {key: value for key, value in spec.items() if key not in ("file", "sha256", "variants")},
            onnx_runner(manifest.model_path, manifest.name),
            "onnx",
            onnx.__version__,
            card.read_text(encoding="utf-8") if card.is_file() else "",
            json.loads(ledger.read_text(encoding="utf-8")) if ledger.is_file() else {},
        )

    spec_hash = sha256_of(folder / "manifest.json")
    return Source(
        manifest.name,
        "bundle",
        manifest.sha256,
        manifest.file,
        load,
        {"manifest": spec_hash},
        manifest.model_path,
    )


def module_source(
    module: nn.Module,
    manifest: Mapping[str, Any],
    *,
    path: Path | None = None,
    card: str = "",
    ledger: Mapping[str, Any] | None = None,
) -> Source:
    """A PyTorch module, from Python or from a checkpoint ``path``.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode. Takes the picture (N, 3, H, W) and then every state; gives the alpha (N, 1, H, W)
        in 0..1 and then every state, in the order of the manifest.
    manifest : mapping
        See ``describe``.
    """
    from . import torchscript

    torchscript.need_torch()
    torchscript.check_module(module, manifest["name"])

    def load(size_wh: tuple[int, int] | None) -> Loaded:
        import torch

        size = size_wh or tuple(manifest["input"]["sizes_wh"][0])
        return Loaded(
            torchscript.trace(module, manifest, size),
            manifest,
            torchscript.runner_of(module, manifest),
            "torch",
            torch.__version__,
            card,
            ledger or {},
        )

    digest = sha256_of(path) if path is not None else torchscript.hash_of(module)
    file = path.name if path is not None else type(module).__name__
    return Source(manifest["name"], "module", digest, file, load, {"manifest": dict(manifest)}, path)
