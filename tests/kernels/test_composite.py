"""composite_over and blur_background."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from livecut.kernels import RefineScratch, _refine, blur_background, composite_over, fit
from livecut.kernels import reference_refine as reference


@pytest.fixture(params=_refine.LEVELS)
def level(request):
    _refine.use_level(request.param)
    yield request.param
    _refine.use_level(_refine.LEVELS[-1])


def triple(rng, shape=(61, 97)):
    image, background = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(2))
    return image, rng.integers(0, 256, shape, dtype=np.uint8), background


def test_composite_over_matches_reference_for_every_value_and_alpha(level):
    values, alphas = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = np.dstack([values] * 3)
    for back in range(256):
        background = np.full_like(image, back)
        got = composite_over(image, alphas, background)
        exact = image[..., 0].astype(int) * alphas + back * (255 - alphas.astype(int))
        np.testing.assert_array_equal(got[..., 1], (exact + 127) // 255)


@pytest.mark.parametrize("shape", [(1, 1), (61, 97), (2, 16), (3, 64), (5, 200)])
def test_composite_over_matches_reference_on_odd_sizes(rng, level, shape):
    image, alpha, background = triple(rng, shape)
    want = reference.composite_over(image, alpha, background)
    np.testing.assert_array_equal(composite_over(image, alpha, background), want)
    np.testing.assert_array_equal(composite_over(image, alpha, background, threads=4), want)


@pytest.mark.parametrize("which", [0, 2])
def test_composite_over_may_write_onto_its_input(rng, level, which):
    arrays = triple(rng)
    want = composite_over(*arrays)
    assert composite_over(*arrays, out=arrays[which]) is arrays[which]
    np.testing.assert_array_equal(arrays[which], want)


def test_composite_over_takes_padded_rows_and_read_only_input(rng, level):
    image, alpha, background = triple(rng, (40, 120))
    for array in (image, alpha, background):
        array.setflags(write=False)
    part = np.s_[3:, 5:-8]
    got = composite_over(image[part], alpha[part], background[part])
    np.testing.assert_array_equal(got, reference.composite_over(image, alpha, background)[part])


def test_composite_over_allocates_nothing_with_out(rng):
    image, alpha, background = triple(rng, (200, 300))
    out = np.empty_like(image)
    composite_over(image, alpha, background, out=out)
    tracemalloc.start()
    composite_over(image, alpha, background, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4096


def test_composite_over_names_the_array_that_does_not_fit(rng):
    image, alpha, background = triple(rng)
    with pytest.raises(ValueError, match="alpha"):
        composite_over(image, alpha[:-1], background)
    with pytest.raises(TypeError, match="background"):
        composite_over(image, alpha, background.astype(np.float32))
    with pytest.raises(ValueError, match="image: expected contiguous rows"):
        composite_over(image[:, ::2], alpha[:, ::2], background[:, ::2])
    with pytest.raises(ValueError, match="out"):
        composite_over(image, alpha, background, out=np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize("level_name", _refine.LEVELS)
def test_environment_chooses_the_instruction_set(level_name):
    code = "from livecut.kernels import _refine; print(_refine.LEVELS[-1])"
    environment = {**os.environ, "LIVECUT_SIMD": level_name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=os.path.expanduser("~"),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == level_name, done.stderr


@pytest.mark.parametrize("size_wh", [(97, 61), (1, 1), (200, 30)])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_blur_background_matches_reference(rng, level, size_wh, order):
    geometry = fit(size_wh, (48, 32))
    small = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    frame = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    out = np.empty_like(frame)
    blur_background(frame, format="RGB", geometry=geometry, small=small, radius=5, order=order, out=out)
    want = reference.enlarge(reference.blur(reference.crop(small, geometry.roi), 5), size_wh)
    assert np.abs(out - (want if order == "RGB" else want[..., ::-1])).max() <= 1


def test_blur_background_makes_its_own_small_picture_and_allocates_nothing(rng):
    frame = rng.integers(0, 256, (360, 640, 3), dtype=np.uint8)
    geometry = fit((640, 360), (64, 36))
    out, scratch = np.empty_like(frame), RefineScratch((640, 360), (64, 36))
    for _ in range(2):
        blur_background(frame, format="BGR", geometry=geometry, order="BGR", out=out, scratch=scratch)
    tracemalloc.start()
    blur_background(frame, format="BGR", geometry=geometry, order="BGR", out=out, scratch=scratch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8192
    assert abs(out.mean() - frame.mean()) < 2
    assert out.std() < frame.std() / 10


def test_blur_background_refuses_wrong_input_by_name(rng):
    frame = np.zeros((36, 64, 3), np.uint8)
    geometry = fit((64, 36), (32, 18))
    for name, wrong in {"radius": 0, "out": np.zeros((2, 2, 3), np.uint8), "order": "GBR"}.items():
        arguments = {"out": np.empty_like(frame), name: wrong}
        with pytest.raises(ValueError, match=name):
            blur_background(frame, format="RGB", geometry=geometry, **arguments)
