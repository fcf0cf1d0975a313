"""The session: pictures of any size, one stream with a memory, refusals in one line."""

import logging
import threading
from contextlib import suppress

import bundles
import numpy as np
import pytest
from fakes import RedBackend, grey_frame

from livecut.engine.buffers import Slot
from livecut.engine.compositor import Compositor, choose_output
from livecut.engine.errors import BackendError, ModelError, UsageError
from livecut.engine.frame import Frame
from livecut.engine.session import Session, as_frame


@pytest.fixture
def session(tiny_model):
    with Session(tiny_model, threads=1, precision="fp32") as session:
        yield session


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 300), (300, 1), (2, 3), (31, 33), (64, 32), (641, 479)])
def test_a_picture_of_any_size_gets_a_matte_of_its_size(session, rng, size_wh):
    image = rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    matte = session.matte(image)
    assert matte.alpha.shape == image.shape[:2]
    assert matte.alpha.dtype == np.uint8
    assert matte.foreground.shape == image.shape
    assert session.cut(image).shape == (*image.shape[:2], 4)


def test_alpha_is_what_the_model_says(session):
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32, 0] = 255
    alpha = session.matte(image).alpha
    assert np.all(alpha[:, :28] >= 253)
    assert np.all(alpha[:, 36:] <= 2)


def test_an_opaque_cut_keeps_the_picture(session):
    image = np.full((32, 64, 3), 255, np.uint8)
    image[..., 1:] = 40
    cut = session.cut(image)
    assert np.abs(cut[..., :3].astype(int) - image).max() <= 1
    assert cut[..., 3].min() >= 254


def test_only_the_mask_computes_no_foreground(session):
    matte = session.matte(np.zeros((8, 8, 3), np.uint8), foreground=False)
    assert matte.foreground is None
    assert matte.alpha.shape == (8, 8)


def test_bounds_say_where_the_product_is(tiny_model):
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 20:44, 0] = 255
    with Session(tiny_model, threads=1, precision="fp32", refine=False) as session:
        bounds = session.matte(image).bounds
    np.testing.assert_allclose(bounds.box, (20, 16, 24, 32), atol=4)
    assert bounds.coverage == pytest.approx(24 * 32 / 64**2, abs=0.06)


def test_the_alpha_of_the_picture_multiplies_in(session):
    image = np.full((32, 64, 4), 255, np.uint8)
    image[:, 32:, 3] = 0
    alpha = session.matte(image).alpha
    assert np.all(alpha[:, :32] >= 254)
    assert not alpha[:, 32:].any()


def test_grey_pictures_and_bgr_frames_are_understood(session):
    grey = np.full((32, 64), 200, np.uint8)
    assert np.all(np.abs(session.matte(grey).alpha.astype(int) - 200) <= 2)
    bgr = np.zeros((32, 64, 3), np.uint8)
    bgr[..., 2] = 200
    assert np.all(np.abs(session.matte(Frame((bgr,), "BGR", 0, 0.0, 0.0)).alpha.astype(int) - 200) <= 2)


def test_pictures_are_left_as_they_were(session, rng):
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    copy = image.copy()
    image.flags.writeable = False
    session.cut(image)
    assert np.array_equal(image, copy)


def test_results_are_the_callers_to_keep(session):
    first = session.cut(np.full((32, 64, 3), 255, np.uint8))
    kept = first.copy()
    session.cut(np.zeros((32, 64, 3), np.uint8))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("x.png", TypeError, "image: expected a uint8 array or a Frame, got str"),
        (np.zeros((4, 4, 3)), TypeError, "image: expected a uint8 array or a Frame, got an array of float64"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"image: expected shape \(H, W\).*got \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), ValueError, r"got \(4,\)"),
    ],
)
def test_what_is_not_a_picture_is_named(session, image, error, message):
    with pytest.raises(error, match=message):
        session.matte(image)


def test_strided_pictures_work(session, rng):
    image = rng.integers(0, 256, (80, 60, 3), np.uint8)[::2, ::-1]
    assert np.array_equal(session.cut(image), session.cut(np.ascontiguousarray(image)))


# -- one stream


def red(value):
    image = np.zeros((32, 64, 3), np.uint8)
    image[..., 0] = value
    return image


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_state_goes_from_frame_to_frame_until_reset(tiny_stateful_model, backend):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    with Session(tiny_stateful_model, backend=backend, threads=1, precision="fp32", refine=False) as session:

        def middle(image):
            return int(session.matte(image, foreground=False).alpha[16, 32])

        expected = [128, 191, 223, 112, 56]
        images = [red(255), red(255), red(255), red(0), red(0)]
        assert [middle(image) for image in images] == pytest.approx(expected, abs=2)
        session.reset()
        assert middle(red(255)) == pytest.approx(128, abs=2)


def test_a_frame_of_another_size_begins_a_new_state(tiny_stateful_model):
    with Session(tiny_stateful_model, threads=1, precision="fp32", refine=False) as session:
        session.matte(red(255))
        tall = np.zeros((64, 32, 3), np.uint8)
        assert session.matte(tall).alpha.max() <= 2


def test_temporal_smoothing_calms_a_still_scene_and_is_forgotten_on_reset(tiny_model, rng):
    noise = rng.integers(-12, 13, 12)
    calm, plain = [], []
    for temporal, seen in ((True, calm), (False, plain)):
        with Session(tiny_model, threads=1, precision="fp32", refine=False, temporal=temporal) as session:
            seen += [int(session.matte(red(128 + n), foreground=False).alpha[16, 32]) for n in noise]
            session.reset()
            assert session.matte(red(255), foreground=False).alpha[16, 32] >= 254
    assert np.abs(np.diff(calm)).mean() < np.abs(np.diff(plain)).mean()


def test_frames_that_several_threads_submit_go_through_the_network_one_by_one(tiny_model):
    inside, most, meeting = [], [], threading.Barrier(2)
    with Session(tiny_model, backend=RedBackend, threads=1) as session:
        slots = [Slot() for _ in range(4)]
        for index, slot in enumerate(slots):
            session.preprocess(grey_frame(index), slot)
        engine_submit = slots[0].engine.submit

        def submit(buffer, state):
            inside.append(buffer)
            most.append(len(inside))
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)  # two that are inside together meet here
            state = engine_submit(buffer, state)
            inside.remove(buffer)
            return state

        slots[0].engine.submit = submit
        threads = [threading.Thread(target=session.submit, args=(slot,)) for slot in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        for slot in slots:
            session.collect(slot)
    assert most == [1] * len(slots)


def test_slots_are_fitted_once_and_then_only_reused(session):
    slot, frame, compositor = Slot(), grey_frame(1), Compositor("RGBA")
    session.preprocess(frame, slot)
    kept = (slot.buffer, slot.small, slot.geometry)
    session.infer(slot)
    out = session.postprocess(slot, compositor)
    for index in range(3):
        session.preprocess(grey_frame(index), slot)
        session.infer(slot)
        assert session.postprocess(slot, compositor, out) is out
    assert all(new is old for new, old in zip((slot.buffer, slot.small, slot.geometry), kept, strict=True))


def test_the_input_size_follows_the_aspect_unless_it_is_given(tiny_model):
    with Session(tiny_model, backend="null") as session:
        slot = Slot()
        for frame_wh, input_wh in (((1920, 1080), (64, 32)), ((500, 500), (32, 32)), ((9, 16), (32, 64))):
            session.preprocess(grey_frame(0, frame_wh), slot)
            assert slot.geometry.input_wh == input_wh
    with Session(tiny_model, backend="null", size_wh=(96, 32)) as session:
        session.preprocess(grey_frame(0, (500, 500)), slot)
        assert slot.geometry.input_wh == (96, 32)
        assert slot.geometry.roi == (32, 0, 32, 32)


# -- what runs


def test_what_runs_is_logged_once_for_each_size_and_told(tiny_model, caplog):
    with (
        caplog.at_level(logging.INFO, "livecut"),
        Session(tiny_model, threads=1, precision="fp32") as session,
    ):
        info = session.warm_up((64, 32))
        session.warm_up((64, 32))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("tiny 1.0 at 64x32: openvino on CPU")
    assert "fp32, 1 thread (auto: openvino is" in caplog.messages[0]
    assert (info.name, info.precision, info.threads) == ("openvino", "fp32", 1)


def test_a_backend_that_fails_to_open_is_closed(tiny_model):
    made = []

    class Failing(RedBackend):
        def open(self, *arguments, **options):
            made.append(self)
            raise BackendError("out of memory")

    with Session(tiny_model, backend=Failing) as session:
        with pytest.raises(BackendError, match="out of memory"):
            session.warm_up((64, 32))
    assert made[0].closed


def test_a_closed_session_says_so(tiny_model):
    session = Session(tiny_model, backend="null")
    session.close()
    session.close()
    with pytest.raises(UsageError, match="already closed"):
        session.cut(red(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, "precision: expected one of auto, fp32, bf16, fp16, int8, got 'fp8'"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"size_wh": (100, 32)}, "size: tiny takes multiples of 32, got 100x32"),
        (
            {"backend": "tpu"},
            "no backend 'tpu'; there are auto, openvino, onnxruntime, tensorrt, onnxruntime-cuda, null",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(tiny_model, options, message):
    with pytest.raises(UsageError, match=message):
        Session(tiny_model, **options)


# -- a network that misbehaves


def test_nan_out_of_the_network_is_an_error(tmp_path):
    folder = bundles.write_bundle(tmp_path / "nan", bundles.root_of_red())
    with Session(folder, threads=1, precision="fp32") as session:
        session.cut(red(255))
        with pytest.raises(BackendError, match=r"nan: frame 0: the network returned NaN or infinity"):
            session.cut(red(0))


def test_alpha_outside_its_range_is_an_error(tmp_path):
    folder = bundles.write_bundle(tmp_path / "loud", bundles.red_as_alpha_unclipped())
    with Session(folder, threads=1, precision="fp32") as session:
        with pytest.raises(ModelError, match=r"expected alpha in 0\.\.1, the network returned .*\.\.2"):
            session.cut(red(255))


# -- the compositor's refusals


@pytest.mark.parametrize(
    ("output", "background", "message"),
    [
        ("CMYK", None, "output: expected one of"),
        ("RGB", None, "output RGB has no alpha: give a background"),
        ("RGBA", (1, 2, 3), "output RGBA keeps its transparency"),
        ("RGB", "beach", "expected a colour, 'blur', a picture or a video, got 'beach'"),
        ("RGB", (1, 2, 300), r"expected \(r, g, b\) of 0..255"),
        ("RGB", 7, "got int"),
        ("RGB", np.zeros((2, 2), np.uint8), r"uint8 of shape \(h, w, 3\), got uint8 \(2, 2\)"),
    ],
)
def test_backgrounds_that_make_no_sense_are_refused(output, background, message):
    with pytest.raises(UsageError, match=message):
        Compositor(output, background)


def test_the_output_format_is_the_sinks_first_of_the_kind_wanted():
    accepts = ("I420", "RGBA", "YUVA420", "RGB")
    assert choose_output(accepts) == "RGBA"
    assert choose_output(accepts, background=(0, 0, 0)) == "I420"
    with pytest.raises(UsageError, match=r"cannot carry a mask \(it takes I420, RGBA, YUVA420, RGB\)"):
        choose_output(accepts, only_mask=True)
    with pytest.raises(UsageError, match=r"cannot carry transparency .* give a --background"):
        choose_output(("I420",))


def composite(session, frame, compositor):
    slot = Slot()
    session.preprocess(frame, slot)
    session.infer(slot)
    return session.postprocess(slot, compositor)


@pytest.mark.parametrize(("output", "colour"), [("RGB", [10, 20, 30]), ("BGR", [30, 20, 10])])
def test_a_background_picture_covers_the_frame_in_the_outputs_order(session, output, colour):
    picture = np.zeros((50, 300, 3), np.uint8)
    picture[...] = (10, 20, 30)
    out = composite(session, as_frame(red(0)), Compositor(output, picture))
    assert np.all(out.image == colour)


def test_a_wide_background_is_cropped_to_its_middle(session):
    picture = np.zeros((32, 640, 3), np.uint8)
    picture[:, 288:352] = 99
    out = composite(session, as_frame(red(0)), Compositor("RGB", picture))
    assert np.all(out.image == 99)


def test_a_video_background_goes_on_with_each_frame_and_stays_on_its_last(session):
    compositor = Compositor("RGB", iter([np.full((32, 64, 3), v, np.uint8) for v in (50, 60)]))
    seen = [int(composite(session, as_frame(red(0)), compositor).image[0, 0, 0]) for _ in range(3)]
    assert seen == [50, 60, 60]


def test_blur_puts_the_frames_own_blur_behind(session):
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, ::2, 1] = 200  # stripes, which a blur makes even
    out = composite(session, as_frame(image), Compositor("RGB", "blur"))
    assert out.image[..., 1].std() < 0.3 * image[..., 1].std()
    assert abs(out.image[..., 1].mean() - 100) < 12
