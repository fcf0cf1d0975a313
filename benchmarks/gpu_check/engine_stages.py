"""Engines: built for GPUs that are not here, and compared with ONNX on the one that is."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from livecut.engine import registry
from livecut.engine.errors import LivecutError
from livecut.kernels import fit, preprocess

from .cases import planes_of
from .engines import open_engine
from .results import Check, NotRun, Report, figure

TARGETS = ("7.5", "8.6", "8.9", "12.0")
LIMITS = {"fp32": 1e-3, "tf32": 5e-3, "fp16": 2e-2, "bf16": 6e-2}
"""Of alpha, on average over a frame, by precision: rounding grows through some sixty layers."""
PICTURES = 8


def inputs(manifest: Any, size_wh: tuple[int, int], count: int) -> list[np.ndarray]:
    """Pictures as the network gets them, float32 ``(1, 3, h, w)``."""
    found = []
    for seed in range(count):
        frame = planes_of(np.random.default_rng(seed), "BGR", (640, 360))[0]
        frame[90:270, 200 + 10 * seed : 420 + 10 * seed] = (30 * seed % 255, 200, 90)
        out = np.empty((1, 3, size_wh[1], size_wh[0]), np.float32)
        preprocess(
            frame, format="BGR", geometry=fit((640, 360), size_wh, manifest.fit), mean=manifest.mean,
            std=manifest.std, order=manifest.color, pad_value=manifest.pad_value, out=out,
        )  # fmt: skip
        found.append(out)
    return found


def build_engines(report: Report, settings: dict[str, Any]) -> None:
    """The model in FP32 and FP16 for several GPUs, where TensorRT builds without one (TensorRT-RTX)."""
    from livecut.engine.tensorrt import load
    from livecut.engine.tensorrt.build import build_engine
    from livecut.export.fp16 import convert_fp16

    try:
        api = load()
    except LivecutError as error:
        raise NotRun(str(error)) from None
    if not api.builds_for_other_gpus:
        raise NotRun(f"{api} builds only for a GPU that is here")
    report.facts["library"] = str(api)
    manifest = registry.load_manifest(settings.get("model", registry.DEFAULT_MODEL))
    size_wh = manifest.sizes_wh[0]
    state = {each.input: np.zeros(each.shape_for(size_wh), np.float32) for each in manifest.state}
    samples = [{manifest.input_name: each, **state} for each in inputs(manifest, size_wh, 2)]
    profiles = {name: (value.shape,) * 3 for name, value in samples[0].items()}
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "fp16.onnx"
        convert_fp16(manifest.model_path, half, samples=samples)
        targets = ("8.6",) if settings.get("quick") else TARGETS
        for precision, source in (("fp32", manifest.model_path), ("fp16", half)):
            for target in targets:
                what = f"{precision} for SM {target}"
                try:
                    built = build_engine(
                        source, Path(folder) / "engine.plan", precision=precision, profiles=profiles,
                        compute_capability=target, api=api,
                    )  # fmt: skip
                except LivecutError as error:
                    report.checks.append(Check(what, False, said=str(error)))
                    continue
                found = built.precisions
                said = f"{found.found} by {found.evidence}, {built.bytes} bytes, {built.build_seconds:.1f} s"
                report.checks.append(Check(what, found.found == precision, said=said))


def opens(report: Report, settings: dict[str, Any]) -> None:
    """Which engine this GPU has. One that must be built first is built here, and kept for what follows."""
    started = time.perf_counter()
    engine = open_engine(report, settings)
    try:
        report.facts["seconds to open"] = round(time.perf_counter() - started, 2)
        report.checks.append(Check("an engine runs on this GPU", True, said=str(engine.backend.info)))
    finally:
        engine.close()


def parity(report: Report, settings: dict[str, Any]) -> None:
    """Alpha of the engine and of ONNX Runtime on the CPU, for the same inputs, frame after frame."""
    try:
        import onnxruntime
    except ImportError:
        raise NotRun("onnxruntime is not installed: there is nothing to compare with") from None
    engine = open_engine(report, settings)
    try:
        manifest, size_wh = engine.manifest, engine.size_wh
        session = onnxruntime.InferenceSession(str(manifest.model_path), providers=["CPUExecutionProvider"])
        names = [manifest.output_name, *(each.output for each in manifest.state)]
        wanted_state = {each.input: np.zeros(each.shape_for(size_wh), np.float32) for each in manifest.state}
        state, buffer = engine.backend.new_state(), engine.backend.new_buffer()
        means, worst = [], 0.0
        with engine.backend.thread_context():
            for picture in inputs(manifest, size_wh, PICTURES):
                buffer.input[...] = picture
                state = engine.backend.infer(buffer, state)
                found = session.run(names, {manifest.input_name: picture, **wanted_state})
                pairs = zip(manifest.state, found[1:], strict=True)
                wanted_state = {each.input: value for each, value in pairs}
                apart = np.abs(buffer.alpha - found[0].reshape(buffer.alpha.shape))
                means.append(float(apart.mean()))
                worst = max(worst, float(apart.max()))
        precision = engine.backend.info.precision
        limit = LIMITS.get(precision, LIMITS["bf16"])
        report.checks.append(
            Check(
                f"mean difference of alpha, {precision}, worst picture",
                max(means) <= limit,
                max(means),
                limit,
            )
        )
        report.facts["largest difference of alpha"] = f"{worst:.4g}"
        report.figures.append(figure("mean difference of alpha", "", means))
    finally:
        engine.close()
