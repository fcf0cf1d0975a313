"""One picture through a session: what is behind it, and cropping."""

import numpy as np
import pytest

from livecut import Session
from livecut.engine.cutout import Cutter, over_colour
from livecut.engine.pictures import Picture


@pytest.fixture
def session():
    with Session(backend="null", threads=1) as session:
        yield session


@pytest.fixture
def product(rng):
    """A picture whose own alpha leaves a box of 20x10 at (30, 15); the session keeps all of it."""
    alpha = np.zeros((48, 64), np.uint8)
    alpha[15:25, 30:50] = 255
    return Picture(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), alpha)


def test_without_a_margin_the_picture_keeps_its_size(session, product):
    pixels, like = Cutter(session)(product)
    assert pixels.shape == (48, 64, 4)
    assert like is product


@pytest.mark.parametrize(
    ("options", "channels"),
    [({}, 4), ({"only_mask": True}, None), ({"bgcolor": (1, 2, 3, 255)}, 3), ({"bgcolor": (1, 2, 3, 9)}, 4)],
)
def test_a_margin_crops_every_kind_of_output_alike(session, product, options, channels):
    pixels, like = Cutter(session, margin=0.1, **options)(product)
    assert pixels.shape == ((14, 24) if channels is None else (14, 24, channels))
    assert np.array_equal(like.image, product.image[13:27, 28:52])
    assert like.alpha.shape == (14, 24)


def test_the_margin_ends_at_the_border(session, product):
    assert Cutter(session, margin=10)(product)[0].shape == (48, 64, 4)


def test_where_nothing_was_found_the_picture_stays_whole(session, product):
    empty = Picture(product.image, np.zeros((48, 64), np.uint8))
    pixels, _ = Cutter(session, margin=0.1)(empty)
    assert pixels.shape == (48, 64, 4)
    assert pixels[:, :, 3].max() == 0


def test_pictures_of_many_sizes_go_through_one_cutter(session, rng):
    cutter = Cutter(session)
    for height, width in ((1, 1), (1, 50), (50, 1), (33, 17), (200, 100)):
        picture = Picture(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pixels, _ = cutter(picture)
        assert pixels.shape == (height, width, 4)
        assert pixels[:, :, 3].min() == 255


def test_results_are_the_callers_own(session, product):
    cutter = Cutter(session)
    first, _ = cutter(product)
    kept = first.copy()
    cutter(Picture(255 - product.image, product.alpha))
    assert np.array_equal(first, kept)


def test_over_colour_is_straight():
    rgba = np.array([[[200, 100, 50, 0], [200, 100, 50, 255], [200, 100, 50, 128]]], np.uint8)
    result = over_colour(rgba, (0, 0, 0, 0))
    assert result[0, 1].tolist() == [200, 100, 50, 255]
    assert result[0, 2].tolist() == [200, 100, 50, 128]
    assert over_colour(rgba, (9, 8, 7, 255))[0, 0].tolist() == [9, 8, 7, 255]
