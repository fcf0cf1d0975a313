"""Frames through the GPU backend, on a fake GPU: right answers, what overlaps, what is given back."""

import gc
import weakref

import numpy as np
import pytest
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from frames_in_flight import alpha_of, frame_of, run_frames

from livecut.engine.backends.lanes import captured
from livecut.engine.backends.tensorrt import Plan, TensorRtBackend
from livecut.engine.errors import (
    BackendError,
    DeviceLost,
    DeviceUnavailable,
    ManifestError,
    OutOfDeviceMemory,
    WrongDevice,
)
from livecut.engine.manifest import Manifest

SIZE_WH = (32, 32)
ORDERS = ("late", "eager", "random")


def backend_on(device, folder, *, api=None):
    manifest = Manifest.load(folder)
    api = api or FakeApi(device)

    def find_plan(manifest, size_wh, precision, device):
        return Plan(api, manifest.model_path.read_bytes(), "fp16", "engine inspector")

    backend = TensorRtBackend(find_plan, lambda: device)
    backend.open(manifest, SIZE_WH, precision="auto", threads=1)
    return backend


@pytest.mark.parametrize("no_capture", [False, True], ids=["graph", "launches"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("integrated", [False, True], ids=["copied", "mapped"])
def test_frames_come_out_right_in_whatever_order_the_device_works(tiny_model, order, integrated, no_capture):
    device = FakeDevice(order=order, seed=3, integrated=integrated, no_capture=no_capture)
    backend = backend_on(device, tiny_model)
    values = [step / 16 for step in range(12)]
    assert run_frames(backend, device, values, depth=3) == [(v, v) for v in values]
    backend.close()
    assert device.hazards == []


@pytest.mark.parametrize("no_capture", [False, True], ids=["graph", "launches"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_state_stays_on_the_device_and_follows_the_frames(tiny_stateful_model, order, no_capture, depth):
    device = FakeDevice(order=order, seed=5, no_capture=no_capture)
    backend = backend_on(device, tiny_stateful_model)
    for _ in range(2):  # a new state forgets
        alphas = run_frames(backend, device, [1] * 5, depth, backend.new_state())
        assert [low for low, _ in alphas] == [0.5, 0.75, 0.875, 0.9375, 0.96875]
    backend.close()
    assert device.hazards == []


def test_a_new_state_while_the_last_frames_are_in_flight_waits_for_them(tiny_stateful_model):
    device = FakeDevice(order="late")
    backend = backend_on(device, tiny_stateful_model)
    first, second = backend.new_buffer(), backend.new_buffer()
    with backend.thread_context():
        for buffer in (first, second):
            frame_of(1, buffer, device)
        backend.submit(first, backend.new_state())
        backend.submit(second, backend.new_state())
        for buffer in (second, first):
            backend.collect(buffer)
            assert alpha_of(buffer, device) == (0.5, 0.5)
    assert device.hazards == []
    backend.close()


def test_copy_in_engine_and_copy_out_of_three_frames_overlap(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    run_frames(backend, device, [0.5] * 9, depth=3)
    seconds = {"copy-in": 1, "compute": 1, "copy-out": 1}
    assert device.order.makespan(seconds) == 11, "9 frames of the slowest stage, and filling the pipe"
    run_frames(backend, device, [0.5] * 9, depth=1)
    assert device.order.makespan(seconds) == 27, "with one buffer everything is in a row"
    backend.close()


def test_with_state_the_copies_still_overlap(tiny_stateful_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_stateful_model)
    run_frames(backend, device, [0.5] * 8, 3, backend.new_state())
    works = [work.label for work in device.order.log if work.resource]
    assert works.count("fill") == 1
    # The fill of the first frame's state counts as a step of the engine.
    assert device.order.makespan({"copy-in": 1, "compute": 1, "copy-out": 1}) == 11
    backend.close()


def test_a_frame_is_one_graph_launch(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    run_frames(backend, device, [0.1], 1)
    before = device.stream_calls, device.graph_launches
    run_frames(backend, device, [0.1] * 4, 1)
    assert (device.stream_calls, device.graph_launches) == (before[0], before[1] + 4)
    assert "one CUDA graph a frame (3 nodes); page-locked copies" in backend.info.details
    backend.close()


def test_a_capture_that_another_thread_broke_is_tried_again():
    device = FakeDevice()
    tries = []
    with device.activate():
        stream, memory = device.stream(), device.malloc(16)

        def queue():
            tries.append(len(tries))
            stream.fill(memory.pointer, 0, 16)
            if len(tries) == 1:
                raise BackendError("operation failed due to a previous error during capture")

        graph = captured(stream, queue)
        assert (graph.nodes, tries) == (1, [0, 1])
        for each in (graph, memory, stream):
            each.free()
    assert (device.live(), device.hazards) == ({}, [])


def test_where_nothing_can_be_captured_it_launches_and_says_why(tiny_model):
    device = FakeDevice(no_capture=True)
    backend = backend_on(device, tiny_model)
    assert "stream launches, as no CUDA graph can be captured (CUDA: operation not permitted" in (
        backend.info.details
    )
    backend.close()


def test_on_an_integrated_gpu_nothing_is_copied(tiny_model):
    device = FakeDevice(integrated=True)
    backend = backend_on(device, tiny_model)
    run_frames(backend, device, [0.1] * 3, 2)
    assert {work.resource for work in device.order.log} <= {"compute", None}
    assert "mapped memory, no copies" in backend.info.details
    backend.close()


def test_info_says_what_runs_where_and_how_that_is_known(tiny_model):
    backend = backend_on(FakeDevice(), tiny_model)
    info = backend.info
    assert (info.name, info.device, info.precision) == ("tensorrt", "Fake GPU (SM 8.6)", "fp16")
    assert info.details.startswith(
        "TensorRT 10.3, driver for CUDA 12.4, precision by engine inspector; one CUDA"
    )
    backend.close()


def test_a_buffer_cannot_be_submitted_twice(tiny_model):
    backend = backend_on(FakeDevice(), tiny_model)
    buffer = backend.new_buffer()
    with backend.thread_context():
        buffer.input.fill(0)
        backend.submit(buffer, None)
        with pytest.raises(BackendError, match="before it was collected"):
            backend.submit(buffer, None)
        backend.collect(buffer)
    backend.close()


def test_a_buffer_given_up_in_flight_is_waited_for_before_its_memory_is_used_again(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    buffer = backend.new_buffer()
    with backend.thread_context():
        buffer.input.fill(0.25)
        backend.submit(buffer, None)
    gone = weakref.ref(buffer)
    del buffer
    gc.collect()
    assert gone() is None
    contexts = len(backend._lanes)
    again = backend.new_buffer()
    device.writing(again.input)
    assert len(backend._lanes) == contexts, "the same lane serves again"
    backend.close()


def test_everything_is_given_back_on_close(tiny_stateful_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_stateful_model)
    buffers = [backend.new_buffer() for _ in range(3)]
    with backend.thread_context():
        state = backend.new_state()
        for buffer in buffers:
            buffer.input.fill(0.5)
            state = backend.submit(buffer, state)
    backend.close()
    backend.close()
    assert device.live() == {"page_locked": 6}, "arrays stay valid as long as somebody has them"
    assert not np.isnan(buffers[0].alpha).any()
    del buffers, buffer, backend
    device.order.log.clear()
    gc.collect()
    assert device.live() == {}
    assert (device.used, device.closed) == (0, 1)
    assert device.hazards == []


# -- faults


def test_too_little_memory_is_one_error_and_everything_is_returned(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    device.total = device.used + 5000
    first = backend.new_buffer()  # made when the backend was opened
    with pytest.raises(OutOfDeviceMemory, match="out of memory"):
        backend.new_buffer()
    backend.close()
    del first
    device.order.log.clear()
    gc.collect()
    assert device.live() == {}


def test_too_little_memory_to_open_leaves_nothing_behind(tiny_stateful_model):
    device = FakeDevice(memory=40_000)
    manifest = Manifest.load(tiny_stateful_model)
    backend = TensorRtBackend(
        lambda *_: Plan(FakeApi(device), manifest.model_path.read_bytes(), "fp16", "graph"), lambda: device
    )
    with pytest.raises(OutOfDeviceMemory):
        backend.open(manifest, (64, 64), precision="auto", threads=1)
    backend.close()
    gc.collect()
    assert device.live() == {}


def test_a_lost_device_fails_the_frame_and_a_new_session_works_in_the_same_process(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    buffer = backend.new_buffer()
    with backend.thread_context():
        buffer.input.fill(0.5)
        backend.submit(buffer, None)
        device.lose()
        with pytest.raises(DeviceLost, match="illegal memory access"):
            backend.collect(buffer)
    backend.close()
    assert device.closed == 1
    fresh = FakeDevice()
    backend = backend_on(fresh, tiny_model)
    assert run_frames(backend, fresh, [0.5], 1) == [(0.5, 0.5)]
    backend.close()


@pytest.mark.parametrize(
    "error", [BackendError("CUDA: invalid device context"), RuntimeError("pycuda says no")]
)
def test_closing_goes_on_where_the_device_cannot_be_made_active(tiny_model, error, caplog):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)

    def fail():
        raise error

    device.activate = fail
    backend.close()
    assert device.closed == 1
    assert (backend._lanes, backend._engine) == ([], None)
    assert f"tensorrt: closing: {error}" in caplog.text
    backend.close()
    assert device.closed == 1


def test_closing_gives_back_all_but_the_one_thing_that_cannot_be(tiny_stateful_model, caplog):
    device = FakeDevice()
    backend = backend_on(device, tiny_stateful_model)
    buffers = [backend.new_buffer() for _ in range(2)]

    def fail():
        raise RuntimeError("no longer there")

    backend._lanes[0].free = fail
    kept = backend._lanes[0]
    backend.close()
    del buffers
    device.order.log.clear()
    gc.collect()
    assert "tensorrt: closing: no longer there" in caplog.text
    assert device.closed == 1
    assert device.live()["streams"] == 1, "that lane's own"
    assert not kept.in_flight


def test_an_engine_that_refuses_to_run_says_what_tensorrt_said(tiny_model):
    from livecut.engine.tensorrt.api import errors

    device = FakeDevice()
    api = FakeApi(device)
    backend = backend_on(device, tiny_model, api=api)
    device.no_capture, api.fail = True, True
    with pytest.raises(BackendError, match="cannot run the engine: it gave no reason"):
        backend._new_lane()
    errors.add("Cuda Runtime (out of memory)")
    backend.close()


def test_a_plan_of_another_gpu_is_refused_with_the_way_out(tiny_model):
    device = FakeDevice()
    api = FakeApi(device)

    def refuse(plan):
        raise BackendError("TensorRT 10.3 cannot load the engine: expecting compute capability 8.9 got 8.6")

    api.deserialise = refuse
    with pytest.raises(WrongDevice, match=r"built for another GPU than this one \(SM 8\.6\).*livecut export"):
        backend_on(device, tiny_model, api=api)


def test_a_plan_of_another_model_is_refused(tiny_model, tiny_stateful_model):
    device = FakeDevice()
    other = Manifest.load(tiny_stateful_model).model_path.read_bytes()
    backend = TensorRtBackend(lambda *_: Plan(FakeApi(device), other, "fp16", "graph"), lambda: device)
    with pytest.raises(ManifestError):
        backend.open(Manifest.load(tiny_model), SIZE_WH, precision="auto", threads=1)
    backend.close()


def test_a_precision_that_is_not_to_be_had_is_refused(tiny_model):
    backend = TensorRtBackend(lambda *_: None, FakeDevice)
    with pytest.raises(DeviceUnavailable, match="bf16: tensorrt has fp16 and fp32"):
        backend.open(Manifest.load(tiny_model), SIZE_WH, precision="bf16", threads=1)
