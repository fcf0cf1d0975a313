"""Puts the FP16 graph of a model into its bundle: what TensorRT engines are built from where they run.

TensorRT takes the precision from the graph, and the machine that runs a model builds its engines itself. So
the FP16 graph is made once, its ranges audited, and shipped beside the fp32 one.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..engine.manifest import Manifest
from ..engine.passport import Passport
from .bundle import MANIFEST_FILE, add_variant
from .fp16 import Fp16Report, convert_fp16
from .onnx_step import Frames, real_cases
from .parity import Limits, compare, feeds
from .ranges import Progress
from .runners import onnx_runner
from .variants import LIBRARY, strike

FP16, FP16_FILE = "fp16", "model.fp16.onnx"


def add_fp16(
    bundle: Path,
    frames: Frames,
    *,
    keep: Sequence[str] = (),
    command: str = "",
    progress: Progress | None = None,
) -> tuple[Passport, Fp16Report]:
    """Make the FP16 variant of a bundle, with its passport; one that is there is replaced.

    Parameters
    ----------
    bundle : Path
        The model's folder.
    frames : Frames
        Real frames; their ranges are audited, and parity is looked at on them.
    keep, progress :
        As for ``fp16.convert_fp16``.
    command : str
        For the passport.

    Raises
    ------
    ModelError, UsageError
        As ``convert_fp16``. The bundle is then as it was.
    """
    import onnx

    bundle, began = Path(bundle), time.perf_counter()
    manifest = Manifest.load(bundle)
    manifest.check_file()
    spec = json.loads((bundle / MANIFEST_FILE).read_text(encoding="utf-8"))
    model = manifest.model_path
    cases = real_cases(spec, manifest.sizes_wh[0], frames)
    with tempfile.TemporaryDirectory(prefix=".livecut-", dir=bundle) as scratch:
        made = Path(scratch) / FP16_FILE
        samples = list(feeds(onnx_runner(model, model.name), cases, spec))
        report = convert_fp16(model, made, samples=samples, keep=keep, progress=progress)
        runners = onnx_runner(model, model.name), onnx_runner(made, made.name)
        parity = compare(*runners, cases, spec, name=made.name, limits=Limits(1.0, 1.0))
        passport = Passport.issue(
            made,
            model,
            target=FP16,
            library=LIBRARY,
            library_version=onnx.__version__,
            precision_asked=FP16,
            precision_found=FP16 if report.half > report.single else "fp32",
            precision_evidence="graph",
            shapes={manifest.input_name: [1, 3, "height", "width"]},
            parity=parity.to_json(),
            layers=report.layers,
            kept_higher=sorted(report.kept),
            build_seconds=time.perf_counter() - began,
            command=command,
            extra={"why_kept": report.kept, "largest": report.largest, "casts": report.casts},
        )
        strike(bundle, FP16)
        made.replace(bundle / FP16_FILE)
    passport.write(bundle / FP16_FILE)
    add_variant(bundle, FP16, FP16_FILE)
    return passport, report
