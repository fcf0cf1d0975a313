"""How a pipeline ends: an error in any stage, a stop, Ctrl-C, an empty source. Nothing sleeps."""

import threading

import numpy as np
import pytest
from fakes import PATIENCE_SECONDS, MemorySource, RecordingSink, RedBackend, frames, grey_frame, must

from livecut.engine.errors import BackendError, LivecutError, SinkError, SourceError
from livecut.engine.frame import Frame

POLICIES = ("wait", "wait-parted", "drop-oldest")

# -- errors


class Boom(Exception):
    pass


def failing(stage, at=5):
    """Parts of a pipeline of which one fails at frame ``at``."""

    def boom(position):
        if getattr(position, "index", position) == at:
            raise Boom("went wrong")

    source_frames = frames(20)
    backend, sink = RedBackend, RecordingSink()
    if stage == "capture":
        source_frames[at] = Boom("went wrong")
    elif stage == "preprocess":
        source_frames[at] = Frame((np.zeros((32, 64, 3), np.float32),), "RGB", at, 0.0, 0.0)
    elif stage == "infer":
        backend = lambda: RedBackend(boom)  # noqa: E731
    elif stage == "postprocess":
        source_frames[at] = grey_frame(at)
        source_frames[at].alpha = np.zeros((1, 1), np.uint8)
    else:
        sink = RecordingSink(before_write=boom)
    return MemorySource(source_frames), backend, sink


def one_at_a_time(source, sink):
    """Read a frame only when the one before has been written, or the stream is told to end."""
    turn = threading.Semaphore(1)
    source.before_read = lambda position: must(turn.acquire(timeout=PATIENCE_SECONDS), "a frame written")
    interrupt, before = source.interrupt, sink.before_write

    def before_write(frame):
        if before is not None:
            before(frame)
        turn.release()

    sink.before_write = before_write
    source.interrupt = lambda: (interrupt(), turn.release())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("capture", SourceError),
        ("preprocess", LivecutError),
        ("infer", BackendError),
        ("postprocess", LivecutError),
        ("output", SinkError),
    ],
)
def test_an_error_in_any_stage_surfaces_once_and_closes_the_sink(make, stage, kind, policy):
    source, backend, sink = failing(stage)
    if policy == "drop-oldest":
        one_at_a_time(source, sink)  # so that none is dropped and every frame reaches the stage that fails
    pipeline = make(source, sink, backend=backend, policy=policy)
    with pytest.raises(kind, match=stage) as caught:
        pipeline.run()
    assert "\n" not in str(caught.value)
    assert sink.indices == list(range(5))
    assert (sink.closed, sink.aborted) == (1, 0)
    assert source.closed
    assert pipeline.report.frames_out == 5
    assert not [t for t in threading.enumerate() if t.name.startswith("livecut-")]


def test_our_own_errors_pass_unchanged(make):
    source = MemorySource([grey_frame(0), SourceError("camera unplugged; plug it in")])
    with pytest.raises(SourceError, match=r"^camera unplugged; plug it in$"):
        make(source).run()


def test_a_stream_that_wrote_nothing_leaves_nothing(make):
    pipeline = make(MemorySource([Boom("went wrong")]))
    with pytest.raises(SourceError):
        pipeline.run()
    assert (pipeline.sink.closed, pipeline.sink.aborted) == (0, 1)


def test_a_sink_that_cannot_finish_is_aborted(make):
    sink = RecordingSink(fail_close=True)
    with pytest.raises(SinkError, match="disk full"):
        make(MemorySource(frames(3)), sink).run()
    assert (sink.closed, sink.aborted) == (0, 1)


def test_a_source_that_does_not_open_is_closed_and_the_sink_never_opened(make):
    source, sink = MemorySource([]), RecordingSink()
    source.open = lambda: (_ for _ in ()).throw(SourceError("no such camera"))
    with pytest.raises(SourceError, match="no such camera"):
        make(source, sink).run()
    assert source.closed
    assert sink.stream is None
    assert (sink.closed, sink.aborted) == (0, 0)


def test_an_error_in_the_progress_callback_ends_the_stream_with_that_error(make):
    def progress(_):
        raise Boom("in the caller's own code")

    pipeline = make(MemorySource(frames(50)), on_progress=progress)
    with pytest.raises(Boom):
        pipeline.run()
    assert pipeline.sink.closed == 1


def test_nan_out_of_the_network_stops_the_stream_with_one_line(make):
    class NanBackend(RedBackend):
        def infer(self, buffer, state):
            buffer.alpha.fill(np.nan if self.inferred == 2 else 0.5)
            self.inferred += 1

    pipeline = make(MemorySource(frames(10)), backend=NanBackend)
    with pytest.raises(BackendError, match=r"frame 2: the network returned NaN .* try --precision fp32"):
        pipeline.run()
    assert pipeline.sink.indices == [0, 1]


# -- stopping


@pytest.mark.parametrize("policy", POLICIES)
def test_stop_writes_what_is_in_flight_and_closes_the_sink(make, policy):
    sink = RecordingSink()
    pipeline = make(MemorySource([], endless=True, is_live=True), sink, policy=policy)
    sink.before_write = lambda frame: pipeline.stop() if len(sink.frames) == 10 else None
    report = pipeline.run()
    assert report.frames_out >= 11
    assert sink.indices == sorted(sink.indices)
    assert sink.closed == 1
    assert pipeline.source.closed


def test_ctrl_c_without_a_handler_closes_the_sink_and_goes_on_up(make):
    def before_write(frame):
        if frame.index == 3:
            raise KeyboardInterrupt

    pipeline = make(MemorySource(frames(50)), RecordingSink(before_write=before_write))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    assert pipeline.sink.closed == 1
    assert pipeline.source.closed


def test_stop_before_the_source_is_open_says_so(make):
    pipeline = make(MemorySource([], endless=True))

    def open_slowly():
        pipeline.stop()
        raise SourceError("interrupted")

    pipeline.source.open = open_slowly
    with pytest.raises(SourceError):
        pipeline.run()


def test_an_empty_source_gives_an_empty_report_and_leaves_nothing(make):
    pipeline = make(MemorySource([]))
    report = pipeline.run()
    assert (report.frames_in, report.frames_out, report.fps) == (0, 0, 0)
    assert (pipeline.sink.closed, pipeline.sink.aborted) == (0, 1)
