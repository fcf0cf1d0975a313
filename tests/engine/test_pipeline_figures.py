"""What the pipeline measures, what it keeps in memory, and which stages share a thread."""

import gc
import threading
import tracemalloc

import pytest
from fakes import FakeClock, MemorySource, RecordingSink, RedBackend, frames, grey_frame

from livecut.engine.clock import MonotonicClock
from livecut.engine.frame import Frame
from livecut.engine.sharing import EVERY_FRAMES, Sharing

# -- threads


def judged(first, second, elapsed):
    """What ``Sharing`` says after as many frames as it looks at, ``elapsed`` seconds apart."""
    sharing = Sharing(10.0)
    said = [sharing.part(first, second, 10 + (n + 1) * elapsed) for n in range(EVERY_FRAMES)]
    assert not any(said[:-1])
    return said[-1]


def test_stages_part_where_their_thread_holds_the_stream_up():
    assert judged(4e-3, 1e-3, elapsed=5e-3)
    assert judged(1e-3, 4e-3, elapsed=5.5e-3)


def test_stages_stay_together_where_another_thread_is_slower():
    assert not judged(4e-3, 1e-3, elapsed=8e-3)


def test_stages_stay_together_where_one_of_them_is_hardly_any_work():
    assert not judged(20e-3, 0.5e-3, elapsed=20.5e-3)  # a fortieth of the thread's work
    assert not judged(90e-6, 90e-6, elapsed=180e-6)  # less than a hand-off


def test_each_verdict_looks_at_its_own_frames():
    sharing, now = Sharing(0.0), 0.0
    for _ in range(EVERY_FRAMES):
        now += 1.0
        assert not sharing.part(1e-3, 1e-3, now)
    for n in range(EVERY_FRAMES):
        now += 2e-3
        assert sharing.part(1e-3, 1e-3, now) == (n == EVERY_FRAMES - 1)


@pytest.mark.parametrize(("policy", "own_threads"), [("wait", False), ("wait-parted", True)])
def test_preprocess_and_postprocess_get_threads_of_their_own_only_when_they_part(make, policy, own_threads):
    names = set()
    watch = lambda frame: names.update(thread.name for thread in threading.enumerate())  # noqa: E731
    pipeline = make(MemorySource(frames(40)), RecordingSink(before_write=watch), policy=policy)
    pipeline.run()
    assert pipeline.sink.indices == list(range(40))
    assert ("livecut-preprocess" in names, "livecut-postprocess" in names) == (own_threads, own_threads)


# -- memory


def test_slots_and_outputs_are_reused(make):
    """In steady state every buffer a frame passes through is one of a few made at the start."""
    inputs, outputs = set(), set()

    class Watching(RedBackend):
        def infer(self, buffer, state):
            inputs.add((id(buffer), buffer.input.ctypes.data))
            super().infer(buffer, state)

    sink = RecordingSink(before_write=lambda frame: outputs.add(frame.planes[0].ctypes.data))
    pipeline = make(MemorySource(frames(250)), sink, backend=Watching, policy="wait", depth=2)
    pipeline.run()
    assert len(inputs) <= 6
    assert len(outputs) <= 3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_stream(make):
    """Python's own count of what is allocated, at two moments of a steady stream."""
    size_wh, sizes = (640, 360), {}

    def before_write(frame):
        if frame.index in (100, 400):
            gc.collect()
            sizes[frame.index] = tracemalloc.get_traced_memory()[0]

    class Counting(RecordingSink):
        def write(self, frame):
            self.before_write(frame)

    same = [grey_frame(0, size_wh)] * 450
    source = MemorySource(same, size_wh=size_wh)
    read = source.read

    def numbered(out=None):
        frame = read(out)
        if frame is not None:
            frame = Frame(frame.planes, frame.format, source.position - 1, 0.0, 0.0)
        return frame

    source.read = numbered
    tracemalloc.start()
    try:
        make(source, Counting(before_write=before_write), policy="wait").run()
    finally:
        tracemalloc.stop()
    one_frame = 640 * 360 * 3
    assert abs(sizes[400] - sizes[100]) < one_frame / 10


# -- figures


def test_latency_counts_from_the_moment_a_frame_was_due(make):
    clock = FakeClock()
    source = MemorySource([grey_frame(0, start=99.75)])  # due a quarter of a second ago
    report = make(source, clock=clock).run()
    assert report.latency_ms["p50"] == pytest.approx(250, rel=0.01)


def test_stage_times_count_work_and_not_waiting(make):
    clock = FakeClock()
    source = MemorySource(frames(4, start=0.0), is_live=True, before_read=lambda position: clock.advance(0.5))
    report = make(
        source, RecordingSink(before_write=lambda f: clock.advance(0.25)), clock=clock, policy="wait"
    ).run()
    assert report.stages["output"]["p50"] >= 249
    assert report.backend == {"name": "red", "device": "test", "precision": "fp32", "threads": 1}


def test_progress_tells_how_far_the_stream_is(make):
    seen = []
    clock = FakeClock()
    source = MemorySource(frames(5), before_read=lambda position: clock.advance(1))
    make(source, clock=clock, on_progress=seen.append).run()
    assert seen
    assert seen[0].frames == 5
    assert [p.frames_out for p in seen] == sorted({p.frames_out for p in seen})


def test_the_default_clock_is_monotonic(make):
    assert isinstance(make(MemorySource([]), clock=None).clock, MonotonicClock)
