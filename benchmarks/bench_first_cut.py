"""From nothing to the first cut-out: a fresh process, a small picture, ``livecut cut``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import scene
from .measure import Measurement, Summary, Watch, median_interval, sample_warnings
from .options import Options
from .results import Goal, Row, WrongResult, checked, exact

TITLE = "first cut-out of a fresh process, 640x480 picture"
SIZE_WH = (640, 480)


def run(options: Options) -> list[Row]:
    """Several runs; the first is told apart, for the system's file cache may still be cold."""
    from PIL import Image

    runs = 4 if options.quick else 21
    with tempfile.TemporaryDirectory() as folder:
        picture, result = Path(folder) / "product.png", Path(folder) / "cut.png"
        Image.fromarray(np.ascontiguousarray(scene.frames(SIZE_WH, 1)[0][..., ::-1])).save(picture)
        chosen = ["--model", options.model, "--backend", "openvino"]
        commands = {
            "livecut cut": ["-m", "livecut", "cut", str(picture), str(result), *chosen],
            "python -c 'import numpy, cv2'": ["-c", "import numpy, cv2"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        watch = Watch()
        with watch:
            for index in range(runs):
                for name in list(commands) if index % 2 == 0 else list(reversed(commands)):
                    result.unlink(missing_ok=True)
                    seconds[name].append(once([sys.executable, *commands[name]], folder))
                    if name == "livecut cut":
                        check = checked("shape and mode of the result", int(not is_cut_out(result)), 0)
    first, rest = seconds["livecut cut"][0], seconds["livecut cut"][1:]
    summaries = {name: Summary(tuple(values[1:]), unit="s") for name, values in seconds.items()}
    goals = [
        Goal("seconds from start to exit, median", median_interval(rest), 1.5, at_least=False, unit="s"),
        Goal("the first of these runs", exact(first), at_least=False, unit="s"),
        Goal("the slowest of the others", exact(max(rest)), at_least=False, unit="s"),
    ]
    conditions = {
        "picture": "640x480 PNG to RGBA PNG",
        "counted": "from starting the interpreter until it has exited; the first run compiles bytecode",
        "runs": runs,
    }
    measurement = Measurement(summaries, watch.warnings + sample_warnings(summaries))
    return [Row.of("first-cut", TITLE, measurement, conditions=conditions, goals=goals, checks=[check])]


def once(command: list[str], folder: str) -> float:
    """Seconds that a process takes from start to exit; WrongResult if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WrongResult(f"{' '.join(command)} exited with {done.returncode}: {last}")
    return took


def is_cut_out(path: Path) -> bool:
    """Whether the file is a picture of the right size with transparency that is not the same everywhere."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode != "RGBA" or picture.size != SIZE_WH:
            return False
        low, high = picture.getchannel("A").getextrema()
    return low < high
