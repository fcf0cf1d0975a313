"""The steps that make other precisions of the ONNX graph: FP16 and INT8."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.atomic import replacing
from ..engine.manifest import Manifest
from ..engine.passport import Passport
from .bundle import add_variant
from .runners import onnx_runner
from .steps import Progress, Step, hash_later
from .steps_export import HALF, TAKEN, Export, installed
from .variants import strike

if TYPE_CHECKING:
    from .fp16 import Fp16Report
    from .int8 import Int8Report


def fp16_step(export: Export) -> Step:
    """``model-fp16.onnx``: every weight and intermediate half, but what would overflow."""
    out = export.out / "model-fp16.onnx"
    asked = {"keep": list(export.options.keep), "frames": export.frames_key}

    def make(progress: Progress) -> Passport:
        from .fp16 import convert_fp16

        began = time.perf_counter()
        with replacing(out) as fresh:
            report: Fp16Report = convert_fp16(
                export.model, fresh, samples=export.samples(), keep=export.options.keep, progress=progress
            )
            parity = export.difference(onnx_runner(fresh, out.name), out.name, HALF)
            strike(export.out, "fp16")
        return _issue(
            export,
            out,
            "fp16",
            parity.to_json(),
            found="fp16" if report.half > report.single else "fp32",
            layers=report.layers,
            kept=sorted(report.kept),
            seconds=time.perf_counter() - began,
            extra={
                "why_kept": report.kept,
                "largest": report.largest,
                "casts": report.casts,
                "samples": report.samples,
                "edge_cases": report.edge_cases,
                "zeroed_weights": report.zeroed,
            },
        )

    return Step("fp16", out, hash_later(export.model), asked, make, _onnx(), enter(export, "fp16", out))


def int8_step(export: Export) -> Step:
    """``model-int8-openvino.onnx`` (or ``-tensorrt``): calibrated, judged, sensitive layers kept higher.

    For TensorRT, what is not INT8 is FP16, but what would overflow.
    """
    options = export.options
    out = export.out / f"model-int8-{options.flavour}.onnx"
    forced = export.source.name in options.force
    # The engine runs the variant "int8" on a CPU; TensorRT's is another graph.
    variant = "int8" if options.flavour == "openvino" else "int8-tensorrt"
    asked = {
        "keep": list(options.keep),
        "frames": export.frames_key,
        "flavour": options.flavour,
        "forced": forced,
    }

    def make(progress: Progress) -> Passport:
        from .int8 import quantise_folders

        with replacing(out) as fresh:
            report: Int8Report = quantise_folders(
                export.model,
                fresh,
                export.calibrate,
                Manifest.load(export.out),
                flavour=options.flavour,  # type: ignore[arg-type]
                keep=options.keep,
                force=forced,
                progress=progress,
            )
            parity = export.difference(onnx_runner(fresh, out.name), out.name)
            strike(export.out, variant)
        return _issue(
            export,
            out,
            "int8",
            {**(report.growth.to_json() if report.growth else {}), **parity.to_json()},
            found=report.found,
            layers=report.layers,
            kept=report.kept_higher,
            seconds=report.seconds,
            extra={
                "flavour": report.flavour,
                "why_fp32": report.why_single,
                "calibrated_on": report.calibrated_on,
                "growth": asdict(report.growth) if report.growth is not None else None,
                "sensitivity": report.sensitivity,
                "forced": report.forced,
                "problems": report.problems,
            },
        )

    return Step("int8", out, hash_later(export.model), asked, make, _onnx(), enter(export, variant, out))


def enter(export: Export, variant: str, out: Path) -> Callable[[], None]:
    """Puts ``out`` into the bundle's manifest as ``variant``."""
    return lambda: add_variant(export.out, variant, out.name)


def _onnx() -> tuple[str, str]:
    return "onnx", installed("onnx")


def _issue(
    export: Export,
    out: Path,
    target: str,
    parity: dict[str, float],
    *,
    found: str,
    layers: dict[str, int],
    kept: list[str],
    seconds: float,
    extra: dict[str, Any],
) -> Passport:
    """The passport of a graph that has been held against ``model.onnx``."""
    base = Passport.read(export.model)
    return Passport.issue(
        out,
        export.model,
        target=target,
        library="onnx",
        library_version=installed("onnx"),
        precision_asked=target,
        precision_found=found,
        precision_evidence="graph",
        shapes=base.shapes,
        parity=parity,
        layers=layers,
        kept_higher=kept,
        build_seconds=seconds,
        command=export.command,
        extra={TAKEN: base.extra[TAKEN], **extra},
    )
