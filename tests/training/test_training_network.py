"""The network: shapes, range, cost, and the copy that is exported."""

import pytest

torch = pytest.importorskip("torch")

from livecut.training.model.exported import exported
from livecut.training.model.levels import BLACK, WHITE, alpha_of
from livecut.training.model.network import MattingNetwork, count_gmacs
from livecut.training.model.plate import PlateNetwork


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


def test_what_is_surer_than_the_levels_is_wholly_so_and_the_rest_is_stretched_between_them():
    likely = torch.tensor([0.01, BLACK, 0.3, 0.5, 0.7, WHITE, 0.99])
    alpha = alpha_of(torch.logit(likely))
    wanted = torch.tensor(
        [0.0, 0.0, (0.3 - BLACK) / (WHITE - BLACK), 0.5, (0.7 - BLACK) / (WHITE - BLACK), 1.0, 1.0]
    )
    assert alpha.allclose(wanted, atol=1e-6)


def test_alpha_is_made_of_the_training_logits(network):
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits, sides = network.forward_training(image)
        assert alpha_of(logits).allclose(network(image), atol=1e-6)
    assert [tuple(side.shape[-2:]) for side in sides] == [(4, 4), (8, 8)]


def test_folding_changes_nothing_but_the_normalisation(network):
    folded, image = network.folded(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert folded(image).allclose(network(image), atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.fixture(scope="module")
def remembering():
    """A network whose memory has learnt something, if only at random."""
    torch.manual_seed(5)
    network = MattingNetwork(memory=True).eval()
    memory = network.memory
    for layer in (memory.recall16, memory.recall8, memory.keep, memory.moved):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return network


def test_the_first_frame_of_a_stream_is_answered_as_a_picture(remembering):
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        alpha, state, seen = remembering.step(image, *remembering.blank_state(image))
        assert alpha.allclose(remembering(image), atol=1e-6)
    assert torch.nn.functional.pixel_shuffle(state, 4).allclose(2 * alpha - 1, atol=1e-6)
    assert seen.equal(remembering.memory.describe(remembering.encoder(image)[2]))


def test_a_previous_alpha_pulls_the_next_one_and_an_unknown_one_does_not(remembering):
    memory, x8, shown = remembering.memory, torch.randn(1, 48, 8, 8), torch.randn(1, 16, 8, 8)
    fresh = torch.zeros(1, 16, 16, 16)
    with torch.no_grad():
        sure = memory.mix(fresh, x8, shown, torch.ones(1, 16, 16, 16), shown)
        leaning = memory.mix(fresh, x8, shown, torch.full((1, 16, 16, 16), 0.25), shown)
        unsure = memory.mix(fresh, x8, shown, torch.full((1, 16, 16, 16), 0.0625), shown)
        unknown = memory.mix(fresh + 0.7, x8, shown, fresh, shown)
        change = memory.moved(torch.relu(memory.change(torch.zeros_like(shown))))
        kept = torch.sigmoid(memory.keep(x8) + change)
    for mixed, share in ((sure, 1.0), (leaning, 0.25), (unsure, 0.0625 * 0.5)):
        at8 = torch.nn.functional.avg_pool2d(mixed.mean(1, keepdim=True), 2)
        assert at8.allclose(kept * share, atol=1e-5)
    assert unknown.equal(fresh + 0.7)


def test_what_is_left_of_a_thing_that_has_gone_does_not_stay_as_a_trail(remembering):
    memory, x8, shown = remembering.memory, torch.randn(1, 48, 8, 8), torch.randn(1, 16, 8, 8)
    background = -torch.ones(1, 16, 16, 16)
    with torch.no_grad():
        trail = memory.mix(background, x8, shown, 0.8 * background, shown)
        surer = memory.mix(0.8 * background, x8, shown, background, shown)
        gone = memory.mix(background, x8, shown, -background, shown)
    assert trail.equal(background)
    assert (surer < -0.8 - 1e-6).all()  # of two that agree the surer previous one is kept, as ever
    assert (gone > -1.0).all()  # and so is one that does not agree


def test_what_is_kept_depends_on_what_has_changed(remembering):
    memory, x8, shown = remembering.memory, torch.randn(1, 48, 8, 8), torch.randn(1, 16, 8, 8)
    fresh, sure = torch.zeros(1, 16, 16, 16), torch.ones(1, 16, 16, 16)
    elsewhere = shown.clone()
    elsewhere[..., 5] += 3.0
    with torch.no_grad():
        still, moved = (memory.mix(fresh, x8, shown, sure, seen) for seen in (shown, elsewhere))
    differs = (still - moved).abs().amax((0, 1, 2)) > 1e-3
    assert differs[8:14].all()  # the changed column of cells, and what a 3x3 convolution sees of it
    assert not differs[:8].any()
    assert not differs[14:].any()


def test_what_was_seen_before_changes_the_answer(remembering):
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        seen = remembering.memory.describe(remembering.encoder(image)[2])
        subject = remembering.step(image, torch.ones(1, 16, 16, 16), seen)[0]
        background = remembering.step(image, -torch.ones(1, 16, 16, 16), seen)[0]
    assert (subject - background).abs().mean() > 0.01


def test_a_new_memory_leaves_the_features_alone():
    torch.manual_seed(6)
    network = MattingNetwork(memory=True).eval()
    recalled = network.memory.recall(torch.randn(1, 16, 16, 16))
    assert [tuple(r.shape) for r in recalled] == [(1, 64, 4, 4), (1, 48, 8, 8)]
    assert all(not r.any() for r in recalled)


def test_multiply_accumulates_of_one_convolution():
    convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert count_gmacs(convolution, 64, 32) == pytest.approx(16 * 32 * 8 * 3 * 9 / 1e9)


def test_exported_modules_say_what_they_carry_from_frame_to_frame():
    image = torch.randn(1, 3, 64, 96)
    plain, states = exported(MattingNetwork())
    assert states == []
    remembering, states = exported(MattingNetwork(memory=True))
    assert states == [
        {"input": "previous", "output": "remembered", "shape": [1, 16, "height/4", "width/4"]},
        {"input": "seen", "output": "shown", "shape": [1, 16, "height/8", "width/8"]},
    ]
    with torch.no_grad():
        alpha, state, seen = remembering(image, torch.zeros(1, 16, 16, 24), torch.zeros(1, 16, 8, 12))
        assert seen.shape == (1, 16, 8, 12)
        assert alpha.allclose(remembering.network(image), atol=1e-6)
        assert plain(image).shape == alpha.shape == (1, 1, 64, 96)
        assert state.shape == (1, 16, 16, 24)
    with_plate, states = exported(PlateNetwork())
    assert [state["input"] for state in states] == ["plate4", "plate8", "plate16", "plate32", "known"]
    assert states[1]["shape"] == [1, 40, "height/8", "width/8"]
    sizes = [(1, 24, 16, 24), (1, 40, 8, 12), (1, 112, 4, 6), (1, 192, 2, 3), (1, 1, 1, 1)]
    with torch.no_grad():
        alpha, *kept = with_plate(image, *(torch.zeros(size) for size in sizes))
    assert [tuple(value.shape) for value in kept] == sizes
