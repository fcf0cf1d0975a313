"""What a network's memory costs: an inference with it, beside one of the same network without."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from livecut.engine.errors import DeviceUnavailable
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session

from . import scene
from .bench_precision import asked_for, primed
from .measure import interleave
from .options import Options
from .results import Goal, Row, checked

TITLE = "the network with its memory, beside the same network without"
REMEMBERS = ["previous", "seen"]
PRECISIONS = ("fp32", "bf16")
MOST_MORE = 1.05
"""Times as long, at most, as without a memory."""
ALIKE = 1e-3
"""Mean difference of alpha between the two on the first frame, when there is nothing to remember."""


def run(options: Options) -> list[Row]:
    """A row for each precision of each model with a memory that ships, or of the one asked for."""
    if importlib.util.find_spec("torch") is None:
        print("  left out: PyTorch, to take the memory out, is not installed (pip install livecut[train])")
        return []
    rows = []
    for folder in asked_for(options):
        if [state.input for state in Manifest.load(folder).state] != REMEMBERS:
            continue
        with tempfile.TemporaryDirectory() as without:
            forgetful(folder, Path(without))
            rows += [row(folder, Path(without), precision, options) for precision in PRECISIONS]
    return [found for found in rows if found is not None]


def forgetful(folder: Path, out: Path) -> None:
    """Write the model of ``folder`` without its memory as a bundle, ``out``."""
    from livecut.export import export_model, module_source
    from livecut.training.config import load_config
    from livecut.training.export_checkpoint import build_manifest
    from livecut.training.model.build import build_network
    from livecut.training.shipped import bundle_weights

    weights, manifest = bundle_weights(folder)
    settings = {**load_config(f"{manifest.name}-memory").network, "memory": False}
    network = build_network("matting", settings).eval().folded()
    left = network.load_state_dict(weights, strict=False).missing_keys
    assert all(".side" in name for name in left), left  # which serve training alone
    module, described = build_manifest(network, manifest.name, manifest.version, {}, manifest.sizes_wh)
    export_model(module_source(module, described, path=manifest.model_path), out)


def row(folder: Path, without: Path, precision: str, options: Options) -> Row | None:
    """Time both in turn; None where the precision is not to be had here."""
    manifest = Manifest.load(folder)
    sessions: dict[str, Session] = {}
    contenders, alphas = {}, []
    try:
        for name, bundle in (("with its memory", folder), ("without", without)):
            session = Session(bundle, backend="openvino", precision=precision, threads=1)
            sessions[name] = session
            slot = primed(session)
            alphas.append(slot.buffer.alpha.copy())
            contenders[name] = lambda session=session, slot=slot: session.infer(slot)
        measurement = interleave(contenders, rounds=options.rounds)
    except DeviceUnavailable as error:
        print(f"  left out: {manifest.name} in {precision}: {error}")
        return None
    finally:
        for session in sessions.values():
            session.close()
    apart = float(np.abs(alphas[0] - alphas[1]).mean())
    width, height = manifest.size_for(scene.FRAME_WH)
    return Row.of(
        f"memory-{manifest.name}-{precision}",
        f"{TITLE}: {manifest.name} {manifest.version} at {width}x{height}, {precision}, 1 thread",
        measurement,
        conditions={"size": f"{width}x{height}", "precision": precision, "threads": 1},
        goals=[
            Goal(
                f"{manifest.name}: times as long with its memory, {precision}",
                measurement.ratio("with its memory", "without"),
                MOST_MORE,
                False,
            )
        ],
        checks=[checked("first frame: mean difference of alpha", apart, ALIKE)],
    )
