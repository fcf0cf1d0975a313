"""Which GPU backend is taken, and what is said where none can be."""

import pytest

from livecut.engine import backends
from livecut.engine.backends import gpu, select_backend
from livecut.engine.cuda import GpuInfo
from livecut.engine.errors import DeviceUnavailable
from livecut.engine.session import Session

RTX = GpuInfo(0, "RTX 4070", "8.9", "12.4", False, 12 << 30)
NO_DRIVER = "there is no NVIDIA driver here (libcuda.so.1 is not found)"


@pytest.fixture
def machine(monkeypatch):
    """Say what this machine has: a GPU or the reason for none, and the reason against each backend."""

    def has(found, **reasons):
        def find_gpu():
            if isinstance(found, str):
                raise DeviceUnavailable(found)
            return found

        def check(name):
            def raise_reason(gpu):
                if reason := reasons.get(name):
                    raise DeviceUnavailable(reason)

            return raise_reason

        monkeypatch.setattr(gpu, "find_gpu", find_gpu)
        monkeypatch.setattr(gpu, "find_spec", lambda name: object())
        monkeypatch.setattr(gpu, "_CHECKS", {n: check(n.partition("-")[2] or n) for n in gpu.GPU_BACKENDS})
        monkeypatch.setattr(backends, "_load", lambda name: lambda **options: (name, options))

    return has


def test_auto_takes_tensorrt_where_a_gpu_can_be_used(machine):
    machine(RTX)
    make, reason = select_backend("auto")
    assert make() == ("tensorrt", {"require_gpu": False, "rebuild": True})
    assert reason == "auto: tensorrt is the fastest of what can run here"


def test_auto_takes_onnxruntime_where_tensorrt_refuses_the_gpu(machine):
    machine(RTX, tensorrt="TensorRT-RTX does not serve SM 9.0")
    make, reason = select_backend("auto")
    assert make()[0] == "onnxruntime-cuda"
    assert reason.endswith("; tensorrt: TensorRT-RTX does not serve SM 9.0")


def test_auto_takes_the_cpu_without_a_gpu_and_says_why_once(machine):
    machine(NO_DRIVER)
    make, reason = select_backend("auto")
    assert make()[0] in ("openvino", "onnxruntime")
    assert reason.count(NO_DRIVER) == 1
    assert f"tensorrt, onnxruntime-cuda: {NO_DRIVER}" in reason


def test_auto_can_be_told_to_leave_the_gpu_alone(machine):
    machine(RTX)
    make, reason = select_backend("auto", on_gpu=False)
    assert make()[0] in ("openvino", "onnxruntime")
    assert "tensorrt" not in reason


def test_on_gpu_means_from_the_first_frame(machine):
    machine(RTX)
    make, _ = select_backend("tensorrt", on_gpu=True, rebuild=False)
    assert make() == ("tensorrt", {"require_gpu": True, "rebuild": False})


def test_requiring_a_gpu_fails_with_the_reason_and_exit_code_4(machine, tiny_model):
    machine(NO_DRIVER)
    with pytest.raises(
        DeviceUnavailable, match="--require-gpu: no model can run on a GPU here: there is no NV"
    ) as e:
        Session(tiny_model, on_gpu=True)
    assert e.value.exit_code == 4
    machine(RTX, tensorrt="too old", cuda="not installed")
    with pytest.raises(DeviceUnavailable, match="tensorrt: too old; onnxruntime-cuda: not installed"):
        select_backend("auto", on_gpu=True)
    machine(RTX)
    with pytest.raises(DeviceUnavailable, match="openvino does not run on a GPU"):
        select_backend("openvino", on_gpu=True)


def test_a_gpu_backend_asked_for_is_never_replaced(machine):
    machine(NO_DRIVER)
    with pytest.raises(DeviceUnavailable, match="backend tensorrt: there is no NVIDIA driver here"):
        select_backend("tensorrt")


def test_no_package_is_looked_at_on_a_machine_without_a_gpu(machine, monkeypatch):
    machine(NO_DRIVER)
    monkeypatch.setattr(gpu, "find_spec", None)
    assert gpu.why_not("tensorrt") == NO_DRIVER


@pytest.mark.needs_gpu
def test_a_real_gpu_serves_a_model(tiny_model):
    import numpy as np

    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    with Session(tiny_model, on_gpu=True) as session, Session(tiny_model, on_gpu=False) as referee:
        assert session.info.device.startswith(("NVIDIA", "Tesla", "Quadro", "Orin", "GeForce"))
        difference = np.abs(session.cut(picture).astype(int) - referee.cut(picture))
        assert difference.max() <= 2


def test_a_library_that_breaks_when_looked_at_does_not_take_the_others_with_it(machine, monkeypatch):
    machine(RTX)

    def breaks(found):
        raise RuntimeError("CUDA initialization failure\nwith error: 35")

    monkeypatch.setitem(gpu._CHECKS, "tensorrt", breaks)
    make, reason = select_backend("auto")
    assert make()[0] == "onnxruntime-cuda"
    assert "its package does not load: RuntimeError: CUDA initialization failure with error: 35" in reason
