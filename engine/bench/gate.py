"""The correctness gate of a timed run: what came out is compared with the same frames done offline.

While the run is timed, the sink reads the index that every output shows and keeps some rows of every so many
outputs, at moments nobody can foresee. Afterwards a session that never saw a clock does the same frames one
after the other, from the beginning or from far enough back that what it remembers has settled, and its rows
must be the same. So work that was skipped, reused or mixed up is caught, however fast it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..buffers import Slot
from ..compositor import Compositor
from ..frame import Frame
from ..session import Session
from ..sinks.base import Sink, StreamInfo
from .marking import IndexReader

if TYPE_CHECKING:
    from ..sources.scene import Scene

ROWS = 32
"""About so many rows of a checked output are kept, evenly spread: a quarter of a megabyte at 1080p."""
RUN_IN, RUN_IN_WITH_STATE = 24, 64
"""Frames done offline before a checked one, so that the smoother has forgotten where it began (its memory is
then a thousandth), and a network with state, whose memory is its own, too."""
MEAN_LIMIT = 0.5
"""Mean difference, of 255, over the kept rows of a checked output. CPU and GPU kernels may round apart by 1,
and bf16 networks differ in the last of their 8 bits from thread to thread."""
FAR = 24
FAR_LIMIT = 0.001
"""Share of the kept values that may be further apart than ``FAR`` of 255. Rounding moves none so far; the
alpha of the frame before, while the product moves, three in a thousand and more."""


@dataclass
class Check:
    """Rows of one output, kept while the run was timed."""

    position: int
    """Which of the run's outputs it was, from 0."""
    index: int
    """Of its frame."""
    offset: int
    """First row kept; the others follow at the sink's step."""
    step: int
    rows: list[np.ndarray]


@dataclass
class GateReport:
    """What the gate found in one stream."""

    outputs: int = 0
    checked: int = 0
    """Outputs compared with the offline reference."""
    failed: int = 0
    """Of those, how many differ."""
    worst_mean: float = 0.0
    """Largest mean difference of a checked output, of 255."""
    worst_far: float = 0.0
    """Largest share of values further apart than ``FAR`` of 255."""
    first_failed: int | None = None
    """Index of the first frame that differs."""
    wrong_index: int | None = 0
    """Outputs whose picture or alpha shows another index than theirs; None where no index can be read."""
    out_of_order: int = 0
    """Outputs whose index is not above that of the one before."""
    alpha_mad: float | None = None
    """Mean absolute difference of alpha from the scene's true one, times 1000, over the checked outputs."""
    alpha_iou: float | None = None
    """Intersection over union with the true product, at alpha 0.5."""

    @property
    def passed(self) -> bool:
        """Whether every check held; a gate that checked nothing has not."""
        return self.checked > 0 and not (self.failed or self.wrong_index or self.out_of_order)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "passed": self.passed}


class GateSink(Sink):
    """Takes every output, notes when, reads its index, and keeps rows of some for the offline check.

    Parameters
    ----------
    output : str
        Format it asks of the pipeline.
    frames : int
        The most outputs that can come. All memory is taken at ``open``, so that a long run's own does not
        look like a leak.
    every : int
        A check comes after 1 to ``2 * every - 1`` frames of the camera, drawn from ``seed``.
    clock : callable
        The time in seconds.
    """

    def __init__(
        self,
        output: str,
        frames: int,
        *,
        every: int,
        seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.accepts = (output,)
        self.fixed_size = False
        self.clock = clock
        self.due = np.full(frames, np.nan)
        self.done = np.full(frames, np.nan)
        self.index = np.full(frames, -1, np.int64)
        self.shown = np.full(frames, -1, np.int64)
        self.agrees = np.full(frames, False)
        self.count = 0
        self.checks: list[Check] = []
        self._every = every
        self._rng = np.random.default_rng(seed)
        self._next_check = 0
        self._most_checks = math.ceil(1.5 * frames / every) + 4
        self._step = 1
        self._spare: list[list[np.ndarray]] = []
        self._reader: IndexReader | None = None

    def open(self, stream: StreamInfo) -> None:
        self._reader = IndexReader((stream.width, stream.height))
        self._step = max(1, stream.height // ROWS)
        rows = math.ceil(stream.height / self._step)
        shapes = {"YUVA420": [(rows, stream.width)] * 2, "ALPHA": [(rows, stream.width)]}
        kept = shapes.get(stream.format, [(rows, stream.width, 4)])
        # Not np.zeros: pages must be there, not just promised.
        self._spare = [[np.full(shape, 1, np.uint8) for shape in kept] for _ in range(self._most_checks)]

    def write(self, frame: Frame) -> None:
        position = self.count
        if position == len(self.done):
            return  # more than any camera of this rate can have given: a repeat of a source that is down
        if self._reader is not None:
            index, self.agrees[position] = self._reader.read(frame)
            self.shown[position] = -1 if index is None else index
        if frame.index >= self._next_check:
            self._keep(position, frame)
        self.index[position], self.due[position] = frame.index, frame.due_seconds
        self.done[position] = self.clock()
        self.count = position + 1

    def _keep(self, position: int, frame: Frame) -> None:
        if not self._spare:
            return
        offset, rows = int(self._rng.integers(self._step)), self._spare.pop()
        for number, plane in enumerate(checked_planes(frame)):
            kept = plane[offset :: self._step]
            rows[number] = rows[number][: len(kept)]
            np.copyto(rows[number], kept)
        self.checks.append(Check(position, frame.index, offset, self._step, rows))
        self._next_check = frame.index + int(self._rng.integers(1, 2 * self._every)) if self._every > 1 else 0

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""

    @property
    def indices(self) -> np.ndarray:
        """The index of each output, in order."""
        return self.index[: self.count]

    @property
    def is_marked(self) -> bool:
        """Whether alphas carry an index: most show one. (Any corner does, one time in 256.)"""
        return bool(np.mean(self.shown[: self.count] >= 0) > 0.5) if self.count else False

    @property
    def wrong_index(self) -> int:
        """Outputs whose picture or alpha is of another frame."""
        right = (self.shown[: self.count] == self.indices) & self.agrees[: self.count]
        return int(np.sum(~right))


def checked_planes(frame: Frame) -> tuple[np.ndarray, ...]:
    """What of an output is compared: colour and alpha, or luma and alpha. Views, nothing is copied."""
    if frame.format == "YUVA420":
        return frame.planes[0], frame.planes[3]
    return (frame.planes[0],)


def differences(found: list[np.ndarray], wanted: list[np.ndarray], format: str) -> tuple[float, float]:
    """Mean difference of 255, and share of values further apart than ``FAR``, of what can be seen.

    Straight colours are compared as they show over black: under alpha 0 a colour is anybody's.
    """
    here, there = (_visible(rows, format).astype(np.int16) for rows in (found, wanted))
    apart = np.abs(here - there)
    return float(apart.mean()), float(np.mean(apart > FAR))


def _visible(rows: list[np.ndarray], format: str) -> np.ndarray:
    if format in ("RGBA", "BGRA"):
        pixels = rows[0].astype(np.uint16)
        pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] // 255
        return pixels
    if format == "YUVA420":
        alpha = rows[1].astype(np.uint16)
        return np.stack([rows[0] * alpha // 255, alpha])
    return rows[0]


@dataclass
class Offline:
    """The reference: a session that does a camera's frames one after the other, never late, never early."""

    session: Session
    scene: Scene
    output: str
    fps: float
    format: str = "BGR"
    _painted: int | None = None
    _slot: Slot = field(default_factory=Slot)

    def __post_init__(self) -> None:
        self._planes = self.scene.new_planes()
        self._compositor = Compositor(self.output)
        self._out: Frame | None = None

    def run(self, index: int) -> Frame:
        """The output for frame ``index``, valid until the next call."""
        self.scene.paint(self._planes, index, self._painted)
        self._painted = index
        frame = Frame(self._planes, self.format, index, index / self.fps, 0.0)
        self.session.preprocess(frame, self._slot)
        self.session.infer(self._slot)
        self._out = self.session.postprocess(self._slot, self._compositor, self._out)
        return self._out


def judge(sink: GateSink, offline: Offline, *, checks: int | None = None) -> GateReport:
    """Do the checked frames of a run again, offline, and compare.

    Parameters
    ----------
    sink : GateSink
        After the run.
    offline : Offline
        A reference made like the session that was timed.
    checks : int, optional
        At most so many, spread over the run; all without.
    """
    report = GateReport(outputs=sink.count)
    report.out_of_order = int(np.sum(np.diff(sink.indices) <= 0))
    chosen = sink.checks
    if checks is not None and len(chosen) > checks:
        keep = np.unique(np.linspace(0, len(chosen) - 1, checks).round().astype(int))
        chosen = [chosen[number] for number in keep]
    run_in = RUN_IN_WITH_STATE if offline.session.manifest.state else RUN_IN
    position = -1
    truth = _Truth(offline.scene)
    for check in chosen:
        start = max(0, check.position - run_in)
        if start > position + 1 or position < 0:  # else the reference simply goes on from where it is
            offline.session.reset()
        else:
            start = position + 1
        for number in range(start, check.position + 1):
            frame = offline.run(int(sink.index[number]))
        position = check.position
        wanted = [plane[check.offset :: check.step] for plane in checked_planes(frame)]
        mean, far = differences(check.rows, wanted, offline.output)
        report.checked += 1
        report.worst_mean, report.worst_far = max(report.worst_mean, mean), max(report.worst_far, far)
        if mean > MEAN_LIMIT or far > FAR_LIMIT:
            report.failed += 1
            if report.first_failed is None:
                report.first_failed = check.index
        truth.add(check, offline.output)
    offline.session.reset()
    report.wrong_index = sink.wrong_index if sink.is_marked else None
    report.alpha_mad, report.alpha_iou = truth.mad, truth.iou
    return report


class _Truth:
    """How near the timed alphas are to the scene's true ones."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._apart = self._both = self._either = 0.0
        self._values = 0

    def add(self, check: Check, output: str) -> None:
        alpha = check.rows[0][..., 3] if output in ("RGBA", "BGRA") else check.rows[-1]
        true = self._scene.alpha_of(check.index)[check.offset :: check.step]
        self._apart += float(np.abs(alpha.astype(np.int16) - true).sum())
        self._values += alpha.size
        self._both += float(np.sum((alpha > 127) & (true > 127)))
        self._either += float(np.sum((alpha > 127) | (true > 127)))

    @property
    def mad(self) -> float | None:
        return 1e3 * self._apart / (255 * self._values) if self._values else None

    @property
    def iou(self) -> float | None:
        return self._both / self._either if self._either else None
