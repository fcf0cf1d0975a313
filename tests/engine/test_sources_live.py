import threading

import numpy as np
import pytest
from fakes import PATIENCE_SECONDS, FakeClock

from livecut.engine.clock import MonotonicClock
from livecut.engine.errors import SourceError
from livecut.engine.frame import Frame
from livecut.engine.sources.live import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Feed, LiveSource


class ScriptedFeed(Feed):
    """Gives pictures as the test pushes them, and dies when it is told to."""

    def __init__(self, size_wh=(8, 6), fps=25.0, is_finite=False):
        self.size_wh, self.fps, self.is_finite = size_wh, fps, is_finite
        self._script = []
        self._wake = threading.Condition()
        self.closed = threading.Event()
        self.given = 0

    def push(self, *items):
        """Items are (value, time), an exception, or None for the end."""
        with self._wake:
            self._script.extend(items)
            self._wake.notify_all()

    def pictures(self):
        while True:
            with self._wake:
                if not self._wake.wait_for(lambda: self._script, timeout=PATIENCE_SECONDS):
                    raise SourceError("the test pushed nothing")
                item = self._script.pop(0)
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
            with self._wake:  # resumed: the source has taken the picture
                self.given += 1
                self._wake.notify_all()

    def wait_given(self, count):
        with self._wake:
            assert self._wake.wait_for(lambda: self.given >= count, timeout=PATIENCE_SECONDS)

    def frame(self, picture, index, pts_seconds, due_seconds):
        image = np.full((self.size_wh[1], self.size_wh[0], 3), picture, np.uint8)
        return Frame((image,), "RGB", index, pts_seconds, due_seconds)

    def close(self):
        self.closed.set()


class Camera:
    """Feeds to connect to, one after the other; connecting to what is not there fails."""

    def __init__(self, *feeds):
        self.feeds = list(feeds)
        self.attempts = 0
        self._changed = threading.Condition()

    def connect(self):
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            feed = self.feeds.pop(0) if self.feeds else SourceError("camera: nobody there")
        if isinstance(feed, Exception):
            raise feed
        return feed

    def wait_attempts(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.attempts >= count, timeout=PATIENCE_SECONDS)


class SteppedClock(FakeClock):
    """Readers wait for news, not for time; the back-off waits are noted, and let through one by one."""

    def __init__(self):
        super().__init__(now=10.0)
        self.delays = []
        self.noted = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def wait_until(self, deadline, stop):
        if threading.current_thread().name.startswith("livecut-"):
            self.delays.append(deadline - self.now())
            self.noted.release()
            assert self.let_through.acquire(timeout=PATIENCE_SECONDS)
            return not stop.is_set()
        if stop.wait(0.02):  # news
            return False
        with self._lock:
            self._now = max(self._now, deadline)
        return True


def live(camera, clock=None):
    return LiveSource("camera", camera.connect, clock=clock or MonotonicClock(), jitter=lambda: 1.0)


def next_picture(source):
    """The next frame that is no repeat."""
    for _ in range(2000):
        frame = source.read()
        if frame is None or not frame.repeated:
            return frame
    raise AssertionError("only repeats came")


def test_live_source_gives_frames_as_they_come():
    feed = ScriptedFeed()
    source = live(Camera(feed))
    feed.push((1, 0.0))
    info = source.open()
    assert (info.width, info.height, info.fps, info.is_live) == (8, 6, 25.0, True)
    assert source.read().image[0, 0, 0] == 1
    feed.push((2, 0.04))
    frame = next_picture(source)
    assert frame.image[0, 0, 0] == 2
    feed.push(None)
    source.close()
    assert feed.closed.is_set()


def test_live_source_keeps_only_the_newest_frame_and_leaves_a_gap():
    feed = ScriptedFeed()
    source = live(Camera(feed))
    feed.push((0, 0.0))
    source.open()
    feed.push(*((k, k / 25) for k in range(1, 6)))
    feed.push((9, 0.24))
    feed.wait_given(6)
    frames = [next_picture(source)]
    while frames[-1].image[0, 0, 0] != 9:
        frames.append(next_picture(source))
    assert len(frames) <= 2
    assert frames[-1].index == 6
    feed.push(None)
    source.close()


def test_live_source_repeats_at_its_rate_while_the_feed_is_down_and_comes_back_with_another_size():
    first, second = ScriptedFeed(size_wh=(8, 6), fps=10.0), ScriptedFeed(size_wh=(16, 12), fps=10.0)
    camera, clock = Camera(first, SourceError("camera: still away"), second), SteppedClock()
    source = live(camera, clock)
    first.push((1, 0.0))
    source.open()
    assert (source.read().width, source.info.width) == (8, 8)
    first.push(SourceError("camera: unplugged"))
    assert first.closed.wait(PATIENCE_SECONDS)
    repeats = [source.read() for _ in range(5)]
    assert all(frame.repeated for frame in repeats)
    assert np.diff([frame.due_seconds for frame in repeats]) == pytest.approx(0.1)
    assert np.diff([frame.index for frame in repeats]).tolist() == [1, 1, 1, 1]
    assert (np.diff([frame.pts_seconds for frame in repeats]) > 0).all()
    clock.let_through.release()
    camera.wait_attempts(2)
    assert source.read().repeated
    clock.let_through.release()
    camera.wait_attempts(3)
    second.push((7, 123.0))
    frame = next_picture(source)
    assert (frame.width, frame.height, frame.image[0, 0, 0]) == (16, 12, 7)
    assert frame.index > repeats[-1].index
    assert frame.pts_seconds > repeats[-1].pts_seconds
    assert source.reconnections == 1
    source.interrupt()
    second.push(None)
    source.close()


def test_live_source_backs_off_twice_as_long_each_time_up_to_a_limit():
    feed = ScriptedFeed()
    camera, clock = Camera(feed), SteppedClock()
    source = live(camera, clock)
    feed.push((1, 0.0), None)
    source.open()
    for attempt in range(2, 11):
        clock.let_through.release()
        camera.wait_attempts(attempt)
    source.interrupt()
    clock.let_through.release()
    source.close()
    expected, delay = [], FIRST_DELAY_SECONDS
    while len(expected) < 9:
        expected.append(delay)
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)
    assert clock.delays[:9] == pytest.approx(expected)


def test_live_source_spreads_its_attempts_by_the_jitter():
    feed, clock = ScriptedFeed(), SteppedClock()
    source = LiveSource("camera", Camera(feed).connect, clock=clock, jitter=lambda: 0.5)
    feed.push((1, 0.0), None)
    source.open()
    assert clock.noted.acquire(timeout=PATIENCE_SECONDS)
    source.interrupt()
    clock.let_through.release()
    source.close()
    assert clock.delays == pytest.approx([FIRST_DELAY_SECONDS / 2])


def test_live_source_that_cannot_be_opened_at_first_is_an_error_at_once():
    camera = Camera(SourceError("camera: nobody there"))
    with pytest.raises(SourceError, match="camera: nobody there"):
        live(camera).open()
    assert camera.attempts == 1


def test_live_source_that_ends_before_its_first_picture_is_an_error():
    feed = ScriptedFeed()
    feed.push(None)
    with pytest.raises(SourceError, match="ended before its first picture"):
        live(Camera(feed)).open()


def test_live_source_time_goes_on_when_the_cameras_clock_jumps():
    feed, clock = ScriptedFeed(), FakeClock(now=100.0)
    source = live(Camera(feed), clock)
    feed.push((1, 5000.0))
    source.open()
    frames = [source.read()]
    for value, time in ((2, 5000.04), (3, 9.0), (4, 9.04), (5, 1e9)):
        clock.advance(0.04)
        feed.push((value, time))
        feed.wait_given(value)
        frames.append(next_picture(source))
    times = [frame.pts_seconds for frame in frames]
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    assert times[1] == pytest.approx(0.04)
    source.interrupt()
    feed.push(None)
    source.close()


def test_live_read_returns_when_interrupted():
    feed = ScriptedFeed()
    source = live(Camera(feed))
    feed.push((1, 0.0))
    source.open()
    source.read()
    result = []
    reader = threading.Thread(target=lambda: result.append(next_picture(source)))
    reader.start()
    source.interrupt()
    reader.join(timeout=PATIENCE_SECONDS)
    assert result == [None]
    feed.push(None)
    source.close()


def test_finite_feed_gives_every_frame_and_ends():
    feed = ScriptedFeed(is_finite=True)
    source = live(Camera(feed))
    feed.push(*((k, k / 25) for k in range(20)), None)
    assert not source.open().is_live
    values = []
    while (frame := source.read()) is not None:
        values.append(int(frame.image[0, 0, 0]))
    assert values == list(range(20))
    source.close()


def test_finite_feed_that_breaks_is_an_error():
    feed = ScriptedFeed(is_finite=True)
    source = live(Camera(feed))
    feed.push((1, 0.0), SourceError("lost: connection reset"))
    source.open()
    assert source.read() is not None
    with pytest.raises(SourceError, match="connection reset"):
        source.read()
    source.close()


def test_fault_in_a_feed_does_not_leave_the_reader_waiting():
    feed = ScriptedFeed()
    source = live(Camera(feed))
    feed.push((1, 0.0), ZeroDivisionError("a bug"))
    source.open()
    assert source.read() is not None
    with pytest.raises(SourceError, match="ZeroDivisionError: a bug"):
        next_picture(source)
    source.close()
