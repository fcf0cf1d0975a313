"""The clean plate: what it is drawn from, what the network makes of it, how it is judged."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livecut.training import plate_validation
from livecut.training.config import load_config
from livecut.training.data import plates
from livecut.training.data.cache import pack
from livecut.training.data.catalogue import read_catalogue
from livecut.training.data.dataset import SceneMaker
from livecut.training.data.plates import PlateMaker
from livecut.training.model.levels import alpha_of
from livecut.training.model.network import MattingNetwork, count_gmacs
from livecut.training.model.plate import Comparison, PlateNetwork
from livecut.training.train import Trainer

SIZE_WH = (96, 64)


class Nothing:
    """Finds no subject; keeps what it was shown since each reset."""

    def __init__(self, begins_with_plate=True):
        self.begins_with_plate = begins_with_plate
        self.shown = []

    def __call__(self, image):
        self.shown[-1].append(image)
        return np.zeros(image.shape[:2], np.float32)

    def reset(self):
        self.shown.append([])


@pytest.fixture
def packed(data_folder, tmp_path):
    return pack([item for item in read_catalogue(data_folder).items if not item.validation], tmp_path / "all")


@pytest.fixture
def maker(packed):
    return PlateMaker(SceneMaker(packed))


def test_a_fresh_network_answers_as_the_one_without_a_plate():
    torch.manual_seed(1)
    plain = MattingNetwork().eval()
    network = PlateNetwork().eval()
    network.load_state_dict(plain.state_dict(), strict=False)
    image, plate = torch.randn(2, 1, 3, 64, 96)
    with torch.no_grad():
        assert network(image, plate).allclose(plain(image), atol=1e-6)


def test_the_plate_is_seen_once_the_comparison_has_learnt():
    torch.manual_seed(2)
    network = PlateNetwork().eval()
    for comparison in network.comparisons:
        torch.nn.init.normal_(comparison.gain.weight, std=2.0)
    image, plate = torch.randn(2, 1, 3, 64, 96)
    with torch.no_grad():
        difference = (network(image, plate) - network(image, image)).abs().mean()
        logits, sides = network.forward_training(image, plate)
        assert alpha_of(logits).allclose(network(image, plate), atol=1e-6)
    assert difference > 1e-4
    assert len(sides) == 2


def test_a_stream_answers_as_picture_and_plate_once_it_has_seen_the_plate():
    torch.manual_seed(3)
    network = PlateNetwork().eval()
    for comparison in network.comparisons:
        torch.nn.init.normal_(comparison.gain.weight, std=2.0)
    first, second, plate = torch.randn(3, 1, 3, 64, 96)
    with torch.no_grad():
        bare = [torch.zeros_like(feature) for feature in network.encoder(plate)[1:]]
        _, bare, known = network.step(plate, bare, torch.zeros(1, 1, 1, 1))
        for image in (first, second):
            alpha, bare, known = network.step(image, bare, known)
            assert alpha.allclose(network(image, plate), atol=1e-6)


def test_a_place_that_only_moved_is_explained_and_another_is_not():
    torch.manual_seed(4)
    comparison = Comparison(3, 5, 3)
    bare = torch.randn(1, 3, 16, 20)
    moved = torch.roll(bare, (2, -1), (2, 3))
    inside = (..., slice(3, -3), slice(3, -3))  # a roll's own seam explains nothing
    assert not comparison.unexplained(moved, bare)[inside].any()
    assert comparison.unexplained(moved + 10, bare).min() > 2
    assert comparison.unexplained(moved - 10, bare).min() > 2


def test_a_frame_costs_at_most_one_gmac():
    config = load_config("livecut-plate")
    network = PlateNetwork(**config.network).eval()
    assert count_gmacs(network, *config.input_sizes[0]) <= 1.0


@pytest.mark.parametrize("rendered", [0.0, 1.0])
def test_picture_and_plate_differ_where_the_subject_is(maker, monkeypatch, rendered):
    monkeypatch.setattr(plates, "RENDERED", rendered)
    monkeypatch.setattr(plates, "EMPTY", 0.0)
    monkeypatch.setattr(plates, "disturb", lambda image, plate, alpha, rng: (image, plate, alpha))
    monkeypatch.setattr(plates, "photometric", lambda image, rng: image)
    inside, outside = [], []
    for seed in range(10):
        image, plate, alpha, _ = maker.draw(SIZE_WH, np.random.default_rng(seed))
        assert image.shape == plate.shape == (64, 96, 3)
        assert alpha.shape == (64, 96)
        difference = np.abs(image.astype(int) - plate).mean(2)
        inside.append(difference[alpha > 250].mean())
        if rendered == 0:  # the made renders have a plate of other noise
            outside.append(difference[alpha < 5].mean())
    assert np.median(inside) > 20
    if outside:
        assert np.median(outside) < 0.5 * np.median(inside)


def test_an_empty_scene_is_its_plate(maker, monkeypatch):
    monkeypatch.setattr(plates, "RENDERED", 0.0)
    monkeypatch.setattr(plates, "EMPTY", 1.0)
    monkeypatch.setattr(plates, "disturb", lambda image, plate, alpha, rng: (image, plate, alpha))
    image, plate, alpha, _ = maker.draw(SIZE_WH, np.random.default_rng(0))
    assert (image == plate).all()
    assert not alpha.any()


def test_a_shift_moves_the_plate_by_so_many_pixels():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[5, 7] = 255
    assert np.argwhere(plates.shifted(picture, 3, 2)[..., 0] == 255).tolist() == [[7, 10]]


def test_the_validation_judges_every_change(data_folder, tmp_path):
    everything = pack(list(read_catalogue(data_folder).items), tmp_path / "every")
    predict = Nothing()
    summary = plate_validation.validate(predict, everything)
    assert list(summary) == [*plate_validation.CHANGES, "all"]
    subject = next(plate_validation.cases(everything, "still"))[2].mean() / 255
    assert summary["still"]["mae"] == pytest.approx(subject, rel=1e-5)
    assert [len(shown) for shown in predict.shown] == [2] * 6
    still, brighter, darker = (predict.shown[index][1].mean() for index in (0, 1, 2))
    assert darker < still < brighter
    plate, moved = predict.shown[0][0], predict.shown[5][0]
    assert abs(plate[:-8, :-8].astype(int) - moved[8:, 8:]).mean() < 5  # noise alone


def test_without_a_plate_the_pictures_alone_are_judged(data_folder, tmp_path):
    everything = pack(list(read_catalogue(data_folder).items), tmp_path / "every")
    predict = Nothing(begins_with_plate=False)
    plate_validation.validate(predict, everything, ("still", "shifted"))
    assert [len(shown) for shown in predict.shown] == [1, 1]


def test_training_begins_as_the_network_without_a_plate_and_learns_the_comparison(
    tiny_config, data_folder, tmp_path
):
    first = Trainer(tiny_config, data_folder, tmp_path / "first", tmp_path / "cache")
    first.run()
    config = dataclasses.replace(tiny_config, name="plate", method="plate")
    second = Trainer(config, data_folder, tmp_path / "second", tmp_path / "cache")
    second.start_from(tmp_path / "first")
    second.run()
    assert second.step > 0
    assert any(comparison.gain.weight.any() for comparison in second.network.comparisons)


def test_the_configuration_is_that_of_livecut_s():
    base, plate = load_config("livecut-s"), load_config("livecut-plate")
    assert (plate.method, plate.network) == ("plate", base.network)
