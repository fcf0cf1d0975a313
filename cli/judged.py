"""What ``livecut eval`` measures: a model through the engine, or its network alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from ..engine.pictures import Picture
    from ..engine.session import Session
    from ..training.predictors import Predictor


@dataclass
class Judged:
    """A model to measure, and what to say of it: ``name``, ``through``, ``runs_on``, what else is known."""

    predict: Predictor
    facts: dict[str, Any]
    cut: Callable[[Picture], np.ndarray]
    """The cut-out of an unrelated picture, uint8 ``(H, W, 4)`` straight RGBA."""


class ThroughEngine:
    """A predictor that gives pictures to a session, as ``livecut`` does: refined, and smoothed in clips."""

    begins_with_plate = False

    def __init__(self, session: Session) -> None:
        self.session = session

    def __call__(self, image: np.ndarray) -> np.ndarray:
        import numpy as np

        alpha = self.session.matte(np.ascontiguousarray(image), foreground=False).alpha
        return alpha.astype(np.float32) / 255

    def reset(self) -> None:
        self.session.reset()


def bare_cut(predict: Predictor) -> Callable[[Picture], np.ndarray]:
    """Cut pictures by a predictor's alpha alone, their colours as they are."""

    def cut(picture: Picture) -> np.ndarray:
        import numpy as np

        predict.reset()
        alpha = predict(picture.image)
        if picture.alpha is not None:
            alpha = alpha * (picture.alpha.astype(np.float32) / 255)
        return np.dstack([picture.image, np.rint(alpha * 255).astype(np.uint8)])

    return cut


def is_loose(model: str) -> bool:
    """Whether ``model`` is a network without a bundle: a file, or the folder of a run."""
    from ..training.config import CHECKPOINT

    path = Path(model).expanduser()
    return path.is_file() or ((path / CHECKPOINT).is_file() and not (path / "manifest.json").is_file())


@contextmanager
def open_judged(model: str, through: str, device: str, options: Mapping[str, Any]) -> Iterator[Judged]:
    """Open ``model``: a name, a bundle's or a run's folder, an ONNX file or a checkpoint.

    Parameters
    ----------
    model : str
    through : str
        ``engine``, ``network``, or ``auto``: the engine where there is a bundle for it.
    device : str
        For networks in PyTorch.
    options : mapping
        ``backend``, ``precision`` and ``threads`` of the session.

    Raises
    ------
    UsageError
        If the engine was asked for and ``model`` is no bundle.
    ModelError
        If there is no such model, or it is damaged.
    """
    path, loose = Path(model).expanduser(), is_loose(model)
    if loose and through == "engine":
        raise UsageError(
            f"--through engine: {model} is no bundle, which says how to feed it; export it first"
        )
    if loose:
        yield _network(path, device)
        return
    from ..engine.manifest import Manifest
    from ..engine.registry import find_bundle

    bundle = find_bundle(model)
    manifest = Manifest.load(bundle)
    extra = manifest.extra
    facts = {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "mparams": extra["params"] / 1e6 if "params" in extra else None,
        "gmac": extra.get("gmacs"),
    }
    if manifest.begins_with == "plate" and through == "engine":
        raise UsageError(
            f"--through engine: {manifest.name} begins with a clean plate: a session takes one, and each "
            "picture here has its own; use --through network"
        )
    if through == "network" or manifest.begins_with == "plate":
        from ..training.predictors import open_predictor

        predict = open_predictor(bundle)
        facts |= {"through": "network alone", "runs_on": "onnxruntime CPU fp32"}
        yield Judged(predict, facts, bare_cut(predict))
        return
    from ..engine.cutout import Cutter
    from ..engine.session import Session

    with Session(bundle, temporal=True, **options) as session:
        facts |= {"through": "engine, refined", "runs_on": str(session.info)}
        cutter = Cutter(session)
        yield Judged(ThroughEngine(session), facts, lambda picture: cutter(picture)[0])


def _network(path: Path, device: str) -> Judged:
    from ..training.device import choose_device
    from ..training.predictors import open_predictor

    if path.suffix.lower() == ".onnx":
        predict = open_predictor(path)
        facts = {"name": path.stem, "through": "network alone", "runs_on": "onnxruntime CPU fp32"}
    else:
        where = choose_device(device)
        predict = open_predictor(path, where)
        facts = {**predict.facts, "through": "network alone", "runs_on": f"torch {where} fp32"}
    return Judged(predict, facts, bare_cut(predict))
