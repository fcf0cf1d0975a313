"""An engine takes over from ONNX between two frames, and gives back when its device fails: none is lost."""

import gc
import logging
import threading
from functools import partial

import numpy as np
import onnx
import pytest
from engines import BY_ENGINE, BY_ONNX, IMAGE, ORIN, SIZE_WH, Builder, Opener, Stream, put, warnings_in
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import PATIENCE_SECONDS, RedBackend, must

from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.errors import BackendError, DeviceUnavailable
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "livecut")
    return caplog


# -- between two frames


def test_frames_on_their_way_keep_their_pictures_across_the_swap(tiny_model, cache):
    """Four buffers in use, as in a pipeline: each changes sides when its own frame is next, not before."""
    may_build = threading.Event()
    backend = SwappingBackend(
        cache=cache,
        build=Builder(may_build),
        open_engine=Opener(),
        open_meanwhile=RedBackend,
        place=lambda: ORIN,
    )
    backend.open(Manifest.load(tiny_model), SIZE_WH, precision="auto", threads=1)
    try:
        buffers = [backend.new_buffer() for _ in range(4)]
        for number, buffer in enumerate(buffers):
            buffer.input.fill(number / 10)
        backend.submit(buffers[0], None)
        arrays = [buffer.input for buffer in buffers]
        may_build.set()
        must(backend.wait_until_built(PATIENCE_SECONDS), "the build")
        backend.submit(buffers[1], None)
        assert buffers[2].input is arrays[2]  # a kernel may be writing into it just now
        buffers[2].input.fill(0.25)
        backend.submit(buffers[2], None)
        backend.submit(buffers[3], None)
        for buffer in buffers:
            backend.collect(buffer)
        values = [float(buffer.alpha.mean()) for buffer in buffers]
        assert values == pytest.approx([0.0, 0.9, 0.75, 0.7])
        assert buffers[3].input is not arrays[3]
        assert float(backend.new_buffer().input.sum()) == 0
    finally:
        backend.close()


def test_recurrent_state_starts_anew_with_the_engine_and_that_is_said(tiny_stateful_model, stream, log):
    may_build = threading.Event()
    live = stream(tiny_stateful_model, builder=Builder(may_build), open_meanwhile=_openvino)
    white = np.full_like(IMAGE, 255)
    assert [live.alpha(white) for _ in range(3)] == pytest.approx([128, 191, 223], abs=2)
    may_build.set()
    live.until_built()
    for _ in range(3):
        live.alpha(white)
    (engine,) = live.opener.opened
    assert engine.states == ["fresh", "older", "older"]
    assert log.messages[-1].endswith("its recurrent state starts anew")
    live.session.reset()
    live.alpha(white)
    assert engine.states[-1] == "fresh"


def _openvino():
    from livecut.engine.backends.openvino import OpenVinoBackend

    return OpenVinoBackend()


def test_what_serves_by_default_is_a_backend_for_the_cpu(stream):
    live = stream(open_meanwhile=None, rebuild=False)
    assert live.alpha() == pytest.approx(BY_ONNX, abs=1)
    assert live.session.info.device.startswith("CPU")


# -- before the first frame


@pytest.mark.parametrize("ask", ["info", "warm_up", "device_backend"])
def test_whoever_asks_what_runs_is_told_of_an_engine_that_has_been_built(ask, wanted, cache):
    device = FakeDevice()
    opener = partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device)
    builder = Builder(write=lambda wanted, path: put(wanted, path.parent, plan=wanted.source.read_bytes()))
    backend = SwappingBackend(
        cache=cache, build=builder, open_engine=opener, open_meanwhile=RedBackend, place=lambda: ORIN
    )
    backend.open(wanted.manifest, SIZE_WH, precision="auto", threads=1)
    try:
        must(backend.wait_until_built(PATIENCE_SECONDS), "the build")
        if ask == "info":
            assert backend.info.name == "tensorrt"
        elif ask == "warm_up":
            backend.warm_up()
        else:
            assert backend.device_backend() is not None
        assert backend._inner is backend._engine
        assert "frames were served" not in backend.info.details
    finally:
        backend.close()


def test_asking_what_runs_neither_waits_for_a_frame_nor_takes_over_in_the_middle_of_it(tiny_model, cache):
    inside, go_on = threading.Event(), threading.Event()

    class Slow(RedBackend):
        def infer(self, buffer, state):
            inside.set()
            must(go_on.wait(PATIENCE_SECONDS), "leave to go on")
            return super().infer(buffer, state)

    backend = SwappingBackend(
        cache=cache, build=Builder(), open_engine=Opener(), open_meanwhile=Slow, place=lambda: ORIN
    )
    backend.open(Manifest.load(tiny_model), SIZE_WH, precision="auto", threads=1)
    try:
        buffer = backend.new_buffer()
        buffer.input.fill(0.75)
        must(backend.wait_until_built(PATIENCE_SECONDS), "the build")
        backend._before_frames = lambda: None  # as if that had been while the frame is in ONNX
        running = threading.Thread(target=backend.infer, args=(buffer, None), daemon=True)
        running.start()
        must(inside.wait(PATIENCE_SECONDS), "the frame")
        assert backend.info.name == "red"
        go_on.set()
        running.join(PATIENCE_SECONDS)
        assert float(buffer.alpha.mean()) == 0.75
        assert backend.info.name == "tensorrt"
    finally:
        backend.close()


# -- with the backend that runs real engines, on a GPU that finds races


@pytest.mark.parametrize("order", ["late", "eager", "random"])
def test_tensorrt_takes_over_with_frames_in_flight_and_nothing_races(order, wanted, cache):
    device, may_build = FakeDevice(order=order), threading.Event()
    opener = partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device)
    # On the fake GPU a plan is an ONNX file: this one is the model with its alpha turned around.
    plan = turned_around(wanted.source)
    builder = Builder(may_build, write=lambda wanted, path: put(wanted, path.parent, plan=plan))
    backend = SwappingBackend(
        cache=cache, build=builder, open_engine=opener, open_meanwhile=RedBackend, place=lambda: ORIN
    )
    backend.open(wanted.manifest, SIZE_WH, precision="auto", threads=1)
    try:
        buffers, alphas = [backend.new_buffer() for _ in range(3)], []
        for frame in range(12):
            buffer = buffers[frame % 3]
            if frame >= 3:
                backend.collect(buffer)
                alphas.append(read(device, buffer))
            if frame == 6:
                may_build.set()
                must(backend.wait_until_built(PATIENCE_SECONDS), "the build")
            fill(device, buffer, frame / 16)
            backend.submit(buffer, None)
        for frame in range(12, 15):
            backend.collect(buffers[frame % 3])
            alphas.append(read(device, buffers[frame % 3]))
        expected = [frame / 16 if frame < 6 else 1 - frame / 16 for frame in range(12)]
        assert alphas == pytest.approx(expected)
        assert "tensorrt" in str(backend.info)
    finally:
        backend.close()
    assert device.hazards == []
    del buffers, buffer, backend  # as arrays they stay valid as long as somebody has them
    device.order.log.clear()
    gc.collect()
    assert device.live() == {}
    assert (device.used, device.closed) == (0, 1)


def fill(device, buffer, value):
    if buffer.owner.name == "tensorrt":
        device.writing(buffer.input)
    buffer.input.fill(value)


def read(device, buffer):
    if buffer.owner.name == "tensorrt":
        device.reading(buffer.alpha)
    return float(buffer.alpha.mean())


def turned_around(source):
    model = onnx.load(str(source))
    model.graph.node[-1].output[0] = "turned"
    model.graph.node.append(onnx.helper.make_node("Sub", ["one", "turned"], ["alpha"]))
    return model.SerializeToString()


# -- an engine that fails while it runs


@pytest.mark.parametrize("fails_in", ["submit", "collect"])
def test_an_engine_that_fails_at_a_frame_loses_none(fails_in, stream, wanted, cache, log):
    put(wanted, cache.folder)
    live = stream(opener=Opener(fails_at=3, fails_in=fails_in))
    alphas = [live.alpha() for _ in range(6)]
    first = alphas.index(BY_ONNX)
    assert alphas == [BY_ENGINE] * first + [BY_ONNX] * (6 - first)
    assert first in (2, 3)
    (said,) = warnings_in(log)
    assert "failed: the GPU fell off the bus; from here on served through red" in said
    assert f"it failed at frame {first + 1}: the GPU fell off the bus" in live.session.info.details
    live.session.close()
    assert [engine.closed for engine in live.opener.opened] == [1]


@pytest.mark.parametrize("fails_in", ["submit", "collect"])
def test_an_engine_that_fails_under_require_gpu_ends_the_stream(fails_in, stream, wanted, cache):
    put(wanted, cache.folder)
    live = stream(opener=Opener(fails_at=2, fails_in=fails_in), require_gpu=True)
    first = 2 if fails_in == "submit" else 1
    assert [live.alpha() for _ in range(first)] == [BY_ENGINE] * first
    with pytest.raises(BackendError, match="fell off the bus"):
        live.alpha()


def test_frames_in_flight_when_the_device_is_lost_are_run_again(tiny_model, wanted, cache):
    put(wanted, cache.folder)
    opener = Opener()
    backend = SwappingBackend(
        cache=cache, build=Builder(), open_engine=opener, open_meanwhile=RedBackend, place=lambda: ORIN
    )
    backend.open(wanted.manifest, SIZE_WH, precision="auto", threads=1)
    try:
        buffers = [backend.new_buffer() for _ in range(3)]
        for number, buffer in enumerate(buffers):
            buffer.input.fill(number / 4)
            backend.submit(buffer, None)
        engine = opener.opened[0]
        engine.fails_at, engine.fails_in = 0, "collect"
        for buffer in buffers:
            backend.collect(buffer)
        assert [float(buffer.alpha.mean()) for buffer in buffers] == pytest.approx([0, 0.25, 0.5])
        assert backend.info.name == "red"
    finally:
        backend.close()


# -- the end


def test_closing_gives_up_a_build_and_leaves_no_thread(stream, log):
    may_build = threading.Event()
    live = stream(builder=Builder(may_build))
    must(live.builder.started.wait(PATIENCE_SECONDS), "the build")
    may_build.set()
    live.session.close()
    assert live.backend.wait_until_built(0)
    assert all(engine.closed for engine in live.opener.opened)
    live.backend.close()
    with pytest.raises(BackendError, match="tensorrt: not open"):
        live.backend.new_buffer()


def test_everything_that_was_opened_is_closed_once(stream, wanted, cache):
    onnx = []

    def meanwhile():
        onnx.append(RedBackend())
        return onnx[-1]

    live = stream(open_meanwhile=meanwhile)
    live.until_built()
    live.alpha()
    live.session.close()
    for thread in threading.enumerate():
        if thread.name == "livecut-onnx-close":
            thread.join(PATIENCE_SECONDS)
    assert [backend.closed for backend in onnx] == [True]
    assert [engine.closed for engine in live.opener.opened] == [1]


def test_a_model_without_a_graph_of_the_precision_is_refused_at_once(tiny_model, cache):
    with Session(tiny_model, backend=lambda: Stream(tiny_model, cache).backend, precision="fp16") as session:
        with pytest.raises(DeviceUnavailable, match=r"precision fp16: tensorrt takes it from the graph"):
            session.warm_up(SIZE_WH)
