import threading
import tracemalloc

import numpy as np
import pytest
from fakes import FakeClock

from livecut.engine.errors import UsageError
from livecut.engine.sources import open_source
from livecut.engine.sources.frame_code import decode_index, encode_index
from livecut.engine.sources.product import KINDS, draw_product
from livecut.engine.sources.synthetic import DRIVER_BUFFERS


def open_synthetic(uri, clock=None):
    source = open_source(uri, clock=clock)
    source.open()
    return source


@pytest.mark.parametrize("shape", [(720, 1280, 3), (480, 640), (2, 16), (1920, 1080, 4), (100, 333, 3)])
def test_frame_code_is_read_back_at_any_size(shape):
    for index in (0, 1, 2, 255, 256, 65535, 123456, 2**24 - 1):
        plane = np.full(shape, 77, np.uint8)
        encode_index(plane, index)
        assert decode_index(plane) == index


def test_frame_code_in_limited_range_luma_is_read_back():
    plane = np.full((360, 640), 128, np.uint8)
    encode_index(plane, 4711, black=16, white=235)
    assert decode_index(plane) == 4711


@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_frame_code_is_not_seen_in_a_flat_picture(value):
    assert decode_index(np.full((480, 640, 3), value, np.uint8)) is None


def test_frame_code_is_not_seen_when_a_block_is_wrong():
    plane = np.zeros((480, 640), np.uint8)
    encode_index(plane, 99)
    assert plane[3, 3] == 0  # the first of thirty-two blocks, 6.67 pixels wide
    plane[0:7, 0:7] = 255
    assert decode_index(plane) is None


def test_frame_code_survives_halving_and_noise(rng):
    import cv2

    image = np.full((720, 1280, 3), 90, np.uint8)
    encode_index(image, 31337)
    half = cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA).astype(int)
    noisy = (half + rng.integers(-40, 41, half.shape)).clip(0, 255).astype(np.uint8)
    assert decode_index(noisy) == 31337


def test_frame_code_refuses_a_plane_too_small_for_it():
    with pytest.raises(ValueError, match="needs 16x2 pixels, got 8x8"):
        encode_index(np.zeros((8, 8), np.uint8), 1)


@pytest.mark.parametrize("format", ["bgr", "rgb", "i420", "nv12"])
def test_synthetic_frames_carry_their_index_in_every_format(format):
    source = open_synthetic(f"synthetic://320x180@30?pace=0&seconds=0.5&format={format}")
    seen = []
    while (frame := source.read()) is not None:
        assert frame.format == format.upper()
        seen.append((frame.index, decode_index(frame.planes[0])))
    assert seen == [(k, k) for k in range(15)]


@pytest.mark.parametrize("format", ["bgr", "i420", "nv12"])
def test_synthetic_repaints_a_reused_frame_exactly_like_a_new_one(format):
    uri = f"synthetic://322x182@10?pace=0&format={format}&seed=1"
    reusing, fresh = open_synthetic(uri), open_synthetic(uri)
    ring = [reusing.read(), reusing.read()]
    expected = [fresh.read(), fresh.read()]
    for k in range(40):
        frame, want = reusing.read(ring[k % 2]), fresh.read()
        assert frame is ring[k % 2]
        expected.append(want)
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, want.planes, strict=True))


def test_synthetic_leaves_frames_alone_until_they_are_handed_back():
    source = open_synthetic("synthetic://160x120@30?pace=0")
    first = source.read()
    before = first.image.copy()
    for _ in range(5):
        source.read()
    assert np.array_equal(first.image, before)


def test_synthetic_is_the_same_for_the_same_seed_and_another_for_another():
    def picture(seed):
        return open_synthetic(f"synthetic://160x120@30?pace=0&seed={seed}").read().image

    assert np.array_equal(picture(7), picture(7))
    assert not np.array_equal(picture(7), picture(10))


def test_synthetic_true_alpha_lies_where_the_product_is():
    source = open_synthetic("synthetic://320x180@30?pace=0&kind=bottle")
    frames = [source.read() for _ in range(90)]
    first, last = source.alpha_of(0), source.alpha_of(89)
    assert 0.02 < (first > 127).mean() < 0.4
    moved = (first > 127) != (last > 127)
    difference = np.abs(frames[0].image.astype(int) - frames[89].image).max(axis=2)
    difference[: 180 // 8] = 0  # the frame code
    assert moved.any()
    assert np.median(difference[moved]) > 10
    nowhere = np.ones_like(moved)
    rows, columns = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
    nowhere[max(0, rows[0] - 4) : rows[-1] + 20, max(0, columns[0] - 30) : columns[-1] + 30] = False
    assert not difference[nowhere].any()


def test_synthetic_frames_are_due_at_their_own_time_whatever_the_reader_does():
    clock = FakeClock(now=50.0)
    source = open_synthetic("synthetic://64x48@25", clock)
    frames = [source.read() for _ in range(4)]
    assert [frame.due_seconds for frame in frames] == pytest.approx([50.0, 50.04, 50.08, 50.12])
    assert clock.now() == pytest.approx(50.12)
    clock.advance(0.05)  # a little late: nothing is lost, and nothing is delayed
    late = source.read()
    assert (late.index, late.due_seconds) == (4, pytest.approx(50.16))
    assert clock.now() == pytest.approx(50.17)


def test_synthetic_loses_the_oldest_frames_of_a_reader_that_is_very_late():
    clock = FakeClock(now=0.0)
    source = open_synthetic("synthetic://64x48@10", clock)
    assert source.read().index == 0
    clock.advance(2.05)  # frame 20 is due
    frame = source.read()
    assert frame.index == 20 - (DRIVER_BUFFERS - 1)
    assert frame.due_seconds == pytest.approx(frame.index / 10)


def test_synthetic_ends_after_its_seconds_even_when_the_last_frames_were_lost():
    clock = FakeClock(now=0.0)
    source = open_synthetic("synthetic://64x48@10?seconds=1", clock)
    assert source.info.frames == 10
    source.read()
    clock.advance(60)
    assert source.read() is None


def test_synthetic_without_pace_gives_every_frame_and_is_not_live():
    clock = FakeClock(now=0.0)
    source = open_synthetic("synthetic://64x48@10?seconds=1&pace=0", clock)
    assert not source.info.is_live
    source.read()
    clock.advance(60)
    assert source.read().index == 1


def test_synthetic_read_returns_when_interrupted():
    source = open_synthetic("synthetic://64x48@0.01")
    assert source.read().index == 0
    result = []
    reader = threading.Thread(target=lambda: result.append(source.read()))
    reader.start()
    source.interrupt()
    reader.join(timeout=10)
    assert result == [None]


def test_synthetic_allocates_nothing_in_steady_state():
    source = open_synthetic("synthetic://640x360@30?pace=0")
    ring = [source.read() for _ in range(3)]
    for k in range(6):
        source.read(ring[k % 3])
    tracemalloc.start()
    for k in range(30):
        source.read(ring[k % 3])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000  # a few views and numbers, no pixels


@pytest.mark.parametrize("size", ["16x8", "33x17", "64x64", "90x160", "640x360"])
def test_synthetic_product_stays_inside_frames_of_any_size(size):
    source = open_synthetic(f"synthetic://{size}@1?pace=0&kind=cup")
    frame = source.read()
    for _ in range(30):
        frame = source.read(frame)
    assert decode_index(frame.image) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_product_has_soft_rims_and_is_opaque_inside(kind):
    product = draw_product(200, kind=kind, seed=3)
    assert ((product.alpha > 0) & (product.alpha < 255)).any()
    assert (product.alpha == 255).mean() > 0.2
    assert product.alpha[0].max() < 255


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("synthetic://", "not a synthetic camera"),
        ("synthetic://640x480@30?colour=red", "unknown option 'colour'"),
        ("synthetic://640x480@30?seconds=-1", "out of range"),
        ("synthetic://640x480@30?seed=x", "invalid literal"),
        ("synthetic://640x480@30?format=yuyv", "format"),
        ("synthetic://640x480@30?kind=shoe", "no product 'shoe'"),
        ("synthetic://4x4@30", "at least 16x8"),
        ("synthetic://641x480@30?format=i420", "even width and height"),
    ],
)
def test_synthetic_names_what_is_wrong_with_its_uri(uri, complaint):
    with pytest.raises(UsageError, match=complaint):
        open_source(uri).open()
