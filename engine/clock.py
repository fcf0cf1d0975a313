"""Time as a parameter, so that tests decide it and no test sleeps."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """A monotonic clock in seconds."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""

    @abstractmethod
    def wait_until(self, deadline: float, stop: threading.Event) -> bool:
        """Return True at ``deadline``, or False as soon as ``stop`` is set."""


class MonotonicClock(Clock):
    """The system's monotonic clock."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, deadline: float, stop: threading.Event) -> bool:
        remaining = deadline - time.perf_counter()
        while remaining > 0:
            if stop.wait(remaining):
                return False
            remaining = deadline - time.perf_counter()
        return not stop.is_set()
