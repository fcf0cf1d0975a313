"""Reads ONNX files that strangers made: every way in which one can be wrong gets its own line."""

from __future__ import annotations

import graphlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import ModelError
from .checks import NEWEST_OPSET, OLDEST_OPSET, OPSET
from .edits import names_read, replace_nodes

if TYPE_CHECKING:
    import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data and bring it to opset 17 or later.

    Raises
    ------
    ModelError
        If it is missing, not ONNX, needs another opset, lacks its external data, or is not valid.
    """
    import onnx

    path = Path(path)
    model = read_proto(path)
    _check_versions(model, path.name)
    _check_input_ranks(model, path.name)
    _check_external_data(model, path)
    if any(_external(tensor) for tensor in _tensors(model)):
        onnx.load_external_data_for_model(model, str(path.parent))
    _put_in_order(model.graph)
    check(model, path.name)
    if model.functions:  # what newer exporters wrap layers in: the nodes inside are what counts
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return upgraded(model, path.name)


def read_proto(path: Path) -> onnx.ModelProto:
    """Parse the file, without its external data. Raises ModelError if it is not an ONNX model."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception:  # protobuf's own DecodeError, which is not public everywhere
        raise ModelError(f"{path}: {_NOT_ONNX}") from None
    # Protobuf also reads many other bytes as a message without contents.
    if not model.ir_version or not model.graph.node:
        raise ModelError(f"{path}: {_NOT_ONNX}")
    return model


_NOT_ONNX = (
    "not an ONNX model, or cut short; expected a file that onnx.checker accepts: export or download it again"
)


def check(model: onnx.ModelProto, name: str) -> None:
    """Run ONNX's own checker; ModelError with its first line if it objects."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and the shape inference raise kinds of their own
        raise ModelError(
            f"{name}: not a valid ONNX model: {first_line(error)}; export it again where it is from"
        ) from None


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Sort the nodes of ``graph`` so that each comes after what it reads, as ONNX asks, in place.

    Tools that rewrite graphs leave others behind, and ONNX Runtime runs them. A graph with a cycle stays as
    it is, for the checker to refuse.
    """
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    reads = {
        number: {makers[name] for name in names_read(node) if name in makers}
        for number, node in enumerate(graph.node)
    }
    if all(maker < number for number, needed in reads.items() for maker in needed):
        return
    try:
        order = list(graphlib.TopologicalSorter(reads).static_order())
    except graphlib.CycleError:
        return
    replace_nodes(graph, [graph.node[number] for number in order])


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set; 0 where there is none."""
    return max((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), default=0)


def upgraded(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """``model`` at opset 17, or as it is where it is newer."""
    from onnx import version_converter

    if (version := opset_of(model)) >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises RuntimeError and kinds of its own
        raise ModelError(
            f"{name}: opset {version} cannot be brought to {OPSET}: {first_line(error)}. Export the network "
            f"again with opset {OPSET}"
        ) from None


def ranks_are_known(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """``model`` with its shapes inferred. Raises ModelError if the rank of a tensor depends on the input."""
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # shape inference raises kinds of its own
        raise ModelError(f"{name}: shapes do not fit together: {first_line(error)}") from None
    known = {
        value.name: value.type.tensor_type.HasField("shape")
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.HasField("tensor_type")
    }
    for node in inferred.graph.node:
        for output in node.output:
            if output and not known.get(output, False) and node.domain in DEFAULT_DOMAINS:
                raise ModelError(_rank_line(name, f"{output!r}, the output of a {node.op_type},"))
    return inferred


def _check_input_ranks(model: onnx.ModelProto, name: str) -> None:
    for value in model.graph.input:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            raise ModelError(_rank_line(name, f"the input {value.name!r}"))


def _rank_line(name: str, what: str) -> str:
    return (
        f"{name}: {what} has a number of dimensions that is known only when it runs, which TensorRT does not "
        "take: export the network again with the rank of its input written down, such as 1x3xHxW"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error that says something, with the next where it ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    import onnx

    version = opset_of(model)
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{name}: ONNX IR version {model.ir_version}, the package onnx {onnx.__version__} here reads to "
            f"{onnx.IR_VERSION}: pip install --upgrade onnx, or export with an older one"
        )
    if version > min(NEWEST_OPSET, onnx.defs.onnx_opset_version()):
        raise ModelError(
            f"{name}: opset {version} is too new: TensorRT to 11 reads {OLDEST_OPSET} to {NEWEST_OPSET}; "
            f"export the network again with opset {OPSET}"
        )
    if version < OLDEST_OPSET:
        raise ModelError(
            f"{name}: opset {version or 'unknown'} is too old: expected {OLDEST_OPSET} to {NEWEST_OPSET}; "
            f"export the network again with opset {OPSET}"
        )


def _tensors(model: onnx.ModelProto) -> Any:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _external(tensor: onnx.TensorProto) -> bool:
    from onnx import TensorProto

    return tensor.data_location == TensorProto.EXTERNAL


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    for tensor in filter(_external, _tensors(model)):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = path.parent / location
        # A file of a stranger's must not make us read what lies elsewhere on this machine.
        inside = location and not os.path.isabs(location) and ".." not in Path(location).parts
        if not inside or path.parent.resolve() not in file.resolve().parents:
            raise ModelError(
                f"{path.name}: its weights are said to lie at {location!r}, outside its own folder; refused"
            )
        if not file.is_file():
            raise ModelError(
                f"{path.name}: its weights are in {location!r}, which is missing beside it: copy that file "
                f"to {path.parent}, too"
            )
        offset, length = (_whole_number(entries.get(key, "0")) for key in ("offset", "length"))
        if offset is None or length is None:
            raise ModelError(
                f"{path.name}: where in {location!r} its weights lie is damaged: expected whole numbers, got "
                f"{entries.get('offset')!r} and {entries.get('length')!r}; export the network again"
            )
        if file.stat().st_size < offset + length:
            raise ModelError(
                f"{path.name}: {location!r} beside it is cut short: {file.stat().st_size} bytes, expected at "
                f"least {offset + length}; copy it again"
            )


def _whole_number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 20 else None
