"""Small edits of ONNX graphs that FP16 and INT8 share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.atomic import replacing
from ..engine.errors import UsageError

if TYPE_CHECKING:
    import onnx


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check ``model`` and write it, whole or not at all."""
    import onnx

    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as partial:
        partial.write_bytes(model.SerializeToString())


def named(model: onnx.ModelProto) -> None:
    """Give every node without a name, or with one that is taken, a name of its own."""
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)


def constants_to_weights(model: onnx.ModelProto) -> None:
    """Replace nodes ``Constant`` that hold a tensor by initialisers of the same name."""
    import onnx

    kept = []
    for node in model.graph.node:
        values = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            kept.append(node)
            continue
        if "value" in values:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(values["value"].t)
            tensor.name = node.output[0]
        else:
            name, attribute = next(iter(values.items()))
            array = _plain_constant(name, attribute)
            if array is None:
                kept.append(node)
                continue
            tensor = onnx.numpy_helper.from_array(array, node.output[0])
        model.graph.initializer.append(tensor)
    replace_nodes(model.graph, kept)


def _plain_constant(name: str, attribute: onnx.AttributeProto):  # type: ignore[no-untyped-def]
    import numpy as np

    if name == "value_float":
        return np.float32(attribute.f).reshape(())
    if name == "value_floats":
        return np.array(attribute.floats, np.float32)
    if name == "value_int":
        return np.int64(attribute.i).reshape(())
    if name == "value_ints":
        return np.array(attribute.ints, np.int64)
    return None


class Names:
    """Names for new tensors of a graph: as wanted, or with a number behind where the graph has that already.

    Called twice with the same, it gives the same.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {tensor.name for tensor in graph.initializer}
        self._taken.update(value.name for value in (*graph.input, *graph.output))
        self._taken.update(name for node in graph.node for name in (*node.input, *node.output))
        self._given: dict[str, str] = {}

    def __call__(self, wanted: str) -> str:
        if wanted not in self._given:
            numbered = (f"{wanted}_{number}" for number in itertools.count(2))
            free = next(name for name in itertools.chain([wanted], numbered) if name not in self._taken)
            self._given[wanted] = free
            self._taken.add(free)
        return self._given[wanted]


def has_subgraph(node: onnx.NodeProto) -> bool:
    """Whether the node (``If``, ``Loop``, ``Scan``) carries a graph of its own."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make ``nodes`` the nodes of ``graph``; they may be its own."""
    del graph.node[:]
    graph.node.extend(nodes)


def names_read(node: onnx.NodeProto) -> Iterator[str]:
    """What ``node`` reads, and what the graphs that it carries do; names of their own among it."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from names_read(inner)


def chosen(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The names that match one of the patterns (``*`` and ``?`` as in a shell).

    Raises
    ------
    UsageError
        If a pattern matches none.
    """
    names = list(names)
    found: set[str] = set()
    for pattern in patterns:
        matching = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not matching:
            raise UsageError(
                f"keep: no layer is called {pattern!r}; the graph has {', '.join(names[:4])}, ..."
            )
        found |= matching
    return found
