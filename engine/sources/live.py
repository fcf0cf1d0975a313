"""What live sources share: a thread that keeps the newest picture and opens the feed again when it dies."""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from ..clock import Clock, MonotonicClock
from ..errors import SourceError
from ..frame import Frame
from .base import Source, SourceInfo

_log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.25, 8.0
"""Wait before the first and before later attempts to open a feed again; it doubles from one to the other."""
STALL_SECONDS = 0.5
"""A feed that is connected but sends nothing for so long counts as down: the last good frame is repeated."""
_LARGEST_CLOCK_DRIFT_SECONDS = 2.0
_FIRST_PICTURE_SECONDS = 20.0
_JOIN_SECONDS = 1.0


class Feed(ABC):
    """One connection to a camera or server, used by one thread and closed by it."""

    fps: float | None = None
    """Nominal rate, where it says one."""
    is_finite: bool = False
    """Whether its end is the end of the stream (a file on a web server) rather than a fault."""

    @abstractmethod
    def pictures(self) -> Iterator[tuple[Any, float | None]]:
        """Yield pictures and their times in seconds, None where they have none. Raises SourceError."""

    @abstractmethod
    def frame(self, picture: Any, index: int, pts_seconds: float, due_seconds: float) -> Frame:
        """Make a frame of a picture: only for those that were not overtaken by a newer one."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; safe to call twice."""


class LiveSource(Source):
    """Frames of a feed as they come; the newest wins when the reader is slow.

    When the feed ends or fails it is opened again, with exponential back-off and jitter, for as long as it
    takes; meanwhile ``read`` returns repeats at the feed's rate. Frames of the new feed may have another
    size. Only the first connection is not retried: a wrong address is an error at once.

    Parameters
    ----------
    name : str
        For messages: the URI without credentials.
    connect : callable
        Opens a feed or raises SourceError. Called on the thread of this source.
    clock : Clock, optional
        Where arrival times come from.
    jitter : callable, optional
        Gives the factor for each back-off delay; between 0.5 and 1.5, at random, when omitted.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Feed],
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] | None = None,
    ):
        self._name = name
        self._connect = connect
        self._clock = clock or MonotonicClock()
        self._jitter = jitter or (lambda: random.uniform(0.5, 1.5))
        self._stop = threading.Event()
        self._news = threading.Event()  # a picture arrived, the feed ended for good, or we are interrupted
        self._taken = threading.Event()  # a finite feed waits for it
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._info: SourceInfo | None = None
        self._newest: tuple[Feed, Any, int, float, float] | None = None
        self._failure: SourceError | None = None
        self._ended = self._is_up = False
        self._next = self._received = 0
        self._period = 1 / 30
        self._start = self._last_pts = self._last_arrival = self._last_return = 0.0
        self.reconnections = 0
        """How many times the feed was opened again."""

    def open(self) -> SourceInfo:
        self._thread = threading.Thread(target=self._run, name=f"livecut-{self._name}", daemon=True)
        self._thread.start()
        # On the system's clock even in tests: it bounds a fault, it does not decide what happens.
        if not self._news.wait(_FIRST_PICTURE_SECONDS):
            self.close()
            raise SourceError(f"{self._name}: no picture within {_FIRST_PICTURE_SECONDS:.0f} s")
        with self._lock:
            newest, failure = self._newest, self._failure
        if newest is None:
            self.close()
            raise failure or SourceError(f"{self._name}: ended before its first picture")
        feed, picture, index, pts, due = newest
        first = feed.frame(picture, index, pts, due)
        self._last_return = self._clock.now()
        self._info = SourceInfo(
            first.width,
            first.height,
            fps=feed.fps,
            is_live=not feed.is_finite,
            matrix=first.matrix,
            full_range=first.full_range,
            name=self._name,
        )
        return self._info

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise SourceError(f"{self._name}: not open")
        return self._info

    def read(self, out: Frame | None = None) -> Frame | None:
        if self._info is None:
            raise SourceError(f"{self._name}: not open")
        while not self._stop.is_set():
            if not self._ended:
                self._clock.wait_until(self._repeat_due(), self._news)
            with self._lock:
                newest, self._newest = self._newest, None
                self._news.clear()
                ended = self._ended
            self._taken.set()
            now = self._clock.now()
            if newest is not None:
                self._last_return = now
                feed, picture, index, pts, due = newest
                return feed.frame(picture, index, pts, due)
            if ended:
                if self._failure is not None and not self._stop.is_set():
                    raise self._failure
                break
            if self._info.is_live and now >= self._repeat_due():
                self._last_return = now
                with self._lock:
                    index, self._next = self._next, self._next + 1
                    self._last_pts = pts = max(self._last_pts + 1e-3, now - self._start)
                return Frame.repeat(index, pts, now)
        return None

    def _repeat_due(self) -> float:
        """When the output needs a frame again, new or not."""
        if self._is_up:
            return max(self._last_return + self._period, self._last_arrival + STALL_SECONDS)
        return self._last_return + self._period

    def interrupt(self) -> None:
        self._stop.set()
        self._news.set()
        self._taken.set()

    def close(self) -> None:
        self.interrupt()
        if self._thread is not None and self._thread is not threading.current_thread():
            # It may sit in a connection attempt that only a timeout ends; it holds nothing of ours but that.
            self._thread.join(_JOIN_SECONDS)
        with self._lock:
            self._newest = None

    # -- on the source's own thread

    def _run(self) -> None:
        delay = 0.0
        while not self._stop.is_set():
            if delay and not self._clock.wait_until(self._clock.now() + delay * self._jitter(), self._stop):
                break
            received, feed, reason = self._received, None, "the feed ended"
            try:
                feed = self._connect()
                self._take_all(feed)
            except SourceError as error:
                reason = str(error)
                if self._received == 0 or (feed is not None and feed.is_finite):
                    self._failure = error
                    break
            except Exception as error:  # whatever it is, the reader must not wait for ever
                self._failure = SourceError(f"{self._name}: {type(error).__name__}: {error}")
                break
            finally:
                self._is_up = False
                if feed is not None:
                    feed.close()
                self._news.set()
            if self._received == 0 or (feed is not None and feed.is_finite):
                break
            failed_again = self._received == received
            delay = min(2 * delay, LONGEST_DELAY_SECONDS) if failed_again and delay else FIRST_DELAY_SECONDS
            if not self._stop.is_set():
                _log.warning("%s: %s; opening it again in about %.2g s", self._name, reason, delay)
        self._ended = True
        self._news.set()

    def _take_all(self, feed: Feed) -> None:
        """Keep the newest picture of ``feed`` until it ends."""
        base = first_time = 0.0
        for count, (picture, time) in enumerate(feed.pictures()):
            if self._stop.is_set():
                break
            now = self._clock.now()
            if self._received == 0:
                self._start = now
            elif count == 0:
                self.reconnections += 1
            if feed.fps:
                self._period = 1 / feed.fps
            if count == 0:
                base, first_time = now - self._start, time or 0.0
            self._received += 1
            pts = base + (time - first_time) if time is not None else now - self._start
            if abs(pts - (now - self._start)) > _LARGEST_CLOCK_DRIFT_SECONDS and not feed.is_finite:
                base, first_time = now - self._start, time or 0.0  # the camera's clock jumped
                pts = base
            if feed.is_finite:
                self._wait_until_taken()
                now = self._clock.now()
            with self._lock:
                pts = max(pts, self._last_pts + 1e-3) if self._next else pts
                self._last_pts, self._last_arrival = pts, now
                self._newest = (feed, picture, self._next, pts, now)
                self._next += 1
                self._is_up = True
                self._news.set()
        if feed.is_finite:
            self._wait_until_taken()

    def _wait_until_taken(self) -> None:
        """A finite feed is not live: every picture is waited for, none is overtaken."""
        while not self._stop.is_set():
            with self._lock:
                if self._newest is None:
                    return
                self._taken.clear()
            self._taken.wait()
