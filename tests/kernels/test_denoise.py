import numpy as np
import pytest
from helpers import assert_arrays_close, peak_bytes

from livecut.kernels import _matte, denoise, reference


@pytest.fixture(params=_matte.LEVELS)
def level(request):
    _matte.use_level(request.param)
    yield request.param
    _matte.use_level(_matte.LEVELS[-1])


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 9, 1), (9, 1, 4), (2, 2, 2), (37, 53, 3), (11, 200, 4), (5, 64, 1)]
)
@pytest.mark.parametrize("strength", [1, 6, 31])
def test_denoise_matches_reference(rng, level, shape, strength):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    assert_arrays_close(denoise(image, strength=strength), reference.denoise(image, strength))


def test_denoise_matches_reference_for_every_pair_of_values(level):
    """A row of one value above a row of another: all 65 536 pairs, in both directions."""
    image = np.zeros((2 * 256, 3 * 256, 1), np.uint8)
    image[::2] = np.arange(256, dtype=np.uint8)[:, None, None]
    image[1::2] = np.repeat(np.arange(256, dtype=np.uint8), 3)[None, :, None]
    for strength in (1, 13, 31):
        assert_arrays_close(denoise(image, strength=strength), reference.denoise(image, strength))


def test_denoise_smooths_noise_and_keeps_an_edge(rng, level):
    image = np.full((64, 64, 3), 60, np.uint8)
    image[:, 32:] = 200
    noisy = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    error = denoise(noisy, strength=12).astype(int) - image
    assert error.var() < (noisy.astype(int) - image).var() / 3
    assert np.abs(error[:, 31:33]).max() < 12
    assert np.array_equal(denoise(image, strength=12), image)


def test_rows_may_be_padded_and_read_only(rng, level):
    wide = rng.integers(0, 256, (20, 50, 3), dtype=np.uint8)
    view = wide[:, 3:40]
    view.flags.writeable = False
    out = np.full((20, 60, 3), 7, np.uint8)
    denoise(view, strength=9, out=out[:, :37])
    assert_arrays_close(out[:, :37], reference.denoise(view, 9))
    assert (out[:, 37:] == 7).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": np.zeros((4, 4, 3), np.float32)}, TypeError, "image: expected dtype uint8, got float32"),
        (
            {"image": np.zeros((4, 4), np.uint8)},
            ValueError,
            r"image: expected shape \(any, any, any\), got \(4, 4\)",
        ),
        ({"image": np.zeros((4, 4, 5), np.uint8)}, ValueError, "image: expected 1 to 4 channels"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, ValueError, "image: expected at least one pixel"),
        (
            {"image": np.zeros((4, 4, 3), np.uint8)[::-1]},
            ValueError,
            "image: expected rows from top to bottom",
        ),
        ({"strength": 0}, ValueError, r"strength: expected 1\.\.31, got 0"),
        ({"strength": 32}, ValueError, r"strength: expected 1\.\.31, got 32"),
        ({"strength": 3.5}, TypeError, "strength: expected an int, got float"),
        (
            {"out": np.zeros((4, 5, 3), np.uint8)},
            ValueError,
            r"out: expected shape \(4, 4, 3\), got \(4, 5, 3\)",
        ),
    ],
)
def test_denoise_refuses_wrong_input_by_name(changes, error, message):
    arguments = {"image": np.zeros((4, 4, 3), np.uint8), "strength": 6, **changes}
    with pytest.raises(error, match=message):
        denoise(arguments.pop("image"), **arguments)


def test_denoise_refuses_to_write_onto_its_input():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="out: expected memory of its own, got an array that overlaps image"):
        denoise(image, strength=6, out=image)


def test_denoise_allocates_nothing_when_given_out(rng):
    image = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    out = np.empty_like(image)
    assert peak_bytes(lambda: denoise(image, strength=6, out=out, threads=2)) < 2048
