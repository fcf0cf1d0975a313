"""What the pipeline adds to its stages: overlap, overhead of its own, allocations."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from livecut.engine.buffers import Slot
from livecut.engine.compositor import Compositor
from livecut.engine.frame import Frame
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session

from . import scene
from .bench_loop import conditions, interleave_loops
from .loops import LivecutLoop, MemorySource, Trace, TraceSink, on_cpu
from .measure import Summary, median_interval, paired_difference
from .options import Options
from .results import Goal, Row, exact

EFFICIENCY_TITLE = "pipeline efficiency: frames per second / (1 / slowest stage alone)"
OVERHEAD_TITLE = "the pipeline's own cost: null backend, null sink, frames from memory"
TINY_WH, TINY_INPUT_WH = (64, 36), (32, 32)
# The smallest buffer of a picture is the guide, 432 KiB; Python's own small objects come and go below this.
ALLOCATION_LIMIT_KIB = 64.0


def run(options: Options) -> list[Row]:
    """Efficiency with a core for each busy stage and with the default threads; overhead; allocations."""
    return [
        efficiency(options, threads=1, name="efficiency"),
        efficiency(options, threads=None, name="efficiency-default-threads"),
        overhead(options),
        allocations(options),
    ]


def efficiency(options: Options, threads: int | None, name: str) -> Row:
    """Frames per second in the pipeline against the slowest stage run alone, in turn, on the same threads.

    Alone, a stage has the machine to itself. With the default threads the network fills every core by
    itself, so its neighbours' work must come on top and 1.0 cannot be reached: that row is shown, not
    judged.
    """
    count = 40 if options.quick else 100
    pictures = scene.camera_frames()
    background = np.ascontiguousarray(scene.background()[..., ::-1])
    with on_cpu(options.model, threads=threads) as session:
        loop = LivecutLoop(session, pictures, background)
        told = conditions(session, options)
        contenders: dict[str, Callable[[], float]] = {
            "livecut pipeline": lambda: loop.run(count).frame_ms(),
            **stages_alone(session, pictures, Compositor("BGR", background), count),
        }
        measurement = interleave_loops(
            {key: key for key in contenders}, lambda key: contenders[key](), options.loop_rounds
        )
    summaries = measurement.contenders
    slowest = max((key for key in summaries if key.endswith("alone")), key=lambda key: summaries[key].median)
    stages_sum = sum(summary.median for key, summary in summaries.items() if key.endswith("alone"))
    pipeline = summaries["livecut pipeline"].median
    goals = [
        Goal(f"of the rate of the slowest stage, {slowest}", measurement.ratio(slowest, "livecut pipeline"),
             0.95 if threads == 1 else None),
        Goal("of the rate of all stages one after the other", exact(stages_sum / pipeline)),
    ]  # fmt: skip
    title = EFFICIENCY_TITLE + (f", {threads} thread a stage" if threads else ", default threads")
    return Row.of(name, title, measurement, conditions=told, goals=goals)


def stages_alone(
    session: Session, pictures: Any, compositor: Compositor, count: int
) -> dict[str, Callable[[], float]]:
    """Each stage as a function that runs it ``count`` times and returns milliseconds a frame."""
    slots = [Slot() for _ in range(len(pictures))]
    frames = [Frame((picture,), "BGR", index, 0.0, 0.0) for index, picture in enumerate(pictures)]
    outputs: list[Frame | None] = [None, None]
    for frame, slot in zip(frames, slots, strict=True):
        session.preprocess(frame, slot)
        session.infer(slot)

    def preprocess(index: int) -> None:
        session.preprocess(frames[index % len(frames)], slots[index % len(slots)])

    def infer(index: int) -> None:
        session.infer(slots[index % len(slots)])

    def postprocess(index: int) -> None:
        outputs[index % 2] = session.postprocess(slots[index % len(slots)], compositor, outputs[index % 2])

    def alone(stage: Callable[[int], None]) -> Callable[[], float]:
        def measured() -> float:
            for index in range(5):
                stage(index)
            start = time.perf_counter()
            for index in range(count):
                stage(index)
            return 1e3 * (time.perf_counter() - start) / count

        return measured

    return {f"{stage.__name__} alone": alone(stage) for stage in (preprocess, infer, postprocess)}


def overhead(options: Options) -> Row:
    """CPU time of a frame in the pipeline when there is little to compute, less its two kernel calls.

    The frames are tiny and the matte is constant. CPU time of all threads, not wall time: overlap hides none.
    """
    count = 400 if options.quick else 2000
    pictures = scene.frames(TINY_WH, 4)
    background = scene.background(TINY_WH)
    with Session(options.model, backend="null", threads=1, size_wh=TINY_INPUT_WH) as session:
        loop = LivecutLoop(session, pictures, np.ascontiguousarray(background[..., ::-1]))
        kernels = kernel_calls(session, pictures[0], background)
        wall = []

        def pipeline_us() -> float:
            start, cpu = time.perf_counter(), time.process_time()
            loop.run(count)
            wall.append(1e6 * (time.perf_counter() - start) / count)
            return 1e6 * (time.process_time() - cpu) / count

        def kernels_us() -> float:
            cpu = time.process_time()
            for _ in range(count):
                kernels()
            return 1e6 * (time.process_time() - cpu) / count

        contenders = {"livecut pipeline": pipeline_us, "its kernel calls alone": kernels_us}
        measurement = interleave_loops(
            {key: key for key in contenders}, lambda key: contenders[key](), options.loop_rounds
        )
    summaries = {key: Summary(summary.samples, unit="us") for key, summary in measurement.contenders.items()}
    measurement.contenders = summaries
    own = paired_difference(*(summary.samples for summary in summaries.values()))
    goals = [
        Goal("CPU time a frame that is not the kernels'", own, 100, False, "us"),
        Goal("wall time a frame, kernels included", median_interval(wall), None, False, "us"),
    ]
    told = {
        "frame": f"{TINY_WH[0]}x{TINY_WH[1]} BGR, network input {TINY_INPUT_WH[0]}x{TINY_INPUT_WH[1]}",
        "policy": "wait: three threads, two hand-offs, as long as the network is the slowest",
        "frames": count,
        "includes": "starting and joining the threads of each run",
    }
    return Row.of("overhead", OVERHEAD_TITLE, measurement, conditions=told, goals=goals)


def kernel_calls(session: Session, picture: np.ndarray, background: np.ndarray) -> Callable[[], None]:
    """The two kernel calls of a frame with the session's settings, through the kernels' public functions."""
    from livecut.kernels import RefineScratch, fit, preprocess, refine_and_composite

    width, height = TINY_INPUT_WH
    geometry = fit(TINY_WH, TINY_INPUT_WH, session.manifest.fit)
    tensor, small = np.empty((1, 3, height, width), np.float32), np.empty((height, width, 3), np.uint8)
    alpha, out = np.ones((height, width), np.float32), np.empty_like(picture)
    scratch = RefineScratch(TINY_WH, TINY_INPUT_WH)
    mean, std = session.manifest.mean, session.manifest.std

    def call() -> None:
        preprocess((picture,), format="BGR", geometry=geometry, mean=mean, std=std, out=tensor, small=small)
        refine_and_composite(
            (picture,),
            alpha,
            format="BGR",
            geometry=geometry,
            output="BGR",
            out=out,
            small=small,
            background=background,
            scratch=scratch,
        )

    return call


def allocations(options: Options) -> Row:
    """What Python and NumPy allocate while full-size frames stream, once every buffer has been made."""
    warm, count = 100, 200 if options.quick else 1000
    background = np.ascontiguousarray(scene.background()[..., ::-1])
    sink = AllocationSink(warm, warm + count)
    with Session(options.model, backend="null") as session:
        tracemalloc.start()
        try:
            Pipeline(
                MemorySource(scene.camera_frames(), warm + count + 20),
                session,
                Compositor("BGR", background),
                sink,
                policy="wait",
            ).run()
        finally:
            tracemalloc.stop()
    goals = [
        Goal("highest above the start at any time", exact(sink.peak_kib), ALLOCATION_LIMIT_KIB, False, "KiB"),
        Goal("kept for each frame", exact(1024 * sink.grown_kib / count), 16, False, "B"),
    ]
    told = {"frames": count, "after": f"{warm} frames", "counted": "tracemalloc: Python's and NumPy's memory"}
    return Row("allocations", "allocations in steady state, 1080p over an image", told, goals)


class AllocationSink(TraceSink):
    """Reads tracemalloc at two frames; keeps nothing itself."""

    def __init__(self, first: int, last: int):
        super().__init__("BGR", Trace())
        self.first, self.last = first, last
        self.counter = itertools.count()
        self.start = 0
        self.peak_kib = self.grown_kib = 0.0

    def write(self, frame: Frame) -> None:
        index = next(self.counter)
        if index == self.first:
            tracemalloc.reset_peak()
            self.start = tracemalloc.get_traced_memory()[0]
        elif index == self.last:
            current, peak = tracemalloc.get_traced_memory()
            self.peak_kib, self.grown_kib = (peak - self.start) / 1024, (current - self.start) / 1024
