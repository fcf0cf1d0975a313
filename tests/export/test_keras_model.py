"""Whole Keras models: each layer against TensorFlow's arithmetic in loops; code in a file is not run."""

import foreign_nets
import keras_files as files
import numpy as np
import pytest

pytest.importorskip("h5py", reason="Keras files are HDF5")

from livecut.engine.errors import ModelError
from livecut.engine.session import Session
from livecut.export.foreign import import_foreign
from livecut.export.foreign_runs import open_runner
from livecut.export.keras_model import is_keras, keras_to_onnx
from livecut.export.recipes import RecipeError, load_recipe, parse_recipe

ATOL = 2e-5  # sums of a few dozen products in fp32


def run(path, x, recipe=None):
    """The converted model on x (h, w, c); gives its only output as (h, w, c)."""
    model = keras_to_onnx(path, recipe)
    runner, _ = open_runner(model)
    outputs = runner({"in": x.transpose(2, 0, 1)[None].astype(np.float32)})
    result = outputs[model.graph.output[0].name]
    return result[0].transpose(1, 2, 0)


def single(tmp_path, kind, settings, weights, size=(16, 16), channels=3):
    layers = [files.start(size, channels), (kind, settings, weights, ("in",))]
    return files.write(tmp_path / "single.h5", layers)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2), (5, 3), (4, 1)])
@pytest.mark.parametrize("size", [(16, 16), (13, 11)])
def test_convolutions_pad_as_tensorflow_does(tmp_path, rng, padding, kernel, stride, size):
    x = rng.normal(size=(size[1], size[0], 3))
    weight, bias = rng.normal(size=(kernel, kernel, 3, 4)), rng.normal(size=4)
    settings = files.window("c", kernel_size=[kernel] * 2, strides=[stride] * 2, padding=padding)
    path = single(tmp_path, "Conv2D", settings, {"kernel": weight, "bias": bias}, size)
    expected = files.conv(x, weight, stride=stride, padding=padding) + bias
    np.testing.assert_allclose(run(path, x), expected, atol=ATOL)


def test_depthwise_and_separable_convolutions_keep_their_channel_order(tmp_path, rng):
    x = rng.normal(size=(9, 12, 3))
    depth, point = rng.normal(size=(3, 3, 3, 2)), rng.normal(size=(1, 1, 6, 4))
    settings = files.window("d", kernel_size=[3, 3], strides=[2, 2], use_bias=False)
    path = single(tmp_path, "DepthwiseConv2D", settings, {"depthwise_kernel": depth}, (12, 9))
    middle = files.conv(x, depth, stride=2, depthwise=True)
    np.testing.assert_allclose(run(path, x), middle, atol=ATOL)
    weights = {"depthwise_kernel": depth, "pointwise_kernel": point, "bias": np.arange(4)}
    path = single(tmp_path, "SeparableConv2D", {**settings, "use_bias": True}, weights, (12, 9))
    np.testing.assert_allclose(run(path, x), middle @ point[0, 0] + np.arange(4), atol=ATOL)


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
    expected = files.conv_transpose(x, weight, stride=stride, padding=padding)
    np.testing.assert_allclose(run(path, x), expected, atol=ATOL)


def relu(x):
    return np.maximum(x, 0)


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
    np.testing.assert_allclose(run(path, x), expected(x), atol=ATOL)


def test_prelu_and_batch_normalisation(tmp_path, rng):
    x = rng.normal(size=(8, 8, 3))
    alpha = rng.uniform(0, 0.5, size=(1, 1, 3))
    path = single(tmp_path, "PReLU", {"name": "p", "shared_axes": [1, 2]}, {"alpha": alpha}, (8, 8))
    np.testing.assert_allclose(run(path, x), np.where(x > 0, x, alpha * x), atol=ATOL)
    statistics = {"moving_mean": rng.normal(size=3), "moving_variance": rng.uniform(0.5, 2, size=3)}
    learnt = {"beta": rng.normal(size=3), **statistics}  # scale=False leaves gamma out
    path = single(tmp_path, "BatchNormalization", {"name": "b", "epsilon": 1e-3}, learnt, (8, 8))
    spread = np.sqrt(statistics["moving_variance"] + 1e-3)
    expected = (x - statistics["moving_mean"]) / spread + learnt["beta"]
    np.testing.assert_allclose(run(path, x), expected, atol=ATOL)


def portrait(path, *, code=True):
    """A small relative of SlimNet: a resize in a Lambda, a skip, two classes, a Lambda at the end."""
    rng = np.random.default_rng(9)
    blob = ["4wEAAAAAAAAA", None, [32]]  # what marshalled code looks like; nothing must decode it
    layers = [
        files.start((32, 32)),
        ("Conv2D", files.window("down", kernel_size=[2, 2], strides=[2, 2], activation="relu"),
         {"kernel": rng.normal(0, 0.5, (2, 2, 3, 4)), "bias": rng.normal(size=4)}, ("in",)),
        ("Lambda", {"name": "lambda", "function": blob if code else None}, {}, ("down",)),
        ("Concatenate", {"name": "skip", "axis": -1}, {}, ("lambda", "in")),
        ("Conv2D", files.window("head", kernel_size=[1, 1], use_bias=False),
         {"kernel": rng.normal(0, 1, (1, 1, 7, 2))}, ("skip",)),
        ("Softmax", {"name": "softmax", "axis": -1}, {}, ("head",)),
        ("Lambda", {"name": "strided_slice", "function": blob}, {}, ("softmax",)),
        ("Reshape", {"name": "reshape", "target_shape": [1024]}, {}, ("strided_slice",)),
    ]  # fmt: skip
    return files.write(path, layers)


RECIPE = {
    "input": {"std": [255, 255, 255], "sizes_wh": [[32, 32]]},
    "output": {"name": "softmax", "channel": 1, "activation": "softmax"},
    "lambdas": {"lambda": {"resize": [32, 32], "align_corners": True}},
}


def test_a_keras_model_becomes_a_bundle_that_the_engine_runs(tmp_path):
    path = portrait(tmp_path / "slim.h5")
    assert is_keras(path)
    report = import_foreign(path, parse_recipe(RECIPE, "tiny"), tmp_path / "slim")
    assert report.fixed
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    soft = run(path, image / 255, parse_recipe(RECIPE, "tiny"))
    with Session(tmp_path / "slim", precision="fp32", threads=1, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    np.testing.assert_allclose(alpha / 255, soft[..., 1], atol=1.5 / 255)


def test_code_in_a_file_is_not_run_and_has_to_be_told(tmp_path):
    path = portrait(tmp_path / "slim.h5")
    silent = parse_recipe({key: value for key, value in RECIPE.items() if key != "lambdas"}, "silent")
    with pytest.raises(
        ModelError, match=r"'lambda' is a Lambda: code inside the file, which is not run"
    ) as caught:
        keras_to_onnx(path, silent)
    assert "[lambdas.lambda]" in str(caught.value)
    with pytest.raises(ModelError, match="'strided_slice' is a Lambda"):
        keras_to_onnx(path, parse_recipe({"lambdas": RECIPE["lambdas"]}, "whole"))


def test_the_published_recipe_for_slimnet_tells_its_three_lambdas():
    recipe = load_recipe("slimnet")
    assert {name: told["resize"] for name, told in recipe.lambdas.items()} == {
        "lambda": [32, 32],
        "lambda_1": [64, 64],
        "lambda_2": [128, 128],
    }
    with pytest.raises(RecipeError, match=r"lambdas\.x: expected resize or scale"):
        parse_recipe({"lambdas": {"x": {"align_corners": True}}}, "bad")


def test_what_is_not_a_whole_keras_model_is_refused_in_one_line(tmp_path, rng):
    import h5py

    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    odd = single(tmp_path, "LSTM", {"name": "memory"}, {})
    cases = {
        tmp_path / "weights.h5": "holds weights without their network",
        tmp_path / "cut.h5": "not a readable HDF5 file",
        odd: "the layer 'memory' is a LSTM; known here are Activation",
    }
    for path, message in cases.items():
        with pytest.raises(ModelError, match=message) as caught:
            keras_to_onnx(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"has no layer 'alpha' for output\.name; its last are in, memory"):
        keras_to_onnx(odd, parse_recipe({"output": {"name": "alpha"}}, "r"))
    assert not is_keras(foreign_nets.birefnet(tmp_path / "b.onnx"))
    with pytest.raises(RecipeError, match="a Keras model does not say how it is fed: name its --recipe"):
        import_foreign(odd, None, tmp_path / "out")
