"""Whole frames whose GPU fails them: what they cost, who goes on, and when the GPU has its memory back."""

import gc
import threading
from functools import partial

import numpy as np
import pytest
from engines import ORIN, put
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import PATIENCE_SECONDS, RedBackend
from whole_frames import (
    FRAME_WH,
    assert_same,
    emulated,
    fake_device,
    needs_compiler,
    pictures,
    run,
    session_on,
)

from livecut.engine import whole_frame
from livecut.engine.backends.frame_lanes import FrameLane
from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.backends.tensorrt import Plan
from livecut.engine.buffers import HostBuffer, Slot
from livecut.engine.compositor import Compositor
from livecut.engine.errors import BackendError, DeviceLost, ModelError, OutOfDeviceMemory
from livecut.engine.frame import Frame
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.engine.tensorrt.wanted import find_wanted

__all__ = ["emulated"]
pytestmark = needs_compiler


@pytest.fixture
def over_a_cpu(tiny_model, cache):
    """Makes a session on a device whose engine the CPU can take over from; with its backend."""
    manifest, sessions = Manifest.load(tiny_model), []
    for size_wh in manifest.sizes_wh:
        put(find_wanted(manifest, size_wh, "auto", ORIN), cache.folder, manifest.model_path.read_bytes())

    def make(device):
        backend = SwappingBackend(
            cache=cache,
            open_engine=partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device),
            open_meanwhile=RedBackend,
            place=lambda: ORIN,
        )
        sessions.append(Session(tiny_model, backend=lambda: backend, post="gpu", threads=1))
        return sessions[-1], backend

    yield make
    for session in sessions:
        session.close()


class Wrong(FakeApi):
    """An engine whose alpha is ``value`` everywhere."""

    def __init__(self, device, value):
        super().__init__(device)
        self.value = value

    def deserialise(self, plan):
        engine, runtime = super().deserialise(plan)
        run = engine.evaluator.run
        engine.evaluator = type("Wrong", (), {})()
        engine.evaluator.run = lambda names, feeds: [
            np.full_like(out, self.value) for out in run(names, feeds)
        ]
        return engine, runtime


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (np.nan, BackendError, "NaN or infinity on tensorrt at fp16"),
        (1.5, ModelError, "expected alpha in 0..1"),
    ],
)
def test_an_alpha_that_is_none_is_noticed_on_the_device(tiny_model, monkeypatch, value, kind, message):
    device = fake_device()
    session = session_on(device, tiny_model)
    monkeypatch.setattr(whole_frame, "_seconds", lambda *_: 0.001)
    make = session._opened.make

    def wrong():
        backend = make()
        backend._find_plan = lambda manifest, *_: Plan(
            Wrong(device, value), manifest.model_path.read_bytes(), "fp16", "graph"
        )
        return backend

    session._opened.make = wrong
    with pytest.raises(kind, match=message):
        run(session, pictures(2))
    session.close()


def test_a_device_lost_in_the_middle_is_an_error_where_nothing_else_serves(tiny_model):
    device = fake_device()
    session = session_on(device, tiny_model)
    with pytest.raises(DeviceLost):
        run(session, pictures(12), before_write=lambda frame: frame.index == 3 and device.lose())
    session.close()


def test_a_device_lost_in_the_middle_costs_no_frame_where_the_cpu_goes_on(tiny_model, over_a_cpu, caplog):
    """The frames in flight are done again, from the pictures that the slots still hold."""
    device = fake_device()
    session, _ = over_a_cpu(device)
    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(12))
    got = run(session, pictures(12), before_write=lambda frame: frame.index == 3 and device.lose())
    assert_same(got, expected)
    assert "full-resolution work on the CPU from frame" in caplog.text
    assert session.info.name == "red"


# -- what was held


class Halfway:
    """Calls ``fail`` at frame 3, and looks at ``device`` at the last of 40, when no slot is of before."""

    def __init__(self, device, fail):
        self.device, self.fail = device, fail
        self.live = self.closed = self.holders = None

    def __call__(self, frame):
        if frame.index == 3:
            self.fail()
        if frame.index == 39:
            for thread in threading.enumerate():
                if thread.name == "livecut-engine-close":
                    thread.join(PATIENCE_SECONDS)
            self.device.order.log.clear()
            gc.collect()
            self.live, self.closed = self.device.live(), self.device.closed
            self.holders = [each for each in gc.get_objects() if self.holds(each)]

    def holds(self, each):
        """Whether it has page-locked memory of the device; what the fake itself remembers is not meant."""
        kind = type(each)  # isinstance would ask objects of other libraries for their class, and some warn
        if issubclass(kind, Frame):
            return bool(each.planes) and self.device.memory.is_page_locked(each.planes[0])
        if issubclass(kind, HostBuffer):
            return self.device.memory.is_page_locked(each.input)
        return issubclass(kind, FrameLane) and each.device is self.device


def no_memory(*arguments):
    raise OutOfDeviceMemory("the GPU is out of memory")


@pytest.mark.parametrize("order", ["late", "random"])
def test_an_engine_that_fails_gives_its_memory_back_while_the_stream_goes_on(tiny_model, over_a_cpu, order):
    device = fake_device(order=order)
    session, backend = over_a_cpu(device)

    def fail():
        backend._engine.submit_lane = backend._engine.new_buffer = no_memory

    halfway = Halfway(device, fail)
    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(40))
    assert_same(run(session, pictures(40), before_write=halfway), expected)
    assert (halfway.live, halfway.holders, halfway.closed) == ({}, [], 1)
    assert device.hazards == []


def test_of_a_lost_device_nobody_keeps_an_array_so_that_it_can_be_reset(over_a_cpu):
    device = fake_device()
    session, _ = over_a_cpu(device)
    halfway = Halfway(device, device.lose)
    run(session, pictures(40), before_write=halfway)
    assert (halfway.holders, halfway.closed) == ([], 1)


def test_an_engine_that_has_no_room_for_whole_frames_goes_on_without_them(tiny_model, over_a_cpu, caplog):
    device = fake_device()
    session, backend = over_a_cpu(device)
    left = []

    def fail():
        engine = backend._engine
        submit = engine.submit_lane
        engine.submit_lane = lambda lane, state: (
            no_memory() if isinstance(lane, FrameLane) else submit(lane, state)
        )

    def look(frame):
        if frame.index == 3:
            fail()
        if frame.index == 39:
            engine = backend._engine
            left.extend(engine._memories)
            left.extend(lane for lane in engine._lanes if isinstance(lane, FrameLane))

    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(40))
    assert_same(run(session, pictures(40), before_write=look), expected)
    assert caplog.text.count("full-resolution work on the CPU from frame") == 1
    assert session.info.name == "tensorrt"
    assert left == []
    assert device.hazards == []


def one_frame(session, compositor):
    """A slot with a frame in flight, as a pipeline has it."""
    session.warm_up(FRAME_WH, compositor)
    slot = Slot()
    session.preprocess(pictures(1)[0], slot)
    session.submit(slot)
    return slot


def test_a_frame_that_is_given_up_is_waited_for_inside_the_device(over_a_cpu):
    device = fake_device()
    session, _ = over_a_cpu(device)
    slot = one_frame(session, Compositor("RGBA"))
    session.give_up(slot)
    assert not slot.lane.in_flight
    assert device.hazards == []


def test_a_picture_that_is_finished_when_the_device_is_lost_is_not_lost(tiny_model, over_a_cpu):
    device, compositor = fake_device(), Compositor("RGBA")
    session, _ = over_a_cpu(device)
    slot = one_frame(session, compositor)
    session.collect(slot)
    device.lose()
    picture = session.postprocess(slot, compositor)
    assert_same([picture], run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(1)))
