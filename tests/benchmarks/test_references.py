"""The references must be right, or being faster than them means nothing."""

import numpy as np
import pytest

from benchmarks import bench_composite, bench_preprocess, references, scene
from benchmarks.results import WrongResult

SIZE = (160, 90)
SMALL = (64, 36)


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


@pytest.fixture
def background(rng):
    return rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def test_preprocess_references_agree_with_each_other(picture):
    mean, std = (127.5,) * 3, (63.75,) * 3
    kept = references.Cv2Preprocess(SMALL, mean, std)(picture)
    assert kept.shape == (1, 3, SMALL[1], SMALL[0])
    np.testing.assert_allclose(references.plain_preprocess(picture, SMALL, mean, std), kept, atol=1e-6)
    np.testing.assert_allclose(references.blob_preprocess(picture, SMALL, mean, std), kept, atol=1e-5)


def test_preprocess_references_give_rgb_planes(picture):
    blue = np.zeros_like(picture)
    blue[..., 0] = 255
    planes = references.Cv2Preprocess(SMALL, (0, 0, 0), (255, 255, 255))(blue)[0]
    assert planes[2].min() == pytest.approx(1)
    assert planes[:2].max() == 0


def test_blob_refuses_a_different_std_per_channel(picture):
    with pytest.raises(ValueError, match="std"):
        references.blob_preprocess(picture, SMALL, (0, 0, 0), (1, 2, 3))


@pytest.mark.parametrize(
    "reference", [references.NumpyComposite, references.NumpyCompositeInPlace, references.BlendLinear]
)
@pytest.mark.parametrize(
    "alpha", [scene.product_alpha(SMALL), scene.mixed_alpha(SMALL)], ids=["product", "mixed"]
)
def test_composites_are_within_a_step_of_the_exact_one(reference, alpha, picture, background):
    exact = bench_composite.exact_composite(picture, alpha, background)
    result = reference(SIZE)(picture, alpha, background)
    assert result.dtype == np.uint8
    assert np.abs(result - exact).max() <= 1.01


def test_enlarge_agrees_with_opencv_and_keeps_constants(rng):
    import cv2

    alpha = rng.random((SMALL[1], SMALL[0]))
    np.testing.assert_allclose(
        bench_composite.enlarge(alpha, SIZE[::-1]),
        cv2.resize(alpha, SIZE, interpolation=cv2.INTER_LINEAR),
        atol=1e-6,
    )
    np.testing.assert_allclose(bench_composite.enlarge(np.full((3, 5), 0.25), (7, 11)), 0.25)


def test_guided_filter_keeps_a_constant_and_follows_an_edge_of_the_guide(rng):
    guide = np.zeros((60, 80), np.float32)
    guide[:, 40:] = 1
    np.testing.assert_allclose(
        references.guided_filter(guide, np.full_like(guide, 0.5), 4, 1e-3), 0.5, atol=1e-3
    )
    blurred = np.clip((np.arange(80, dtype=np.float32) - 36) / 8, 0, 1) * np.ones((60, 1), np.float32)
    refined = references.guided_filter(guide, blurred, 8, 1e-4)
    assert blurred[30, 40] - blurred[30, 39] == pytest.approx(0.125)
    assert refined[30, 40] - refined[30, 39] > 0.4


def test_fast_guided_reference_is_near_the_full_size_one(picture):
    import cv2

    smooth = cv2.GaussianBlur(picture, (0, 0), 6)
    alpha = scene.product_alpha(SMALL)
    full = references.FullGuidedComposite(SIZE, 10, 1e-3).refined(smooth, alpha)
    fast = references.FastGuidedComposite(SIZE, 4, 1e-3).refined(smooth, alpha)
    assert np.abs(full - fast).mean() < 0.03


def test_scene_is_the_same_every_time_and_read_only():
    first = scene.frames((64, 36), 2)
    scene.frames.cache_clear()
    again = scene.frames((64, 36), 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not first[0].flags.writeable
    assert not np.array_equal(first[0], first[1])


def test_product_covers_about_thirty_percent_with_a_soft_edge():
    told = scene.coverage(scene.product_alpha())
    assert told["foreground"] == pytest.approx(0.3, abs=0.02)
    assert 0.005 < told["mixed"] < 0.1
    assert scene.coverage(scene.mixed_alpha())["mixed"] == 1


def test_preprocess_check_catches_a_kernel_with_swapped_channels():
    linear = references.Cv2Preprocess(scene.INPUT_WH, scene.MEAN, scene.STD)
    area = references.Cv2Preprocess(scene.INPUT_WH, scene.MEAN, scene.STD, 3)
    bench_preprocess.check(area, linear, area)
    with pytest.raises(WrongResult, match="exact area average"):
        bench_preprocess.check(lambda frame: area(frame)[:, ::-1].copy(), linear, area)
