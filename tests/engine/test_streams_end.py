"""Streams that share a device and end: their turns, their engines and their places go with them."""

import threading

import pytest
from fakes import (
    PATIENCE_SECONDS,
    FakeClock,
    MemorySource,
    RecordingSink,
    RedBackend,
    SlowBackend,
    grey_frame,
    must,
)

from livecut.engine.buffers import Slot
from livecut.engine.compositor import Compositor
from livecut.engine.errors import BackendError, LivecutError
from livecut.engine.manifest import Manifest
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session
from livecut.engine.streams import StreamGroup, run_together


def opened(group, folder, size_wh=(64, 32)):
    backend = group.backend()()
    backend.open(Manifest.load(folder), size_wh, precision="auto", threads=1)
    return backend


def session_of(group, folder):
    return Session(folder, backend=group.backend(), refine=False, decontaminate=False)


def test_a_stream_that_fails_between_its_turn_and_its_frame_gives_the_turn_back(tiny_model):
    """Before its session is closed: with room for one frame, the other stream would wait for ever."""
    group = StreamGroup(RedBackend, most_under_way=1)
    session = session_of(group, tiny_model)
    preprocess, admit, admitted = session.preprocess, session.admit, threading.Event()

    def admit_and_say():
        shared = admit()
        if shared:
            admitted.set()
        return shared

    def fail_after_a_turn(frame, slot):
        if admitted.is_set():
            raise ValueError("not a frame of this camera")
        preprocess(frame, slot)

    session.admit, session.preprocess = admit_and_say, fail_after_a_turn
    source = MemorySource([], is_live=True, endless=True)
    pipeline = Pipeline(
        source, session, Compositor("RGBA"), RecordingSink(("RGBA",)), clock=FakeClock(), warm_up_rounds=1
    )
    (error,) = run_together([pipeline])
    assert isinstance(error, LivecutError)
    assert admitted.is_set()
    assert group.turns.under_way.total() == 0
    other = opened(group, tiny_model)
    buffer = other.new_buffer()
    other.infer(buffer, None)
    for each in (session, other, group):
        each.close()


def test_a_turn_is_given_back_when_the_next_frame_has_another_size(tiny_model):
    group = StreamGroup(RedBackend, most_under_way=1)
    session, slot, ended = session_of(group, tiny_model), Slot(), threading.Event()

    def run():
        for size_wh in ((64, 32), (32, 64)):
            session.preprocess(grey_frame(0, size_wh), slot)
            session.infer(slot)
            session.admit()
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    must(ended.wait(PATIENCE_SECONDS), "the turn for the frame of the other size")
    session.reset()
    assert group.turns.under_way.total() == 0
    session.close()
    group.close()


class OfOneStream(RedBackend):
    """Has state, for one stream alone."""

    def new_state(self):
        return object()

    def infer(self, buffer, state):
        super().infer(buffer, state)
        return state


def test_an_engine_of_ones_own_is_closed_with_its_stream(tiny_stateful_model):
    made = []
    group = StreamGroup(lambda: made.append(OfOneStream()) or made[-1])
    streams = [opened(group, tiny_stateful_model) for _ in range(3)]
    for stream in streams:
        buffer = stream.new_buffer()
        stream.infer(buffer, stream.begin())
    streams[1].close()
    assert [engine.closed for engine in made] == [False, True, False]
    assert "shared by 2 streams" in streams[0].info.details
    assert len(group.members) == 2
    streams[0].close()
    group.close()
    assert all(engine.closed for engine in made)


def test_an_engine_that_is_shared_outlives_its_streams(tiny_model):
    made = []
    group = StreamGroup(lambda: made.append(RedBackend()) or made[-1])
    opened(group, tiny_model).close()
    assert not made[0].closed
    opened(group, tiny_model).close()
    assert len(made) == 1
    group.close()
    assert made[0].closed


def test_a_stream_that_goes_on_after_its_group_gets_an_error_and_waits_for_nothing(tiny_model):
    group = StreamGroup(RedBackend)
    stream = opened(group, tiny_model)
    buffer = stream.new_buffer()
    stream.admit()
    group.close()
    for _ in range(2):
        with pytest.raises(BackendError, match="stream group: closed before its streams had ended"):
            stream.infer(buffer, None)
    stream.close()


def test_a_session_that_opens_after_its_group_was_closed_is_refused(tiny_model):
    made = []
    group = StreamGroup(lambda: made.append(RedBackend()) or made[-1])
    late = group.backend()()
    group.close()
    with pytest.raises(BackendError, match="stream group: closed"):
        late.open(Manifest.load(tiny_model), (64, 32), precision="auto", threads=1)
    assert not made


def test_frames_under_way_when_the_group_is_closed_are_finished(tiny_model):
    device = SlowBackend()
    group = StreamGroup(lambda: device, most_under_way=4)
    stream = opened(group, tiny_model)
    buffers = [stream.new_buffer() for _ in range(3)]
    for number, buffer in enumerate(buffers):
        buffer.input.fill(number / 4)
        stream.submit(buffer, None)
    closing = threading.Thread(target=group.close, daemon=True)
    closing.start()
    for _ in buffers:
        device.release.release()
    for number, buffer in enumerate(buffers):
        stream.collect(buffer)
        assert buffer.alpha.mean() == number / 4
    closing.join(PATIENCE_SECONDS)
    assert not closing.is_alive()
    stream.close()


def test_ctrl_c_before_all_streams_are_started_stops_those_that_are(tiny_model, monkeypatch):
    """Interrupted while the second of two is started: the first, which has no end, ends all the same."""
    group = StreamGroup(RedBackend)
    sessions = [session_of(group, tiny_model) for _ in range(2)]
    pipelines = [
        Pipeline(
            MemorySource([], endless=True), session, Compositor("RGBA"), RecordingSink(("RGBA",)),
            clock=FakeClock(),
        )
        for session in sessions
    ]  # fmt: skip
    start = threading.Thread.start

    def interrupted(thread):
        if thread.name == "livecut-stream-2":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_together(pipelines)
    assert "livecut-stream-1" not in [thread.name for thread in threading.enumerate()]
    for each in (*sessions, group):
        each.close()
