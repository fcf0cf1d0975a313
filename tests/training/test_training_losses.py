"""The losses: zero where they must be, larger for worse, and their gradient points the right way."""

import pytest

torch = pytest.importorskip("torch")

from livecut.training import losses


@pytest.fixture
def disc():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    return ((x - 32) ** 2 + (y - 30) ** 2 < 300).float()[None, None].repeat(2, 1, 1, 1)


def one(value=1.0):
    return torch.full((2,), value)


def logits_of(alpha):
    return torch.logit(alpha.clamp(1e-4, 1 - 1e-4))


def test_every_term_is_nearly_zero_for_a_perfect_prediction(disc):
    terms = losses.matting_loss(
        logits_of(disc), [logits_of(torch.nn.functional.avg_pool2d(disc, 8))], disc, one(), one()
    )
    for name in ("bce", "iou", "l1", "laplacian", "gradient"):
        assert terms[name] < 2e-3, name


def test_every_term_grows_when_the_prediction_is_moved(disc):
    sides = [torch.zeros(2, 1, 8, 8)]
    near = losses.matting_loss(logits_of(disc.roll(1, 3)), sides, disc, one(), one())
    far = losses.matting_loss(logits_of(disc.roll(6, 3)), sides, disc, one(), one())
    for name in ("bce", "iou", "l1", "laplacian"):
        assert far[name] > near[name] > 2e-3, name


def test_soft_iou_of_halves_that_overlap_by_a_third():
    a, b = torch.zeros(1, 1, 6, 600), torch.zeros(1, 1, 6, 600)
    a[..., :400] = 1
    b[..., 200:] = 1
    assert losses.soft_iou(a, b).item() == pytest.approx(1 - 1201 / 3601)


def test_an_empty_scene_is_learnt_from():
    empty = torch.zeros(2, 1, 64, 64)
    logits = torch.zeros(2, 1, 64, 64, requires_grad=True)
    losses.matting_loss(logits, [torch.zeros(2, 1, 8, 8)], empty, one(), one())["total"].backward()
    assert (logits.grad > 0).all()


def test_a_mask_that_is_not_trusted_is_softened_towards_the_prediction():
    alpha, predicted = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    assert losses.believed_target(alpha, predicted, torch.tensor([1.0])).eq(1).all()
    assert losses.believed_target(alpha, predicted, torch.tensor([0.8])).allclose(torch.tensor(0.9))


def test_outlines_that_are_not_trusted_do_not_count(disc):
    terms = losses.matting_loss(logits_of(disc.roll(5, 2)), [torch.zeros(2, 1, 8, 8)], disc, one(), one(0.0))
    assert terms["laplacian"] == terms["gradient"] == 0


def test_the_laplacian_pyramid_adds_up_to_the_picture(disc):
    levels = losses.laplacian_pyramid(disc)
    x = levels[-1]
    for detail in levels[-2::-1]:
        x = detail + torch.nn.functional.interpolate(
            x, size=detail.shape[-2:], mode="bilinear", align_corners=False
        )
    assert x.allclose(disc, atol=1e-6)
