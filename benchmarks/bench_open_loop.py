"""An open-loop 1080p60 camera on two cores: nothing dropped, late or mixed up, memory flat.

The stream runs in a process of its own, confined to two cores, so that its memory is its own. Run as
``python -m benchmarks.bench_open_loop --seconds N`` this module is that process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .measure import Summary, Watch
from .options import Options
from .results import Goal, Row, WrongResult, checked, exact

TITLE = "open loop, 1080p60 synthetic camera, two cores"
FPS = 60
CORES = 2
OUTPUT = "RGBA"
SETTLED_SECONDS = 10.0


def run(options: Options) -> list[Row]:
    """One run of 60 s (10 s when quick); its latencies are those of every frame, so nothing is resampled."""
    watch = Watch()
    with watch:
        told = stream(options.open_loop_seconds, options.model)
    report, latencies = told["report"], np.asarray(told["latency_ms"])
    checks = [
        checked("frames that do not show the picture of their index", told["wrong_picture"], 0),
        checked("frames under the alpha of another picture", told["wrong_alpha"], 0),
        checked("frames out of order", told["out_of_order"], 0),
    ]
    frames = round(options.open_loop_seconds * FPS)
    p99, p999 = (exact(np.percentile(latencies, percent)) for percent in (99, 99.9))
    goals = [
        Goal("dropped", exact(frames - len(latencies)), 0, False, "frames"),
        Goal("p99 latency from when a frame was due", p99, 16.7, False, "ms"),
        Goal("p99.9 latency", p999, 25, False, "ms"),
        Goal("worst latency", exact(latencies.max()), None, False, "ms"),
        Goal("resident memory at most", exact(told["rss_max_mb"]), 400, False, "MB"),
        Goal("resident memory's growth once settled", exact(told["rss_growth_mb"]), 2, False, "MB"),
    ]
    conditions = {
        "source": told["source"],
        "output": told["output"],
        "cores": told["cores"],
        "backend": report["backend"],
        "seconds": options.open_loop_seconds,
        "memory_settled_after_seconds": told["settled_seconds"],
        "not_timed": "painting the synthetic frame, done before it is due",
    }
    details = {"report": report, "other_cores": round(watch.other_cores, 3), "rss_mb": told["rss_mb"]}
    seconds = {"livecut, p99 of each second": by_second(latencies)}
    return [Row("open-loop", TITLE, conditions, goals, seconds, checks, watch.warnings, details)]


def by_second(latencies: np.ndarray) -> Summary:
    """The 99th percentile of every second's frames, to compare two runs by; goals judge all frames."""
    whole = latencies[: len(latencies) // FPS * FPS].reshape(-1, FPS)
    return Summary(tuple(float(value) for value in np.percentile(whole, 99, axis=1)))


def stream(seconds: float, model: str) -> dict[str, Any]:
    """Run the child; WrongResult with the end of what it said if it fails."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.bench_open_loop",
        "--seconds",
        str(seconds),
        "--model",
        model,
    ]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WrongResult(f"the stream exited with {done.returncode}: {last}")
    return json.loads(done.stdout)


def child(seconds: float, model: str) -> dict[str, Any]:
    """Stream, and tell what came out."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    from livecut.engine.backends import select_backend
    from livecut.engine.bench.marking import marked
    from livecut.engine.compositor import Compositor
    from livecut.engine.pipeline import Pipeline
    from livecut.engine.session import Session
    from livecut.engine.sources import open_source

    uri = f"synthetic://1920x1080@{FPS}?seconds={seconds:g}"
    sink = make_gate_sink()
    # Started late, a process still loads libraries and sizes its pools: memory is judged once it has settled.
    settled = SETTLED_SECONDS if seconds >= 3 * SETTLED_SECONDS else seconds / 2
    # Every alpha carries the index of the picture it was computed from, for the sink to read.
    backend = marked(select_backend("openvino")[0], (1920, 1080))
    with Session(model, backend=backend, temporal=True) as session:
        pipeline = Pipeline(open_source(uri), session, Compositor(OUTPUT), sink)
        report = pipeline.run()
    times, sizes = zip(*sink.memory, strict=True)
    start = times[0]
    steady = [size for moment, size in zip(times, sizes, strict=True) if moment - start >= settled]
    half = len(steady) // 2
    return {
        "source": uri,
        "output": f"{OUTPUT}, straight alpha, refined and decontaminated, smoothed over time",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "report": report.to_json(),
        "latency_ms": [round(1e3 * value, 4) for value in sink.latency],
        "wrong_picture": sink.wrong_picture,
        "wrong_alpha": sink.wrong_alpha,
        "out_of_order": sink.out_of_order,
        "settled_seconds": settled,
        "rss_max_mb": max(sizes),
        "rss_growth_mb": max(0.0, max(steady[half:]) - max(steady[:half])) if half else 0.0,
        "rss_mb": [round(size, 1) for size in sizes],
    }


def make_gate_sink() -> Any:
    """A sink that reads in every frame's pixels which picture it shows, and whose alpha lies on it."""
    import psutil

    from livecut.engine.sinks.base import Sink
    from livecut.engine.sources.frame_code import decode_index, strip_wh

    class GateSink(Sink):
        accepts = (OUTPUT,)

        def __init__(self) -> None:
            self.latency: list[float] = []
            self.memory: list[tuple[float, float]] = []
            self.wrong_picture = self.wrong_alpha = self.out_of_order = 0
            self.last = -1
            self.process = psutil.Process()

        def open(self, stream) -> None:
            self.strip = strip_wh(stream.width)
            self.shown = np.zeros((stream.height, stream.width), np.uint8)

        def write(self, frame) -> None:
            now = time.perf_counter()
            self.latency.append(now - frame.due_seconds)
            image = frame.planes[0]
            width, height = self.strip
            corner = image[:height, :width]
            # Under alpha 0 a straight colour is anybody's: what shows over black is what counts.
            np.minimum(corner[..., 1], corner[..., 3], out=self.shown[:height, :width])
            self.wrong_picture += decode_index(self.shown) != frame.index
            self.wrong_alpha += decode_index(image[..., 3]) != frame.index
            self.out_of_order += frame.index <= self.last
            self.last = frame.index
            if not self.memory or now - self.memory[-1][0] >= 1:
                self.memory.append((now, self.process.memory_info().rss / 2**20))

        def close(self) -> None:
            pass

        def abort(self) -> None:
            pass

    return GateSink()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="livecut-s")
    chosen = parser.parse_args()
    json.dump(child(chosen.seconds, chosen.model), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
