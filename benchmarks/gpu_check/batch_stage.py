"""Frames of several streams in one inference, beside the same frames one after the other."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from livecut.engine.backends.base import Backend

from .engine_stages import LIMITS, inputs
from .engines import Engine, model_folder, open_engine
from .gpu import many
from .results import Check, NotRun, Report, figure, ratio

MOST = 4
"""Streams, and frames of one inference at most."""


def batches(report: Report, settings: dict[str, Any]) -> None:
    """Time a frame with 1 and with 4 streams in one inference; each stream's alphas as if it were alone.

    The model's file takes one picture at a time: a copy of it whose first axis is free is made for this.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = with_free_batch(model_folder(settings), Path(folder), MOST)
        engine = open_engine(report, {**settings, "model": str(model), "batch": MOST})
        try:
            if engine.backend.at_once < MOST:
                raise NotRun(f"{engine.backend.info.name}: {engine.backend.why_single}")
            with engine.backend.thread_context():
                _same_as_alone(report, engine)
                _timed(report, settings, engine)
        finally:
            engine.close()


def with_free_batch(source: Path, folder: Path, most: int) -> Path:
    """A copy of the bundle in ``source`` that takes 1 to ``most`` pictures; its state follows.

    Raises
    ------
    NotRun
        If onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise NotRun("onnx is needed to free the first axis of the model's file") from None
    from livecut.export.onnx_shapes import Shapes, apply_shapes

    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    kept = {name: each for name, each in manifest.get("variants", {}).items() if name == "fp16"}
    for entry in (manifest, *kept.values()):
        model, changed = apply_shapes(
            onnx.load(str(source / entry["file"])), manifest, Shapes(None, most, free_batch=True)
        )
        content = model.SerializeToString(deterministic=True)
        (folder / entry["file"]).write_bytes(content)
        entry["sha256"] = hashlib.sha256(content).hexdigest()
    result = {**changed, "sha256": manifest["sha256"], "variants": kept}
    (folder / "manifest.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


def _rounds(backend: Backend, pictures: list[np.ndarray], together: bool) -> np.ndarray:
    """Two frames of each stream; the alphas of the second."""
    buffers = [backend.new_buffer() for _ in pictures]
    states = [backend.new_state() for _ in pictures]
    for _ in range(2):
        for buffer, picture in zip(buffers, pictures, strict=True):
            buffer.input[...] = picture
        if together:
            states = backend.submit_together(buffers, states)
            for buffer in buffers:
                backend.collect(buffer)
        else:
            states = [backend.infer(*each) for each in zip(buffers, states, strict=True)]
    return np.stack([buffer.alpha.copy() for buffer in buffers])


def _same_as_alone(report: Report, engine: Engine) -> None:
    backend = engine.backend
    pictures = inputs(engine.manifest, engine.size_wh, MOST)
    apart = np.abs(_rounds(backend, pictures, True) - _rounds(backend, pictures, False)).mean((1, 2))
    limit = LIMITS.get(backend.info.precision, LIMITS["bf16"])
    what = f"mean difference of alpha, {MOST} streams together and alone, worst stream"
    report.checks.append(Check(what, bool(apart.max() <= limit), float(apart.max()), limit))


def _timed(report: Report, settings: dict[str, Any], engine: Engine) -> None:
    backend, count = engine.backend, many(settings, 200)
    buffers = [backend.new_buffer() for _ in range(MOST)]
    states = [backend.new_state() for _ in range(MOST)]
    samples: dict[int, list[float]] = {1: [], MOST: []}
    for _ in range(count + 5):
        for at_once, found in samples.items():
            started = time.perf_counter()
            for first in range(0, MOST, at_once):
                chosen = slice(first, first + at_once)
                states[chosen] = backend.submit_together(buffers[chosen], states[chosen])
            for buffer in buffers:
                backend.collect(buffer)
            found.append(1e3 * (time.perf_counter() - started) / MOST)
    alone, together = (each[5:] for each in samples.values())
    report.figures.append(figure(f"time a frame, {MOST} streams one after the other", "ms", alone))
    report.figures.append(figure(f"time a frame, {MOST} streams in one inference", "ms", together))
    report.figures.append(ratio("one after the other over one inference", alone, together))
