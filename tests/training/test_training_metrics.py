"""The metrics, against values worked out by hand."""

import numpy as np
import pytest

pytest.importorskip("torch")

from livecut.training import metrics


def square(size=20, low=5, high=15, value=1.0):
    alpha = np.zeros((size, size))
    alpha[low:high, low:high] = value
    return alpha


def test_sums_and_means_of_a_constant_error():
    predicted, alpha = np.full((20, 50), 0.75), np.full((20, 50), 0.25)
    assert metrics.sad(predicted, alpha) == pytest.approx(0.5)  # 1000 pixels x 0.5, in thousands
    assert metrics.mae(predicted, alpha) == pytest.approx(0.5)
    assert metrics.mse(predicted, alpha) == pytest.approx(0.25)


def test_iou_of_two_squares_that_share_a_half():
    predicted, alpha = np.zeros((10, 10)), np.zeros((10, 10))
    predicted[:, 0:4] = 1
    alpha[:, 2:6] = 1
    assert metrics.iou(predicted, alpha) == pytest.approx(20 / 60)


def test_two_empty_alphas_agree_fully_and_one_empty_alone_not_at_all():
    empty = np.zeros((20, 20))
    assert metrics.iou(empty, empty) == metrics.boundary_f(empty, empty) == 1
    assert metrics.iou(square(), empty) == metrics.boundary_f(square(), empty) == 0


def test_every_metric_is_perfect_on_itself():
    alpha = square(value=0.8)
    for name in ("sad", "mae", "mse", "grad", "conn"):
        assert getattr(metrics, name)(alpha, alpha) == pytest.approx(0, abs=1e-12)
    assert metrics.iou(alpha, alpha) == metrics.boundary_f(alpha, alpha) == 1


def test_outline_is_the_rim_and_leaves_the_pictures_border_out():
    mask = np.zeros((5, 6), bool)
    mask[0:3, 0:3] = True
    rim = metrics.outline(mask)
    assert rim.tolist() == [
        [False, False, True, False, False, False],
        [False, False, True, False, False, False],
        [True, True, True, False, False, False],
        [False] * 6,
        [False] * 6,
    ]


def test_boundary_f_forgives_a_shift_within_the_tolerance_only():
    alpha = square(100, 30, 70)  # diagonal 141.4: 0.8 % is 1.13, rounded up to 2 pixels
    assert metrics.boundary_f(np.roll(alpha, 2, 1), alpha) == 1
    shifted = metrics.boundary_f(np.roll(alpha, 12, 1), alpha)
    # Upper and lower edge still lie on each other but for their ends; left and right edge do not.
    assert 0.3 < shifted < 0.5


def test_boundary_f_is_the_harmonic_mean_of_precision_and_recall():
    alpha, predicted = np.zeros((60, 60)), np.zeros((60, 60))
    alpha[5:15, 5:15] = predicted[5:15, 5:15] = 1  # rim of 36 pixels
    predicted[40:50, 40:50] = 1  # another 36, far away: precision 1/2, recall 1
    assert metrics.boundary_f(predicted, alpha) == pytest.approx(2 / 3)


def test_grad_of_a_step_equals_the_squared_filter_response():
    sigma = 1.4
    half = 4  # ceil(1.4 * sqrt(-2 ln(sqrt(2 pi) 1.4 0.01)))
    x = np.arange(-half, half + 1)
    bell = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    slope = -x * bell / sigma**2
    norm = np.sqrt(np.square(np.outer(bell, slope)).sum())
    step = np.zeros((9, 40))
    step[:, 20:] = 1
    # Column c sees the step at offset 20 - c: the filter's sum from there on.
    response = [bell.sum() * slope[max(0, 20 - c + half) :].sum() / norm for c in range(40)]
    expected = (
        9 * np.square([r if -half <= 20 - c <= half else 0 for c, r in enumerate(response)]).sum() / 1000
    )
    assert metrics.grad(step, np.zeros_like(step)) == pytest.approx(expected, rel=1e-6)


def test_conn_counts_a_stray_region_by_how_far_it_is_from_being_connected():
    alpha, predicted = square(20, 2, 10), square(20, 2, 10)
    alpha[15:17, 15:17] = 1  # four pixels apart from the subject, 1 in truth and 0 predicted
    # They hang together at level 0 only: the truth is 1 above it (firmness 0), the prediction 0 (firmness 1).
    assert metrics.conn(predicted, alpha) == pytest.approx(4 / 1000)


def test_conn_ignores_a_difference_below_its_threshold():
    assert metrics.conn(square(value=0.95), square(value=1.0)) == pytest.approx(0)
