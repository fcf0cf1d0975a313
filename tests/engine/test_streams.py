"""Several streams on one device: right frames, shared engines, turns, errors that stay with their stream."""

import logging
import threading

import numpy as np
import pytest
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
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

from livecut.engine.backends.tensorrt import Plan, TensorRtBackend
from livecut.engine.compositor import Compositor
from livecut.engine.errors import BackendError, DeviceLost, UsageError
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session
from livecut.engine.stats import StreamReport
from livecut.engine.streams import StreamGroup, run_together


class Streams:
    """A group, and a pipeline for each stream."""

    def __init__(self, folder, make, count, *, frames=30, is_live=False, **options):
        self.group = StreamGroup(make, **options)
        self.sessions, self.pipelines, self.sinks = [], [], []
        for index in range(count):
            session = Session(
                folder, backend=self.group.backend(priority=index), refine=False, decontaminate=False
            )
            sink = RecordingSink(("RGBA",))
            source = MemorySource([grey_frame(i, value=(index * 50 + i) % 256) for i in range(frames)],
                                  is_live=is_live)  # fmt: skip
            pipeline = Pipeline(
                source, session, Compositor("RGBA"), sink, clock=FakeClock(), warm_up_rounds=1
            )
            self.sessions.append(session)
            self.sinks.append(sink)
            self.pipelines.append(pipeline)

    def close(self):
        for session in self.sessions:
            session.close()
        self.group.close()


def on_fake_gpu(device):
    return lambda: TensorRtBackend(
        lambda manifest, *_: Plan(FakeApi(device), manifest.model_path.read_bytes(), "fp16", "graph"),
        lambda: device,
    )


def assert_alpha_is_the_picture(sink):
    assert sink.frames
    for frame in sink.frames:
        red, alpha = frame.image[..., 0].astype(int), frame.image[..., 3]
        assert np.all(np.abs(alpha - red) <= 1), f"frame {frame.index}"


@pytest.mark.parametrize("is_live", [False, True])
def test_every_stream_gets_its_own_alpha_from_one_cpu_backend(tiny_model, is_live):
    made = []
    streams = Streams(tiny_model, lambda: made.append(RedBackend()) or made[-1], 3, is_live=is_live)
    reports = run_together(streams.pipelines)
    assert all(isinstance(report, StreamReport) for report in reports)
    for sink in streams.sinks:
        assert_alpha_is_the_picture(sink)
        assert sink.indices[-1] == 29
        if not is_live:
            assert sink.indices == list(range(30))
    assert len(made) == 1, "one engine for all"
    streams.close()
    assert made[0].closed


@pytest.mark.parametrize("order", ["late", "eager", "random"])
def test_every_stream_gets_its_own_alpha_from_one_gpu(tiny_model, order):
    device = FakeDevice(order=order, seed=9)
    streams = Streams(tiny_model, on_fake_gpu(device), 3, frames=20)
    run_together(streams.pipelines)
    for sink in streams.sinks:
        assert sink.indices == list(range(20))
        assert_alpha_is_the_picture(sink)
    streams.close()
    assert device.hazards == []


def test_streams_of_a_model_with_state_do_not_share_it(tiny_stateful_model):
    device = FakeDevice()
    streams = Streams(tiny_stateful_model, on_fake_gpu(device), 2, frames=12)
    run_together(streams.pipelines)
    for sink in streams.sinks:
        expected = 0.0
        for frame in sink.frames:
            expected = (expected + frame.image[0, 0, 0] / 255) / 2
            assert abs(frame.image[0, 0, 3] - 255 * expected) <= 1
    streams.close()
    assert device.hazards == []


def test_an_error_of_one_stream_does_not_end_the_others(tiny_model):
    streams = Streams(tiny_model, RedBackend, 2)
    streams.sinks[0].before_write = lambda frame: frame.index == 3 and 1 / 0
    failed, report = run_together(streams.pipelines)
    assert "division" in str(failed)
    assert report.frames_out == 30
    streams.close()


def test_a_lost_device_is_every_streams_own_typed_error(tiny_model):
    device = FakeDevice()
    streams = Streams(tiny_model, on_fake_gpu(device), 2)
    lost = threading.Event()

    def lose(frame):
        if frame.index == 5:
            device.lose()
            lost.set()

    streams.sinks[0].before_write = lose
    streams.sinks[1].before_write = lambda frame: must(lost.wait(PATIENCE_SECONDS), "the loss")
    results = run_together(streams.pipelines)
    assert all(isinstance(result, DeviceLost) for result in results)
    streams.close()


@pytest.mark.parametrize(
    ("batching", "why"),
    [
        ("auto", "batches take a CPU no less time"),
        ("always", "the backend takes one frame at a time"),
        ("never", "as asked for"),
    ],
)
def test_info_says_that_it_is_shared_and_how(tiny_model, batching, why, caplog):
    caplog.set_level(logging.INFO, "livecut")
    streams = Streams(tiny_model, RedBackend, 2, batch=3, bound_ms=20, batching=batching)
    said = f"shared by 2 streams, fair, one frame after the other ({why}), at most 20 ms on the device"
    assert streams.sessions[0].info.details == said
    assert caplog.messages[0] == f"tiny at 64x32: {said}"
    streams.close()


def test_a_way_of_batching_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="batching: expected one of auto, always, never, got 'often'"):
        StreamGroup(RedBackend, batching="often")


def test_a_closed_group_takes_no_more_streams(tiny_model):
    group = StreamGroup(RedBackend)
    group.close()
    group.close()
    with pytest.raises(UsageError, match="already closed"):
        group.backend()


# -- a full device


class Rig:
    """Backends of a group, without pipelines: frames by hand."""

    def __init__(self, folder, make, count, **options):
        from livecut.engine.manifest import Manifest

        self.group = StreamGroup(make, **options)
        self.backends = []
        for index in range(count):
            backend = self.group.backend(priority=index)()
            backend.open(Manifest.load(folder), (32, 32), precision="auto", threads=1)
            self.backends.append(backend)

    def close(self):
        for backend in self.backends:
            backend.close()
        self.group.close()


def start(call):
    """Run ``call`` on a thread; an event that is set when it has returned, and a list of its error."""
    ended, errors = threading.Event(), []

    def run():
        try:
            call()
        except BaseException as error:
            errors.append(error)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    return ended, errors


def test_a_stream_waits_for_its_turn_when_the_device_is_full(tiny_model):
    rig = Rig(tiny_model, RedBackend, 2, most_under_way=1)
    first, second = rig.backends
    assert first.admit()
    waiting, errors = start(second.admit)
    buffer = first.new_buffer()
    first.submit(buffer, None)
    assert not waiting.is_set(), "the first frame is still under way"
    first.collect(buffer)
    must(waiting.wait(PATIENCE_SECONDS), "the second stream's turn")
    assert not errors
    assert second.admit(), "it has its turn: asking again does not wait"
    rig.close()


def test_a_stream_that_ends_with_its_turn_does_not_hold_up_the_others(tiny_model):
    rig = Rig(tiny_model, RedBackend, 2, most_under_way=1)
    rig.backends[0].admit()
    waiting, _ = start(rig.backends[1].admit)
    rig.backends[0].close()
    must(waiting.wait(PATIENCE_SECONDS), "the second stream's turn")
    rig.close()


def test_closing_the_group_ends_a_wait_with_an_error(tiny_model):
    rig = Rig(tiny_model, RedBackend, 2, most_under_way=1)
    rig.backends[0].admit()
    waiting, errors = start(rig.backends[1].admit)
    rig.group.close()
    must(waiting.wait(PATIENCE_SECONDS), "the error")
    assert isinstance(errors[0], BackendError)
    rig.close()


def test_an_error_of_the_engine_reaches_the_stream_that_collects(tiny_model):
    def fail(count):
        raise BackendError(f"frame {count}")

    rig = Rig(tiny_model, lambda: RedBackend(before_infer=fail), 1)
    buffer = rig.backends[0].new_buffer()
    rig.backends[0].submit(buffer, None)
    with pytest.raises(BackendError, match="frame 0"):
        rig.backends[0].collect(buffer)
    assert rig.group.turns.under_way.total() == 0
    rig.close()


def test_turns_are_taken_in_the_order_in_which_frames_come(tiny_model):
    backend = SlowBackend()
    rig = Rig(tiny_model, lambda: backend, 4, batch=3, clock=FakeClock())
    buffers = [stream.new_buffer() for stream in rig.backends]
    for number, (stream, buffer) in enumerate(zip(rig.backends, buffers, strict=True)):
        buffer.input.fill(number / 4)
        stream.submit(buffer, None)
        backend.release.release()
    for stream, buffer in zip(rig.backends, buffers, strict=True):
        stream.collect(buffer)
    assert [float(buffer.alpha.mean()) for buffer in buffers] == [0, 0.25, 0.5, 0.75]
    assert rig.group.batches.sizes == {1: 4}
    rig.close()


def test_a_full_device_sheds_frames_and_takes_the_newest_when_it_is_their_turn(tiny_model):
    """The first stream holds the device while the other's camera goes on; then the newest frame is taken."""
    group = StreamGroup(RedBackend, most_under_way=1)
    holder = group.backend("holder")()
    session = Session(tiny_model, backend=group.backend("camera"), refine=False, decontaminate=False)
    from livecut.engine.manifest import Manifest

    holder.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
    buffer = holder.new_buffer()
    asked = threading.Event()
    admit = group.admit

    def admit_and_say(of):
        asked.set()
        admit(of)

    group.admit = admit_and_say

    def before_read(position):
        if position == 1:
            holder.admit()  # after the first frame of the camera, or before: it waits for its turn
        if position == 2:
            asked.clear()
        if position == 9:
            must(asked.wait(PATIENCE_SECONDS), "the camera's stream asking for its turn")
            holder.submit(buffer, None)
            holder.collect(buffer)

    sink = RecordingSink(("RGBA",))
    source = MemorySource([grey_frame(i) for i in range(9)], is_live=True, before_read=before_read)
    pipeline = Pipeline(source, session, Compositor("RGBA"), sink, clock=FakeClock(), warm_up_rounds=1)
    report = pipeline.run()
    assert sink.indices[-1] == 8, "the newest frame"
    assert report.dropped >= 6
    assert report.frames_in == report.frames_out + report.dropped
    assert_alpha_is_the_picture(sink)
    session.close()
    holder.close()
    group.close()


def test_a_stream_that_fails_with_frames_in_flight_gives_their_turns_to_the_others(tiny_model):
    """With room for two frames in all, the one that fails must not keep its turns."""
    device = FakeDevice()
    streams = Streams(tiny_model, on_fake_gpu(device), 2, most_under_way=2)
    streams.sinks[0].before_write = lambda frame: frame.index == 3 and 1 / 0
    failed, report = run_together(streams.pipelines)
    assert "division" in str(failed)
    assert report.frames_out == 30
    assert streams.group.turns.under_way.total() == 0
    streams.close()
    assert device.hazards == []


def test_a_stream_whose_sink_stands_still_holds_up_no_other(tiny_model):
    """Turns end when the device is done, not when somebody takes the result."""
    streams = Streams(tiny_model, RedBackend, 2, most_under_way=1)
    other_ended = threading.Event()
    streams.sinks[0].before_write = lambda frame: must(other_ended.wait(PATIENCE_SECONDS), "the other stream")
    run_of_the_other = streams.pipelines[1].run

    def run():
        report = run_of_the_other()
        other_ended.set()
        return report

    streams.pipelines[1].run = run
    reports = run_together(streams.pipelines)
    assert [report.frames_out for report in reports] == [30, 30]
    streams.close()
