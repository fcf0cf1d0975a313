"""The network of the rembg-style loop is the published one in all but its weights."""

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from benchmarks import u2netp
from benchmarks.rembg_loop import RembgLoop


@pytest.fixture(scope="module")
def model():
    return u2netp.build()


def test_u2netp_has_the_published_number_of_parameters(model):
    # 1 131 181 published, of which 2 x 2848 belong to batch normalisation, here folded into the convolutions
    assert u2netp.parameters(model) == 1_131_181 - 2 * 2848


def test_u2netp_costs_what_the_published_one_costs(model):
    assert u2netp.macs(model) / 1e9 == pytest.approx(19.8, abs=0.1)


def test_u2netp_has_seven_outputs_at_the_size_of_its_input(model):
    assert [node.op_type for node in model.graph.node].count("Conv") == 119
    small = u2netp.build((64, 64))
    session = onnxruntime.InferenceSession(small.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"input.1": np.ones((1, 3, 64, 64), np.float32)})
    assert [output.shape for output in outputs] == [(1, 1, 64, 64)] * 7
    assert all(np.isfinite(output).all() and output.min() >= 0 and output.max() <= 1 for output in outputs)


def test_u2netp_is_the_same_every_time():
    assert u2netp.build((32, 32)).SerializeToString() == u2netp.build((32, 32)).SerializeToString()


def test_rembg_loop_normalises_as_the_network_expects():
    picture = Image.new("RGB", (40, 30), (255, 0, 51))
    tensor = RembgLoop.prepare(picture)
    assert tensor.shape == (1, 3, 320, 320)
    assert tensor.dtype == np.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(tensor[0, :, 100, 100], expected, rtol=1e-5)


def test_rembg_loop_stretches_the_mask_to_the_picture():
    output = np.linspace(0.4, 0.6, 320 * 320, dtype=np.float32).reshape(1, 1, 320, 320)
    mask = np.asarray(RembgLoop.mask(output, (64, 48)))
    assert mask.shape == (48, 64)
    assert mask[0].max() < 10
    assert mask[-1].min() > 245
