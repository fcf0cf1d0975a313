"""The GPU fails: one clear error, the CPU goes on, memory is returned, and a new session works."""

import gc
import logging
import threading
from functools import partial

import bundles
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from engines import ORIN, SIZE_WH, Builder, put, warnings_in
from fake_cuda import FakeDevice
from fake_onnxruntime import FakeRuntime
from fake_tensorrt import FakeApi
from fakes import PATIENCE_SECONDS, RedBackend

from livecut.engine import backends
from livecut.engine.backends.openvino import OpenVinoBackend
from livecut.engine.backends.ort_cuda import OrtCudaBackend, OrtCudaOrCpu
from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.errors import (
    BackendError,
    DeviceLost,
    DeviceUnavailable,
    DriverTooOld,
    OutOfDeviceMemory,
    WrongDevice,
)
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.engine.streams import StreamGroup

IMAGE = np.zeros((32, 64, 3), np.uint8)
IMAGE[..., 0] = 204


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "livecut")
    return caplog


@pytest.fixture(params=["onnxruntime-cuda", "tensorrt"])
def on_gpu(request, wanted, cache):
    """Makes a backend of either kind on a fake GPU; a plan is an ONNX file there."""
    put(wanted, cache.folder, plan=wanted.source.read_bytes())

    def make(device, **options):
        options = {"open_meanwhile": RedBackend, **options}
        if request.param == "onnxruntime-cuda":
            return OrtCudaOrCpu(make=lambda: OrtCudaBackend(lambda: device, FakeRuntime(device)), **options)
        opener = partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device)
        return SwappingBackend(cache=cache, open_engine=opener, place=lambda: ORIN, rebuild=False, **options)

    make.name = request.param
    return make


def opened(backend, manifest, precision="auto"):
    backend.open(manifest, SIZE_WH, precision=precision, threads=1)
    return backend


def run(backend, buffers, values):
    """Frames through ``buffers``, all in flight at once."""
    for buffer, value in zip(buffers, values, strict=True):
        buffer.input.fill(value)
        backend.submit(buffer, None)
    for buffer in buffers:
        backend.collect(buffer)
    return [round(float(buffer.alpha.mean()), 3) for buffer in buffers]


def wait_for_closers():
    for thread in threading.enumerate():
        if thread.name == "livecut-engine-close":
            thread.join(PATIENCE_SECONDS)


def test_a_lost_device_loses_no_frame_and_the_cpu_goes_on(on_gpu, wanted, log):
    device = FakeDevice()
    backend = opened(on_gpu(device), wanted.manifest)
    buffers = [backend.new_buffer() for _ in range(3)]
    assert run(backend, buffers, [0.1, 0.2, 0.3]) == [0.1, 0.2, 0.3]
    assert backend.info.name == on_gpu.name
    for buffer, value in zip(buffers, (0.4, 0.5, 0.6), strict=True):
        buffer.input.fill(value)
        backend.submit(buffer, None)
    device.lose()
    for buffer in buffers:
        backend.collect(buffer)
    assert [round(float(buffer.alpha.mean()), 3) for buffer in buffers] == [0.4, 0.5, 0.6]
    assert run(backend, buffers, [0.7, 0.8, 0.9]) == [0.7, 0.8, 0.9]
    (said,) = warnings_in(log)
    assert "failed: the GPU stopped working for this process: an illegal memory access" in said
    assert said.endswith("from here on served through red")
    assert "it failed at frame 6: the GPU stopped working" in backend.info.details
    wait_for_closers()
    assert device.closed == 1, "given back while the stream goes on"
    backend.close()
    assert device.closed == 1


def test_memory_goes_back_once_the_last_frame_has_left_the_gpu(on_gpu, wanted):
    """The device still works, but the engine does not: all that it held is there for others again."""
    device = FakeDevice()
    backend = opened(on_gpu(device), wanted.manifest)
    buffers = [backend.new_buffer() for _ in range(2)]
    run(backend, buffers, [0.1, 0.2])
    engine = backend._engine

    def fail(*arguments):
        raise OutOfDeviceMemory("the GPU is out of memory")

    engine.submit_together = fail
    buffers[0].input.fill(0.5)
    backend.submit(buffers[0], None)
    backend.collect(buffers[0])
    assert device.closed == 0, "the other buffer is still the engine's"
    assert run(backend, buffers, [0.6, 0.7]) == [0.6, 0.7]
    wait_for_closers()
    del engine
    device.order.log.clear()
    gc.collect()
    assert (device.live(), device.used, device.hazards) == ({}, 0, [])
    backend.close()


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_require_gpu_makes_it_the_streams_error(on_gpu, wanted, where):
    device = FakeDevice()
    backend = opened(on_gpu(device, require_gpu=True), wanted.manifest)
    buffer = backend.new_buffer()
    if where == "collect":
        backend.submit(buffer, None)
    device.lose()
    with pytest.raises(DeviceLost) as caught:
        backend.submit(buffer, None) if where == "submit" else backend.collect(buffer)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    backend.close()


def test_too_little_memory_at_the_start_is_the_cpus_stream_and_is_said(on_gpu, wanted, log):
    device = FakeDevice(memory=20_000)
    backend = opened(on_gpu(device), wanted.manifest)
    assert run(backend, [backend.new_buffer()], [0.3]) == [0.3]
    assert backend.info.name == "red"
    (said,) = warnings_in(log)
    assert "cannot be opened: the GPU is out of memory" in said
    assert "instead of " in backend.info.details
    gc.collect()
    assert device.live() == {}, "what was taken has been given back"
    backend.close()
    with pytest.raises(OutOfDeviceMemory):
        opened(on_gpu(device, require_gpu=True), wanted.manifest)


def test_a_new_session_in_the_same_process_has_the_gpu_again(on_gpu, wanted, tiny_model):
    devices = [FakeDevice(), FakeDevice()]
    for device in devices:
        with Session(tiny_model, backend=lambda device=device: on_gpu(device), size_wh=SIZE_WH) as session:
            alpha = session.matte(IMAGE, foreground=False).alpha
            assert abs(int(alpha[16, 32]) - 204) <= 1
            assert session.info.name == on_gpu.name
            if device is devices[0]:
                device.lose()
            alpha = session.matte(IMAGE, foreground=False).alpha
            assert abs(int(alpha[16, 32]) - 204) <= 1
            assert session.info.name == ("red" if device is devices[0] else on_gpu.name)
    assert [device.closed for device in devices] == [1, 1]


# -- what only opening can find, for ONNX Runtime


class Failing(OrtCudaBackend):
    """Its device fails to open with ``error``."""

    def __init__(self, error):
        def fail():
            raise error

        device = FakeDevice()
        super().__init__(fail, FakeRuntime(device))


@pytest.mark.parametrize(
    "error",
    [
        DriverTooOld("pycuda was built for CUDA 13, the driver goes up to CUDA 12; install a newer driver"),
        WrongDevice("this was built for another GPU: no kernel image is available"),
        DeviceLost("the GPU stopped working for this process"),
        BackendError("onnxruntime's CUDA provider does not load"),
    ],
)
def test_what_fails_at_the_start_is_one_line_and_the_cpu_serves(tiny_model, error, log):
    manifest = Manifest.load(tiny_model)
    backend = opened(OrtCudaOrCpu(make=partial(Failing, error), open_meanwhile=RedBackend), manifest)
    assert backend.info.name == "red"
    assert warnings_in(log) == [
        f"onnxruntime-cuda for tiny at 64x32 cannot be opened: {error}; served through red"
    ]
    backend.close()
    with pytest.raises(type(error)):
        opened(OrtCudaOrCpu(make=partial(Failing, error), require_gpu=True), manifest)


def test_what_is_not_to_be_had_is_never_replaced(tiny_model):
    manifest = Manifest.load(tiny_model)
    device = FakeDevice()
    make = partial(OrtCudaBackend, lambda: device, FakeRuntime(device))
    with pytest.raises(DeviceUnavailable, match="precision fp16: onnxruntime-cuda has fp32"):
        opened(OrtCudaOrCpu(make=make, open_meanwhile=RedBackend), manifest, "fp16")
    no_pycuda = partial(Failing, DeviceUnavailable("pycuda is needed for the GPU"))
    with pytest.raises(DeviceUnavailable, match="pycuda is needed"):
        opened(OrtCudaOrCpu(make=no_pycuda, open_meanwhile=RedBackend), manifest)


def test_a_backend_that_was_chosen_fails_over_unless_the_gpu_is_required(monkeypatch):
    monkeypatch.setattr(backends, "why_not", lambda name: "")
    monkeypatch.setattr(backends, "require_gpu", lambda name: None)
    for on_gpu, required in ((None, False), (True, True)):
        made = backends.select_backend("onnxruntime-cuda", on_gpu=on_gpu)[0]()
        assert isinstance(made, OrtCudaOrCpu)
        assert made._require_gpu is required


# -- streams that share the GPU in batches


@pytest.fixture
def recurrent(tmp_path):
    """Of a bundle that takes up to four pictures: alpha is half of red and half of the alpha before."""
    graph = bundles.with_free_batch(bundles.half_of_before())
    more = {"state": bundles.HALF_STATE, "batch": 4, "free_batch": True}
    return Manifest.load(bundles.write_bundle(tmp_path / "model", graph, **more))


class Three:
    """Three streams of one group; every frame is white, so alpha says how many of them are remembered."""

    def __init__(self, make, manifest):
        self.group = StreamGroup(make, bound_ms=1e9)
        self.streams = [opened(self.group.backend()(), manifest, "fp32") for _ in range(3)]
        self.buffers = [stream.new_buffer() for stream in self.streams]
        self.states = [stream.begin() for stream in self.streams]

    def alphas(self):
        for stream, buffer in zip(self.streams, self.buffers, strict=True):
            stream.admit()
            buffer.input.fill(1.0)
        for number, stream in enumerate(self.streams):
            self.states[number] = stream.submit(self.buffers[number], self.states[number])
        for stream, buffer in zip(self.streams, self.buffers, strict=True):
            stream.collect(buffer)
        return [float(buffer.alpha.mean()) for buffer in self.buffers]

    @property
    def details(self):
        return self.streams[0].info.details

    def close(self):
        for stream in self.streams:
            stream.close()
        self.group.close()


def remembering(frames):
    return pytest.approx([1 - 0.5**frames] * 3, abs=1e-2)


def test_streams_in_batches_go_on_when_their_device_is_lost(recurrent, log):
    device = FakeDevice()

    def on_device():
        return OrtCudaBackend(lambda: device, FakeRuntime(device))

    three = Three(lambda: OrtCudaOrCpu(make=on_device, open_meanwhile=OpenVinoBackend), recurrent)
    assert "up to 4 frames in one inference" in three.details
    assert [three.alphas() for _ in range(3)] == [remembering(n) for n in (1, 2, 3)]
    assert three.group.batches.sizes == {3: 3}
    device.lose()
    assert [three.alphas() for _ in range(3)] == [remembering(n) for n in (1, 2, 3)], "anew, each its own"
    assert "one frame after the other" in three.details
    assert len(warnings_in(log)) == 1
    three.close()
    assert device.closed == 1


def test_streams_share_an_engine_that_is_built_meanwhile_and_then_go_together(recurrent, cache):
    device, may_build, made = FakeDevice(), threading.Event(), []
    plan = recurrent.model_path.read_bytes()
    shapes = {"min": [1, 3, 32, 64], "opt": [4, 3, 32, 64], "max": [4, 3, 32, 64]}
    narrow = {name: [shape[0], 1, *shape[2:]] for name, shape in shapes.items()}

    def build(wanted, path):
        put(wanted, path.parent, plan=plan, shapes={"image": shapes, "memory": narrow})

    def swapping():
        made.append(
            SwappingBackend(
                cache=cache, build=Builder(may_build, write=build), open_meanwhile=OpenVinoBackend,
                open_engine=partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device),
                place=lambda: ORIN,
            )
        )  # fmt: skip
        return made[-1]

    three = Three(swapping, recurrent)
    assert len(made) == 1
    assert [three.alphas() for _ in range(2)] == [remembering(1), remembering(2)]
    assert "one frame after the other" in three.details
    may_build.set()
    assert three.streams[1].wait_until_built(PATIENCE_SECONDS), "which a benchmark does"
    assert [three.alphas() for _ in range(3)] == [remembering(n) for n in (1, 2, 3)], "on the engine, anew"
    assert three.alphas() == remembering(4)
    assert "up to 4 frames in one inference" in three.details
    assert three.group.batches.sizes[3] >= 3
    three.close()
    assert device.hazards == []


def test_a_plate_is_known_to_its_own_stream_so_each_has_an_engine_of_its_own(tmp_path):
    folder = bundles.write_bundle(
        tmp_path / "plate", bundles.red_beside_the_plate(), state=bundles.PLATE_STATE, begins_with="plate"
    )
    device, made = FakeDevice(), []

    def on_device():
        made.append(OrtCudaBackend(lambda: device, FakeRuntime(device)))
        return made[-1]

    group = StreamGroup(lambda: OrtCudaOrCpu(make=on_device, open_meanwhile=OpenVinoBackend))
    sessions = []
    for level in (40, 200):
        plate = np.full((32, 64, 3), level, np.uint8)
        sessions.append(Session(folder, backend=group.backend(), plate=plate, size_wh=SIZE_WH))
    picture = np.full((32, 64, 3), 100, np.uint8)
    alphas = [int(session.matte(picture, foreground=False).alpha[16, 32]) for session in sessions]
    assert alphas == pytest.approx([60, 100], abs=1)
    device.lose()  # the CPU that takes over is shown each stream's plate
    alphas = [int(session.matte(picture, foreground=False).alpha[16, 32]) for session in sessions]
    assert alphas == pytest.approx([60, 100], abs=1)
    assert len(made) == 2
    for session in sessions:
        session.close()
    group.close()
