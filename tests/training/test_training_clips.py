"""Clips, and the memory that learns by them."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livecut.training import recall, write_clips
from livecut.training.config import parse_config
from livecut.training.data import clips
from livecut.training.data.cache import pack
from livecut.training.data.catalogue import read_catalogue
from livecut.training.data.clips import ClipMaker, Path
from livecut.training.data.dataset import SceneMaker
from livecut.training.model.network import MattingNetwork
from livecut.training.objectives import Step, make_objective
from livecut.training.optimiser import freeze
from livecut.training.pairs import open_samples
from livecut.training.train import Trainer

SIZE_WH = (96, 64)


@pytest.fixture
def maker(data_folder, tmp_path):
    items = [item for item in read_catalogue(data_folder).items if not item.validation]
    return ClipMaker(SceneMaker(pack(items, tmp_path / "cache")))


def test_clips_fit_the_size_and_repeat_with_the_seed(maker):
    for number in range(12):
        images, alphas = maker.draw(SIZE_WH, 5, np.random.default_rng(number))
        again, _ = maker.draw(SIZE_WH, 5, np.random.default_rng(number))
        assert images.shape == (5, 64, 96, 3)
        assert alphas.shape == (5, 64, 96)
        assert images.dtype == alphas.dtype == np.uint8
        assert np.array_equal(images, again)


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_in_a_still_clip_alpha_stands_still_and_only_noise_moves(maker, monkeypatch, pairs):
    monkeypatch.setattr(clips, "STILL", 1.0)
    monkeypatch.setattr(clips, "PAIRS", pairs)
    monkeypatch.setattr(clips, "CUTS", 0.0)
    monkeypatch.setattr(clips, "light", lambda images, rng: images)
    monkeypatch.setattr(clips, "camera", lambda images, rng: images)
    images, alphas = maker.draw(SIZE_WH, 4, np.random.default_rng(2))
    assert (alphas == alphas[0]).all()
    assert (images == images[0]).all()
    assert 0 < (alphas[0] > 127).mean() < 1


def test_in_a_moving_clip_alpha_moves(maker, monkeypatch):
    monkeypatch.setattr(clips, "STILL", 0.0)
    monkeypatch.setattr(clips, "CUTS", 0.0)
    changes = [
        np.abs(np.diff(maker.draw(SIZE_WH, 4, np.random.default_rng(seed))[1].astype(int), axis=0)).mean()
        for seed in range(8)
    ]
    assert np.median(changes) > 0.5


def test_alpha_goes_where_the_subject_goes():
    path = Path(SIZE_WH, 1.0, np.random.default_rng(4))
    path.velocity, path.turn, path.grow, path.degrees = np.array([3.0, 0.0]), 0.0, 1.0, 0.0
    path.shake[:] = 0
    square = np.full((16, 16, 4), 255, np.uint8)
    columns = [np.nonzero(path.place(square, frame)[..., 3] > 127)[1].mean() for frame in range(3)]
    assert np.diff(columns) == pytest.approx([3, 3], abs=0.2)


def test_a_cut_puts_two_scenes_into_one_clip(maker, monkeypatch):
    monkeypatch.setattr(clips, "CUTS", 1.0)
    monkeypatch.setattr(clips, "STILL", 1.0)
    calls = []
    compose, pair = maker._composite, maker._pair
    monkeypatch.setattr(maker, "_composite", lambda *a: calls.append(a[1]) or compose(*a))
    monkeypatch.setattr(maker, "_pair", lambda *a: calls.append(a[1]) or pair(*a))
    images, _ = maker.draw(SIZE_WH, 6, np.random.default_rng(0))
    assert calls == [3, 3]
    assert images.shape[0] == 6


# -- learning


@pytest.fixture
def memory_config(tiny_config):
    return dataclasses.replace(
        tiny_config,
        name="memory",
        network={**tiny_config.network, "memory": True},
        frames=3,
        learns=["memory."],
    )


def test_only_what_is_named_learns(memory_config):
    torch.manual_seed(0)
    network = MattingNetwork(memory=True)
    freeze(network, memory_config.learns)
    objective = make_objective(memory_config, torch.device("cpu"))
    assert isinstance(objective, recall.Recall)
    image, alpha = torch.randn(6, 3, 64, 64), torch.rand(6, 1, 64, 64).round()
    loss, terms = objective(network, Step(image, alpha, torch.ones(6), torch.ones(6)))
    loss.backward()
    learnt = {name for name, value in network.named_parameters() if value.grad is not None}
    assert learnt == {name for name, _ in network.named_parameters() if name.startswith("memory.")}
    assert set(terms) == {"total", "l1", "coherence", "flicker"}


def test_a_name_that_no_weight_has_is_refused():
    with pytest.raises(ValueError, match="memry"):
        freeze(MattingNetwork(memory=True), ["memry."])


def test_a_clip_of_truth_costs_almost_nothing(memory_config, monkeypatch):
    objective = make_objective(memory_config, torch.device("cpu"))
    alpha = torch.rand(6, 1, 64, 64).round()
    turns = iter(alpha.unflatten(0, (2, 3)).unbind(1))

    class Knows(torch.nn.Module):
        def step(self, image, previous, seen):
            true = next(turns)
            return true, 2 * true - 1, seen

        def blank_state(self, image):
            return image[:, :1], image

    step = Step(torch.zeros(6, 3, 64, 64), alpha, torch.ones(6), torch.ones(6))
    loss, terms = objective(Knows(), step)
    assert float(terms["l1"]) == float(terms["coherence"]) == 0
    assert float(loss) < 1e-3


def test_training_the_memory_leaves_the_network_as_it_was(memory_config, tiny_config, data_folder, tmp_path):
    first = Trainer(tiny_config, data_folder, tmp_path / "first", tmp_path / "cache")
    first.run()
    second = Trainer(memory_config, data_folder, tmp_path / "second", tmp_path / "cache")
    second.start_from(tmp_path / "first")
    second.run()
    assert second.step > 0
    before, after = first.average.state_dict(), second.average.state_dict()
    assert all(value.equal(after[name]) for name, value in before.items())
    assert after["memory.keep.bias"].item() != -1.0


def test_clips_need_a_memory(tiny_config):
    table = dataclasses.asdict(dataclasses.replace(tiny_config, frames=4))
    table["stage"] = table.pop("stages")
    table.pop("adversarial")
    with pytest.raises(ValueError, match="frames: expected at least 2, and a network with memory = true"):
        parse_config(table, "made.toml")


def test_written_clips_are_held_out_ones_that_the_evaluation_finds(data_folder, tmp_path, capsys):
    arguments = [str(data_folder), str(tmp_path / "set"), "--clips", "2", "--frames", "3"]
    assert write_clips.main(arguments) == 0
    assert "2 clips, 6 frames" in capsys.readouterr().out
    found = open_samples(tmp_path / "set", tmp_path / "cache")
    samples = list(found)
    assert [sample.clip for sample in samples] == ["clips/000"] * 3 + ["clips/001"] * 3
    assert samples[0].image.shape == (288, 512, 3)
    assert 0 < samples[0].alpha.mean() < 1
    assert write_clips.main(arguments) == 2
    assert "exists; choose another folder" in capsys.readouterr().err
