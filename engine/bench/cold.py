"""Cold start: a fresh process, from nothing to its first cut-out frame.

Run as ``python -m livecut.engine.bench.cold SETTINGS`` this module is that process.
"""

import time

_BEGIN = time.perf_counter()  # before anything else is imported: what that costs is what is asked

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

PATIENCE_SECONDS = 900.0
"""A TensorRT engine may have to be built first."""


def measure(settings: Any, *, python: str | None = None) -> dict[str, Any]:
    """Start a process that cuts out one frame; seconds of each step, and under ``backend`` what it ran on.

    Parameters
    ----------
    settings : Settings
        Model, backend, precision, threads and frame size are used.
    python : str, optional
        The interpreter; default: this one.

    Raises
    ------
    BackendError
        If it fails or takes longer than a quarter of an hour.
    """
    from ..errors import BackendError

    wanted = {
        "model": str(settings.model), "backend": settings.backend, "precision": settings.precision,
        "threads": settings.threads, "size_wh": settings.input_size_wh, "frame_wh": settings.size_wh,
        "on_gpu": settings.require_gpu or None, "rebuild": settings.rebuild,
    }  # fmt: skip
    command = [python or sys.executable, "-m", __name__, json.dumps(wanted)]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise BackendError(f"cold start: took more than {PATIENCE_SECONDS:g} s") from None
    total = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackendError(f"cold start: the process exited with {done.returncode}: {last}")
    steps: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    backend = steps.pop("backend")
    first = sum(steps.values())
    return {"backend": backend, "interpreter_and_exit": max(0.0, total - first), **steps, "total": total}


def main(arguments: list[str]) -> None:
    """The process: import, open, first frame, second frame."""
    wanted = json.loads(arguments[0])
    import numpy as np

    from ..registry import load_manifest
    from ..session import Session

    imported = time.perf_counter()
    width, height = wanted.pop("frame_wh")
    size, model = wanted.pop("size_wh"), wanted.pop("model")
    picture = np.zeros((height, width, 3), np.uint8)
    plate = picture if load_manifest(model).begins_with == "plate" else None
    with Session(model, size_wh=tuple(size) if size else None, plate=plate, **wanted) as session:
        info = session.warm_up((width, height))
        opened = time.perf_counter()
        session.cut(picture)
        first = time.perf_counter()
        steps = {"import": imported - _BEGIN, "session": opened - imported, "first_frame": first - opened}
    print(json.dumps({"backend": f"{info.name}, {info.precision}", **steps}))


if __name__ == "__main__":
    main(sys.argv[1:])
