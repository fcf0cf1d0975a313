"""fp32, bf16 and INT8 of every model that ships: milliseconds of the network, and its error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from livecut.engine import registry
from livecut.engine.backends.base import BackendInfo
from livecut.engine.buffers import Slot
from livecut.engine.errors import DeviceUnavailable
from livecut.engine.frame import Frame
from livecut.engine.manifest import Manifest
from livecut.engine.processor import int8_instructions
from livecut.engine.session import Session
from livecut.engine.threads import available_cpus

from . import scene
from .measure import interleave
from .options import Options
from .results import Goal, Row, checked, exact

TITLE = "precisions of the network alone"
PRECISIONS = ("fp32", "bf16", "int8")
FASTER, MOST_GROWTH = 1.3, 5.0
"""INT8 against fp32: how many times as fast at least, how many per cent more MAE at most."""
NEAR = 0.05
"""Mean difference of alpha from fp32's on the first frame past which a precision computes something else."""
QUICK_PICTURES = 12


def precisions() -> tuple[str, ...]:
    """Those worth timing: not INT8 where the chip would saturate, and ``auto`` does not take it."""
    return tuple(name for name in PRECISIONS if name != "int8" or int8_instructions())


def run(options: Options) -> list[Row]:
    """A row for each model that ships (or the one asked for) and number of threads; errors in its first."""
    rows = []
    for folder in asked_for(options):
        errors = measured_errors(folder, options)
        for threads in sorted({1, available_cpus()}):
            rows.append(row(folder, threads, errors, options))
            errors = {}
    return rows


def asked_for(options: Options) -> list[Path]:
    """The folders of the models that ship, or of the one asked for."""
    if options.model != registry.DEFAULT_MODEL:
        return [registry.find_bundle(options.model)]
    return sorted(path.parent for path in registry.SHIPPED.glob("*/manifest.json"))


def primed(session: Session) -> Slot:
    """A slot with the first frame, and with the alpha of one inference."""
    slot = Slot()
    session.preprocess(Frame((scene.camera_frames()[0],), "BGR", 0, 0.0, 0.0), slot)
    session.infer(slot)
    return slot


def sessions(folder: Path, threads: int) -> dict[str, Session]:
    """A session of each precision that is to be had here."""
    found = {}
    # For a plate, the same scene at another time: one that shows another place, no network is sure of.
    another = np.ascontiguousarray(scene.camera_frames()[1][..., ::-1])
    plate = another if Manifest.load(folder).begins_with == "plate" else None
    for precision in precisions():
        session = Session(folder, backend="openvino", precision=precision, threads=threads, plate=plate)
        try:
            assert session.info.precision == precision
        except DeviceUnavailable:
            session.close()
            continue
        found[precision] = session
    return found


def row(folder: Path, threads: int, errors: dict[str, dict[str, float]], options: Options) -> Row:
    """Time every precision of one model in turn."""
    manifest = Manifest.load(folder)
    size_wh = manifest.size_for(scene.FRAME_WH)
    opened = sessions(folder, threads)
    try:
        contenders = {}
        alphas, infos = {}, {}
        for precision, session in opened.items():
            slot = primed(session)
            alphas[precision], infos[precision] = slot.buffer.alpha.copy(), session.info
            contenders[precision] = lambda session=session, slot=slot: session.infer(slot)
        checks = [
            checked(f"{name}: alpha against fp32, mean", float(np.abs(alpha - alphas["fp32"]).mean()), NEAR)
            for name, alpha in alphas.items()
            if name != "fp32"
        ]
        measurement = interleave(contenders, rounds=options.rounds)
    finally:
        for session in opened.values():
            session.close()
    goals = []
    for precision in list(opened)[1:]:
        target = FASTER if precision == "int8" and manifest.name == registry.DEFAULT_MODEL else None
        what = f"{manifest.name}: {precision} faster than fp32, {threads} thread{'s' * (threads > 1)}"
        goals.append(Goal(what, measurement.ratio("fp32", precision), target))
    goals += error_goals(manifest.name, errors)
    name = f"precision-{manifest.name}-{threads}t"
    return Row.of(
        name,
        f"{TITLE}: {manifest.name} {manifest.version} at {size_wh[0]}x{size_wh[1]}, {threads} threads",
        measurement,
        conditions=conditions(manifest, size_wh, infos),
        goals=goals,
        checks=checks,
        details={"errors": errors, "table": table(measurement.contenders, errors)},
    )


def error_goals(name: str, errors: dict[str, dict[str, float]]) -> list[Goal]:
    """MAE of each precision, and how much it grew."""
    goals = []
    for precision, values in errors.items():
        goals.append(Goal(f"{name}: {precision}: MAE on held-out pictures", exact(values["mae"]), unit=""))
        if precision != "fp32":
            growth = 100 * (values["mae"] / errors["fp32"]["mae"] - 1)
            target = MOST_GROWTH if precision == "int8" else None
            goals.append(
                Goal(f"{name}: {precision}: MAE more than fp32's", exact(growth), target, False, "%")
            )
    return goals


def measured_errors(folder: Path, options: Options) -> dict[str, dict[str, float]]:
    """Precision -> metrics on the held-out pairs; empty where there is no data, or no training package.

    Also for a model with a plate, which has an error for each change of the place: its card has them.
    """
    if options.data is None or not options.data.is_dir() or Manifest.load(folder).begins_with:
        return {}
    try:
        from livecut.training.evaluate import evaluate
        from livecut.training.pairs import open_samples
    except ImportError as error:
        print(f"   no errors measured: {error}")
        return {}
    samples = open_samples(options.data, options.cache)
    found = {}
    for precision, session in sessions(folder, available_cpus()).items():
        with session:
            chosen = First(samples, QUICK_PICTURES) if options.quick else samples
            result = evaluate(Predictor(session), chosen, ("mae", "mse", "iou", "boundary_f"), worst=0)
            found[precision] = {name: float(value) for name, value in result.summary["all"].items()}
    return found


class First:
    """The first few of a set of samples."""

    def __init__(self, samples: Any, count: int) -> None:
        self.samples, self.count, self.skipped = samples, count, samples.skipped

    def __len__(self) -> int:
        return min(self.count, len(self.samples))

    def __iter__(self) -> Iterator[Any]:
        for _, sample in zip(range(self.count), self.samples, strict=False):
            yield sample


class Predictor:
    """The network of a session as evaluation wants it: alpha enlarged to the picture's size, not refined."""

    begins_with_plate = False

    def __init__(self, session: Session) -> None:
        self.session, self.slot = session, Slot()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Alpha float32 (H, W), 0..1, of ``image``, uint8 (H, W, 3) RGB."""
        slot = self.slot
        self.session.preprocess(Frame((np.ascontiguousarray(image),), "RGB", 0, 0.0, 0.0), slot)
        self.session.infer(slot)
        left, top, width, height = slot.geometry.roi
        alpha = np.ascontiguousarray(slot.buffer.alpha[top : top + height, left : left + width])
        return np.clip(cv2.resize(alpha, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)

    def reset(self) -> None:
        """Another picture begins."""
        self.session.reset()


def conditions(manifest: Manifest, size_wh: tuple[int, int], infos: dict[str, BackendInfo]) -> dict[str, Any]:
    """What was run."""
    return {
        "timed": "the network alone, input and output in place; state where the model has any",
        "frame": "the synthetic camera's first",
        "input": f"{size_wh[0]}x{size_wh[1]}",
        "model_sha256": manifest.sha256,
        "int8_sha256": manifest.variants["int8"].sha256 if "int8" in manifest.variants else None,
        "backends": {name: f"{info} ({info.details})" for name, info in infos.items()},
        "errors": "held-out pairs at their own size, alpha enlarged and not refined, as livecut eval does",
    }


def table(contenders: dict[str, Any], errors: dict[str, dict[str, float]]) -> list[str]:
    """Milliseconds and errors side by side, as Markdown."""
    lines = ["| precision | ms | MAE | IoU |", "|---|---|---|---|"]
    for name, summary in contenders.items():
        values = errors.get(name, {})
        mae, iou = (f"{values[key]:.4f}" if key in values else "" for key in ("mae", "iou"))
        lines.append(f"| {name} | {summary.median:.2f} | {mae} | {iou} |")
    return lines
