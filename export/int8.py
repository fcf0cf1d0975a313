"""INT8: calibrated on real pictures, judged on others, its most sensitive layers kept in float.

A result whose error grows too much is not written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import GateMissed, ModelError, UsageError
from ..engine.manifest import Manifest
from ..engine.processor import int8_instructions
from . import edits, sensitivity
from .calibration import feeds, read_frames
from .growth import LIMIT, Growth, Judge, labeller
from .int8_graph import FLAVOURS, Flavour, quantisable, readable, write_int8
from .int8_half import IR_VERSION, OPSET, HalfAudit, count_layers
from .onnx_file import load_onnx
from .ranges import Progress, Sample, TensorRange, collect_ranges, open_ort

if TYPE_CHECKING:
    import onnx

MOST_KEPT = 0.5
"""Share of the layers that may stay in float; beyond it INT8 is not worth its file."""
PROBES = 8
"""Clips that the sensitivity of each layer is measured on."""
MOST_DIFFERENCE = 0.02
"""Mean difference from the float output that is let pass where nothing judges: 5 of 255."""


@dataclass
class Int8Report:
    """What became INT8, what did not, and what that cost."""

    out: Path
    flavour: str
    layers: dict[str, int]
    """``int8`` and ``fp32``, of the layers that multiply; for TensorRT ``int8``, ``fp16`` and ``fp32`` of all
    layers, as the graph's types say."""
    kept_higher: list[str]
    """Layers that could be INT8 and are not."""
    asked_to_keep: list[str]
    sensitivity: dict[str, float]
    """Layer -> mean squared error of alpha with it alone in INT8, falling; empty where not measured."""
    growth: Growth | None
    parity: dict[str, float]
    calibrated_on: int
    seconds: float
    forced: bool = False
    """Written although it grew past the limit."""
    problems: list[str] = field(default_factory=list)
    why_single: dict[str, str] = field(default_factory=dict)
    """Layers that stay float32 in a graph for TensorRT -> why; its others are INT8 and FP16."""
    products: int = 0
    """Layers that multiply and could be INT8."""

    @property
    def found(self) -> str:
        """``int8`` where more than half of the layers that could be are."""
        if 2 * len(self.kept_higher) < self.products:
            return "int8"
        return "fp16" if self.layers.get("fp16") else "fp32"


def quantise(
    source: Path,
    out: Path,
    *,
    samples: Iterable[Sample],
    flavour: Flavour = "openvino",
    keep: Sequence[str] = (),
    judge: Judge | None = None,
    limit: float = LIMIT,
    force: bool = False,
    progress: Progress | None = None,
) -> Int8Report:
    """Write ``source`` as INT8 in QDQ form as ``out``; whole or not at all.

    Layers are kept in float, the most sensitive first, until ``judge`` is content.

    Parameters
    ----------
    source, out : Path
        ONNX files; ``out`` is replaced once the new one has passed.
    samples : iterable of mappings
        What calibrates: name of each graph input to its array.
    flavour : str
        ``openvino`` or ``tensorrt``.
    keep : sequence of str
        Layers that stay in float in any case; ``*`` and ``?`` as in a shell.
    judge : Judge, optional
        Without one, the outputs over ``samples`` must stay near the float ones on average.
    limit : float
        Relative growth of MAE and dtSSD that is let pass.
    force : bool
        Write it even so, and say what it costs.
    progress : callable, optional
        Called with the step's name and its share done.

    Raises
    ------
    GateMissed
        If the error grows past ``limit`` however many layers are kept.
    ModelError
        If the model has nothing to quantise or gives NaN.
    UsageError
        If there are no samples, no such flavour, or ``keep`` names no layer.
    """
    if flavour not in FLAVOURS:
        raise UsageError(f"flavour: expected {' or '.join(FLAVOURS)}, got {flavour!r}")
    start = time.perf_counter()
    model = prepared(source, flavour)
    layers = quantisable(model)
    if not layers:
        raise ModelError(f"{source}: nothing in it can be INT8: no convolution or product with known weights")
    fixed = edits.chosen(layers, keep)
    real = list(samples)
    if not real:
        raise UsageError(
            f"{source}: INT8 is calibrated on real pictures, and got none; give a folder of some dozens"
        )
    read = readable(model, layers)
    ranges = collect_ranges(model, real, names=read, histograms=True, progress=progress, step="calibration")
    for name, seen in ranges.items():
        if seen.not_finite:
            raise ModelError(f"{source}: {name!r} is NaN or infinite in float32 already")
    audit = HalfAudit(model, real, ranges, progress) if flavour == "tensorrt" else None
    free = [name for name in layers if name not in fixed]
    search = _Search(model, ranges, free, flavour, judge, real, audit, progress)
    candidate, kept, problems = search.run(limit)
    if problems and not force:
        raise GateMissed(
            f"{source.name}: INT8 for {flavour} refused: {'; '.join(problems)}, with {len(kept)} of "
            f"{len(layers)} layers in float; calibrate on more pictures like those that will be seen, name "
            "layers to keep, or force it"
        )
    if audit is not None:
        audit.check(candidate, progress)
    edits.save(candidate, out)
    kept_higher = [name for name in layers if name in {*kept, *fixed}]
    counts = {"int8": len(layers) - len(kept_higher), "fp32": len(kept_higher)}
    return Int8Report(
        out=Path(out),
        flavour=flavour,
        layers=counts if audit is None else dict(count_layers(candidate)),
        kept_higher=kept_higher,
        asked_to_keep=sorted(fixed),
        sensitivity=search.errors,
        growth=search.growth,
        parity=search.parity,
        calibrated_on=len(real),
        seconds=time.perf_counter() - start,
        forced=bool(problems),
        problems=problems,
        why_single=search.why_single,
        products=len(layers),
    )


def quantise_folders(
    source: Path,
    out: Path,
    folders: Sequence[Path],
    manifest: Manifest,
    *,
    flavour: Flavour = "openvino",
    keep: Sequence[str] = (),
    limit: float = LIMIT,
    force: bool = False,
    progress: Progress | None = None,
) -> Int8Report:
    """``quantise`` with pictures of ``folders``: nine in ten calibrate, the tenth judges.

    Parameters are those of ``quantise`` and of ``calibration.read_frames``; so is what is raised.
    """
    model = load_onnx(source)
    frames = read_frames(folders, manifest, labeller(model, manifest))
    # Where the chip adds products of bytes up in 16 bits, OpenVINO saturates as no chip does that will run
    # the variant: there the graph is judged as it is written.
    as_run = flavour == "openvino" and int8_instructions()
    judge = Judge(model, frames, manifest, "openvino" if as_run else "onnxruntime")
    run = None
    if manifest.state:
        session = open_ort(str(source))
        names = [output.name for output in session.get_outputs()]

        def run(feed):  # type: ignore[no-untyped-def]
            return dict(zip(names, session.run(names, dict(feed)), strict=True))

    samples = list(feeds(frames.calibrating, manifest, run))
    return quantise(
        source, out, samples=samples, flavour=flavour, keep=keep, judge=judge, limit=limit, force=force,
        progress=progress,
    )  # fmt: skip


def prepared(source: Path, flavour: Flavour) -> onnx.ModelProto:
    """The float graph as the writer wants it: constants as weights, nodes named, of an opset that fits."""
    import onnx

    model = load_onnx(source)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if flavour == "tensorrt" and opset < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
        model.ir_version = max(model.ir_version, IR_VERSION)
    edits.constants_to_weights(model)
    edits.named(model)
    return model


class _Search:
    """Tries with more and more layers in float until the judge is content."""

    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: dict[str, TensorRange],
        layers: list[str],
        flavour: Flavour,
        judge: Judge | None,
        samples: list[Sample],
        audit: HalfAudit | None,
        progress: Progress | None,
    ) -> None:
        self.model, self.ranges, self.layers, self.flavour = model, ranges, layers, flavour
        self.judge, self.samples, self.audit, self.progress = judge, samples, audit, progress
        self.why_single: dict[str, str] = {}
        self.errors: dict[str, float] = {}
        self.growth: Growth | None = None
        self.parity: dict[str, float] = {}

    def run(self, limit: float) -> tuple[onnx.ModelProto, list[str], list[str]]:
        """The graph, the layers kept in float, and what is still wrong with it."""
        candidate = self._finished(self.layers)
        problems = self._problems(candidate, limit)
        if not problems:
            return candidate, [], []
        self.errors = sensitivity.measure(self.layers, self._distance, self.progress)
        kept: list[str] = []
        for count in sensitivity.keep_counts(len(self.layers), MOST_KEPT):
            kept = list(self.errors)[:count]
            candidate = self._finished([name for name in self.layers if name not in kept])
            problems = self._problems(candidate, limit)
            if not problems:
                break
        return candidate, kept, problems

    def _finished(self, layers: Sequence[str]) -> onnx.ModelProto:
        """As it is judged and written: for TensorRT, with FP16 around the INT8."""
        candidate = self._write(layers)
        if self.audit is not None:
            candidate, self.why_single = self.audit.half(candidate)
        return candidate

    def _write(self, layers: Sequence[str]) -> onnx.ModelProto:
        return write_int8(self.model, self.ranges, layers, self.flavour)

    def _distance(self, layers: Sequence[str]) -> float:
        candidate = self._write(layers)
        if self.judge is not None:
            return self.judge.distance(candidate, PROBES)
        return self._difference(candidate, np.square, PROBES)

    def _problems(self, candidate: onnx.ModelProto, limit: float) -> list[str]:
        if self.progress:
            self.progress("judgement", 0.0)
        if self.judge is not None:
            self.growth = self.judge.growth(candidate)
            self.parity = self.growth.to_json()
            return self.growth.problems(limit)
        difference = self._difference(candidate, np.abs, len(self.samples))
        self.parity = {"mean_abs": difference}
        if difference <= MOST_DIFFERENCE:
            return []
        return [
            f"its output differs from the float one by {difference:.4f} on average, limit {MOST_DIFFERENCE}"
        ]

    def _difference(
        self, candidate: onnx.ModelProto, measure: Callable[[np.ndarray], np.ndarray], most: int
    ) -> float:
        before, after = open_ort(self.model.SerializeToString()), open_ort(candidate.SerializeToString())
        values = [
            float(measure(got - expected).mean())
            for sample in self.samples[:most]
            for expected, got in zip(
                before.run(None, dict(sample)), after.run(None, dict(sample)), strict=True
            )
        ]
        return float(np.mean(values))
