"""The whole 1080p loop beside loops of OpenCV and NumPy around the same network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from livecut.engine.buffers import Slot
from livecut.engine.frame import Frame
from livecut.engine.session import Session

from . import references, scene
from .loops import LivecutLoop, Network, SerialLoop, Trace, on_cpu
from .measure import Measurement, Summary, Watch, sample_warnings
from .options import Options
from .results import Check, Goal, Row, checked

TITLE = "whole 1080p loop, composited over an image"
LATENCY_TITLE = "latency of the 1080p loop at an open-loop camera"
OURS, COMPETENT = "livecut", "cv2 + NumPy loop"
BLEND = "blobFromImage + cv2.blendLinear loop"
# Both sides round; bf16 networks differ in the last of their 8 bits from thread to thread.
LIMIT = 3
CHECKED_FRAMES = 24
LATENCY_FPS = (60.0, 30.0)
# The interval is over rounds, so time goes into rounds rather than into long turns: under three minutes in
# all. A run for a p99 needs its 100 frames, and only the loops of a goal are run at a camera.
THROUGHPUT_ROUNDS, THROUGHPUT_FRAMES = 20, 32
LATENCY_ROUNDS, LATENCY_SECONDS = {60.0: 10, 30.0: 4}, {60.0: 2.0, 30.0: 3.4}


class Cv2NumpyLoop:
    """A good engineer's serial loop: buffers kept, OpenCV threaded; ``composite`` enlarges and blends."""

    def __init__(self, network: Network, background: np.ndarray, composite: Any):
        self.network, self.background, self.composite = network, background, composite
        manifest = network.manifest
        self.prepare = references.Cv2Preprocess(network.size_wh, manifest.mean, manifest.std)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.composite(frame, self.network(self.prepare(frame)), self.background)


class BlobLoop(Cv2NumpyLoop):
    """The same with ``cv2.dnn.blobFromImage`` before the network."""

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        manifest = self.network.manifest
        blob = references.blob_preprocess(frame, self.network.size_wh, manifest.mean, manifest.std)
        return self.composite(frame, self.network(blob), self.background)


def run(options: Options) -> list[Row]:
    """Frames per second in a closed loop, then latency at 60 and 30 frames a second."""
    with (
        on_cpu(options.model, temporal=False) as session,
        on_cpu(options.model, temporal=False, refine=False, decontaminate=False) as plain_session,
    ):
        info = session.warm_up(scene.FRAME_WH)
        cv2.setNumThreads(info.threads)
        try:
            loops = make_loops(session, plain_session)
            checks = check(loops)
            told = conditions(session, options)
            return [throughput(loops, checks, told, options), *latencies(loops, checks, told, options)]
        finally:
            cv2.setNumThreads(1)


def make_loops(session: Session, plain_session: Session) -> dict[str, LivecutLoop | SerialLoop]:
    """Every loop, livecut's first."""
    pictures, background = scene.camera_frames(), scene.background()
    background_rgb = np.ascontiguousarray(background[..., ::-1])
    network = Network(session, scene.FRAME_WH)

    def serial(kind: type[Cv2NumpyLoop], composite: Any) -> SerialLoop:
        return SerialLoop(kind(network, background, composite), pictures)

    return {
        OURS: LivecutLoop(session, pictures, background_rgb),
        "livecut, not refined": LivecutLoop(plain_session, pictures, background_rgb),
        COMPETENT: serial(Cv2NumpyLoop, references.NumpyCompositeInPlace(scene.FRAME_WH)),
        BLEND: serial(BlobLoop, references.BlendLinear(scene.FRAME_WH)),
        "the same, refined by a fast guided filter": serial(
            BlobLoop, references.FastGuidedComposite(scene.FRAME_WH, 4, 1e-3)
        ),
    }


def throughput(loops: Mapping[str, Any], checks: list[Check], told: dict, options: Options) -> Row:
    """Closed loop: the next frame is there as soon as a loop wants it."""
    rounds = options.loop_rounds if options.quick else THROUGHPUT_ROUNDS
    measurement = interleave_loops(loops, lambda loop: loop.run(THROUGHPUT_FRAMES).frame_ms(), rounds)
    ratio = measurement.ratio
    goals = [
        Goal("frames per second against the cv2 + NumPy loop", ratio(COMPETENT, OURS), 3),
        *(
            Goal(f"against the {name}" if "loop" in name else f"against {name}", ratio(name, OURS))
            for name in loops
            if not name.startswith("livecut") and name != COMPETENT
        ),
        Goal(
            "not refined, against blobFromImage + cv2.blendLinear",
            ratio(BLEND, "livecut, not refined"),
        ),
    ]
    details = {
        "fps": {name: round(1e3 / summary.median, 2) for name, summary in measurement.contenders.items()}
    }
    return Row.of("loop", TITLE, measurement, conditions=told, goals=goals, checks=checks, details=details)


def latencies(loops: Mapping[str, Any], checks: list[Check], told: dict, options: Options) -> list[Row]:
    """Open loop: frames fall due at a fixed rate and each loop takes the newest; latency is from due time."""
    rows = []
    loops = {name: loops[name] for name in (OURS, COMPETENT, BLEND)}
    for fps in LATENCY_FPS:
        count = round(fps * (1 if options.quick else LATENCY_SECONDS[fps]))
        dropped: dict[str, list[int]] = {name: [] for name in loops}

        def p99(name: str, fps=fps, count=count, dropped=dropped) -> float:
            trace = loops[name].run(count, fps)
            dropped[name].append(trace.dropped)
            return trace.latency_ms(99)

        rounds = options.loop_rounds if options.quick else LATENCY_ROUNDS[fps]
        measurement = interleave_loops({name: name for name in loops}, p99, rounds)
        at_goal = fps == LATENCY_FPS[0]
        goals = [
            Goal(f"p99 latency at {fps:g} fps lower than the cv2 + NumPy loop's",
                 measurement.ratio(COMPETENT, OURS), 3 if at_goal else None),
            Goal("lower than the blobFromImage + cv2.blendLinear loop's",
                 measurement.ratio(BLEND, OURS)),
        ]  # fmt: skip
        condition = {
            "camera": f"open loop at {fps:g} frames a second, the newest frame wins in every loop",
            "latency": "from when a frame was due until its composite lay in memory",
            "sample": f"p99 of a run of {count} frames",
        }
        offered = count * rounds
        rows.append(
            Row.of(
                f"latency-{fps:g}fps",
                f"{LATENCY_TITLE} of {fps:g} fps",
                measurement,
                conditions=told | condition,
                goals=goals,
                checks=checks,
                details={
                    "dropped_share": {name: round(sum(lost) / offered, 4) for name, lost in dropped.items()}
                },
            )
        )
    return rows


def interleave_loops(loops: Mapping[str, Any], sample: Callable[[Any], float], rounds: int) -> Measurement:
    """As ``measure.interleave``, but a loop times itself: its start and its end are no part of a sample."""
    samples: dict[str, list[float]] = {name: [] for name in loops}
    watch = Watch()
    with watch:
        for index in range(rounds):
            for name in list(loops) if index % 2 == 0 else list(reversed(loops)):
                samples[name].append(sample(loops[name]))
    summaries = {name: Summary(tuple(values)) for name, values in samples.items()}
    return Measurement(summaries, watch.warnings + sample_warnings(summaries))


def check(loops: Mapping[str, Any]) -> list[Check]:
    """Each livecut loop gives every frame what a serial run gives it; the references are near it."""
    checks = []
    for name in (OURS, "livecut, not refined"):
        loop: LivecutLoop = loops[name]
        expected = serial_results(loop)
        trace: Trace = loop.run(CHECKED_FRAMES)
        checks.append(
            checked(f"{name}: frames lost in a closed loop", abs(len(trace.index) - CHECKED_FRAMES), 0)
        )
        checks.append(checked(f"{name}: frames out of order", int(trace.index != sorted(trace.index)), 0))
        checks.append(
            checked(
                f"{name}: any frame against a serial run, of 255", trace.worst_difference(expected), LIMIT
            )
        )
    frame = scene.camera_frames()[0]
    plain = loops["livecut, not refined"]
    ours = serial_results(plain)[0].astype(np.int16)
    for name in (COMPETENT, BLEND):
        theirs = loops[name].process(frame)
        # Their small picture is aliased and ours is not, so alphas differ at edges: compare the mean.
        checks.append(
            checked(f"{name} against livecut, mean, of 255", float(np.abs(ours - theirs).mean()), 4)
        )
    return checks


def serial_results(loop: LivecutLoop) -> list[np.ndarray]:
    """What the loop's session makes of each frame of a stream, one at a time and outside the pipeline."""
    slot, found = Slot(), []
    loop.session.reset()
    for index in range(CHECKED_FRAMES):
        picture = loop.pictures[index % len(loop.pictures)]
        loop.session.preprocess(Frame((picture,), loop.format, index, 0.0, 0.0), slot)
        loop.session.infer(slot)
        found.append(loop.session.postprocess(slot, loop.compositor).planes[0].copy())
    loop.session.reset()
    return found


def first_alpha(session: Session) -> np.ndarray:
    """The network's alpha of the first frame: how much of it is mixed decides how much there is to blend."""
    slot = Slot()
    session.preprocess(Frame((scene.camera_frames()[0],), "BGR", 0, 0.0, 0.0), slot)
    session.infer(slot)
    session.reset()
    return slot.buffer.alpha.copy()


def conditions(session: Session, options: Options) -> dict[str, Any]:
    """What was run, on both sides."""
    info = session.warm_up(scene.FRAME_WH)
    width, height = session.size_wh or session.manifest.size_for(scene.FRAME_WH)
    return {
        "frame": "1920x1080 BGR uint8 of the synthetic camera, from memory, over a BGR image, BGR out",
        "alpha_coverage": scene.coverage(first_alpha(session)),
        "model": f"{session.manifest.name} {session.manifest.version} at {width}x{height}",
        "model_sha256": session.manifest.sha256,
        "backend": info.to_json(),
        "references": "serial; the same network, size, precision and threads; OpenCV on as many threads",
        "livecut": "as shipped: refined, decontaminated; 'not refined' does the references' work",
    }
