"""The article's network: what its text gives, and that alpha is read off its cut-out rightly."""

import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from livecut.training.config import load_config
from livecut.training.model import article
from livecut.training.model.build import build_network
from livecut.training.model.network import count_gmacs


@pytest.fixture
def scene():
    """Two pictures of noise, and the alpha of a soft disc."""
    torch.manual_seed(5)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    alpha = ((16 - ((x - 30) ** 2 + (y - 22) ** 2).sqrt()) / 3).clamp(0, 1)[None, None].repeat(2, 1, 1, 1)
    return torch.rand(2, 3, 48, 64) * 1.8 - 0.9, alpha


def test_generator_and_discriminator_have_the_layers_the_article_gives():
    config = load_config("article")
    network = build_network(config.method, config.network)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size) for c in convolutions] == [(n, (3, 3)) for n in (64, 128, 256, 3)]
    judge = article.Discriminator(config.adversarial.channels)
    layers = [m for m in judge.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size) for c in layers] == [(n, (3, 3)) for n in (64, 128, 256, 1)]
    slopes = {m.negative_slope for n in (network, judge) for m in n.modules() if hasattr(m, "negative_slope")}
    assert slopes == {0.2}
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 3
    assert (config.optimiser.kind, config.optimiser.learning_rate) == ("adam", 1e-4)
    assert config.input_sizes == [[256, 256]]


def test_the_article_costs_what_its_configuration_says():
    network = build_network("article", {"channels": [64, 128, 256]}).eval()
    assert 64 * count_gmacs(network, 32, 32) == pytest.approx(24.7, abs=0.1)  # 256 x 256 is 64 times that


def test_a_cut_out_lies_in_the_range_of_tanh_and_alpha_in_0_1(scene):
    network = article.ArticleNetwork(channels=(4, 6, 8)).eval()
    with torch.no_grad():
        cutout, alpha = network.cut_out(scene[0]), network(scene[0])
    assert cutout.shape == (2, 3, 48, 64)
    assert alpha.shape == (2, 1, 48, 64)
    assert cutout.abs().max() <= 1
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_the_alpha_of_a_true_cut_out_is_found_again(scene):
    image, alpha = scene
    fused = article.fuse(image, article.over_key(image, alpha))
    assert (fused - alpha).abs().mean() < 0.01
    # Near the key's own colour a pixel alone says nothing; its neighbourhood does, less sharply.
    assert (fused - alpha).abs().max() < 0.3


def test_where_the_picture_is_of_the_keys_colour_the_neighbourhood_decides():
    image = torch.zeros(1, 3, 9, 9)
    image[0, :, 4, 4] = torch.tensor(article.KEY)
    kept = article.fuse(image, article.over_key(image, torch.ones(1, 1, 9, 9)))
    gone = article.fuse(image, article.over_key(image, torch.zeros(1, 1, 9, 9)))
    assert kept[0, 0, 4, 4] > 0.9
    assert gone[0, 0, 4, 4] < 0.1


def test_repair_removes_specks_and_pinholes_and_keeps_the_rest(scene):
    image = torch.zeros(1, 3, 48, 64)
    alpha = torch.zeros(1, 1, 48, 64)
    alpha[..., 10:30, 20:50] = 1
    broken = alpha.clone()
    broken[..., 20, 30] = 0
    broken[..., 40, 5] = 1
    repaired = article.repair_edges(broken, image)
    assert repaired[..., 20, 30] == 1
    assert repaired[..., 40, 5] == 0
    assert repaired[..., 14:26, 24:46].allclose(torch.tensor(1.0), atol=1e-4)


def test_repair_moves_an_outline_to_the_edge_the_picture_has():
    image = torch.full((1, 3, 32, 40), -0.8)
    image[..., 20:] = 0.8
    alpha = torch.zeros(1, 1, 32, 40)
    alpha[..., 18:] = 1  # two pixels too many
    truth = (image[:, :1] > 0).float()
    repaired = article.repair_edges(alpha, image)
    assert (repaired - truth).abs().mean() < 0.9 * (alpha - truth).abs().mean()


def test_sobel_measures_alpha_per_pixel():
    ramp = (torch.arange(20.0) / 20).expand(1, 1, 9, 20)
    assert article.sobel(ramp)[..., 3:6, 3:17].allclose(torch.tensor(1 / 20), atol=1e-5)


def test_denoising_keeps_flat_pictures_and_halves_noise():
    torch.manual_seed(1)
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert article.denoise(flat).allclose(flat, atol=1e-6)
    noise = torch.randn(1, 3, 64, 64)
    assert article.denoise(noise).std() < 0.45  # the filter's weights have a norm of 0.375
