"""The discriminator learns to tell, and pushes the network by as much as it is allowed to, and no further."""

import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from livecut.training.adversarial import Adversary, views
from livecut.training.config import Adversarial
from livecut.training.model.discriminator import PatchDiscriminator

SETTINGS = Adversarial(weight=0.25, learning_rate=5e-3, channels=[8, 16])


@pytest.fixture
def scene():
    """Four pictures, their alphas, and logits that blur them."""
    torch.manual_seed(2)
    image = torch.rand(4, 3, 32, 32) * 2 - 1
    alpha = torch.zeros(4, 1, 32, 32)
    for index in range(4):
        alpha[index, :, 6 + index : 20 + index, 8:24] = 1
    soft = torch.nn.functional.avg_pool2d(alpha, 9, 1, 4).clamp(0.02, 0.98)
    return image, alpha, torch.logit(soft).requires_grad_(True)


def trusted(count=4):
    return torch.ones(count)


def test_views_are_the_picture_with_alpha_and_the_picture_over_the_next_one(scene):
    image, alpha, _ = scene
    seen = views(image, alpha)
    assert seen.pair.shape == (4, 4, 32, 32)
    assert seen.pair[:, 3].min() == -1
    assert seen.composite[1][:, 10, 12].equal(image[1][:, 10, 12])  # inside: itself
    assert seen.composite[1][:, 0, 0].equal(image[0][:, 0, 0])  # outside: the picture before it in the batch


def test_the_gradient_has_its_share_of_the_others_whatever_the_scale(scene):
    image, alpha, logits = scene
    for scale in (1.0, 1000.0):
        adversary = Adversary(SETTINGS)
        others = scale * (torch.sigmoid(logits) - alpha).abs().mean()
        value, loss = adversary.term(image, alpha, trusted(), logits, others)
        (main,) = torch.autograd.grad(others, logits, retain_graph=True)
        (push,) = torch.autograd.grad(loss, logits)
        assert push.norm() == pytest.approx(float(0.25 * main.norm()), rel=1e-4)
        assert torch.isfinite(value)


def test_following_the_gradient_looks_more_real_to_the_discriminator(scene):
    image, alpha, logits = scene
    adversary = Adversary(SETTINGS)
    others = (torch.sigmoid(logits) - alpha).abs().mean()
    before, loss = adversary.term(image, alpha, trusted(), logits, others)
    (push,) = torch.autograd.grad(loss, logits)
    moved = (logits - 20 * push / push.norm()).detach().requires_grad_(True)
    after, _ = adversary.term(image, alpha, trusted(), moved, (torch.sigmoid(moved) - alpha).abs().mean())
    assert after < before


def test_the_discriminator_learns_to_tell_real_from_made(scene):
    image, alpha, logits = scene
    adversary = Adversary(SETTINGS)
    losses = []
    for _ in range(40):
        adversary.term(image, alpha, trusted(), logits, (torch.sigmoid(logits) - alpha).abs().mean())
        losses.append(adversary.learn())
    assert losses[-1] < 0.6 * losses[0]


def test_only_masks_with_a_trusted_outline_are_judged(scene):
    image, alpha, logits = scene
    adversary = Adversary(SETTINGS)
    others = (torch.sigmoid(logits) - alpha).abs().mean()
    edge = torch.tensor([1.0, 0.3, 0.8, 0.2])
    _, loss = adversary.term(image, alpha, edge, logits, others)
    (push,) = torch.autograd.grad(loss, logits, retain_graph=True)
    assert push[[1, 3]].abs().max() == 0
    assert push[[0, 2]].abs().max() > 0
    value, loss = adversary.term(image, alpha, torch.full((4,), 0.3), logits, others)
    assert value == loss == 0
    assert adversary.learn() is None


def test_the_discriminators_weights_do_not_move_with_the_networks_step(scene):
    image, alpha, logits = scene
    adversary = Adversary(SETTINGS)
    before = [value.clone() for value in adversary.parameters()]
    _, loss = adversary.term(image, alpha, trusted(), logits, (torch.sigmoid(logits) - alpha).abs().mean())
    loss.backward()
    assert all(value.grad is None for value in adversary.parameters())
    assert all(a.equal(b) for a, b in zip(before, adversary.parameters(), strict=True))


def test_a_discriminator_that_met_nan_stays_as_it_was(scene):
    image, alpha, logits = scene
    adversary = Adversary(SETTINGS)
    adversary.term(image, alpha, trusted(), logits, (torch.sigmoid(logits) - alpha).abs().mean())
    _, made = adversary._seen
    made.pair[0, 0, 0, 0] = float("nan")
    before = [value.clone() for value in adversary.parameters()]
    adversary.learn()
    assert all(a.equal(b) for a, b in zip(before, adversary.parameters(), strict=True))


def test_state_brings_back_weights_and_optimiser(scene):
    image, alpha, logits = scene
    first, second = Adversary(SETTINGS), Adversary(SETTINGS)
    first.term(image, alpha, trusted(), logits, (torch.sigmoid(logits) - alpha).abs().mean())
    first.learn()
    second.restore(first.state())
    assert all(a.equal(b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert len(second.optimiser.state) == len(first.optimiser.state) > 0


def test_a_patch_sees_46_pixels_with_three_layers():
    judge = PatchDiscriminator(1, (4, 4, 4)).eval()
    x = torch.zeros(1, 1, 128, 128, requires_grad=True)
    scores = judge(x)
    scores[0, 0, 7, 7].backward()
    reached = x.grad[0, 0].abs().sum(0).nonzero()
    assert 30 < int(reached.max() - reached.min()) + 1 <= 46
