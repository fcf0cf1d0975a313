"""What the steps of one export share: the source, the options, the folder, and the frames to prove it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..engine.passport import Passport
from .bundle import MODEL_FILE
from .onnx_shapes import Shapes
from .onnx_step import MOST_FRAMES, Frames, proof_sizes, real_cases
from .options import Options
from .parity import Limits, Parity, compare, edge_streams, feeds
from .runners import Arrays, Runner, onnx_runner
from .steps import manifest_of
from .weights import Source

SINGLE = Limits(1e-2, 1e-4)
"""What another runtime's fp32 may differ by: it adds in another order."""
HALF = Limits(1.0, 1e-2)
"""What half precision may cost: single pixels at an edge may turn, on average alpha moves by 1 % at most."""
NONE = Limits(1.0, 1.0)
"""For INT8, whose own step has judged what it costs."""
TAKEN = "taken"
"""Key in a passport's ``extra``: the shapes of the ONNX file, as ``Shapes.to_json`` has them."""


@dataclass(frozen=True)
class Export:
    """One export."""

    source: Source
    options: Options
    out: Path
    frames: Frames | None = None
    frames_key: Mapping[str, Any] = field(default_factory=dict)
    """What identifies the frames: part of what a step depends on."""
    calibrate: tuple[Path, ...] = ()
    """The folders the frames are from; empty where they are what happens to be here."""
    command: str = ""

    @property
    def model(self) -> Path:
        """The ONNX file, from which everything else is made."""
        return self.out / MODEL_FILE

    def shapes(self) -> Shapes:
        """The shapes of the ONNX file, as its step found them."""
        found = Passport.read(self.model).extra[TAKEN]
        size = found["size_wh"]
        return Shapes((size[0], size[1]) if size else None, found["batch"], found["free_batch"])

    def samples(self, most: int = MOST_FRAMES) -> list[Arrays]:
        """Network inputs of real frames, state included; ``most`` of them at most."""
        manifest, shapes = manifest_of(self.out), self.shapes()
        cases = real_cases(manifest, proof_sizes(manifest, shapes)[0], self.frames, shapes.batch, most)
        return list(feeds(onnx_runner(self.model, self.source.name), cases, manifest))

    def difference(self, candidate: Runner, name: str, limits: Limits = NONE) -> Parity:
        """How far ``candidate`` is from the ONNX file on real frames (on edge cases where there are none).

        Raises ParityError past ``limits``, and where alpha leaves 0..1.
        """
        manifest, shapes = manifest_of(self.out), self.shapes()
        size = proof_sizes(manifest, shapes)[0]
        cases = real_cases(manifest, size, self.frames, shapes.batch)
        cases = cases or edge_streams(manifest, size, shapes.batch)
        reference = onnx_runner(self.model, self.model.name)
        return compare(reference, candidate, cases, manifest, name=name, limits=limits)


def installed(package: str) -> str:
    """Version of a package; ``none`` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
