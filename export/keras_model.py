"""Whole Keras models in HDF5 (architecture and weights), read without TensorFlow: layer by layer to ONNX.

The layout is Keras 2's: ``model_config`` as JSON, weights under ``model_weights/LAYER``. Code in the file (a
``Lambda`` layer's) is never run: the recipe says what each one does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import DeviceUnavailable, ModelError
from .keras_layers import LAYERS, Graph, lambda_layer

if TYPE_CHECKING:
    import onnx

    from .recipes import Recipe

HDF5 = b"\x89HDF\r\n\x1a\n"
Weights = Callable[[str], dict[str, np.ndarray]]
"""Layer name -> its weights by their last name, such as ``kernel``."""


def is_keras(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes. Raises OSError where it cannot be read."""
    with open(path, "rb") as stream:
        return stream.read(len(HDF5)) == HDF5


def keras_to_onnx(path: Path, recipe: Recipe | None = None) -> onnx.ModelProto:
    """The network of a Keras ``.h5`` file that holds a whole model.

    Inputs and outputs are channels first and keep the names of their layers. Where ``recipe.output`` names a
    layer, that layer is the output, and what follows it is left out.

    Raises
    ------
    DeviceUnavailable
        If the package h5py is missing.
    ModelError
        If the file is damaged, holds weights alone, or has a layer that is not known here.
    """
    try:
        import h5py
    except ImportError as error:
        raise DeviceUnavailable(
            f"{path}: reading Keras files needs the package h5py: pip install livecut[export] ({error})"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise ModelError(
                    f"{path}: holds weights without their network; save the whole model with model.save, or "
                    "give the weights of a network livecut knows"
                )
            config = json.loads(text)
            return build(config, _reader(file), recipe, Path(path).name)
    except OSError as error:
        raise ModelError(f"{path}: not a readable HDF5 file: {_line(error)}") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: not laid out as Keras writes its models: {_line(error)}") from None


def _reader(file: Any) -> Weights:
    groups = file["model_weights"]

    def read(layer: str) -> dict[str, np.ndarray]:
        found = {}
        group = groups[layer]
        for name in group.attrs.get("weight_names", ()):
            name = name.decode() if isinstance(name, bytes) else name
            found[name.split("/")[-1].split(":")[0]] = np.asarray(group[name], np.float32)
        return found

    return read


def build(config: Mapping[str, Any], weights: Weights, recipe: Recipe | None, where: str) -> onnx.ModelProto:
    """ONNX of a parsed ``model_config``; ``where`` begins the messages. Raises ModelError."""
    layers = config["config"]["layers"] if isinstance(config["config"], dict) else config["config"]
    sequential = config["class_name"] == "Sequential"
    known = {layer["config"]["name"] for layer in layers}
    cut = recipe.output if recipe is not None and isinstance(recipe.output, str) else None
    if cut is not None and cut not in known:
        raise ModelError(
            f"{where}: has no layer {cut!r} for output.name; its last are {', '.join(list(known)[-3:])}"
        )
    ends = [cut] if cut else [layers[-1]["config"]["name"]]
    if not sequential and not cut:
        ends = [entry[0] for entry in _entries(config["config"]["output_layers"])]
    graph = Graph(where)
    before = ""
    for layer in layers:
        kind, settings = layer["class_name"], layer["config"]
        name = settings["name"]
        if kind == "InputLayer":
            graph.start(name, settings.get("batch_input_shape") or settings.get("batch_shape"))
        else:
            if sequential and not before:
                graph.start("input", settings.get("batch_input_shape"))
                before = "input"
            sources = [before] if sequential else _sources(layer)
            if missing := [source for source in sources if source not in graph.values]:
                raise ModelError(f"{where}: the layer {name!r} wants {missing[0]!r}, which comes after it")
            inputs = [graph.values[source] for source in sources]
            if kind == "Lambda":
                told = recipe.lambdas.get(name) if recipe is not None else None
                graph.values[name] = lambda_layer(graph, name, inputs, told)
            elif kind in LAYERS:
                _check_format(settings, name, where)
                graph.values[name] = LAYERS[kind](graph, settings, weights(name), inputs)
            else:
                known_kinds = ", ".join(sorted(LAYERS))
                raise ModelError(f"{where}: the layer {name!r} is a {kind}; known here are {known_kinds}")
        before = name
        if all(end in graph.values for end in ends):
            break
    return graph.finish(ends)


def _check_format(settings: Mapping[str, Any], name: str, where: str) -> None:
    if settings.get("data_format", "channels_last") != "channels_last":
        raise ModelError(f"{where}: the layer {name!r} is {settings['data_format']}; expected channels_last")


def _entries(value: Any) -> list[Any]:
    """``[["a", 0, 0], ...]`` of one or several; Keras writes a single one without the outer list."""
    return [value] if value and isinstance(value[0], str) else list(value)


def _sources(layer: Mapping[str, Any]) -> list[str]:
    """Names of the layers that feed ``layer``, in order, from Keras 2's or 3's way of writing it."""
    nodes = layer["inbound_nodes"]
    if not nodes:
        return []
    first = nodes[0]
    if isinstance(first, dict):  # Keras 3
        found: list[str] = []

        def walk(value: Any) -> None:
            if isinstance(value, dict) and "keras_history" in value.get("config", {}):
                found.append(value["config"]["keras_history"][0])
            elif isinstance(value, (list, tuple)):
                for item in value:
                    walk(item)

        walk(first.get("args", []))
        return found
    return [entry[0] for entry in _entries(first)]


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
