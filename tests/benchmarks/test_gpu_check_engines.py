"""The engines that the GPU check measures, on a GPU made of software: opened, compared, batched."""

import numpy as np
import pytest
import software_gpu

pytest.importorskip("psutil", reason="the check reads memory through psutil")

from software_checks import assert_passed, report

from benchmarks.gpu_check import (
    batch_stage,
    engine_stages,
    frame_stages,
    torch_stage,
)
from benchmarks.gpu_check.results import NotRun


def test_an_engine_that_opens_is_named(settings):
    found = report()
    engine_stages.opens(found, settings)
    assert_passed(found, [])
    assert found.facts["engine"].startswith("copying on Software GPU")
    assert found.facts["seconds to open"] >= 0


def test_a_library_that_breaks_is_told_and_the_next_one_measured(settings, monkeypatch):
    from benchmarks.gpu_check import engines

    def breaks():
        raise TypeError("a null pointer")

    monkeypatch.setattr(engines, "_CANDIDATES", {"broken": breaks, "given": settings.pop("backend")})
    monkeypatch.setattr(engines, "open_gpu", settings["open_device"])
    found = report()
    engine_stages.opens(found, settings)
    assert found.judged().status == "failed"
    assert found.reason == "broken: what fails is an error of livecut's"
    assert found.checks[0].said == "TypeError: a null pointer"
    assert found.facts["engine"].startswith("copying")


def test_streams_in_one_inference_are_timed_beside_turns(either):
    found = report()
    batch_stage.batches(found, either)
    assert_passed(
        found, ["4 streams one after the other", "4 streams in one inference", "over one inference"]
    )
    assert "together and alone" in found.checks[0].what
    assert "up to 4 frames in one CUDA graph" in found.facts["details"]


def test_streams_that_get_anothers_alpha_are_found(settings, monkeypatch):
    from livecut.engine.backends.device_batches import DeviceBatches

    submit = DeviceBatches.submit

    def swapped(self, buffers, states):
        for buffer in buffers[1:]:
            buffer.input[...] = buffers[0].input
        return submit(self, buffers, states)

    monkeypatch.setattr(DeviceBatches, "submit", swapped)
    found = report()
    batch_stage.batches(found, settings)
    assert found.judged().status == "failed"


def test_an_engine_that_takes_one_frame_at_a_time_is_not_timed_in_batches(settings):
    kind = software_gpu.backend_class()

    class One(kind):
        def _takes(self):
            return 1, "one alone"

    with pytest.raises(NotRun, match="copying: one alone"):
        batch_stage.batches(report(), {**settings, "backend": lambda: One(settings["open_device"])})


def test_parity_compares_every_picture_with_onnx(settings):
    pytest.importorskip("onnxruntime", reason="parity is against ONNX Runtime")
    found = report()
    engine_stages.parity(found, settings)
    assert_passed(found, ["mean difference of alpha"])
    assert found.figures[0].samples == engine_stages.PICTURES


def test_parity_finds_an_engine_that_is_another_network(stateful):
    pytest.importorskip("onnxruntime", reason="parity is against ONNX Runtime")
    found = report()
    engine_stages.parity(found, stateful)
    assert found.judged().status == "failed"


def on_cpu(device):
    """PyTorch as the engine, on the memory of the software GPU, which is the host's."""
    import ctypes
    from contextlib import nullcontext

    from benchmarks.gpu_check.torch_engine import TorchBackend, TorchProgram

    torch = pytest.importorskip("torch", reason="PyTorch as an engine")

    class Program(TorchProgram):
        why_not_captured = "it runs at once"

        def tensor(self, pointer, shape):
            memory = (ctypes.c_float * int(np.prod(shape))).from_address(pointer)
            return torch.from_numpy(np.frombuffer(memory, np.float32).reshape(shape))

        def on(self, stream):
            return nullcontext()

    class OnCpu(TorchBackend):
        device_name, half, program_class = "cpu", False, Program

    return OnCpu(device)


def test_pytorch_as_an_engine_is_the_network(either):
    pytest.importorskip("onnxruntime", reason="parity is against ONNX Runtime")
    found = report()
    engine_stages.parity(found, {**either, "backend": lambda: on_cpu(either["open_device"])})
    assert_passed(found, ["mean difference of alpha"])
    assert "it runs at once" in found.facts["details"]


def test_an_engine_that_cannot_be_captured_is_told_by_the_graph_stage(settings):
    with pytest.raises(NotRun, match="pytorch in no graph: it runs at once"):
        frame_stages.graph(report(), {**settings, "backend": lambda: on_cpu(settings["open_device"])})


def test_the_serial_loop_runs_and_its_goal_is_forty_times(settings):
    pytest.importorskip("torch", reason="the loop is PyTorch's")
    found = report()
    torch_stage.serial_loop(found, {**settings, "torch_device": "cpu"})
    (goal,) = (each for each in found.figures if each.target)
    assert goal.target == 40
    assert any("livecut" in each.what for each in found.figures)


def test_without_an_engine_the_frame_stages_say_what_was_tried(settings):
    def refuses():
        raise NotRun("no such thing here")

    with pytest.raises(NotRun, match="nothing runs the model on this GPU: given: no such thing here"):
        frame_stages.graph(report(), {**settings, "backend": refuses})


def test_what_only_lacks_pycuda_is_run_through_libcuda_alone(monkeypatch):
    from benchmarks.gpu_check import engines
    from livecut.engine.backends.swapping import SwappingBackend

    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    reasons = {"tensorrt": "", "onnxruntime-cuda": "has no CUDA provider"}
    monkeypatch.setattr(engines, "why_not", lambda name, needs_pycuda=True: reasons[name])
    made = engines._CANDIDATES["tensorrt without pycuda"]()
    assert isinstance(made, SwappingBackend)
    made.close()
    with pytest.raises(NotRun, match="has no CUDA provider"):
        engines._CANDIDATES["onnxruntime-cuda without pycuda"]()
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    with pytest.raises(NotRun, match="has been tried"):
        engines._CANDIDATES["tensorrt without pycuda"]()
