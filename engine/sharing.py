"""When two neighbouring stages that share a thread had better have one each."""

from __future__ import annotations

EVERY_FRAMES = 32
BUSY_SHARE = 0.85
"""Of the time: from here on the thread, and not what comes before or after it, holds the stream up."""
GAIN_SHARE = 0.05
"""Of the thread's work: less than this is not worth a thread."""
HAND_OFF_SECONDS = 100e-6
"""What passing a frame to another thread costs, generously: less work than this is not passed on."""


class Sharing:
    """Watches the two stages of one thread.

    Passing a frame from thread to thread costs tens of microseconds of processor time, so stages share a
    thread for as long as that thread keeps up with the others.

    Parameters
    ----------
    now : float
        Seconds, of the clock that ``part`` is given.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self._frames = 0
        self._first = self._second = 0.0

    def part(self, first: float, second: float, now: float) -> bool:
        """Take in one frame's seconds in both stages; whether to part them, judged every few frames."""
        self._frames += 1
        self._first += first
        self._second += second
        if self._frames < EVERY_FRAMES:
            return False
        work, lesser = self._first + self._second, min(self._first, self._second)
        held_up = work >= BUSY_SHARE * (now - self._since)
        gain = lesser >= GAIN_SHARE * work and lesser >= HAND_OFF_SECONDS * self._frames
        self._since, self._frames, self._first, self._second = now, 0, 0.0, 0.0
        return held_up and gain
