import numpy as np
import pytest
from helpers import peak_bytes

from livecut.kernels import _matte, bounds, reference


@pytest.fixture(params=_matte.LEVELS)
def level(request):
    _matte.use_level(request.param)
    yield request.param
    _matte.use_level(_matte.LEVELS[-1])


def as_tuple(found):
    return found.box, found.coverage, found.border_contact


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 64), (17, 129), (40, 100)])
def test_bounds_match_reference(rng, level, shape):
    for density in (0.0, 0.01, 0.2, 1.0):
        alpha = rng.integers(0, 256, shape, dtype=np.uint8) * (rng.random(shape) < density).astype(np.uint8)
        for threshold in (1, 8, 128, 255):
            assert as_tuple(bounds(alpha, threshold=threshold)) == reference.bounds(alpha, threshold)


def test_bounds_find_every_single_pixel(level):
    for y in range(5):
        for x in range(70):
            alpha = np.zeros((5, 70), np.uint8)
            alpha[y, x] = 255
            assert bounds(alpha).box == (x, y, 1, 1)


def test_every_value_is_compared_with_every_threshold(level):
    alpha = np.arange(256, dtype=np.uint8)[None]
    for threshold in range(1, 256):
        assert bounds(alpha, threshold=threshold).coverage == (256 - threshold) / 256


def test_an_empty_matte_has_no_box(level):
    found = bounds(np.full((4, 9), 7, np.uint8))
    assert as_tuple(found) == (None, 0.0, (0.0, 0.0, 0.0, 0.0))


def test_border_contact_is_top_right_bottom_left():
    alpha = np.zeros((10, 20), np.uint8)
    alpha[0, :5] = 255
    alpha[:, 19] = 255
    assert bounds(alpha).border_contact == (6 / 20, 1.0, 1 / 20, 1 / 10)


def test_rows_may_be_padded_and_read_only(rng, level):
    wide = rng.integers(0, 256, (9, 90), dtype=np.uint8)
    view = wide[:, 5:75]
    view.flags.writeable = False
    assert as_tuple(bounds(view, threshold=200)) == reference.bounds(view, 200)


def test_threads_do_not_change_the_bounds(rng):
    alpha = (rng.random((301, 77)) < 0.003).astype(np.uint8) * 255
    assert bounds(alpha, threads=1) == bounds(alpha, threads=5)


@pytest.mark.parametrize(
    ("alpha", "options", "error", "message"),
    [
        (np.zeros((4, 4), np.float32), {}, TypeError, "alpha: expected dtype uint8, got float32"),
        (
            np.zeros((4, 4, 1), np.uint8),
            {},
            ValueError,
            r"alpha: expected shape \(any, any\), got \(4, 4, 1\)",
        ),
        (np.zeros((0, 4), np.uint8), {}, ValueError, "alpha: expected at least one pixel"),
        (np.zeros((4, 8), np.uint8)[:, ::2], {}, ValueError, "alpha: expected contiguous rows"),
        (np.zeros((4, 4), np.uint8), {"threshold": 0}, ValueError, r"threshold: expected 1\.\.255, got 0"),
        (np.zeros((4, 4), np.uint8), {"threshold": 0.5}, TypeError, "threshold: expected an int, got float"),
    ],
)
def test_bounds_refuse_wrong_input_by_name(alpha, options, error, message):
    with pytest.raises(error, match=message):
        bounds(alpha, **options)


def test_bounds_allocate_nothing_but_the_answer():
    alpha = np.full((90, 160), 255, np.uint8)
    assert peak_bytes(lambda: bounds(alpha)) < 2048
