"""Keras models to ONNX, layer by layer, without TensorFlow. Code in a file is never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..engine.errors import ModelError
from .keras_file import KerasFile
from .keras_lambdas import known_lambda
from .keras_layers import LAYERS, Graph, lambda_layer

if TYPE_CHECKING:
    import onnx

LAYING_OUT = {"Reshape", "Flatten"}
"""At the very end they lay a mask out as one long row: here it stays a picture."""


def build(file: KerasFile, where: str) -> onnx.ModelProto:
    """The graph of a Keras model.

    Inputs and outputs are channels first and keep the names of their layers; batch is 1.

    Parameters
    ----------
    file : KerasFile
    where : str
        Begins the messages.

    Raises
    ------
    ModelError
        If it has several inputs, or a layer that is not known here.
    """
    sequential = file.config["class_name"] == "Sequential"
    ends = [file.layers[-1]["config"]["name"]]
    if not sequential:
        ends = [entry[0] for entry in _entries(file.config["config"]["output_layers"])]
        starts = _entries(file.config["config"]["input_layers"])
        if len(starts) != 1:
            raise ModelError(f"{where}: takes {len(starts)} inputs; expected one picture")
    graph = Graph(where)
    before = ""
    for layer in file.layers:
        kind, settings = layer["class_name"], layer["config"]
        name = settings["name"]
        if kind == "InputLayer":
            graph.start(name, settings.get("batch_input_shape") or settings.get("batch_shape"))
        else:
            if sequential and not before:
                graph.start("image", settings.get("batch_input_shape") or settings.get("batch_shape"))
                before = "image"
            sources = [before] if sequential else sources_of(layer, where)
            if missing := [source for source in sources if source not in graph.values]:
                raise ModelError(f"{where}: the layer {name!r} wants {missing[0]!r}, which comes after it")
            inputs = [graph.values[source] for source in sources]
            if kind == "Lambda":
                graph.values[name] = lambda_layer(graph, inputs[0], known_lambda(settings, where))
            elif kind in LAYING_OUT and name in ends:
                graph.values[name] = inputs[0]
            elif kind in LAYERS:
                _check_format(settings, name, where)
                graph.values[name] = LAYERS[kind](graph, settings, file.weights(name), inputs)
            else:
                raise ModelError(
                    f"{where}: the layer {name!r} is a {kind}, which is not known here; make ONNX of "
                    f"the model with tf2onnx, and give that (known are {', '.join(sorted(LAYERS))})"
                )
        before = name
    return graph.finish(ends)


def _check_format(settings: Mapping[str, Any], name: str, where: str) -> None:
    if settings.get("data_format", "channels_last") != "channels_last":
        raise ModelError(f"{where}: the layer {name!r} is {settings['data_format']}; expected channels_last")


def _entries(value: Any) -> list[Any]:
    """``[["a", 0, 0], ...]`` of one or several; Keras writes a single one without the outer list."""
    return [value] if value and isinstance(value[0], str) else list(value)


def sources_of(layer: Mapping[str, Any], where: str) -> list[str]:
    """Names of the layers that feed ``layer``, in order, from Keras 2's or 3's way of writing it."""
    nodes = layer["inbound_nodes"]
    if not nodes:
        return []
    if len(nodes) > 1:
        raise ModelError(f"{where}: the layer {layer['config']['name']!r} is used twice, which is not taken")
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
