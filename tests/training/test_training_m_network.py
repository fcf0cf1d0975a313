"""livecut-m: it begins as livecut-s on the averaged picture, learns its parts, exports, costs what it may."""

import copy
import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from livecut.training import export_checkpoint
from livecut.training.config import Stage, load_config
from livecut.training.data.dataset import SceneMaker
from livecut.training.model.exported import exported
from livecut.training.model.fine import FineNetwork, GuidedNetwork, _by_fours
from livecut.training.model.network import MattingNetwork, count_gmacs, count_parameters
from livecut.training.optimiser import freeze
from livecut.training.train import Trainer

SIZES = {"c32": 24, "c16": 24, "c8": 24, "c4": 16, "skip2": 8, "slim8": 8, "context": 1, "memory": True}


@pytest.fixture(scope="module")
def learnt():
    """A network whose own parts and whose memory have learnt something, if only at random."""
    torch.manual_seed(11)
    network = FineNetwork(**SIZES).eval()
    memory = network.memory
    for layer in (memory.recall16, memory.recall8, memory.keep, memory.moved, *network.joins):
        torch.nn.init.normal_(layer.weight, std=0.3)
    torch.nn.init.normal_(network.refiner.head.weight, std=0.3)
    return network


@pytest.fixture
def fine_config(tiny_config):
    return dataclasses.replace(
        tiny_config, name="fine", method="fine", network=SIZES, learns=["decoder.", "joins.", "refiner."],
        input_sizes=[[128, 64]],
    )  # fmt: skip


@pytest.fixture
def begun(tiny_config, fine_config, data_folder, tmp_path):
    """A trainer of the small network, started from a run of its coarse branch, and that run's network."""
    config = dataclasses.replace(tiny_config, network=SIZES)
    first = Trainer(config, data_folder, tmp_path / "first", tmp_path / "cache")
    for layer in (first.average.memory.recall16, first.average.memory.recall8):
        torch.nn.init.normal_(layer.weight)
    first.save()
    trainer = Trainer(fine_config, data_folder, tmp_path / "fine", tmp_path / "cache")
    trainer.start_from(tmp_path / "first")
    return trainer, first.average


def test_it_begins_as_the_network_it_starts_from_on_the_averaged_picture(begun):
    trainer, coarse = begun
    image, previous = torch.randn(2, 3, 128, 192), torch.rand(2, 1, 64, 96) * 2 - 1
    small = F.avg_pool2d(image, 2)
    with torch.no_grad():
        logits = F.interpolate(coarse.forward_training(small)[0], scale_factor=2.0, mode="bilinear")
        assert trainer.average(image).allclose(torch.sigmoid(logits), atol=1e-6)
        assert trainer.average.first_frame(image).allclose(torch.sigmoid(logits), atol=1e-6)
        recalled = coarse.memory.recall(previous)
        levels = coarse.decoder.levels(coarse.encoder(small), *recalled)
        state = previous.expand(-1, 4, -1, -1)
        ours = trainer.average._see(image, trainer.average.memory.recall(state.mean(1, keepdim=True)))
    assert ours[2].x8.allclose(levels[2], atol=1e-5)
    assert recalled[1].any()


def test_only_its_own_parts_and_the_decoder_learn_and_no_graph_is_built_for_the_encoders(begun):
    trainer, _ = begun
    seen = []
    for encoder in (trainer.network.encoder, trainer.network.second):
        encoder.register_forward_hook(lambda _module, _inputs, features: seen.extend(features))
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    batch = SceneMaker(trainer.training).batch((128, 64), 2, np.random.default_rng(1))
    for _ in range(3):
        trainer.train_step(batch, 1.0)
    assert len(seen) == 3 * (5 + 3)
    assert not any(feature.requires_grad for feature in seen)
    after = trainer.network.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not value.equal(before[name])}
    assert changed == {"decoder", "joins", "refiner"}
    assert all(after[f"joins.{index}.weight"].any() for index in range(3))


def test_the_loss_falls_on_pictures_seen_again_and_again(begun):
    trainer, _ = begun
    batch = SceneMaker(trainer.training).batch((128, 64), 4, np.random.default_rng(2))
    for _ in range(12):
        trainer.train_step(batch, 1.0)
    losses = [terms["total"] for terms in trainer.window]
    assert losses[-1] < 0.85 * losses[0]


def test_alpha_is_the_sigmoid_of_the_training_logits_and_folding_changes_nothing(learnt):
    image = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        logits, sides = learnt.forward_training(image)
        assert torch.sigmoid(logits).allclose(learnt(image), atol=1e-6)
        assert learnt.first_frame(image).allclose(learnt(image), atol=1e-6)
        assert learnt.folded()(image).allclose(learnt(image), atol=1e-5)
    assert [tuple(side.shape[-2:]) for side in sides] == [(2, 4), (4, 8), (32, 64)]


def test_the_second_encoder_and_the_refiner_are_heard_once_they_have_learnt(learnt):
    image = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        logits, correction, *_ = learnt._see(image)
        assert correction.std() > 0.01
        deaf = copy.deepcopy(learnt)
        for join in deaf.joins:
            torch.nn.init.zeros_(join.weight)
        assert (deaf._see(image)[0] - logits).abs().mean() > 1e-3


def test_a_fine_check_of_the_picture_that_averages_away_is_seen_by_the_refiner_alone(learnt):
    check = torch.zeros(1, 3, 64, 64)
    check[..., 20:40:2, 20:40] = 0.5
    check[..., 21:40:2, 20:40] = -0.5
    with torch.no_grad():
        plain, checked = learnt._see(torch.zeros(1, 3, 64, 64)), learnt._see(check)
    assert checked[0].allclose(plain[0], atol=1e-6)
    assert (checked[1] - plain[1]).abs().max() > 1e-3


def test_a_sure_state_pulls_the_whole_alpha_and_goes_on(learnt):
    image = torch.randn(1, 3, 64, 128)
    _, seen = learnt.blank_state(image)
    with torch.no_grad():
        _, _, seen = learnt.step(image, *learnt.blank_state(image))
        white, state, _ = learnt.step(image, torch.ones(1, 4, 32, 64), seen)
        black, _, _ = learnt.step(image, -torch.ones(1, 4, 32, 64), seen)
    assert (white - black).mean() > 0.05
    assert F.pixel_shuffle(state, 2).allclose(2 * white - 1, atol=1e-6)


def test_by_fours_is_pixel_unshuffle():
    x = torch.randn(2, 1, 8, 12)
    assert _by_fours(x).equal(F.pixel_unshuffle(x, 2))


def test_the_configuration_is_that_of_livecut_s_and_within_its_limits():
    config, base = load_config("livecut-m"), load_config("livecut-s-further")
    network = FineNetwork(**config.network).eval()
    plain = MattingNetwork(**base.network).state_dict()
    own = network.state_dict()
    assert all(name in own and own[name].shape == value.shape for name, value in plain.items())
    assert count_gmacs(network, *config.input_sizes[0]) <= 8
    assert count_parameters(network) <= 10_000_000
    sizes = [*config.input_sizes, *(size for stage in config.stages for size in stage.sizes)]
    assert all(side % FineNetwork.stride == 0 for size in sizes for side in size)
    freeze(network, config.learns)
    assert not any(
        weight.requires_grad for weight in (*network.encoder.parameters(), *network.second.parameters())
    )


def test_exported_it_says_its_state(learnt):
    module, states = exported(learnt)
    assert [state["shape"] for state in states] == [
        [1, 4, "height/2", "width/2"],
        [1, 16, "height/16", "width/16"],
    ]
    image = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        alpha, *state = module(image, torch.zeros(1, 4, 32, 64), torch.zeros(1, 16, 4, 8))
    assert alpha.allclose(learnt(image), atol=1e-5)
    assert [tuple(value.shape) for value in state] == [(1, 4, 32, 64), (1, 16, 4, 8)]


def test_a_checkpoint_becomes_a_bundle_whose_ledger_names_both_sets_of_weights(
    begun, data_folder, tmp_path, capsys
):
    trainer, _ = begun
    config = {"encoder_weights": "weights/first/a.tflite", "second_weights": "weights/second/b.param"}
    for name in config.values():
        (data_folder / name).parent.mkdir(parents=True)
        (data_folder / name).with_name("LICENCE.txt").write_text("Source: a test\nLicence: MIT\n")
    trainer.config = dataclasses.replace(trainer.config, **config)
    trainer.save()
    out = tmp_path / "models" / "fine"
    arguments = [str(tmp_path / "fine" / "checkpoint.pt"), "--data", str(data_folder), "--out", str(out)]
    assert export_checkpoint.main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    assert "agree with torch" in capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["input"]["multiple_of"] == 64
    ledger = json.loads((out / "LEDGER.json").read_text())
    assert [entry["file"] for entry in ledger["initial_weights"]] == ["a.tflite", "b.param"]
    assert "multiples of 64" in (out / "MODEL_CARD.md").read_text()


def test_its_memory_learns_on_clips_and_nothing_else_changes(begun, data_folder, tmp_path):
    first, _ = begun
    first.save()
    config = dataclasses.replace(
        first.config, frames=2, learns=["memory."], stages=[Stage(until=1.0, batch=1, sizes=[[64, 64]])]
    )
    trainer = Trainer(config, data_folder, tmp_path / "clips", tmp_path / "cache")
    trainer.start_from(tmp_path / "fine")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.run()
    assert trainer.step > 0
    after = trainer.network.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not value.equal(before[name])}
    assert changed == {"memory"}
    assert load_config("livecut-m-memory").network == load_config("livecut-m").network


def test_the_first_part_begins_as_livecut_s_and_hands_on_all_it_has_learnt():
    torch.manual_seed(12)
    plain = MattingNetwork(**SIZES).eval()
    guided = GuidedNetwork(**SIZES).eval()
    guided.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert guided(image).allclose(plain(image), atol=1e-6)
        for join in guided.joins:
            torch.nn.init.normal_(join.weight, std=0.3)
        assert not guided(image).allclose(plain(image), atol=1e-3)
        assert guided.first_frame(image).allclose(guided(image), atol=1e-6)
        fine = FineNetwork(**SIZES).eval()
        left = fine.load_state_dict(guided.state_dict(), strict=False)
        assert {name.split(".")[0] for name in left.missing_keys} == {"refiner"}
        large = F.interpolate(image, scale_factor=2.0, mode="nearest")
        logits = F.interpolate(guided.forward_training(image)[0], scale_factor=2.0, mode="bilinear")
        assert fine(large).allclose(torch.sigmoid(logits), atol=1e-5)


def test_both_parts_are_configured_for_one_network():
    coarse, whole = load_config("livecut-m-coarse"), load_config("livecut-m")
    assert (coarse.method, whole.method) == ("guided", "fine")
    assert coarse.network.items() <= whole.network.items()
    assert coarse.second_weights == whole.second_weights
    assert whole.initial == f"runs/{coarse.name}"
    assert all(
        side % GuidedNetwork.stride == 0 for stage in coarse.stages for size in stage.sizes for side in size
    )
