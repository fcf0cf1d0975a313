"""The metrics, against other people's implementations and against slow ones written from the definition.

The figures below are what PySODMetrics 1.6.2 and MMagic 1.2.0 give; ``reference_metrics.py`` printed them.
"""

import numpy as np
import pytest
from metric_cases import cases

pytest.importorskip("torch", reason="the training room needs PyTorch")
scipy_ndimage = pytest.importorskip("scipy.ndimage", reason="the slow versions need SciPy (extra demo)")

from livecut.training import metrics

# MAE, S-measure and max F against the alpha cut at a half (PySODMetrics); Grad, Conn (MMagic)
REFERENCE = [
    (0.115343375, 0.833748453, 0.854375649, 1.008970472, 0.239574626),
    (0.099299384, 0.834926068, 0.835811518, 0.800810243, 0.194458859),
    (0.184262564, 0.753713963, 0.787267081, 0.616215411, 0.146214163),
    (0.092633290, 0.850511028, 0.892427459, 1.342787621, 0.346939137),
]
REFERENCE_MAX_F = 0.840641905
SHOWN = 1e-9  # digits of the figures above


@pytest.mark.parametrize("number", range(len(REFERENCE)))
def test_metrics_give_what_pysodmetrics_and_mmagic_give(number):
    predicted, alpha = list(cases())[number]
    ours = (
        metrics.mae(predicted, (alpha >= 0.5).astype(float)),
        metrics.s_measure(predicted, alpha),
        metrics.max_f(predicted, alpha),
        metrics.grad(predicted, alpha),
        metrics.conn(predicted, alpha),
    )
    assert ours == pytest.approx(REFERENCE[number], abs=SHOWN)


def test_max_f_over_several_pictures_is_that_of_the_mean_curve():
    curves = [metrics.f_curve(*case) for case in cases()]
    assert np.mean(curves, axis=0).max() == pytest.approx(REFERENCE_MAX_F, abs=SHOWN)


def test_metrics_agree_with_the_live_package_where_it_is_installed(rng):
    sod = pytest.importorskip("py_sod_metrics", reason="pysodmetrics is not installed")
    for _ in range(5):
        alpha = scipy_ndimage.gaussian_filter(rng.random((40, 50)), 3) > 0.5
        predicted = rng.random((40, 50))
        error, structure = sod.MAE(), sod.Smeasure()
        error.step(predicted, alpha, normalize=False)
        structure.step(predicted, alpha, normalize=False)
        assert metrics.mae(predicted, alpha) == pytest.approx(error.get_results()["mae"])
        assert metrics.s_measure(predicted, alpha.astype(float)) == pytest.approx(
            structure.get_results()["sm"]
        )


@pytest.mark.parametrize("number", range(len(REFERENCE)))
def test_conn_agrees_with_a_version_that_labels_with_scipy(number):
    predicted, alpha = list(cases())[number]
    reached = np.zeros(alpha.shape)
    still = np.ones(alpha.shape, bool)
    for level in range(1, 11):
        labels, count = scipy_ndimage.label((predicted >= level / 10) & (alpha >= level / 10))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        largest = labels == 1 + np.argmax(sizes) if count else np.zeros(alpha.shape, bool)
        still &= largest  # a pixel stays reached as long as it has been in the largest region at every level
        reached[still] = level / 10
    excess = [np.where(x - reached >= 0.15, x - reached, 0) for x in (predicted, alpha)]
    assert metrics.conn(predicted, alpha) == pytest.approx(np.abs(excess[0] - excess[1]).sum() / 1000)


def slow_boundary_f(predicted, alpha):
    """Every outline pixel against every other."""

    def outline(mask):
        padded = np.pad(mask, 1, mode="edge")
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~inner)

    def found(these, those, reach):
        distances = np.hypot(*(these[:, None] - those[None]).transpose(2, 0, 1))
        return (distances.min(1) <= reach).mean()

    a, b = outline(predicted >= 0.5), outline(alpha >= 0.5)
    reach = np.ceil(0.008 * np.hypot(*alpha.shape))
    precision, recall = found(a, b, reach), found(b, a, reach)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("number", range(len(REFERENCE)))
def test_boundary_f_agrees_with_measuring_every_distance(number):
    predicted, alpha = list(cases())[number]
    assert metrics.boundary_f(predicted, alpha) == pytest.approx(slow_boundary_f(predicted, alpha))


def test_boundary_f_agrees_with_measuring_every_distance_at_a_wide_tolerance(rng):
    alpha = scipy_ndimage.gaussian_filter(rng.random((400, 500)), 25)
    predicted = alpha + scipy_ndimage.gaussian_filter(rng.random((400, 500)), 8) * 0.05
    alpha, predicted = alpha > np.median(alpha), predicted > np.median(predicted)
    ours = metrics.boundary_f(predicted.astype(float), alpha.astype(float))
    assert ours == pytest.approx(slow_boundary_f(predicted, alpha))
    assert 0.2 < ours < 0.999


def test_dtssd_is_the_mean_of_the_root_mean_square_of_the_differing_changes(rng):
    predicted, alpha = rng.random((4, 6, 7)), rng.random((4, 6, 7))
    steps = []
    for t in range(1, 4):
        total = 0.0
        for y in range(6):
            for x in range(7):
                change = predicted[t, y, x] - predicted[t - 1, y, x]
                true = alpha[t, y, x] - alpha[t - 1, y, x]
                total += (change - true) ** 2
        steps.append((total / 42) ** 0.5)
    assert metrics.dtssd(predicted, alpha) == pytest.approx(100 * sum(steps) / 3)


def test_dtssd_does_not_mind_an_error_that_stays():
    alpha = np.zeros((3, 8, 8))
    alpha[1:, 2:5] = 1
    assert metrics.dtssd(alpha * 0 + 0.5, alpha * 0) == 0
    assert metrics.dtssd(alpha, alpha) == 0
    assert metrics.dtssd(alpha * 0, alpha) == pytest.approx(100 * np.sqrt(3 / 8) / 2)
    with pytest.raises(ValueError, match="at least 2 frames"):
        metrics.dtssd(alpha[:1], alpha[:1])


def test_pictures_that_are_all_or_nothing_have_values_too():
    empty, full = np.zeros((9, 9)), np.ones((9, 9))
    assert metrics.s_measure(empty, empty) == metrics.s_measure(full, full) == 1
    assert metrics.s_measure(full, empty) == metrics.s_measure(empty, full) == 0
    assert metrics.max_f(empty, empty) == metrics.max_f(full, full) == 1
    assert metrics.max_f(full, empty) == 0
    assert metrics.f_curve(full, empty).tolist() == [0] * 256


def test_s_measure_of_a_prediction_of_one_pixel_blocks_is_finite():
    alpha = np.zeros((2, 2))
    alpha[1, 1] = 1
    assert 0 <= metrics.s_measure(alpha * 0.7, alpha) <= 1
