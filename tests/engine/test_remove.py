"""``livecut.remove``: the input's own kind back, under the names that rembg's callers use."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

import livecut
from livecut.engine import remove as remove_module
from livecut.engine.backends.null import NullBackend
from livecut.engine.errors import ModelError, PictureError, UsageError


@pytest.fixture
def session():
    """Everything is product, half of it."""
    with livecut.Session(backend=lambda: NullBackend(0.5), threads=1) as session:
        yield session


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def png(array, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", **options)
    return stream.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_bytes_give_png_bytes(session, image):
    result = livecut.remove(png(image, dpi=(300, 300)), session)
    assert result.startswith(b"\x89PNG")
    assert decoded(result).shape == (48, 64, 4)
    assert round(Image.open(io.BytesIO(result)).info["dpi"][0]) == 300


def test_a_pillow_picture_gives_one(session, image):
    result = livecut.remove(Image.fromarray(image), session=session)
    assert (result.mode, result.size) == ("RGBA", (64, 48))
    assert livecut.remove(Image.fromarray(image).convert("CMYK"), session, only_mask=True).mode == "L"


def test_an_array_gives_an_array_of_rgba(session, image):
    result = livecut.remove(image, session)
    assert (result.shape, result.dtype) == ((48, 64, 4), np.uint8)
    assert np.array_equal(result, np.asarray(livecut.remove(Image.fromarray(image), session)))


def test_all_kinds_of_one_picture_agree(session, image):
    from_bytes = decoded(livecut.remove(png(image), session))
    assert np.array_equal(from_bytes, livecut.remove(image, session))
    assert np.array_equal(from_bytes, decoded(livecut.remove(image, session, force_return_bytes=True)))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_lazy_pillow_picture_is_turned_upright_once(session, format, orientation):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255  # light is the first quarter
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format, exif=exif)
    lying = Image.open(stream)
    upright = {3: image[::-1, ::-1], 6: np.rot90(image, -1)}[orientation]
    cutout = np.asarray(livecut.remove(lying, session))[..., :3]
    assert cutout.shape == upright.shape
    assert np.abs(cutout.astype(int) - upright).mean() < 20


def test_only_mask_is_the_alpha_of_the_cutout(session, image):
    mask = livecut.remove(image, session, only_mask=True)
    assert np.array_equal(mask, livecut.remove(image, session)[:, :, 3])
    assert 126 <= mask.min() <= mask.max() <= 129


def test_an_input_alpha_is_multiplied_in(session, image):
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[:, 32:] = 100
    mask = livecut.remove(np.dstack([image, alpha]), session, only_mask=True)
    assert mask[:, :32].max() == 0
    assert 49 <= mask[:, 32:].min() <= mask[:, 32:].max() <= 51


def test_grey_arrays_work(session, image):
    assert livecut.remove(image[:, :, 0], session).shape == (48, 64, 4)


def test_a_colour_goes_behind(session, image):
    result = livecut.remove(image, session, bgcolor=(0, 0, 255, 255))
    assert result.shape == (48, 64, 4)
    assert result[:, :, 3].min() == 255
    assert result[:, :, 2].min() >= 120


def test_post_processing_makes_the_mask_two_valued(session, image):
    mask = livecut.remove(image, session, only_mask=True, post_process_mask=True)
    assert set(np.unique(mask)) <= {0, 255}
    cutout = livecut.remove(image, session, post_process_mask=True)
    assert np.array_equal(cutout[:, :, 3], mask)


def test_the_matting_options_of_rembg_are_taken_and_change_nothing(session, image):
    options = {
        "alpha_matting": True,
        "alpha_matting_foreground_threshold": 200,
        "alpha_matting_background_threshold": 20,
        "alpha_matting_erode_size": 5,
    }
    assert np.array_equal(livecut.remove(image, session, **options), livecut.remove(image, session))


def test_the_input_is_left_as_it_was(session, image):
    before = image.copy()
    livecut.remove(image, session, bgcolor=(1, 2, 3, 4))
    assert np.array_equal(image, before)


def test_wrong_data_is_refused_by_name(session):
    with pytest.raises(TypeError, match="data: expected bytes, a PIL picture or an array, got str"):
        livecut.remove("product.jpg", session)
    with pytest.raises(TypeError, match="uint8"):
        livecut.remove(np.zeros((4, 4, 3), np.float32), session)
    with pytest.raises(PictureError, match="data: not a picture"):
        livecut.remove(b"not a picture", session)
    with pytest.raises(UsageError, match="bgcolor"):
        livecut.remove(np.zeros((4, 4, 3), np.uint8), session, bgcolor=(1, 2, 300, 4))


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="no model 'u2net'"):
        livecut.new_session("u2net")


def test_the_default_session_is_made_once_and_shared_by_threads(image, monkeypatch):
    made = []

    def new_session(*arguments, **options):
        made.append(livecut.Session(backend="null", threads=1))
        return made[-1]

    monkeypatch.setattr(remove_module, "new_session", new_session)
    monkeypatch.setattr(remove_module, "_default", None)
    results = []
    threads = [threading.Thread(target=lambda: results.append(livecut.remove(image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1
    assert len(results) == 8
    assert all(np.array_equal(result, results[0]) for result in results)
    made[0].close()
