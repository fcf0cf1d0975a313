"""The first step of every export: a source to an ONNX file that is checked, proved and says what it is."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.errors import ModelError
from .checks import check_graph
from .foreign_bundle import precision_of
from .onnx_file import check, opset_of, ranks_are_known
from .onnx_folding import fold
from .onnx_shapes import Shapes, apply_shapes, chosen, named_shapes
from .options import Options
from .parity import Case, Limits, Parity, compare, edge_streams
from .runners import Arrays, Runner, onnx_runner
from .weights import Loaded, Source

if TYPE_CHECKING:
    import onnx

Frames = Callable[[Mapping[str, Any], tuple[int, int]], Iterable[tuple[str, np.ndarray]]]
"""Real frames as the network of a manifest gets them at a size: name and float32 (1, 3, H, W), in order."""
Progress = Callable[[str, float], None]
ROUNDED = Limits(1.0, 1e-3)
"""For graphs in INT8, where one rounding that falls the other way may turn a pixel, but not their mean."""
MOST_FRAMES = 8
"""Real frames that parity is looked at on; calibration takes more."""


@dataclass(frozen=True)
class Converted:
    """A graph ready to be written, with its manifest and the proof that it is right."""

    model: onnx.ModelProto
    manifest: dict[str, Any]
    shapes: Shapes
    loaded: Loaded
    parity: Parity
    seconds: float


def convert(source: Source, options: Options, frames: Frames | None, progress: Progress) -> Converted:
    """Read ``source`` and make of it the ONNX graph that was asked for.

    Raises
    ------
    ModelError
        If the source cannot be read, its graph holds what TensorRT does not take, or cannot have the shapes.
    ParityError
        If what was made does not compute what the source computes.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    loaded = source.load(options.size_wh)
    name = source.name
    _check_names(loaded, name)
    shapes = chosen(
        loaded.model, loaded.manifest, size_wh=options.size_wh, batch=options.batch, dynamic=options.dynamic
    )
    progress("fold", 0.3)
    model, manifest = apply_shapes(_pruned(loaded), loaded.manifest, shapes)
    model = fold(model)
    check(model, name)
    check_graph(ranks_are_known(model, name), name)
    manifest["opset"] = opset_of(model)
    finish(model, manifest, source)
    check(model, name)
    limits = ROUNDED if "int8" in precision_of(model)[1] else Limits()
    candidate = onnx_runner(model, name)
    parity = prove(loaded.reference, candidate, manifest, shapes, frames, name, progress, limits)
    return Converted(model, manifest, shapes, loaded, parity, time.perf_counter() - started)


def _check_names(loaded: Loaded, name: str) -> None:
    """Raise ModelError unless the graph has every tensor that the manifest names."""
    graph, manifest = loaded.model.graph, loaded.manifest
    states = manifest.get("state", ())
    for kind, values, wanted in (
        ("input", graph.input, [manifest["input"]["name"], *(tensor["input"] for tensor in states)]),
        ("output", graph.output, [manifest["output"]["name"], *(tensor["output"] for tensor in states)]),
    ):
        have = [value.name for value in values]
        if missing := [tensor for tensor in wanted if tensor not in have]:
            raise ModelError(
                f"{name}: the manifest names the {kind} {missing[0]!r}, which the graph does not have; it "
                f"has {', '.join(have) or 'none'}: take the manifest that came with it, or name a --recipe"
            )


def _pruned(loaded: Loaded) -> onnx.ModelProto:
    """The graph without the outputs that its manifest does not name: side outputs, foregrounds."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(loaded.model)
    wanted = named_shapes(loaded.manifest, Shapes(None))
    kept = [value for value in model.graph.output if value.name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def prove(
    reference: Runner,
    candidate: Runner,
    manifest: Mapping[str, Any],
    shapes: Shapes,
    frames: Frames | None,
    name: str,
    progress: Progress,
    limits: Limits | None = None,
) -> Parity:
    """Compare on edge cases at the sizes the graph takes, and on real frames; raises ParityError."""
    cases: list[Case] = []
    for size in proof_sizes(manifest, shapes):
        cases += edge_streams(manifest, size, shapes.batch)
    cases += real_cases(manifest, proof_sizes(manifest, shapes)[0], frames, shapes.batch)
    held = one_by_one(reference) if shapes.batch > 1 else reference

    def told() -> Iterator[Case]:
        for index, case in enumerate(cases):
            progress(f"compare on {case.name}", 0.5 + 0.5 * index / len(cases))
            yield case

    return compare(held, candidate, told(), manifest, name=name, limits=limits)


def proof_sizes(manifest: Mapping[str, Any], shapes: Shapes) -> list[tuple[int, int]]:
    """The one size of a fixed graph; of a free one its first, and the one that differs most in aspect."""
    if shapes.size_wh is not None:
        return [shapes.size_wh]
    sizes = [(width, height) for width, height in manifest["input"]["sizes_wh"]]
    first = sizes[0][0] / sizes[0][1]
    return list(dict.fromkeys([sizes[0], max(sizes, key=lambda s: abs(np.log(s[0] / s[1] / first)))]))


def real_cases(
    manifest: Mapping[str, Any],
    size_wh: tuple[int, int],
    frames: Frames | None,
    batch: int = 1,
    most: int = MOST_FRAMES,
) -> list[Case]:
    """Real frames as cases: each picture by itself, for a recurrent network all as one stream, for one that
    begins with a plate in pairs, of which the first is the plate.

    ``most`` is the number of pictures (or pairs) at most, in batches of ``batch``.
    """
    length = 2 if manifest.get("begins_with") == "plate" else 1
    found = list(itertools.islice(frames(manifest, size_wh), most * length)) if frames is not None else []
    found = found[: len(found) // length * length]
    rows = [found[index : index + length] for index in range(0, len(found), length)]
    shown = [[np.repeat(image, batch, 0) for _, image in row] for row in rows]
    if batch > 1:  # every picture of a batch is another one, so that leaks between them show
        rows = rows[:: max(1, min(batch, len(rows)))]
        shown = [
            [
                np.concatenate([found[((index + k) * length + part) % len(found)][1] for k in range(batch)])
                for part in range(length)
            ]
            for index in range(len(rows))
        ]
    if length == 2:
        return [
            Case(f"{row[1][0]} beside {row[0][0]}", images, is_real=True, begins_with_plate=True)
            for row, images in zip(rows, shown, strict=True)
        ]
    if manifest.get("state") and shown:
        return [Case("a stream of pictures", [images[0] for images in shown], is_real=True)]
    return [Case(row[0][0], images, is_real=True) for row, images in zip(rows, shown, strict=True)]


def one_by_one(runner: Runner) -> Runner:
    """``runner`` on each picture of a batch by itself."""

    def run(feed: Mapping[str, np.ndarray]) -> Arrays:
        count = len(next(iter(feed.values())))
        parts = [runner({name: value[i : i + 1] for name, value in feed.items()}) for i in range(count)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run


def finish(model: onnx.ModelProto, manifest: Mapping[str, Any], source: Source) -> None:
    """Give the graph a name, say inside the file what it is, and put its tensors in order.

    The same source and options give the same bytes: there is no date in it.
    """
    from onnx import helper

    from .. import __version__

    model.producer_name, model.producer_version = "livecut", __version__
    model.graph.name = manifest["name"]
    model.doc_string = ""
    facts = {
        "livecut.name": manifest["name"],
        "livecut.version": manifest["version"],
        "livecut.licence": manifest["licence"],
        "livecut.source": source.file,
        "livecut.source_sha256": source.sha256,
        "livecut.input": json.dumps(manifest["input"]),
        "livecut.output": json.dumps(manifest["output"]),
        "livecut.state": json.dumps(list(manifest["state"])),
    }
    if manifest.get("begins_with"):
        facts["livecut.begins_with"] = manifest["begins_with"]
    del model.metadata_props[:]
    helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    wanted = named_shapes(manifest, Shapes(None))
    for values in (model.graph.input, model.graph.output):
        by_name = {value.name: value for value in values}
        if missing := [name for name in by_name if name not in wanted]:
            raise ModelError(
                f"{manifest['name']}: the graph has the tensor {missing[0]!r}, of which nothing is said; a "
                "--recipe names every input and output"
            )
        ordered = [by_name[name] for name in wanted if name in by_name]
        del values[:]
        values.extend(ordered)


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Serialise to ``path`` in one piece. Raises ModelError where a model is too large for one file."""
    try:
        path.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf takes 2 GB
        raise ModelError(f"{model.graph.name}: too large for one ONNX file: {error}") from None
