"""The network: shapes, range, cost, and the copy that is exported."""

import pytest

torch = pytest.importorskip("torch")

from livecut.training.model.encoder import Encoder
from livecut.training.model.network import MattingNetwork, count_gmacs


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    network = MattingNetwork().train()
    with torch.no_grad():
        for _ in range(3):  # so that the normalisation has statistics of its own
            network.forward_training(torch.randn(2, 3, 64, 64))
    return network.eval()


def test_alpha_has_the_pictures_size_and_lies_in_0_1(network):
    with torch.no_grad():
        alpha = network(torch.randn(2, 3, 64, 96) * 3)
    assert alpha.shape == (2, 1, 64, 96)
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_alpha_is_the_sigmoid_of_the_training_logits(network):
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits, sides = network.forward_training(image)
        assert torch.sigmoid(logits).allclose(network(image), atol=1e-6)
    assert [tuple(side.shape[-2:]) for side in sides] == [(4, 4), (8, 8)]


def test_folding_changes_nothing_but_the_normalisation(network):
    folded, image = network.folded(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert folded(image).allclose(network(image), atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_the_network_stays_under_one_gmac_and_three_million_parameters(network):
    assert 0.5 < count_gmacs(network, 512, 288) <= 1.0
    assert sum(value.numel() for value in network.parameters()) <= 3_000_000


def test_features_halve_in_size_and_dilation_keeps_an_eighth():
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert [tuple(f.shape[1:]) for f in Encoder()(image)] == [
            (8, 32, 32),
            (12, 16, 16),
            (16, 8, 8),
            (48, 4, 4),
            (160, 2, 2),
        ]
        assert Encoder(dilated=True)(image)[-1].shape == (1, 160, 8, 8)


def test_multiply_accumulates_of_one_convolution():
    convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert count_gmacs(convolution, 64, 32) == pytest.approx(16 * 32 * 8 * 3 * 9 / 1e9)
