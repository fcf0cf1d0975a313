"""upsample_alpha: plain bilinear enlarging of the network's alpha."""

import tracemalloc

import numpy as np
import pytest

from livecut.kernels import RefineScratch, _refine, fit, upsample_alpha
from livecut.kernels import reference_refine as reference


@pytest.fixture(params=_refine.LEVELS)
def level(request):
    _refine.use_level(request.param)
    yield request.param
    _refine.use_level(_refine.LEVELS[-1])


@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
@pytest.mark.parametrize("size_wh", [(97, 61), (1, 1), (640, 360), (33, 200), (20, 10), (64, 48), (65, 49)])
def test_upsample_alpha_matches_reference(rng, level, size_wh, mode):
    geometry = fit(size_wh, (64, 48), mode)
    alpha = rng.random((48, 64), dtype=np.float32)
    got = upsample_alpha(alpha, geometry=geometry)
    want = reference.upsample_alpha(alpha, size_wh, geometry.roi)
    assert np.abs(got - want).max() <= 0.6  # rounding, and 15 bits between


def test_upsample_alpha_of_a_constant_is_that_constant(level):
    geometry = fit((101, 77), (32, 32))
    for value in range(256):
        alpha = np.full((32, 32), value / 255, np.float32)
        assert (upsample_alpha(alpha, geometry=geometry) == value).all()


def test_upsample_alpha_does_not_read_the_padding(rng):
    geometry = fit((160, 40), (32, 32))
    x, y, width, height = geometry.roi
    alpha = np.full((32, 32), np.nan, np.float32)
    alpha[y : y + height, x : x + width] = 1
    assert (upsample_alpha(alpha, geometry=geometry) == 255).all()


def test_upsample_alpha_clips_and_takes_nan_for_nothing():
    alpha = np.array([[np.nan, -5, 7, np.inf, -np.inf, 0.5]], np.float32)
    got = upsample_alpha(alpha, geometry=fit((6, 1), (6, 1)))
    assert got.tolist() == [[0, 0, 255, 255, 0, 128]]


def test_upsample_alpha_allocates_nothing_and_threads_agree(rng):
    geometry = fit((640, 360), (64, 36))
    alpha = rng.random((36, 64), dtype=np.float32)
    out, scratch = np.empty((360, 640), np.uint8), RefineScratch((640, 360), (64, 36), threads=3)
    assert upsample_alpha(alpha, geometry=geometry, out=out, scratch=scratch) is out
    tracemalloc.start()
    upsample_alpha(alpha, geometry=geometry, out=out, scratch=scratch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4096
    np.testing.assert_array_equal(out, upsample_alpha(alpha, geometry=geometry, threads=3))


def test_upsample_alpha_refuses_wrong_input_by_name():
    geometry = fit((64, 36), (32, 18))
    alpha = np.zeros((18, 32), np.float32)
    with pytest.raises(TypeError, match="alpha_small"):
        upsample_alpha(alpha.astype(np.float64), geometry=geometry)
    with pytest.raises(ValueError, match="alpha_small"):
        upsample_alpha(alpha[:-1], geometry=geometry)
    with pytest.raises(ValueError, match="out"):
        upsample_alpha(alpha, geometry=geometry, out=np.zeros((3, 3), np.uint8))
