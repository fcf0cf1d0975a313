"""Whole streams through the GPU backend, on a fake GPU: several frames in flight, alpha k on picture k."""

import gc

import numpy as np
import pytest
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import FakeClock, MemorySource, RecordingSink, grey_frame

from livecut.engine.backends.tensorrt import Plan, TensorRtBackend
from livecut.engine.compositor import Compositor
from livecut.engine.errors import DeviceLost
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session

ORDERS = ("late", "eager", "random")


class Counting(TensorRtBackend):
    """Counts how many frames are in flight at most."""

    in_flight = most = 0

    def submit(self, buffer, state):
        following = super().submit(buffer, state)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        return following

    def collect(self, buffer):
        super().collect(buffer)
        self.in_flight -= 1


class Stream:
    """A session on a fake GPU, and a pipeline of grey frames through it."""

    def __init__(self, folder, device, count=40, **options):
        self.device, self.backend = device, None

        def make():
            self.backend = Counting(
                lambda manifest, *_: Plan(FakeApi(device), manifest.model_path.read_bytes(), "fp16", "graph"),
                lambda: device,
            )
            return self.backend

        self.session = Session(
            folder, backend=make, temporal=False, refine=False, decontaminate=False, post="cpu"
        )
        self.sink = RecordingSink(("RGBA",), before_write=options.pop("before_write", None))
        source = MemorySource([grey_frame(index) for index in range(count)], **options)
        self.pipeline = Pipeline(
            source, self.session, Compositor("RGBA"), self.sink, clock=FakeClock(), warm_up_rounds=1
        )


def assert_alpha_is_the_picture(sink):
    for frame in sink.frames:
        assert np.all(np.abs(frame.image[..., 3].astype(int) - frame.index) <= 1), f"frame {frame.index}"


@pytest.mark.parametrize("integrated", [False, True], ids=["copied", "mapped"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_frame_of_a_file_is_right_whatever_order_the_device_works_in(tiny_model, order, integrated):
    device = FakeDevice(order=order, seed=1, integrated=integrated)
    stream = Stream(tiny_model, device)
    report = stream.pipeline.run()
    assert stream.sink.indices == list(range(40))
    assert_alpha_is_the_picture(stream.sink)
    assert report.backend["name"] == "tensorrt"
    stream.session.close()
    assert device.hazards == []


def test_the_next_frame_is_in_flight_before_this_one_is_collected(tiny_model):
    stream = Stream(tiny_model, FakeDevice())
    stream.pipeline.run()
    stream.session.close()
    assert stream.backend.most >= 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_live_stream_keeps_alpha_with_its_picture(tiny_model, order):
    device = FakeDevice(order=order, seed=2)
    stream = Stream(tiny_model, device, is_live=True)
    report = stream.pipeline.run()
    assert report.frames_in == 40
    assert stream.sink.indices[-1] == 39
    assert stream.sink.indices == sorted(stream.sink.indices)
    assert_alpha_is_the_picture(stream.sink)
    stream.session.close()
    assert device.hazards == []


@pytest.mark.parametrize("order", ORDERS)
def test_state_follows_a_stream(tiny_stateful_model, order):
    device = FakeDevice(order=order, seed=3)
    stream = Stream(tiny_stateful_model, device)
    stream.pipeline.run()
    expected = 0.0
    for frame in stream.sink.frames:
        expected = (expected + frame.index / 255) / 2
        assert abs(int(frame.image[0, 0, 3]) - 255 * expected) <= 1
    stream.session.close()
    assert device.hazards == []


def test_a_device_lost_in_the_middle_ends_the_stream_with_what_was_written_and_a_new_one_runs(tiny_model):
    device = FakeDevice()
    stream = Stream(tiny_model, device, before_write=lambda frame: frame.index == 10 and device.lose())
    with pytest.raises(DeviceLost, match="illegal memory access"):
        stream.pipeline.run()
    assert stream.sink.indices == list(range(11))
    assert (stream.sink.closed, stream.sink.aborted) == (1, 0), "what was written is playable"
    stream.session.close()
    again = Stream(tiny_model, FakeDevice())
    again.pipeline.run()
    assert again.sink.indices == list(range(40))
    again.session.close()


def test_a_stream_that_is_stopped_gives_everything_back(tiny_model):
    device = FakeDevice()
    stream = Stream(
        tiny_model, device, before_write=lambda frame: frame.index == 5 and stream.pipeline.stop()
    )
    stream.pipeline.run()
    stream.session.close()
    del stream.session, stream.pipeline, stream.backend
    device.order.log.clear()
    gc.collect()
    assert (device.live(), device.hazards) == ({}, [])


def test_two_pipelines_of_one_session_share_its_lanes(tiny_model):
    device = FakeDevice()
    stream = Stream(tiny_model, device)
    stream.pipeline.run()
    lanes = len(stream.backend._lanes)
    gc.collect()
    second = Pipeline(
        MemorySource([grey_frame(index) for index in range(40)]),
        stream.session, Compositor("RGBA"), sink := RecordingSink(("RGBA",)), clock=FakeClock(),
    )  # fmt: skip
    del stream.pipeline
    gc.collect()
    second.run()
    assert_alpha_is_the_picture(sink)
    assert len(stream.backend._lanes) == lanes
    stream.session.close()
    assert device.hazards == []
