"""The steps that make what a runtime loads: OpenVINO's IR and TensorRT's engines ("plans")."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.passport import Passport
from .onnx_shapes import profiles
from .options import short_name
from .steps import Progress, Step, hash_later, manifest_of
from .steps_export import HALF, NONE, SINGLE, TAKEN, Export

if TYPE_CHECKING:
    from ..engine.tensorrt import BuildReport


def tensorrt_step(export: Export, source: Step, device: str | None) -> Step:
    """``model-fp16-sm_86.plan``: an engine for one compute capability, by default that of the GPU here."""
    from ..engine.tensorrt import build_engine, load, present_gpu
    from ..engine.tensorrt.targets import choose_targets

    api, gpu = load(), present_gpu()
    choose_targets(api, device, gpu)  # an impossible one is said now, not when the graph is made
    options, precision = export.options, export.options.needs
    place = short_name(device) if device else short_name(gpu.compute_capability) if gpu else "here"
    out = export.out / f"model-{precision}-{place}.plan"
    asked = {
        "precision": precision,
        "device": device,
        "workspace_bytes": options.workspace_bytes,
        "driver": gpu.driver if gpu else None,
    }

    def make(progress: Progress) -> Passport:
        report: BuildReport = build_engine(
            source.artefact,
            out,
            precision=precision,
            profiles=profiles(manifest_of(export.out), export.shapes()),
            compute_capability=device,
            workspace_bytes=options.workspace_bytes,
            timing_cache=export.out / f".timing-{place}.cache",
            progress=progress,
        )
        # The graph it was made of has been held against the source; the engine itself only a GPU runs.
        return report.passport(command=export.command, parity=Passport.read(source.artefact).parity)

    name = f"tensorrt {precision} {place}"
    return Step(name, out, hash_later(source.artefact), asked, make, (api.library, api.version))


def openvino_step(export: Export, source: Step) -> Step:
    """``model-fp32.xml`` and its ``.bin``: OpenVINO's own format, read back and compared."""
    from .runners import openvino_runner
    from .steps_export import installed

    precision = export.options.needs
    out = export.out / f"model-{precision}.xml"
    weights = out.with_suffix(".bin")

    def make(progress: Progress) -> Passport:
        from .openvino import to_openvino

        began = time.perf_counter()
        limits = {"fp32": SINGLE, "fp16": HALF, "int8": NONE}[precision]
        with tempfile.TemporaryDirectory(prefix=".livecut-", dir=export.out) as work:
            fresh = Path(work) / out.name
            report = to_openvino(
                source.artefact,
                fresh,
                precision=precision,  # type: ignore[arg-type]
                progress=progress,
            )
            parity = export.difference(openvino_runner(fresh), out.name, limits)
            os.replace(report.weights, weights)
            os.replace(fresh, out)
        base = Passport.read(export.model)
        return Passport.issue(
            out,
            source.artefact,
            target="openvino",
            library="openvino",
            library_version=report.library_version,
            precision_asked=precision,
            precision_found=report.precision_found,
            precision_evidence="compiled model",
            shapes=base.shapes,
            parity=parity.to_json(),
            layers=report.layers,
            kept_higher=report.kept_higher,
            build_seconds=time.perf_counter() - began,
            command=export.command,
            extra={TAKEN: base.extra[TAKEN], "stored": report.stored, "device": report.device},
            parts=[weights],
        )

    library = ("openvino", installed("openvino"))
    return Step(
        f"openvino {precision}", out, hash_later(source.artefact), {"precision": precision}, make, library
    )
