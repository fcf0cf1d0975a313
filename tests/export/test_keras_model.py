"""Keras layers: graph and check alike against TensorFlow's arithmetic in loops; code in a file is not run."""

import base64

import keras_files as files
import numpy as np
import pytest

pytest.importorskip("h5py", reason="Keras files are HDF5")
pytest.importorskip("onnxruntime", reason="runs what is exported")

from livecut.engine.errors import ModelError
from livecut.engine.session import Session
from livecut.export import export_model
from livecut.export.keras_file import open_keras
from livecut.export.keras_model import build
from livecut.export.keras_reference import compute
from livecut.export.runners import onnx_runner

ATOL = 2e-5  # sums of a few dozen products in fp32


def both(path, x):
    """The answers of the ONNX graph and of the check to x (h, w, c), each (h, w, c)."""
    file = open_keras(path)
    model = build(file, path.name)
    name = model.graph.output[0].name
    from_graph = onnx_runner(model)({"in": x.transpose(2, 0, 1)[None].astype(np.float32)})[name]
    from_check = compute(file, x[None].astype(np.float32))[name]
    return from_graph[0].transpose(1, 2, 0), from_check[0]


def assert_both(path, x, expected):
    for got in both(path, x):
        np.testing.assert_allclose(got, expected, atol=ATOL)


def single(tmp_path, kind, settings, weights, size=(16, 16), channels=3):
    layers = [files.start(size, channels), (kind, settings, weights, ("in",))]
    return files.write(tmp_path / "single.h5", layers)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "rate"), [(3, 1, 1), (3, 2, 1), (2, 2, 1), (5, 3, 1), (4, 1, 1), (3, 1, 2)]
)
@pytest.mark.parametrize("size", [(16, 16), (13, 11)])
def test_convolutions_pad_as_tensorflow_does(tmp_path, rng, padding, kernel, stride, rate, size):
    x = rng.normal(size=(size[1], size[0], 3))
    weight, bias = rng.normal(size=(kernel, kernel, 3, 4)), rng.normal(size=4)
    settings = files.window(
        "c", kernel_size=[kernel] * 2, strides=[stride] * 2, padding=padding, dilation_rate=[rate] * 2
    )
    path = single(tmp_path, "Conv2D", settings, {"kernel": weight, "bias": bias}, size)
    assert_both(path, x, files.conv(x, weight, stride=stride, rate=rate, padding=padding) + bias)


def test_depthwise_and_separable_convolutions_keep_their_channel_order(tmp_path, rng):
    x = rng.normal(size=(9, 12, 3))
    depth, point = rng.normal(size=(3, 3, 3, 2)), rng.normal(size=(1, 1, 6, 4))
    settings = files.window("d", kernel_size=[3, 3], strides=[2, 2], use_bias=False)
    path = single(tmp_path, "DepthwiseConv2D", settings, {"depthwise_kernel": depth}, (12, 9))
    middle = files.conv(x, depth, stride=2, depthwise=True)
    assert_both(path, x, middle)
    weights = {"depthwise_kernel": depth, "pointwise_kernel": point, "bias": np.arange(4)}
    path = single(tmp_path, "SeparableConv2D", {**settings, "use_bias": True}, weights, (12, 9))
    assert_both(path, x, middle @ point[0, 0] + np.arange(4))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (1, 2), (5, 3)])
def test_transposed_convolutions_are_the_gradient_of_convolutions(tmp_path, rng, padding, kernel, stride):
    x = rng.normal(size=(5, 6, 3))
    weight = rng.normal(size=(kernel, kernel, 4, 3))
    settings = files.window(
        "t", kernel_size=[kernel] * 2, strides=[stride] * 2, padding=padding, use_bias=False
    )
    settings["output_padding"] = None
    path = single(tmp_path, "Conv2DTranspose", settings, {"kernel": weight}, (6, 5))
    assert_both(path, x, files.conv_transpose(x, weight, stride=stride, padding=padding))


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("Activation", {"activation": "relu6"}, lambda x: np.clip(x, 0, 6)),
        ("Activation", {"activation": "hard_sigmoid"}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("Activation", {"activation": "swish"}, lambda x: x / (1 + np.exp(-x))),
        ("Activation", {"activation": "tanh"}, np.tanh),
        ("ReLU", {"max_value": 1.5}, lambda x: np.clip(x, 0, 1.5)),
        ("ReLU", {"negative_slope": 0.2, "max_value": None}, lambda x: np.where(x > 0, x, 0.2 * x)),
        ("LeakyReLU", {"alpha": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
        ("LeakyReLU", {"negative_slope": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
        ("Softmax", {"axis": -1}, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("Dropout", {"rate": 0.5}, lambda x: x),
        ("ZeroPadding2D", {"padding": [[1, 2], [3, 0]]}, lambda x: np.pad(x, ((1, 2), (3, 0), (0, 0)))),
        ("UpSampling2D", {"size": [2, 3]}, lambda x: x.repeat(2, 0).repeat(3, 1)),
        (
            "MaxPooling2D",
            {"pool_size": [2, 2], "strides": [2, 2], "padding": "same"},
            lambda x: x.reshape(4, 2, 5, 2, 3).max((1, 3)),
        ),
        (
            "AveragePooling2D",
            {"pool_size": [2, 2], "strides": None, "padding": "valid"},
            lambda x: x.reshape(4, 2, 5, 2, 3).mean((1, 3)),
        ),
    ],
)  # fmt: skip
def test_layers_without_weights(tmp_path, rng, kind, settings, expected):
    x = rng.normal(0, 3, size=(8, 10, 3))
    path = single(tmp_path, kind, {"name": "layer", **settings}, {}, (10, 8))
    assert_both(path, x, expected(x))


def test_a_mean_at_the_border_is_of_what_lies_inside(tmp_path):
    settings = {"name": "mean", "pool_size": [3, 3], "strides": [2, 2], "padding": "same"}
    path = single(tmp_path, "AveragePooling2D", settings, {}, (5, 5))
    assert_both(path, np.ones((5, 5, 3)), np.ones((3, 3, 3)))


def test_bilinear_enlargement_has_half_pixel_centres(tmp_path):
    x = np.repeat(np.array([[[0.0], [4.0]]]), 3, axis=2)
    path = single(
        tmp_path, "UpSampling2D", {"name": "u", "size": [1, 2], "interpolation": "bilinear"}, {}, (2, 1)
    )
    assert_both(path, x, np.repeat(np.array([[[0.0], [1.0], [3.0], [4.0]]]), 3, axis=2))


def test_prelu_and_batch_normalisation(tmp_path, rng):
    x = rng.normal(size=(8, 8, 3))
    alpha = rng.uniform(0, 0.5, size=(1, 1, 3))
    path = single(tmp_path, "PReLU", {"name": "p", "shared_axes": [1, 2]}, {"alpha": alpha}, (8, 8))
    assert_both(path, x, np.where(x > 0, x, alpha * x))
    statistics = {"moving_mean": rng.normal(size=3), "moving_variance": rng.uniform(0.5, 2, size=3)}
    learnt = {"beta": rng.normal(size=3), **statistics}  # scale=False leaves gamma out
    path = single(tmp_path, "BatchNormalization", {"name": "b", "epsilon": 1e-3}, learnt, (8, 8))
    spread = np.sqrt(statistics["moving_variance"] + 1e-3)
    assert_both(path, x, (x - statistics["moving_mean"]) / spread + learnt["beta"])


# The marshalled code of SlimNet's two Lambda layers, as its published file holds them.
RESIZE = base64.b64encode(
    b"\xe3\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\x13\x00\x00\x00s\n\x00\x00\x00t\x00"
    b"|\x00\x88\x00\x83\x02S\x00)\x01N)\x01\xda\x0fbilinear_resize)\x01\xda\x01r)\x01\xda\x05rsize\xa9\x00\xfa"
    b"\nslim512.py\xda\x08<lambda>P\x01\x00\x00\xf3\x00\x00\x00\x00"
).decode()
SECOND = base64.b64encode(
    b"\xe3\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00C\x00\x00\x00s(\x00\x00\x00t\x00j\x01"
    b"|\x00d\x01d\x01d\x01d\x02g\x04d\x02d\x03d\x03d\x04g\x04d\x02d\x02d\x02d\x02g\x04\x83\x04S\x00)\x05N\xe9"
    b"\x00\x00\x00\x00\xe9\x01\x00\x00\x00\xe9\x00\x02\x00\x00\xe9\x02\x00\x00\x00)\x02\xda\x02tf\xda\r"
    b"strided_slice)\x01\xda\x01x\xa9\x00r\x08\x00\x00\x00\xfa\x1e<ipython-input-2-2a20c0c48990>\xda\x10"
    b"slice_foreground\r\x00\x00\x00s\x02\x00\x00\x00\x00\x01"
).decode()


def portrait_layers(resize=RESIZE):
    """A small relative of SlimNet: a resize in a Lambda, a skip, two classes, a Lambda and a row at last."""
    rng = np.random.default_rng(9)
    return [
        files.start((32, 32)),
        ("Conv2D", files.window("down", kernel_size=[2, 2], strides=[2, 2], activation="relu"),
         {"kernel": rng.normal(0, 0.5, (2, 2, 3, 4)), "bias": rng.normal(size=4)}, ("in",)),
        ("Lambda", {"name": "lambda", "function": [resize, None, [32]]}, {}, ("down",)),
        ("Concatenate", {"name": "skip", "axis": -1}, {}, ("lambda", "in")),
        ("Conv2D", files.window("head", kernel_size=[1, 1], use_bias=False),
         {"kernel": rng.normal(0, 1, (1, 1, 7, 2))}, ("skip",)),
        ("Softmax", {"name": "softmax", "axis": -1}, {}, ("head",)),
        ("Lambda", {"name": "strided_slice", "function": [SECOND, None, None]}, {}, ("softmax",)),
        ("Reshape", {"name": "reshape", "target_shape": [1024]}, {}, ("strided_slice",)),
    ]  # fmt: skip


RECIPE = """
[input]
std = [255.0, 255.0, 255.0]
sizes_wh = [[32, 32]]
[output]
name = 0
"""


def test_a_keras_model_with_known_code_becomes_a_bundle_that_the_engine_runs(tmp_path):
    path = files.write(tmp_path / "slim.h5", portrait_layers())
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    (made,) = export_model(path, tmp_path / "out", recipe=tmp_path / "tiny.toml")
    assert made.passport.library == "keras"
    assert made.passport.source == "slim.h5"
    before = made.passport.extra["parity_before"]
    assert "ONNX against its layers in NumPy" in before
    assert made.passport.parity["max_abs"] >= sum(apart["max_abs"] for apart in before.values()) > 0
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "slim.h5" in card
    assert made.passport.source_sha256 in card
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    _, expected = both(path, image / 255)
    with Session(tmp_path / "out", precision="fp32", threads=1, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    np.testing.assert_allclose(alpha / 255, expected[..., 0], atol=1.5 / 255)


def test_code_in_a_file_is_not_run(tmp_path):
    other = base64.b64encode(b"\xe3 some other code").decode()
    path = files.write(tmp_path / "slim.h5", portrait_layers(resize=other))
    with pytest.raises(ModelError, match=r"'lambda' is a Lambda: code inside the file, which is not run"):
        build(open_keras(path), path.name)


def test_an_unknown_layer_is_named(tmp_path):
    path = single(tmp_path, "LSTM", {"name": "memory"}, {})
    with pytest.raises(ModelError, match=r"the layer 'memory' is a LSTM, which is not known here; make ONNX"):
        build(open_keras(path), path.name)


@pytest.mark.parametrize("write", [files.write, files.write_archive])
@pytest.mark.parametrize("sequential", [False, True])
def test_both_keras_generations_and_both_kinds_of_model_read_alike(tmp_path, rng, write, sequential):
    first = files.window("first", kernel_size=[3, 3], activation="relu")
    layers = [
        files.start((8, 8)),
        ("Conv2D", first, {"kernel": rng.normal(size=(3, 3, 3, 4)), "bias": rng.normal(size=4)}, ("in",)),
        ("Conv2D", files.window("second", kernel_size=[1, 1], use_bias=False),
         {"kernel": rng.normal(size=(1, 1, 4, 2))}, ("first",)),
        ("BatchNormalization", {"name": "norm", "epsilon": 1e-3, "scale": False},
         {"beta": rng.normal(size=2), "moving_mean": rng.normal(size=2),
          "moving_variance": rng.uniform(1, 2, 2)}, ("second",)),
    ]  # fmt: skip
    path = write(tmp_path / "model", layers, sequential=sequential)
    x = rng.normal(size=(8, 8, 3))
    kernels = layers[1][2]["kernel"], layers[2][2]["kernel"]
    middle = np.maximum(files.conv(x, kernels[0]) + layers[1][2]["bias"], 0) @ kernels[1][0, 0]
    norm = layers[3][2]
    expected = (middle - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) + norm["beta"]
    assert_both(path, x, expected)


def test_a_convolution_in_groups_keeps_its_groups_apart(tmp_path, rng):
    x = rng.normal(size=(6, 7, 4))
    kernel = rng.normal(size=(3, 3, 2, 6))
    settings = files.window("g", kernel_size=[3, 3], groups=2, use_bias=False)
    path = single(tmp_path, "Conv2D", settings, {"kernel": kernel}, (7, 6), channels=4)
    halves = [files.conv(x[..., 2 * g : 2 * g + 2], kernel[..., 3 * g : 3 * g + 3]) for g in (0, 1)]
    assert_both(path, x, np.concatenate(halves, -1))
