"""``livecut export MODEL --to fp16|int8 --into-bundle``: another precision of a model, in its own bundle."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import UsageError
from .export_progress import StepLines

if TYPE_CHECKING:
    from ..engine.passport import Passport
    from ..export.options import Options


def put_into_bundle(
    model: str, out: Path | None, options: Options, calibrate: Sequence[Path], command: str, *, quiet: bool
) -> Passport:
    """Make the variant, and print what it costs on standard error.

    Raises
    ------
    UsageError
        If the other options do not go with it.
    """
    from ..engine.registry import find_bundle
    from ..export.variants import INT8_FILE, add_int8

    if options.target not in ("fp16", "int8") or options.devices:
        raise UsageError(
            "--into-bundle: is for --to int8 (what runs on a CPU) and --to fp16 (what TensorRT engines are "
            "built from), without --device"
        )
    if out is not None:
        raise UsageError(
            f"-o {out}: does not go with --into-bundle, which writes into the model's own folder"
        )
    if options.target == "fp16":
        return _put_fp16(find_bundle(model), options, calibrate, command, quiet=quiet)
    if not calibrate:
        raise UsageError(
            "INT8 is calibrated on pictures of what will be cut out: give a folder, --calibrate FOLDER"
        )
    folder = find_bundle(model)
    with StepLines(quiet=quiet) as lines:
        passport, report = add_int8(
            folder,
            calibrate,
            keep=options.keep,
            force=folder.name in options.force,
            command=command,
            progress=lambda part, share: lines.progress("int8", part, share),
        )
    if not quiet:
        print(_line(folder / INT8_FILE, passport, len(report.kept_higher)), file=sys.stderr)
        for problem in report.problems:
            print(f"forced: {problem}", file=sys.stderr)
    return passport


def _put_fp16(
    folder: Path, options: Options, pictures: Sequence[Path], command: str, *, quiet: bool
) -> Passport:
    from ..engine.samples import find_samples
    from ..export.variant_fp16 import FP16_FILE, add_fp16

    with StepLines(quiet=quiet) as lines:
        passport, report = add_fp16(
            folder,
            find_samples(pictures),
            keep=options.keep,
            command=command,
            progress=lambda part, share: lines.progress("fp16", part, share),
        )
    if not quiet:
        print(
            f"{folder / FP16_FILE}: {report.half} layers in fp16, {report.single} in fp32; alpha differs by "
            f"{passport.parity['max_abs']:.1e} at most, {passport.parity['mean_abs']:.1e} on average",
            file=sys.stderr,
        )
    return passport


def _line(path: Path, passport: Passport, kept: int) -> str:
    found = passport.parity
    judged = passport.extra["judged_on"]
    whose = "masks" if judged["labelled"] else "the float model's own alpha"
    beside = " beside their plates" if passport.extra["begins_with"] else ""
    return (
        f"{path}: {passport.layers.get('int8', 0)} of {sum(passport.layers.values())} multiplying layers in "
        f"int8, {kept} kept higher; MAE {found['mae_growth']:+.1%}, dtSSD {found['dtssd_growth']:+.1%} "
        f"against fp32 on {judged['stills']} held-out pictures and {judged['clips']} moving "
        f"clips{beside} (truth: {whose})"
    )
