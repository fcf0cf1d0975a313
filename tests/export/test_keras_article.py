"""The article's generator from Keras files of every layout, and what is refused instead of misread."""

import zipfile

import keras_files as files
import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="Keras files are HDF5")
pytest.importorskip("onnxruntime", reason="runs what is exported")

from livecut.engine.errors import ModelError
from livecut.engine.session import Session
from livecut.export import Options, export_model, keras_reference, open_source
from livecut.export.keras_article import KEY, alpha_of
from livecut.export.keras_file import open_keras
from livecut.export.keras_reference import compute
from livecut.export.runners import onnx_runner
from livecut.export.weights_foreign import name_of

LAYOUTS = {
    "whole.h5": files.write,
    "weights.h5": files.write_weights,
    "model.weights.h5": files.write_weights3,
    "model.keras": files.write_archive,
}


@pytest.fixture(scope="module")
def layers():
    return files.generator(np.random.default_rng(4))


def cutout_by_hand(layers, x):
    """The generator layer by layer in loops, on x (h, w, 3)."""
    for kind, settings, weights, _ in layers[1:]:
        if kind == "Conv2D":
            x = files.conv(x, weights["kernel"]) + weights["bias"]
            x = np.tanh(x) if settings["activation"] == "tanh" else x
        elif kind == "LeakyReLU":
            x = np.where(x > 0, x, 0.2 * x)
        else:
            spread = np.sqrt(weights["moving_variance"] + 1e-3)
            x = (x - weights["moving_mean"]) / spread * weights["gamma"] + weights["beta"]
    return x


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_generator(tmp_path, layers, name):
    path = LAYOUTS[name](tmp_path / name, layers)
    source = open_source(path)
    loaded = source.load(None)
    assert loaded.manifest["input"]["sizes_wh"] == [[256, 256]]
    x = np.random.default_rng(5).uniform(-1, 1, (10, 12, 3)).astype(np.float32)
    expected = cutout_by_hand(layers, x)
    file = open_keras(path)
    got = compute(file, x[None])[file.layers[-1]["config"]["name"]][0]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    feed = {"image": x.transpose(2, 0, 1)[None]}
    alpha = alpha_of(feed["image"], expected.transpose(2, 0, 1)[None])
    for runner in (loaded.reference, onnx_runner(loaded.model)):
        np.testing.assert_allclose(runner(feed)["alpha"], alpha, atol=1e-4)


@pytest.mark.parametrize("write", [files.write, files.write_weights])
def test_the_order_of_normalisation_and_activation_is_the_files(tmp_path, write):
    layers = files.generator(np.random.default_rng(4), norm_first=True)
    file = open_keras(write(tmp_path / "x.h5", layers))
    x = np.random.default_rng(6).uniform(-1, 1, (6, 6, 3)).astype(np.float32)
    got = compute(file, x[None])[file.layers[-1]["config"]["name"]][0]
    np.testing.assert_allclose(got, cutout_by_hand(layers, x), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_check_is_the_same_however_many_rows_it_takes_at_a_time(layers, tmp_path, monkeypatch, rows):
    file = open_keras(files.write(tmp_path / "x.h5", layers))
    x = np.random.default_rng(9).uniform(-1, 1, (2, 8, 10, 3)).astype(np.float32)
    name = file.layers[-1]["config"]["name"]
    expected = np.stack([cutout_by_hand(layers, picture) for picture in x])
    monkeypatch.setattr(keras_reference, "MOST_UNROLLED", rows * 10 * 9 * 128)
    np.testing.assert_allclose(compute(file, x)[name], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "name"),
    [("generator.weights.h5", "generator"), ("SINet_Softmax.onnx", "sinet-softmax"), ("__.h5", "model")],
)
def test_a_model_is_called_after_its_file(tmp_path, file, name):
    assert name_of(tmp_path / file) == name


def test_a_perfect_cut_out_gives_its_alpha_back(rng):
    image = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    alpha = rng.uniform(0, 1, (1, 1, 8, 8)).astype(np.float32)
    for key in (KEY, (255, 255, 255)):
        back = np.array(key, np.float32).reshape(1, 3, 1, 1) / 127.5 - 1
        cutout = back + alpha * (image - back)
        far = ((image - back) ** 2).sum(
            1, keepdims=True
        ) > 2  # where picture and colour tell each other apart
        got = alpha_of(image, cutout.astype(np.float32), key)
        # A little of the neighbourhood is mixed in everywhere, and this alpha is noise.
        assert np.abs(got - alpha)[far].max() < 0.2
        assert np.abs(got - alpha)[far].mean() < 0.05


def test_the_generator_is_exported_and_runs_in_the_engine(tmp_path, layers):
    path = files.write_archive(tmp_path / "generator.keras", layers)
    (made,) = export_model(path, tmp_path / "out", options=Options(size_wh=(32, 32)))
    assert made.passport.parity["max_abs"] < 1e-3
    assert made.passport.library == "keras"
    image = np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)
    with Session(tmp_path / "out", precision="fp32", threads=1, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    x = (image / 127.5 - 1).astype(np.float32)
    expected = alpha_of(x.transpose(2, 0, 1)[None], cutout_by_hand(layers, x).transpose(2, 0, 1)[None])
    np.testing.assert_allclose(alpha / 255, expected[0, 0], atol=2 / 255)


def test_another_colour_behind_the_cut_outs_gives_another_alpha(tmp_path, layers):
    path = files.write(tmp_path / "g.h5", layers)
    feed = {"image": np.random.default_rng(8).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)}
    sources = [open_source(path), open_source(path, key=(255, 255, 255))]
    alphas = [onnx_runner(source.load(None).model)(feed)["alpha"] for source in sources]
    assert np.abs(alphas[0] - alphas[1]).max() > 0.05
    assert sources[0].key != sources[1].key  # so that one is not taken for the other when resuming


REFUSED = {
    "other widths": (
        files.write_weights,
        {"channels": (32, 64, 128)},
        r"conv2d 3x3x3x32.*save the whole model",
    ),
    "one more": (files.write_weights3, {"channels": (64, 128, 256, 256)}, r"not the article's generator"),
    "other kernel": (files.write_weights, {"key_shape": (5, 5)}, r"conv2d 5x5x3x64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_of_another_network_are_refused(tmp_path, rng, case):
    write, changes, message = REFUSED[case]
    path = write(tmp_path / "w.h5", files.generator(rng, **changes))
    with pytest.raises(ModelError, match=message):
        open_source(path)


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path, layers):
    whole = files.write(tmp_path / "whole.h5", layers).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 3])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["measurements"] = np.zeros(3)
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    with h5py.File(files.write_weights(tmp_path / "claims.h5", layers), "a") as file:
        shape = (10**6, 10**6, 3, 3)
        del file["conv2d/conv2d/kernel:0"]
        file["conv2d"].create_dataset("conv2d/kernel:0", shape, "f4", chunks=(1000, 1000, 3, 3))
    cases = {
        "claims.h5": r"claims\.h5: weights of 1000000x1000000x3x3 are more than 2 GiB",
        "cut.h5": "not a readable HDF5 file",
        "other.h5": "not Keras's: it holds measurements",
        "bare.keras": "archive without config.json",
    }
    for name, message in cases.items():
        with pytest.raises(ModelError, match=message) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 4
