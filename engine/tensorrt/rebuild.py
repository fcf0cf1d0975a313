"""Build an engine in a process of its own: neither a crash of the library nor its work disturbs a stream.

``python -m livecut.engine.tensorrt.rebuild`` reads one JSON object on standard input and writes one line of
JSON for each step on standard output; the last is ``{"done": true}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import BackendError, LivecutError
from .build import build_engine
from .locks import Cancelled
from .progress import Progress
from .wanted import Wanted

NICENESS = 10
"""The stream that is served meanwhile comes first."""
COMMAND = [sys.executable, "-m", f"{__package__}.rebuild"]


def build_here(wanted: Wanted, path: Path, progress: Progress, stop: threading.Event) -> None:
    """Build ``path`` and its passport in this process and thread; a ``Build`` of the cache.

    Raises
    ------
    Cancelled
        If ``stop`` was set meanwhile.
    LivecutError, OSError
        As ``build_engine``.
    """

    def report(step: str, share: float) -> None:
        if stop.is_set():
            raise Cancelled
        progress(step, share)

    _build(_request(wanted, path), report)


def build_in_process(wanted: Wanted, path: Path, progress: Progress, stop: threading.Event) -> None:
    """The same in a process of its own, at a low priority; ends it when ``stop`` is set.

    Raises
    ------
    Cancelled
        If ``stop`` was set meanwhile.
    BackendError
        If the build fails, or its process dies; the message says how.
    """
    child = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()

    def end_on_stop() -> None:
        while not ended.wait(0.1):
            if stop.is_set():
                child.terminate()
                return

    threading.Thread(target=end_on_stop, name="livecut-engine-stop", daemon=True).start()
    said: list[str] = []
    listener = threading.Thread(target=lambda: said.extend(child.stderr or ()), daemon=True)
    listener.start()
    last: dict[str, Any] = {}
    try:
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                json.dump(_request(wanted, path), child.stdin)
                child.stdin.close()
            except BrokenPipeError:
                pass  # it died at once: its exit says how
            for line in child.stdout:
                last = _parsed(line) or last
                if "step" in last:
                    progress(last["step"], last["share"])
    except BaseException:
        child.kill()
        raise
    finally:
        ended.set()
    listener.join(1)
    if stop.is_set():
        raise Cancelled
    if child.returncode == 0 and last.get("done"):
        return
    raise BackendError(last.get("error") or f"its process {_how_it_ended(child.returncode)}{_tail(said)}")


def _how_it_ended(code: int) -> str:
    import signal

    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _tail(lines: list[str]) -> str:
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {text[:200]}" if text else ""


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}  # something else that a library printed
    return value if isinstance(value, dict) else {}


def _request(wanted: Wanted, path: Path) -> dict[str, Any]:
    place = wanted.place
    return {
        "source": str(wanted.source),
        "out": str(path),
        "precision": wanted.precision,
        "profiles": wanted.profiles,
        "library": place.library,
        "compute_capability": place.compute_capability,
        "timing_cache": str(path.with_name(f"timings-{place.library_version}-sm_{place.compute_capability}")),
    }


def _build(request: dict[str, Any], progress: Progress) -> None:
    from .api import load

    report = build_engine(
        Path(request["source"]),
        Path(request["out"]),
        precision=request["precision"],
        profiles={name: tuple(map(tuple, shapes)) for name, shapes in request["profiles"].items()},  # type: ignore[misc]
        compute_capability=request["compute_capability"],
        timing_cache=Path(request["timing_cache"]),
        progress=progress,
        api=load(request["library"]),
    )
    report.passport(command="rebuilt where it runs").write(report.engine)


def main() -> int:
    """The process: build what standard input asks for."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def say(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    if hasattr(os, "nice"):
        os.nice(NICENESS)
    shown = -1.0

    def report(step: str, share: float) -> None:
        nonlocal shown
        if share - shown >= 0.01 or share in (0.0, 1.0):
            shown = share
            say(step=step, share=share)

    try:
        _build(json.load(sys.stdin), report)
    except (LivecutError, OSError, ValueError) as error:
        say(error=" ".join(str(error).split()))
        return 1
    say(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
