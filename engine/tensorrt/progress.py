"""How far a build is: TensorRT's nested phases as one share between 0 and 1."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Progress = Callable[[str, float], None]
"""``(step, share)``: what is being done, and how much of all is done, 0..1."""


class Phases:
    """The phases a builder is in. Each counts as one step of the phase around it."""

    def __init__(self, report: Callable[[str, float], None]) -> None:
        self._report = report
        self._lock = threading.Lock()  # the builder calls from several threads
        self._steps: dict[str, tuple[str | None, int, int]] = {}  # phase -> (parent, steps, done)
        self._share = 0.0
        self.failure: BaseException | None = None
        """What ``report`` raised: it must not pass through the library's own frames."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of ``steps`` steps begins, inside ``parent`` if there is one."""
        self._update(phase, (parent, max(1, steps), 0))

    def step(self, phase: str, index: int) -> bool:
        """Step ``index`` of a phase is done; False asks the builder to stop."""
        with self._lock:
            parent, steps, _ = self._steps.get(phase, (None, index + 1, 0))
        self._update(phase, (parent, steps, index + 1))
        return self.failure is None

    def finish(self, phase: str) -> None:
        """A phase is done, whether or not it counted all its steps."""
        self._update(phase, None)

    def _update(self, phase: str, entry: tuple[str | None, int, int] | None) -> None:
        with self._lock:
            if entry is None:
                self._steps.pop(phase, None)
            else:
                self._steps[phase] = entry
            # Phases end before they counted all, and parents count them late: never show less than before.
            self._share = share = max(self._share, min(1.0, self._outer(None)))
        try:
            if self.failure is None:
                self._report(phase, share)
        except BaseException as error:  # Ctrl-C arrives here too
            self.failure = error

    def _outer(self, parent: str | None) -> float:
        """Share of the phases directly inside ``parent`` that are going on, its mean where several are."""
        shares = [
            (done + self._outer(phase) if done < steps else steps) / steps
            for phase, (around, steps, done) in self._steps.items()
            if around == parent
        ]
        return sum(shares) / len(shares) if shares else 0.0


def monitor(trt: Any, phases: Phases) -> Any:
    """``phases`` as the ``IProgressMonitor`` of the library ``trt``."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
