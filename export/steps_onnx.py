"""The step that makes ``model.onnx`` and the bundle around it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.passport import Passport
from .bundle import MODEL_FILE, replace_model
from .foreign_bundle import precision_of
from .onnx_shapes import named_shapes
from .onnx_step import convert, write_onnx
from .steps import Progress, Step
from .steps_export import TAKEN, Export, installed


def onnx_step(export: Export) -> Step:
    """``model.onnx``, its manifest, card and ledger."""
    options, source = export.options, export.source
    asked = {
        "size_wh": options.size_wh,
        "batch": options.batch,
        "dynamic": options.dynamic,
        "frames": export.frames_key,
        "onnx": installed("onnx"),
        **source.key,
    }

    def make(progress: Progress) -> Passport:
        done = convert(source, options, export.frames, progress)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=".livecut-", dir=export.out) as work:
            fresh = Path(work) / MODEL_FILE
            write_onnx(done.model, fresh)
            replace_model(
                export.out,
                model=fresh,
                manifest=done.manifest,
                card=done.loaded.card or _card(export, done.manifest),
                ledger=done.loaded.ledger or _ledger(export),
            )
        precision, layers = precision_of(done.model)
        parity = done.parity.to_json()
        # Differences add up at most: the file is no further than this from what was given.
        for name in ("max_abs", "mean_abs", "alpha_mad"):
            of = "max_abs" if name == "max_abs" else "mean_abs"
            parity[name] += sum(getattr(apart, of) for apart in done.loaded.before.values())
        passport = Passport.issue(
            export.model,
            export.model,
            target="onnx",
            library=done.loaded.library,
            library_version=done.loaded.library_version,
            precision_asked=precision,  # the step keeps what the source has
            precision_found=precision,
            precision_evidence="graph",
            shapes={name: list(shape) for name, shape in named_shapes(done.manifest, done.shapes).items()},
            parity=parity,
            layers=layers,
            build_seconds=done.seconds + time.perf_counter() - began,
            command=export.command,
            extra={
                TAKEN: done.shapes.to_json(),
                "opset": done.manifest["opset"],
                "notes": list(done.loaded.notes),
                "parity_before": {name: apart._asdict() for name, apart in done.loaded.before.items()},
            },
        )
        # What it was made of may be a module in memory: the source's own hash stands, not a file's.
        return replace(passport, source=source.file, source_sha256=source.sha256)

    return Step("onnx", export.model, lambda: source.sha256, asked, make)


def _card(export: Export, manifest: Mapping[str, Any]) -> str:
    source = export.source
    return (
        f"# {manifest['name']}\n\nExported by livecut from `{source.file}` (sha256 {source.sha256}).\n\n"
        f"Licence: {manifest['licence']}. What it was trained on, and how well it cuts out, is not known.\n"
    )


def _ledger(export: Export) -> dict[str, Any]:
    source = export.source
    return {"source": source.file, "sha256": source.sha256, "data": [], "note": "not known to livecut"}
