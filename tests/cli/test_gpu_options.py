"""Options that ask for a GPU, on a machine without one: exit code 4, and the reason in one line."""

import pytest

from livecut.engine.cuda import find_gpu
from livecut.engine.errors import DeviceUnavailable


def gpu_is_here():
    try:
        find_gpu()
    except DeviceUnavailable:
        return False
    return True


pytestmark = pytest.mark.skipif(gpu_is_here(), reason="a GPU is here")
SOURCE = "synthetic://64x36@30?seconds=0.1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--require-gpu"], "--require-gpu: no model can run on a GPU here"),
        (["--require-gpu", "--backend", "openvino"], "openvino does not run on a GPU"),
        (["--backend", "tensorrt"], "backend tensorrt: there is no NVIDIA"),
        (["--backend", "onnxruntime-cuda"], "backend onnxruntime-cuda: there is no NVIDIA"),
        (["--post", "gpu"], "--post gpu: the model runs on"),
    ],
)
def test_what_needs_a_gpu_fails_with_exit_code_4(livecut, tiny_model, options, message):
    done = livecut("stream", SOURCE, "null://", "--model", tiny_model, *options)
    assert done.exit_code == 4, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_place_that_does_not_exist_is_a_usage_error(livecut, tiny_model):
    done = livecut("stream", SOURCE, "null://", "--model", tiny_model, "--post", "moon")
    assert done.exit_code == 2
    assert "post: expected one of auto, cpu, gpu, got 'moon'" in " ".join(done.stderr.split())
