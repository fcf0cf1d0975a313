"""What stands before and under a subject in a made scene is background; videos leave their marks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livecut.training.data import augment, compose
from livecut.training.data.hands import hand

SIDE = 128


@pytest.fixture
def only(monkeypatch):
    """Make one kind of addition certain and the others impossible."""

    def choose(name=None):
        for known in ("HELD", "PROPS", "REFLECTIONS"):
            monkeypatch.setattr(compose, known, 2.0 if known == name else -1.0)

    return choose


def subject():
    """A green box, uint8 (60, 40, 4)."""
    return np.full((60, 40, 4), (20, 180, 20, 255), np.uint8)


def scenes(rng, count=12):
    background = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return [compose.compose(background, [subject()], rng) for _ in range(count)]


def greenness(image):
    colour = image.astype(int)
    return colour[..., 1] - np.maximum(colour[..., 0], colour[..., 2])


def test_a_hand_takes_alpha_away_where_its_fingers_are_and_only_there(rng):
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[30:100, 40:90] = 1
    held = [hand(alpha, rng) for _ in range(20)]
    assert all(one is not None for one in held)
    for one in held:
        for colour, cover in ((one.behind, one.behind_cover), (one.before, one.before_cover)):
            assert colour.shape == (SIDE, SIDE, 3)
            assert colour.min() >= 0
            assert colour.max() <= 255
            assert 0 <= cover.min() <= cover.max() <= 1
        assert one.behind_cover[[0, -1]].any() or one.behind_cover[:, [0, -1]].any()  # it comes from outside
    covered = np.mean([(one.before_cover * alpha).sum() / alpha.sum() for one in held])
    assert 0.01 < covered < 0.5


def test_there_is_no_hand_without_something_to_hold(rng):
    assert hand(np.zeros((SIDE, SIDE), np.float32), rng) is None
    speck = np.zeros((SIDE, SIDE), np.float32)
    speck[60:64, 60:64] = 1
    assert hand(speck, rng) is None


@pytest.mark.parametrize("kind", ["HELD", "PROPS"])
def test_what_stands_before_a_subject_is_no_part_of_it(kind, rng, only):
    only(kind)
    hidden = 0
    for image, alpha in scenes(rng):
        green = greenness(image) > 40
        assert (green[alpha > 250]).mean() > 0.9 if (alpha > 250).any() else True
        inside = np.zeros_like(alpha)
        ys, xs = np.nonzero(alpha > 128)
        if len(ys):
            inside[ys.min() : ys.max(), xs.min() : xs.max()] = 1
            hidden += int(((alpha < 5) & (inside > 0) & ~green).sum())
    assert hidden > 100


def test_a_plain_subject_is_all_there(rng, only):
    only()
    for image, alpha in scenes(rng):
        green = greenness(image)
        green = green > max(40, 0.5 * green.max())  # half as green as the subject in its own light
        assert (alpha[green] > 100).mean() > 0.97


def test_a_reflection_is_background(rng, only):
    only("REFLECTIONS")
    reflected = 0
    for image, alpha in scenes(rng, 20):
        below = (greenness(image) > 8) & (alpha == 0)
        rows = np.flatnonzero((alpha > 128).any(1))
        if len(rows):
            reflected += int(below[rows[-1] + 1 :].sum())
    assert reflected > 200


def test_a_video_costs_detail_and_keeps_the_picture(rng):
    y, x = np.mgrid[0:90, 0:121]
    smooth = np.stack([x * 2, y * 2, 255 - x], -1).clip(0, 255).astype(np.uint8)
    noisy = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
    out = augment.video(noisy, rng)
    assert (out.shape, out.dtype) == (noisy.shape, np.uint8)
    seen = (slice(0, 90), slice(0, 120))
    changed = np.abs(out[seen].astype(int) - noisy[seen]).mean()
    assert 3 < changed < 30
    assert np.abs(out[seen].astype(float) - smooth[seen]).mean() < 20


def test_a_video_of_nothing_but_one_colour_stays_it(rng):
    plain = np.full((64, 64, 3), (200, 60, 30), np.uint8)
    assert np.abs(augment.video(plain, rng).astype(int) - plain).max() < 12


def test_a_cast_shadow_lies_flat_and_begins_at_the_foot(rng):
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[40:80, 55:70] = 1
    for _ in range(20):
        dark = compose.cast_shadow(alpha, rng)
        assert (dark.shape, dark.dtype) == (alpha.shape, np.float32)
        assert 0 <= dark.min() <= dark.max() <= 0.8
        assert dark[76:83, 55:70].max() > 0.15  # where the subject stands
        rows = np.flatnonzero(dark.max(1) > 0.1)
        assert 0.1 * 40 - 4 <= rows[-1] - rows[0] <= 0.7 * 40 + 8  # flatter than the subject is high
    assert not compose.cast_shadow(np.zeros((SIDE, SIDE), np.float32), rng).any()


def test_a_cast_shadow_is_no_part_of_the_subject(rng, only, monkeypatch):
    only()
    monkeypatch.setattr(compose, "SHADED", 1.0)
    monkeypatch.setattr(compose, "CAST", 1.0)
    darkened = 0
    for image, alpha in scenes(rng):
        grey = image[alpha == 0].max(1)
        darkened += (grey < 110).any()
        assert not (greenness(image)[alpha == 0] > 60).any()
    assert darkened > 6
