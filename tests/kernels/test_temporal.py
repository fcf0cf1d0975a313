import numpy as np
import pytest
from helpers import assert_arrays_close, peak_bytes

from livecut.kernels import TemporalSmoother, _matte, reference
from livecut.kernels.temporal import JUMP_ALPHA, STEADY_ALPHA


@pytest.fixture(params=_matte.LEVELS)
def level(request):
    _matte.use_level(request.param)
    yield request.param
    _matte.use_level(_matte.LEVELS[-1])


def noisy(rng, picture, sigma):
    return np.clip(np.rint(picture + rng.normal(0, sigma, picture.shape)), 0, 255).astype(np.uint8)


def soft_bar(width, height, left, softness=2.0):
    """Alpha of a bar twelve wide whose left edge is at ``left``, and a picture of it."""
    x = np.arange(width) + 0.5
    row = np.clip((x - left) / softness + 0.5, 0, 1) * np.clip((left + 12 - x) / softness + 0.5, 0, 1)
    alpha = np.broadcast_to(row, (height, width)).astype(np.float32)
    return alpha.copy(), 50 + 150 * np.repeat(alpha[..., None], 3, axis=2)


@pytest.mark.parametrize("size_wh", [(1, 1), (5, 3), (33, 17), (300, 4), (64, 48)])
def test_smoothing_matches_reference(rng, level, size_wh):
    width, height = size_wh
    smoother = TemporalSmoother(size_wh, strength=0.6, noise=3.0)
    settings = {"base": 0.4, "still": 4.5, "moving": 12.0, "steady": STEADY_ALPHA, "jump": JUMP_ALPHA}
    previous = previous_luma = None
    for step in range(6):
        alpha = rng.random((height, width)).astype(np.float32)
        small = rng.integers(0, 256 if step % 2 else 24, (height, width, 3), dtype=np.uint8)
        luma = reference.luma_of(small)
        want = alpha.astype(np.float64)
        if previous is not None:
            want = reference.smooth_alpha(want, luma, previous, previous_luma, **settings)
        got = smoother.smooth(alpha, small)
        assert got is alpha
        # the change of alpha is rounded to 255ths, and single precision may round it the other way
        assert_arrays_close(got, want, atol=0.01)
        previous, previous_luma = got.astype(np.float64), luma


def test_luma_matches_reference_for_every_grey_and_many_colours(rng, level):
    small = rng.integers(0, 256, (256, 40, 3), dtype=np.uint8)
    small[:, :3] = np.arange(256, dtype=np.uint8)[:, None, None]
    smoother = TemporalSmoother()
    smoother.smooth(np.zeros((256, 40), np.float32), small)
    assert np.array_equal(smoother._luma, reference.luma_of(small))


def test_a_still_noisy_scene_stops_shimmering(rng, level):
    alpha, picture = soft_bar(64, 48, 20.0)
    smoother = TemporalSmoother((64, 48))
    before, after = [], []
    for _ in range(40):
        flickering = np.clip(alpha + rng.normal(0, 0.06, alpha.shape), 0, 1).astype(np.float32)
        before.append(flickering.copy())
        after.append(smoother.smooth(flickering, noisy(rng, picture, 1.5)).copy())
    ratio = np.var(before[10:], axis=0).mean() / np.var(after[10:], axis=0).mean()
    assert ratio > 4


def test_a_moving_edge_does_not_trail(rng, level):
    smoother = TemporalSmoother((160, 32))
    worst = 0.0
    for step in range(30):
        alpha, picture = soft_bar(160, 32, 10 + 3.0 * step)
        smoothed = smoother.smooth(alpha.copy(), noisy(rng, picture, 1.5))
        worst = max(worst, float(np.abs(smoothed - alpha).max()))
    assert worst < 0.1


def test_a_product_that_appears_is_believed_at_once(level):
    smoother = TemporalSmoother((32, 32))
    small = np.full((32, 32, 3), 90, np.uint8)  # the same grey as the background: only alpha says so
    smoother.smooth(np.zeros((32, 32), np.float32), small)
    shown = smoother.smooth(np.ones((32, 32), np.float32), small)
    assert_arrays_close(shown, np.ones((32, 32)))


def test_strength_zero_changes_nothing(rng, level):
    smoother = TemporalSmoother((20, 10), strength=0.0)
    small = np.zeros((10, 20, 3), np.uint8)
    for _ in range(3):
        alpha = rng.random((10, 20)).astype(np.float32)
        assert_arrays_close(smoother.smooth(alpha.copy(), small), alpha, atol=1e-6)


def test_reset_forgets_the_frames_so_far(rng):
    smoother = TemporalSmoother((20, 10))
    small = np.zeros((10, 20, 3), np.uint8)
    smoother.smooth(np.ones((10, 20), np.float32), small)
    smoother.reset()
    alpha = (rng.random((10, 20)) * 0.2).astype(np.float32)
    assert np.array_equal(smoother.smooth(alpha.copy(), small), alpha)


def test_an_alpha_of_another_size_starts_afresh(rng):
    smoother = TemporalSmoother()
    smoother.smooth(np.ones((10, 20), np.float32), np.zeros((10, 20, 3), np.uint8))
    alpha = (rng.random((7, 9)) * 0.2).astype(np.float32)
    assert np.array_equal(smoother.smooth(alpha.copy(), np.zeros((7, 9, 3), np.uint8)), alpha)


def test_values_out_of_range_are_clipped_and_a_nan_does_not_stay(level):
    smoother = TemporalSmoother((40, 1))
    small = np.zeros((1, 40, 3), np.uint8)
    alpha = np.full((1, 40), np.nan, np.float32)
    alpha[0, :2] = -1, 2
    assert np.array_equal(smoother.smooth(alpha, small)[0, :3], [0, 1, 0])
    assert np.isfinite(smoother.smooth(np.full((1, 40), 0.1, np.float32), small)).all()


def test_threads_do_not_change_the_alpha(rng):
    one, many = TemporalSmoother((90, 61)), TemporalSmoother((90, 61))
    for _ in range(3):
        alpha = rng.random((61, 90)).astype(np.float32)
        small = rng.integers(0, 30, (61, 90, 3), dtype=np.uint8)
        assert np.array_equal(one.smooth(alpha.copy(), small), many.smooth(alpha.copy(), small, threads=4))


@pytest.mark.parametrize(
    ("alpha", "small", "error", "message"),
    [
        (
            np.zeros((4, 5)),
            np.zeros((4, 5, 3), np.uint8),
            TypeError,
            "alpha: expected dtype float32, got float64",
        ),
        (np.zeros(5, np.float32), np.zeros((4, 5, 3), np.uint8), ValueError, "alpha: expected shape"),
        (
            np.zeros((4, 5), np.float32),
            np.zeros((5, 5, 3), np.uint8),
            ValueError,
            r"small: expected shape \(4, 5, 3\)",
        ),
        (
            np.zeros((4, 5), np.float32),
            np.zeros((4, 5, 3)),
            TypeError,
            "small: expected dtype uint8, got float64",
        ),
        (
            np.zeros((4, 9), np.float32)[:, ::2],
            np.zeros((4, 5, 3), np.uint8),
            ValueError,
            "alpha: expected contiguous",
        ),
    ],
)
def test_smoothing_refuses_wrong_input_by_name(alpha, small, error, message):
    with pytest.raises(error, match=message):
        TemporalSmoother((5, 4)).smooth(alpha, small)


@pytest.mark.parametrize(
    "options", [{"strength": 1.0}, {"strength": -0.1}, {"noise": 0.0}, {"small_wh": (0, 4)}]
)
def test_the_smoother_refuses_settings_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TemporalSmoother(**options)


def test_smoothing_allocates_nothing(rng):
    smoother = TemporalSmoother((160, 90))
    alpha, small = rng.random((90, 160)).astype(np.float32), np.zeros((90, 160, 3), np.uint8)
    assert peak_bytes(lambda: smoother.smooth(alpha, small, threads=2)) < 2048
