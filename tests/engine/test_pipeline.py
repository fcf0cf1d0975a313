"""The pipeline: order, policies, sizes. Fakes decide when everything happens; nothing sleeps."""

import threading

import numpy as np
import pytest
from fakes import (
    PATIENCE_SECONDS,
    MemorySource,
    RecordingSink,
    RedBackend,
    SlowBackend,
    frames,
    grey_frame,
    must,
)

from livecut.engine.errors import UsageError
from livecut.engine.frame import Frame

POLICIES = ("wait", "wait-parted", "drop-oldest")


# -- order, and alpha k on picture k


@pytest.mark.parametrize("policy", ["wait", "wait-parted"])
def test_wait_writes_every_frame_in_order(make, policy):
    pipeline = make(MemorySource(frames(200)), policy=policy)
    report = pipeline.run()
    assert pipeline.sink.indices == list(range(200))
    assert (report.frames_in, report.frames_out, report.dropped) == (200, 200, 0)
    assert pipeline.source.closed
    assert (pipeline.sink.closed, pipeline.sink.aborted) == (1, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_alpha_k_is_only_ever_on_picture_k(make, policy):
    pipeline = make(MemorySource(frames(200), is_live=True), policy=policy)
    pipeline.run()
    assert pipeline.sink.frames
    for frame in pipeline.sink.frames:
        colour, alpha = frame.image[..., :3], frame.image[..., 3]
        assert np.all(colour == frame.index)
        assert np.all(np.abs(alpha.astype(int) - frame.index) <= 1)


def test_times_of_a_frame_reach_the_sink(make):
    pipeline = make(MemorySource(frames(3)))
    pipeline.run()
    assert [frame.pts_seconds for frame in pipeline.sink.frames] == [0.0, 0.04, 0.08]
    assert [frame.due_seconds for frame in pipeline.sink.frames] == [100.0, 100.04, 100.08]


@pytest.mark.parametrize(("is_live", "policy", "drops"), [(False, "auto", False), (True, "auto", True)])
def test_auto_waits_for_files_and_drops_for_cameras(make, is_live, policy, drops):
    backend = SlowBackend()
    pipeline = make(live_source(backend, 6, is_live=is_live), backend=lambda: backend, policy=policy)
    if not drops:
        for _ in range(6):
            backend.release.release()
    pipeline.run()
    assert pipeline.sink.indices == ([0, 5] if drops else list(range(6)))


# -- drop-oldest, exactly


def live_source(backend, count, *, is_live=True, read=None):
    """Frame 0 goes into the network; all the others come while it is there; then the network goes on."""

    def before_read(position):
        if is_live and position == 1:
            must(backend.started.acquire(timeout=PATIENCE_SECONDS), "inference")
        if is_live and position == count:
            for _ in range(count):
                backend.release.release()

    return MemorySource(read or frames(count), is_live=is_live, before_read=before_read)


def test_drop_oldest_keeps_the_newest_of_the_frames_that_waited(make):
    backend = SlowBackend()
    pipeline = make(live_source(backend, 8), backend=lambda: backend, policy="drop-oldest")
    report = pipeline.run()
    assert pipeline.sink.indices == [0, 7]
    assert (report.frames_in, report.frames_out, report.dropped) == (8, 2, 6)


def test_frames_that_the_camera_lost_count_as_dropped(make):
    lost = [grey_frame(index) for index in (0, 1, 5)]
    pipeline = make(MemorySource(lost), policy="wait")
    report = pipeline.run()
    assert pipeline.sink.indices == [0, 1, 5]
    assert (report.frames_in, report.frames_out, report.dropped) == (6, 3, 3)


def test_a_slow_sink_does_not_let_frames_grow_old(make):
    """While the first frame is being written, at most one more is picked; the next is the newest there is."""
    read_all = threading.Event()
    source = MemorySource(frames(20), is_live=True)
    source.before_read = lambda position: read_all.set() if position == 20 else None
    sink = RecordingSink(
        before_write=lambda frame: must(read_all.wait(PATIENCE_SECONDS), "the end of the source")
    )
    pipeline = make(source, sink, policy="drop-oldest")
    pipeline.run()
    assert sink.indices[-1] == 19
    assert sink.indices == sorted(set(sink.indices))
    assert len(sink.indices) <= 3


def test_the_camera_is_never_held_up(make):
    """With the sink stuck, the source is read to its end; only then does the sink go on."""
    read_all = threading.Event()
    source = MemorySource(frames(50), is_live=True)
    source.before_read = lambda position: read_all.set() if position == 50 else None
    sink = RecordingSink(
        before_write=lambda frame: must(read_all.wait(PATIENCE_SECONDS), "the end of the source")
    )
    report = make(source, sink, policy="drop-oldest").run()
    assert report.frames_in == 50


def test_wait_holds_up_the_source_rather_than_grow(make):
    """With the network stuck, only as many frames are read as there are slots."""
    backend = SlowBackend()
    ahead = []

    def before_read(position):
        ahead.append(position - backend.inferred)
        backend.release.release()

    source = MemorySource(frames(60), before_read=before_read)
    make(source, backend=lambda: backend, policy="wait", depth=1).run()
    assert max(ahead) <= 4 + 1 + 1


# -- a source that is down


@pytest.mark.parametrize("policy", POLICIES)
def test_the_last_good_frame_goes_out_again_while_the_source_is_down(make, policy):
    written = threading.Semaphore(0)
    seen = [
        grey_frame(0),
        grey_frame(1),
        Frame.repeat(2, 0.08, 100.08),
        Frame.repeat(3, 0.12, 100.12),
        grey_frame(4),
    ]

    def before_read(position):
        if position:
            must(written.acquire(timeout=PATIENCE_SECONDS), "a frame written")

    source = MemorySource(seen, is_live=True, before_read=before_read)
    sink = RecordingSink(before_write=lambda frame: written.release())
    report = make(source, sink, policy=policy).run()
    assert sink.indices == [0, 1, 2, 3, 4]
    assert [int(frame.image[0, 0, 0]) for frame in sink.frames] == [0, 1, 1, 1, 4]
    assert [frame.pts_seconds for frame in sink.frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert (report.frames_out, report.dropped) == (5, 0)


def test_a_source_that_begins_down_shows_nothing_until_its_first_picture(make):
    source = MemorySource([Frame.repeat(0, 0.0, 100.0), grey_frame(1)], is_live=True)
    pipeline = make(source, policy="wait")
    pipeline.run()
    assert pipeline.sink.indices == [1]


def test_a_repeat_never_displaces_a_picture(make):
    backend = SlowBackend()
    seen = [grey_frame(0), grey_frame(1), Frame.repeat(2, 0.08, 100.08)]
    pipeline = make(live_source(backend, 3, read=seen), backend=lambda: backend, policy="drop-oldest")
    pipeline.run()
    assert pipeline.sink.indices == [0, 1]


def test_a_live_stream_warms_up_on_blank_frames_that_nobody_sees(make):
    source, sink, calls = MemorySource(frames(3), is_live=True), RecordingSink(), []

    class CountingBackend(RedBackend):
        def infer(self, buffer, state):
            calls.append(state)
            return super().infer(buffer, state)

    pipeline = make(source, sink, backend=CountingBackend, policy="drop-oldest", warm_up_rounds=2)
    report = pipeline.run()
    assert len(calls) >= 4 * 2 + report.frames_out
    assert report.frames_in == 3
    assert len(sink.frames) == report.frames_out


def test_a_pipeline_runs_once(make):
    pipeline = make(MemorySource(frames(1)))
    pipeline.run()
    with pytest.raises(UsageError, match="runs once"):
        pipeline.run()


# -- sizes


def test_a_camera_that_comes_back_with_another_size_is_fitted_into_the_stream(make):
    other = [grey_frame(index, (32, 64), value=200) for index in range(2, 4)]
    pipeline = make(MemorySource([grey_frame(0, value=100), grey_frame(1, value=100), *other]))
    pipeline.run()
    assert [frame.image.shape for frame in pipeline.sink.frames] == [(32, 64, 4)] * 4
    alpha = pipeline.sink.frames[3].image[..., 3]
    assert np.all(alpha[:, 26:38] >= 199)  # the portrait picture stands in the middle
    assert not alpha[:, :20].any()  # and its margins are background
    assert not alpha[:, 44:].any()


def test_a_sink_without_a_fixed_size_gets_frames_as_they_are(make):
    sizes = [(64, 32), (32, 64), (50, 41), (64, 32)]
    source = MemorySource([grey_frame(index, size) for index, size in enumerate(sizes)])
    pipeline = make(source, RecordingSink(fixed_size=False))
    pipeline.run()
    assert [(frame.width, frame.height) for frame in pipeline.sink.frames] == sizes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "drop-newest"}, "policy: expected one of auto, wait, drop-oldest, got 'drop-newest'"),
        ({"depth": -1}, "depth: expected at least 0, got -1"),
        (
            {"output": "I420", "background": (0, 0, 0)},
            "the sink takes RGBA, BGR, ALPHA, the compositor makes I420",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_it_starts(make, options, message):
    with pytest.raises(UsageError, match=message):
        make(MemorySource([]), **options)
