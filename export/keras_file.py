"""Opens Keras files without Keras: their configuration and their weights by name. Runs nothing in them.

Four layouts: a whole model as HDF5 (Keras 1 and 2), weights alone as HDF5 (Keras 1 and 2), weights alone of
Keras 3 (``.weights.h5``), and the archive ``.keras`` of Keras 3, which holds one of those.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError
from .onnx_file import first_line

Named = dict[str, np.ndarray]
MOST_BYTES = 2 << 30
"""An archive that unpacks to more is refused."""

# Names of a layer's weights in the order in which Keras 3, which only numbers them, makes them.
_ORDER = {
    "Conv2D": ("kernel", "bias"),
    "Conv2DTranspose": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "PReLU": ("alpha",),
}


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file says."""

    config: Mapping[str, Any]
    """``class_name`` and ``config`` of the model, as Keras writes them."""
    arrays: Mapping[str, Named]
    """Layer -> its weights by name, float32, in Keras's own shapes."""
    version: str
    """Of the Keras that wrote it, as it says."""
    notes: tuple[str, ...] = ()
    """What had to be assumed, for people."""

    @property
    def layers(self) -> list[Mapping[str, Any]]:
        """The layers' entries in the order of the file."""
        inner = self.config["config"]
        return inner["layers"] if isinstance(inner, dict) else inner

    def weights(self, layer: str) -> Named:
        """Weights of one layer by name; empty for one that has none."""
        return self.arrays.get(layer, {})


def open_keras(path: Path) -> KerasFile:
    """Read a Keras file.

    Raises
    ------
    ModelError
        If it is damaged, or holds weights alone of a network that is not known.
    DeviceUnavailable
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DeviceUnavailable(
            f"{path}: reading Keras files needs the package h5py: pip install livecut[export] ({error})"
        ) from None
    try:
        if zipfile.is_zipfile(path):
            return _read_archive(path, h5py)
        with h5py.File(path, "r") as file:
            return _read_hdf5(file, path)
    except ModelError as error:
        raise ModelError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except OSError as error:
        raise ModelError(
            f"{path}: not a readable HDF5 file: {first_line(error)}; copy or save it again"
        ) from None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not laid out as Keras writes its models: {first_line(error)}") from None


def _read_archive(path: Path, h5py: Any) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        missing = [name for name in ("config.json", "model.weights.h5") if name not in sizes]
        if missing:
            raise ModelError(f"{path}: a .keras archive without {missing[0]}; save the model again")
        if sum(sizes.values()) > MOST_BYTES:
            raise ModelError(f"{path}: unpacks to more than {MOST_BYTES >> 30} GiB; refused")
        config = json.loads(archive.read("config.json"))
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in sizes else {}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as file:
            arrays = _arrays_by_path(file, _entries(config, path), path)
    return KerasFile(config, arrays, str(metadata.get("keras_version", "3")))


def _read_hdf5(file: Any, path: Path) -> KerasFile:
    version = _text(file.attrs.get("keras_version", "unknown"))
    if "model_config" in file.attrs:
        config = json.loads(_text(file.attrs["model_config"]))
        _entries(config, path)
        return KerasFile(config, _arrays_by_name(file["model_weights"]), version)
    from .keras_article import article_file

    if "layer_names" in file.attrs:
        order = [_text(name) for name in file.attrs["layer_names"]]
        found = {name: list(arrays.values()) for name, arrays in _arrays_by_name(file).items()}
        return article_file(found, order, version, path)
    if "layers" in file or "_layer_checkpoint_dependencies" in file:
        return article_file(_numbered(file), None, "3", path)
    inside = ", ".join(list(file)[:4]) or "nothing"
    raise ModelError(f"{path}: an HDF5 file that is not Keras's: it holds {inside}")


def _entries(config: Mapping[str, Any], path: Path) -> Sequence[Mapping[str, Any]]:
    if config["class_name"] not in ("Sequential", "Model", "Functional"):
        raise ModelError(
            f"{path}: a model of the class {config['class_name']}, whose graph is in its Python code; save a "
            "Functional or Sequential model, or export it to ONNX with tf2onnx"
        )
    inner = config["config"]
    return inner["layers"] if isinstance(inner, dict) else inner


def _arrays_by_name(group: Any) -> dict[str, Named]:
    """Keras 1 and 2: one group for a layer, its attribute ``weight_names`` giving the order."""
    found: dict[str, Named] = {}
    for name in (_text(entry) for entry in group.attrs["layer_names"]):
        layer = group[name]
        names = [_text(entry) for entry in layer.attrs.get("weight_names", [])]
        found[name] = {entry.split("/")[-1].split(":")[0]: _array(layer[entry]) for entry in names}
    return found


def _numbered(file: Any) -> dict[str, list[np.ndarray]]:
    """Keras 3: group -> variables, whatever the layers are called."""
    root = file["layers"] if "layers" in file else file["_layer_checkpoint_dependencies"]
    found: dict[str, list[np.ndarray]] = {}
    for name in root:
        variables = root[name].get("vars")
        keys = sorted(variables, key=int) if variables is not None else []
        found[name] = [_array(variables[key]) for key in keys]
    return found


def _arrays_by_path(file: Any, entries: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Named]:
    """Keras 3: groups are called by the layer's class and a number, not by its name."""
    groups = _numbered(file)
    seen: Counter[str] = Counter()
    found: dict[str, Named] = {}
    for entry in entries:
        kind, spec = entry["class_name"], entry["config"]
        base = snake_case(kind)
        numbered = f"{base}_{seen[base]}" if seen[base] else base
        seen[base] += 1
        values = groups.pop(numbered if numbered in groups else spec["name"], [])
        if values:
            found[spec["name"]] = dict(zip(_names(kind, spec, len(values), path), values, strict=True))
    if left := [name for name, values in groups.items() if values]:
        raise ModelError(f"{path}: has weights for {left[0]!r}, a layer its configuration does not have")
    return found


def _names(kind: str, spec: Mapping[str, Any], count: int, path: Path) -> tuple[str, ...]:
    if kind == "BatchNormalization":
        learnt = [name for name, key in (("gamma", "scale"), ("beta", "center")) if spec.get(key, True)]
        names: tuple[str, ...] = (*learnt, "moving_mean", "moving_variance")
    else:
        names = _ORDER.get(kind, tuple(f"weight{index}" for index in range(count)))[:count]
    if len(names) != count:
        raise ModelError(f"{path}: the layer {spec['name']!r} has {count} weights, a {kind} has {len(names)}")
    return names


def snake_case(name: str) -> str:
    """``Conv2DTranspose`` to ``conv2d_transpose``, as Keras 3 names groups."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _array(dataset: Any) -> np.ndarray:
    if dataset.size * 4 > MOST_BYTES:  # a few bytes of a file may claim any shape
        shape = "x".join(map(str, dataset.shape))
        raise ModelError(f"weights of {shape} are more than {MOST_BYTES >> 30} GiB; save the model again")
    return np.ascontiguousarray(dataset, np.float32)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
