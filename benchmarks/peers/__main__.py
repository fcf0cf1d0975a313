"""``python -m benchmarks.peers``: measure livecut and others in turn; print a table, write JSON and README.

Exit codes: 0 measured, 1 something computes what it should not, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from livecut.engine.sources import open_source

from .. import machine, results, scene
from ..loops import LivecutLoop, Network, on_cpu
from ..measure import Measurement, Summary, Warn, Watch, sample_warnings
from ..results import Check, Goal, Row, checked
from . import contenders
from .contenders import NotHere, Peer
from .readme import replace_table, table

OURS = "livecut"
COMPUTES = (
    "resize, normalise, network, alpha refined along the frame's edges and enlarged, colours freed of the "
    "background; stages overlap"
)
TITLE = "a 1080p RGB frame in memory to its RGBA cut-out in memory"
OUR_FRAMES = 60


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, help="folder of packages to look in after the environment's")
    parser.add_argument("--model", default="livecut-s", help="name or folder of a model bundle")
    parser.add_argument("--rounds", type=int, default=15, help="how often each takes its turn (15)")
    parser.add_argument("--quick", action="store_true", help="two rounds: proves that it works")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="default: benchmarks/results/<date>-...-peers.json"
    )
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the table between its peers markers")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {chosen.rounds}")
    if chosen.packages is not None:
        sys.path.append(str(chosen.packages.resolve()))  # last: NumPy and OpenCV stay the environment's
    described = machine.describe()
    try:
        row, missing = measure(chosen.model, 2 if chosen.quick else chosen.rounds)
    except results.WrongResult as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    row.warnings += [Warn.DIRTY] * bool(described["dirty"]) + [Warn.QUICK] * chosen.quick
    data = results.report([row], described, quick=chosen.quick, failures=missing)
    text = table(row.to_json(), missing)
    print(text)
    for warning in dict.fromkeys(row.warnings):
        print(f"warning: {warning.value}: {warning.meaning}")
    if chosen.json or not chosen.quick:
        path = chosen.json or _default_path(described)
        results.write(path, data)
        print(f"written: {path}")
    if chosen.readme is not None and chosen.quick:
        print("a quick run is no result: the README stays as it is")
    elif chosen.readme is not None:
        replace_table(chosen.readme, text, described, data["date"])
        print(f"written: {chosen.readme}")
    return 0


def _default_path(described: dict[str, Any]) -> Path:
    path = results.default_path(described, machine.short_name())
    return path.with_name(f"{path.stem}-peers.json")


def measure(model: str, rounds: int) -> tuple[Row, dict[str, str]]:
    """Every peer that is to be had, in turn; the others with the reason why not."""
    frames = rgb_frames()
    with on_cpu(model) as session, on_cpu(model) as serial, contenders.folder_for_models() as folder:
        info = session.warm_up(scene.FRAME_WH)
        network = Network(session, scene.FRAME_WH)
        cv2.setNumThreads(info.threads)
        peers, missing = found(
            {
                "one at a time": lambda: [contenders.one_at_a_time(serial)],
                "bare": lambda: [contenders.bare_network(network, frames)],
                "OpenCV + NumPy": lambda: [contenders.cv2_numpy(network)],
                "rembg": lambda: list(contenders.rembg_sessions(info.threads, Path(folder))),
                "MediaPipe": lambda: [contenders.mediapipe_selfie()],
            }
        )
        loop = LivecutLoop(session, frames, None, format="RGB", output="RGBA")
        turns: dict[str, Callable[[], float]] = {OURS: lambda: loop.run(OUR_FRAMES).frame_ms()}
        turns |= {peer.name: turn(peer, frames) for peer in peers}
        checks = [check(peer, frames[0]) for peer in peers]
        try:
            measurement, cpu = interleave(turns, rounds)
        finally:
            cv2.setNumThreads(1)
        input_wh = network.size_wh
    goals = [
        Goal(f"frames per second against {peer.name}", measurement.ratio(peer.name, OURS)) for peer in peers
    ]
    conditions = {
        "frame": f"1920x1080 RGB of the synthetic camera, {len(frames)} in turn, from memory",
        "model": f"{session.manifest.name} {session.manifest.version} at {input_wh[0]}x{input_wh[1]}",
        "model_sha256": session.manifest.sha256,
        "backend": info.to_json(),
        "turns": "all in one process, in ABBA order; a sample is the mean of one turn",
    }
    details = {
        "computes": {OURS: COMPUTES, **{peer.name: peer.computes for peer in peers}},
        "frames_in_a_turn": {OURS: OUR_FRAMES, **{peer.name: peer.frames for peer in peers}},
        "cpu_ms": {name: float(np.median(values)) for name, values in cpu.items()},
    }
    row = Row.of(
        "peers", TITLE, measurement, conditions=conditions, goals=goals, checks=checks, details=details
    )
    return row, missing


def rgb_frames() -> tuple[np.ndarray, ...]:
    """Four frames of the synthetic camera, RGB, half a second apart. Read-only."""
    width, height = scene.FRAME_WH
    made = []
    with open_source(f"synthetic://{width}x{height}@2?seconds=2&pace=0&format=rgb") as source:
        for _ in range(scene.FRAMES):
            frame = source.read()
            if frame is None:
                raise RuntimeError("the synthetic camera ended early")
            made.append(frame.image.copy())
            made[-1].flags.writeable = False
    return tuple(made)


def found(makers: dict[str, Callable[[], list[Peer]]]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that are to be had; of the others why not."""
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            peers += make()
        except NotHere as error:
            missing[name] = str(error)
    return peers, missing


def check(peer: Peer, frame: np.ndarray) -> Check:
    """A peer gives a result of the shape it claims, and leaves its input alone."""
    before = frame[::64, ::64].copy()
    shape = tuple(np.asarray(peer.cut(frame)).shape)
    wrong = int(shape != peer.gives) + int(not np.array_equal(before, frame[::64, ::64]))
    return checked(f"{peer.name}: result of shape {shape}, expected {peer.gives}, or input changed", wrong, 0)


def turn(peer: Peer, frames: tuple[np.ndarray, ...]) -> Callable[[], float]:
    """Milliseconds a frame over one turn, after one frame that is not counted."""

    def measured() -> float:
        peer.cut(frames[-1])
        start = time.perf_counter()
        for index in range(peer.frames):
            peer.cut(frames[index % len(frames)])
        return 1e3 * (time.perf_counter() - start) / peer.frames

    return measured


def interleave(
    turns: dict[str, Callable[[], float]], rounds: int
) -> tuple[Measurement, dict[str, list[float]]]:
    """Everybody in turn, back and forth; also the CPU time of a frame, all threads together."""
    samples: dict[str, list[float]] = {name: [] for name in turns}
    cpu: dict[str, list[float]] = {name: [] for name in turns}
    with Watch() as watch:
        for index in range(rounds):
            for name in list(turns) if index % 2 == 0 else list(reversed(turns)):
                wall, busy = time.perf_counter(), time.process_time()
                samples[name].append(turns[name]())
                cores = (time.process_time() - busy) / max(time.perf_counter() - wall, 1e-9)
                cpu[name].append(cores * samples[name][-1])
    summaries = {name: Summary(tuple(values)) for name, values in samples.items()}
    return Measurement(summaries, watch.warnings + sample_warnings(summaries)), cpu


if __name__ == "__main__":
    sys.exit(main())
