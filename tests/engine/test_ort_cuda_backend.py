"""ONNX Runtime on a fake GPU: the session's one stream and the lanes' own, in the right order."""

import gc
import threading
import weakref

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from fake_cuda import FakeDevice
from fake_onnxruntime import FakeRuntime, FakeRuntimeThatPreloads, FakeSession
from fakes import PATIENCE_SECONDS, must
from frames_in_flight import run_frames

from livecut.engine.backends.ort_cuda import OrtCudaBackend
from livecut.engine.errors import BackendError, DeviceUnavailable, OutOfDeviceMemory
from livecut.engine.manifest import Manifest


def backend_on(device, folder, precision="auto", **runtime):
    backend = OrtCudaBackend(lambda: device, FakeRuntime(device, **runtime))
    backend.open(Manifest.load(folder), (32, 32), precision=precision, threads=1)
    return backend


@pytest.mark.parametrize("order", ["late", "eager", "random"])
@pytest.mark.parametrize("depth", [1, 3])
def test_frames_come_out_right_and_everything_is_given_back(tiny_model, order, depth):
    device = FakeDevice(order=order, seed=7)
    backend = backend_on(device, tiny_model)
    values = [step / 16 for step in range(8)]
    assert run_frames(backend, device, values, depth) == [(v, v) for v in values]
    backend.close()
    device.order.log.clear()
    gc.collect()
    assert (device.live(), device.hazards) == ({}, [])


@pytest.mark.parametrize("is_lost", [False, True], ids=["closed", "lost"])
def test_the_session_goes_before_its_stream_and_on_a_lost_gpu_never(tiny_stateful_model, is_lost):
    """Its destructor uses the stream, and where the GPU refuses to free memory it ends the process."""
    device = FakeDevice()
    backend = backend_on(device, tiny_stateful_model)
    buffer, compute, gone = backend.new_buffer(), backend._compute, []
    weakref.finalize(backend._session, lambda: gone.append(compute in device.taken["streams"]))
    if is_lost:
        device.lose()
    backend.close()
    gc.collect()
    assert gone == ([] if is_lost else [True])
    del buffer


@pytest.mark.parametrize("order", ["late", "eager", "random"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_state_stays_on_the_device_and_follows_the_frames(tiny_stateful_model, order, depth):
    device = FakeDevice(order=order, seed=11)
    backend = backend_on(device, tiny_stateful_model)
    for _ in range(2):
        alphas = run_frames(backend, device, [1] * 4, depth, backend.new_state())
        assert [low for low, _ in alphas] == [0.5, 0.75, 0.875, 0.9375]
    backend.close()
    assert device.hazards == []


def test_copies_overlap_the_sessions_one_stream(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    run_frames(backend, device, [0.5] * 9, 3)
    assert device.order.makespan({"copy-in": 1, "compute": 1, "copy-out": 1}) == 11
    backend.close()


def test_it_runs_on_our_stream_does_not_block_and_never_uses_the_cpu_in_secret(tiny_model):
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    runtime = backend._runtime
    assert int(runtime.settings["user_compute_stream"]) == backend._compute.handle
    assert runtime.entries == {
        "session.disable_cpu_ep_fallback": "1",
        "disable_synchronize_execution_providers": "1",
    }
    backend.close()


def test_precision_is_said_as_it_is(tiny_model):
    for asked, found, allowed in (("auto", "tf32", "1"), ("fp32", "fp32", "0")):
        backend = backend_on(FakeDevice(), tiny_model, asked)
        assert backend.info.precision == found
        assert backend._runtime.settings["use_tf32"] == allowed
        assert "stream launches, as no CUDA graph can be captured (onnxruntime allocates" in (
            backend.info.details
        )
        backend.close()
    with pytest.raises(DeviceUnavailable, match="precision fp16: onnxruntime-cuda has fp32"):
        backend_on(FakeDevice(), tiny_model, "fp16")


def test_an_onnxruntime_without_cuda_is_refused_with_the_way_out(tiny_model):
    with pytest.raises(DeviceUnavailable, match="has no CUDA provider: pip uninstall onnxruntime"):
        backend_on(FakeDevice(), tiny_model, providers=("CPUExecutionProvider",))


@pytest.mark.parametrize("cuda_path", [False, True])
def test_a_provider_that_does_not_load_is_said_with_the_way_out(tiny_model, cuda_path):
    """It is a warning to onnxruntime, and what fails is that every node is then the CPU's."""
    device = FakeDevice()
    backend = OrtCudaBackend(lambda: device, FakeRuntime(device, loads=False, cuda_path=cuda_path))
    with pytest.raises(
        BackendError, match=r"CUDA provider does not load, .*pip install onnxruntime-gpu"
    ) as caught:
        backend.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
    assert "\n" not in str(caught.value)
    backend.close()
    assert device.live() == {}


def test_a_node_without_a_kernel_on_the_gpu_is_no_missing_library(tiny_model):
    device = FakeDevice()
    backend = OrtCudaBackend(lambda: device, FakeRuntime(device, kernels=False))
    with pytest.raises(BackendError, match=r"cannot load it on the GPU: .*assigned to the default CPU EP"):
        backend.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
    backend.close()


def test_libraries_that_pip_installed_are_loaded_first_and_once(tiny_model, capsys):
    runtime = FakeRuntimeThatPreloads(FakeDevice())
    for _ in range(2):
        backend = OrtCudaBackend(lambda: runtime.device, runtime)
        backend.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
        backend.close()
    assert runtime.preloaded == 1


def test_a_library_that_is_missing_is_named_and_nothing_is_printed(tiny_model, capsys):
    runtime = FakeRuntimeThatPreloads(FakeDevice(), missing=("libcublasLt.so.12", "libcudnn.so.9"))
    backend = OrtCudaBackend(lambda: runtime.device, runtime)
    with pytest.raises(BackendError, match=r"another version \(Failed to load libcublasLt.so.12: .*\); pip"):
        backend.open(Manifest.load(tiny_model), (32, 32), precision="auto", threads=1)
    backend.close()
    assert capsys.readouterr().out == "", "stdout may be a video"


def test_a_lane_that_is_made_meanwhile_does_not_run_the_session_beside_a_frame(tiny_model, monkeypatch):
    """All runs use one stream of ours, on which onnxruntime queues as if it were alone."""
    device = FakeDevice()
    backend = backend_on(device, tiny_model)
    buffer = backend.new_buffer()
    run, inside, go_on = FakeSession.run_with_iobinding, threading.Event(), threading.Event()
    running = []

    def slow(session, binding, options):
        running.append(threading.current_thread().name)
        if not inside.is_set():
            inside.set()
            must(go_on.wait(PATIENCE_SECONDS), "leave to go on")
        run(session, binding, options)

    monkeypatch.setattr(FakeSession, "run_with_iobinding", slow)
    making = threading.Thread(target=backend.new_buffer, name="making", daemon=True)
    making.start()
    must(inside.wait(PATIENCE_SECONDS), "the lane to run")

    def submit():
        with backend.thread_context():
            backend.infer(buffer, None)

    submitting = threading.Thread(target=submit, name="submitting", daemon=True)
    submitting.start()
    submitting.join(0.2)  # long enough to get into the session if nothing keeps it out
    assert running == ["making"]
    go_on.set()
    for thread in (making, submitting):
        thread.join(PATIENCE_SECONDS)
    assert running == ["making", "submitting"]
    backend.close()


def test_too_little_memory_is_one_error_and_everything_is_returned(tiny_model):
    device = FakeDevice(memory=20_000)
    backend = OrtCudaBackend(lambda: device, FakeRuntime(device))
    with pytest.raises(OutOfDeviceMemory):
        backend.open(Manifest.load(tiny_model), (64, 64), precision="auto", threads=1)
    backend.close()
    gc.collect()
    assert device.live() == {}
