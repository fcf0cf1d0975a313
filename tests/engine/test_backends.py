"""One list of tests for every backend: same numbers, same refusals, buffers that are really shared."""

import builtins
import importlib.util

import bundles
import numpy as np
import pytest

from livecut.engine import backends
from livecut.engine.backends import available_backends, select_backend
from livecut.engine.errors import BackendError, DeviceUnavailable, ManifestError, UsageError
from livecut.engine.manifest import Manifest

COMPUTING = [
    name
    for name, package in (("openvino", "openvino"), ("onnxruntime", "onnxruntime"))
    if importlib.util.find_spec(package)
]
FP32_ATOL = 1e-6  # one multiplication and a clip in fp32
BF16_ATOL = 1 / 128  # bf16 keeps 8 bits


@pytest.fixture(params=COMPUTING)
def name(request):
    return request.param


def opened(name, folder, *, size_wh=(64, 32), precision="fp32", threads=1):
    make, _ = select_backend(name)
    backend = make()
    backend.open(Manifest.load(folder), size_wh, precision=precision, threads=threads)
    return backend


def test_alpha_lands_in_the_buffer_without_a_copy(name, tiny_model, rng):
    backend = opened(name, tiny_model)
    buffer = backend.new_buffer()
    address = buffer.alpha.ctypes.data
    buffer.input[...] = rng.random(buffer.input.shape, np.float32)
    backend.infer(buffer, backend.new_state())
    np.testing.assert_allclose(buffer.alpha, buffer.input[0, 0], atol=FP32_ATOL)
    assert buffer.alpha.ctypes.data == address
    backend.close()


def test_buffers_in_flight_do_not_disturb_each_other(name, tiny_model, rng):
    backend = opened(name, tiny_model)
    buffers = [backend.new_buffer() for _ in range(3)]
    for buffer in buffers:
        buffer.input[...] = rng.random(buffer.input.shape, np.float32)
    for buffer in (*buffers, buffers[1], buffers[0]):
        backend.infer(buffer, None)
    for buffer in buffers:
        np.testing.assert_allclose(buffer.alpha, buffer.input[0, 0], atol=FP32_ATOL)
    backend.close()


def test_buffers_are_aligned_for_the_kernels(name, tiny_model):
    backend = opened(name, tiny_model)
    buffer = backend.new_buffer()
    assert buffer.input.ctypes.data % 64 == 0
    assert buffer.alpha.ctypes.data % 64 == 0
    backend.close()


def test_every_channel_and_size_reaches_the_network(name, tmp_path, rng):
    folder = bundles.write_bundle(tmp_path / "sum", bundles.sigmoid_of_sum())
    for size_wh in ((32, 32), (96, 64)):
        backend = opened(name, folder, size_wh=size_wh)
        buffer = backend.new_buffer()
        buffer.input[...] = rng.normal(size=buffer.input.shape).astype(np.float32)
        backend.infer(buffer, None)
        expected = 1 / (1 + np.exp(-buffer.input[0].sum(0, dtype=np.float64)))
        np.testing.assert_allclose(buffer.alpha, expected, atol=1e-4)
        backend.close()


def test_state_is_carried_and_new_state_forgets(name, tiny_stateful_model):
    backend = opened(name, tiny_stateful_model)
    buffers = [backend.new_buffer(), backend.new_buffer()]
    for _ in range(2):
        state = backend.new_state()
        for step, expected in enumerate((0.5, 0.75, 0.875, 0.9375)):
            buffer = buffers[step % 2]
            buffer.input.fill(1)
            state = backend.infer(buffer, state)
            np.testing.assert_allclose(buffer.alpha, expected, atol=FP32_ATOL)
    backend.close()


def test_info_is_read_back_from_the_runtime(name, tiny_model):
    backend = opened(name, tiny_model)
    info = backend.info
    assert (info.name, info.precision, info.threads) == (name, "fp32", 1)
    assert info.device.startswith("CPU")
    assert info.to_json() == {"name": name, "device": info.device, "precision": "fp32", "threads": 1}
    assert str(info).endswith("fp32, 1 thread")
    backend.close()


def test_info_before_open_is_an_error(name):
    make, _ = select_backend(name)
    with pytest.raises(BackendError, match="not open"):
        _ = make().info


def test_a_precision_that_is_not_to_be_had_is_refused_with_those_that_are(name, tiny_model):
    with pytest.raises(DeviceUnavailable, match=r"precision fp16: .*fp32"):
        opened(name, tiny_model, precision="fp16")


def test_a_graph_of_one_size_refuses_another_in_one_line(name, tmp_path):
    graph = bundles.red_as_alpha()
    for value in (*graph.input, *graph.output):
        for dimension, size in zip(value.type.tensor_type.shape.dim[2:], (32, 64), strict=True):
            dimension.dim_value = size
    folder = bundles.write_bundle(tmp_path / "fixed", graph)
    opened(name, folder, size_wh=(64, 32)).close()
    with pytest.raises(
        UsageError, match=r"fixed is fixed at 64x32 and cannot take 32x32; leave the input size"
    ):
        opened(name, folder, size_wh=(32, 32))


def test_a_manifest_that_lies_is_refused_when_the_backend_reads_the_model(name, tmp_path):
    folder = bundles.write_bundle(tmp_path / "liar", bundles.red_as_alpha(), input__name="pixels")
    with pytest.raises(ManifestError, match="names the input 'pixels', which the model does not have"):
        opened(name, folder)


def test_a_file_that_is_no_model_is_refused_in_one_line(name, tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "rubbish")
    (folder / "model.onnx").write_bytes(b"rubbish")
    with pytest.raises(BackendError, match=r"model\.onnx: .*cannot (read|load) it") as caught:
        opened(name, folder)
    assert "\n" not in str(caught.value)


def test_closing_twice_is_fine(name, tiny_model):
    backend = opened(name, tiny_model)
    backend.close()
    backend.close()


@pytest.mark.skipif("openvino" not in COMPUTING, reason="needs openvino")
def test_bf16_is_taken_by_itself_exactly_where_the_chip_has_it(tiny_model, rng):
    from livecut.engine.backends.openvino import supported_precisions

    backend = opened("openvino", tiny_model, precision="auto")
    assert backend.info.precision == supported_precisions()[-1]
    buffer = backend.new_buffer()
    buffer.input[...] = rng.random(buffer.input.shape, np.float32)
    backend.infer(buffer, None)
    np.testing.assert_allclose(buffer.alpha, buffer.input[0, 0], atol=BF16_ATOL)
    backend.close()


@pytest.mark.skipif("openvino" not in COMPUTING, reason="needs openvino")
def test_what_bf16_cannot_compile_runs_in_fp32_only_where_the_precision_was_free(monkeypatch, tiny_model):
    import openvino as ov

    from livecut.engine.backends import openvino as module

    compile_model = ov.Core.compile_model

    def without_bf16(core, model, device, config):
        if config["INFERENCE_PRECISION_HINT"] == "bf16":
            raise RuntimeError("No suitable implementations.")
        return compile_model(core, model, device, config)

    monkeypatch.setattr(ov.Core, "compile_model", without_bf16)
    monkeypatch.setattr(module, "supported_precisions", lambda core=None: ("fp32", "bf16"))
    backend = opened("openvino", tiny_model, precision="auto")
    assert backend.info.precision == "fp32"
    assert "it cannot be compiled in bf16" in backend.info.details
    backend.close()
    with pytest.raises(BackendError, match="No suitable implementations"):
        opened("openvino", tiny_model, precision="bf16")


@pytest.mark.skipif("openvino" not in COMPUTING, reason="needs openvino")
def test_a_quantised_model_loads_as_it_is_and_says_int8(tmp_path, rng):
    folder = bundles.write_bundle(tmp_path / "q", bundles.quantised_red())
    backend = opened("openvino", folder)
    assert backend.info.precision == "int8"
    buffer = backend.new_buffer()
    buffer.input[...] = rng.random(buffer.input.shape, np.float32)
    backend.infer(buffer, None)
    np.testing.assert_allclose(buffer.alpha, buffer.input[0, 0], atol=1 / 127)
    backend.close()


def test_null_gives_a_constant_matte_and_computes_nothing(tiny_model):
    backend = opened("null", tiny_model, precision="auto")
    buffer = backend.new_buffer()
    backend.infer(buffer, backend.new_state())
    assert np.all(buffer.alpha == 1)
    assert backend.info.to_json() == {"name": "null", "device": "none", "precision": "none", "threads": 0}
    backend.close()


# -- choosing


def without(monkeypatch, *packages):
    real = importlib.util.find_spec
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in packages else real(name))


def test_auto_takes_the_first_that_is_there_and_says_why(monkeypatch):
    make, reason = select_backend("auto")
    assert make().name == COMPUTING[0]
    without(monkeypatch, "openvino")
    if "onnxruntime" in COMPUTING:
        make, reason = select_backend("auto")
        assert make().name == "onnxruntime"
        assert "openvino: the package openvino is not installed" in reason


def test_no_backend_at_all_lists_what_could_be_installed(monkeypatch):
    without(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(
        DeviceUnavailable, match=r"openvino: .*pip install openvino; onnxruntime: .*livecut\[onnx"
    ):
        select_backend("auto")


def test_a_backend_that_was_asked_for_is_never_replaced(monkeypatch):
    without(monkeypatch, "onnxruntime")
    with pytest.raises(DeviceUnavailable, match=r"backend onnxruntime: .*Available here: openvino, null"):
        select_backend("onnxruntime")
    assert available_backends()["onnxruntime"].startswith("the package onnxruntime is not installed")


def test_a_backend_nobody_knows_is_a_usage_error():
    with pytest.raises(
        UsageError,
        match="no backend 'cuda'; there are auto, openvino, onnxruntime, tensorrt, onnxruntime-cuda, null",
    ):
        select_backend("cuda")


def test_a_package_that_is_there_and_does_not_load_says_so(monkeypatch):
    import sys

    real = builtins.__import__

    def broken(name, *arguments, **options):
        if name == "onnxruntime":
            raise ImportError("libfoo.so: cannot open shared object file")
        return real(name, *arguments, **options)

    if "onnxruntime" not in COMPUTING:
        pytest.skip("needs onnxruntime")
    monkeypatch.delitem(sys.modules, "livecut.engine.backends.ort", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(DeviceUnavailable, match=r"installed but does not load: libfoo\.so"):
        select_backend("onnxruntime")
