"""The article's network as livecut trains it, written as Keras files and read again: the same alpha."""

import keras_files as files
import numpy as np
import pytest

pytest.importorskip("h5py", reason="Keras files are HDF5")
torch = pytest.importorskip("torch", reason="the network is PyTorch's")
pytest.importorskip("onnxruntime", reason="runs what is exported")

from livecut.export import Options, describe, export_model
from livecut.export.keras_file import open_keras
from livecut.export.runners import onnx_runner
from livecut.training.model.article import ArticleNetwork, fuse

SIZE = (32, 32)


class CutOut(torch.nn.Module):
    """Generator and fusion: what a Keras file of the article's generator stands for."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, image):
        return fuse(image, self.generator(image))


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(3)
    network = ArticleNetwork().eval()
    for module in network.generator.features:
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.3, 2)
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return network.generator


@pytest.fixture(scope="module")
def direct(generator, tmp_path_factory):
    """The alpha of some pictures by way of the direct export."""
    out = tmp_path_factory.mktemp("direct") / "out"
    manifest = describe("article", sizes_wh=[SIZE])
    export_model(CutOut(generator).eval(), out, manifest=manifest)
    runner = onnx_runner(out / "model.onnx")
    pictures = np.random.default_rng(2).uniform(-1, 1, (3, 1, 3, *SIZE)).astype(np.float32)
    return [(picture, runner({"image": picture})["alpha"]) for picture in pictures]


LAYOUTS = {
    "whole.h5": (files.write, None),
    "model.keras": (files.write_archive, None),
    "weights.h5": (files.write_weights, 1e-3),
    "model.weights.h5": (files.write_weights3, 1e-3),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_export_of_the_keras_file_gives_the_alpha_of_the_direct_export(tmp_path, generator, direct, name):
    write, epsilon = LAYOUTS[name]
    path = write(tmp_path / name, files.generator_of(generator, epsilon=epsilon))
    export_model(path, tmp_path / "out", options=Options(size_wh=SIZE))
    runner = onnx_runner(tmp_path / "out" / "model.onnx")
    for picture, expected in direct:
        assert expected.std() > 0.05
        np.testing.assert_allclose(runner({"image": picture})["alpha"], expected, atol=1e-4)


def test_the_weights_come_back_as_they_were(tmp_path, generator):
    file = open_keras(files.write(tmp_path / "x.h5", files.generator_of(generator)))
    modules = [*generator.features, generator.paint]
    for entry in file.layers[1:]:
        module = modules[int(entry["config"]["name"].split("_")[1])]
        weights = file.weights(entry["config"]["name"])
        if entry["class_name"] == "Conv2D":
            kernel = torch.from_numpy(weights["kernel"].transpose(3, 2, 0, 1).copy())
            assert torch.equal(kernel, module.weight)
            assert torch.equal(torch.from_numpy(weights["bias"]), module.bias)
        elif entry["class_name"] == "BatchNormalization":
            assert torch.equal(torch.from_numpy(weights["moving_variance"]), module.running_var)
            assert entry["config"]["epsilon"] == module.eps
