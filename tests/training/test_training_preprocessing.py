"""Training, validation and the engine feed a network the same numbers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from helpers import assert_arrays_close

from livecut import kernels
from livecut.engine.buffers import Slot
from livecut.engine.session import Session, as_frame
from livecut.training.data import geometry
from livecut.training.data.dataset import to_network
from livecut.training.export_checkpoint import build_manifest
from livecut.training.model.network import MattingNetwork
from livecut.training.predictors import Framed, nearest_size

HALF_A_LEVEL = 0.5 / 127.5
ROUNDING = 1e-6  # float32
FRAMES = [(1920, 1080), (640, 480), (300, 401), (97, 31), (512, 288), (384, 384), (11, 7), (333, 333)]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session on a bundle with the manifest that training writes, over a network that is nothing much."""
    import bundles

    _, manifest = build_manifest(MattingNetwork().eval(), "made", "0", {})
    folder = bundles.write_bundle(
        tmp_path_factory.mktemp("models") / "made", bundles.sigmoid_of_sum(), input=manifest["input"]
    )
    with Session(folder, backend="onnxruntime", precision="fp32") as session:
        yield session


def engine_input(session, image):
    slot = Slot()
    session.preprocess(as_frame(image), slot)
    return slot.buffer.input.copy()


@pytest.mark.parametrize("frame_wh", FRAMES)
def test_validation_feeds_what_the_engine_feeds_bit_for_bit(session, frame_wh, rng):
    image = rng.integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    ours, _ = Framed(lambda x: x[0, 0]).frame(image)
    assert_arrays_close(ours, engine_input(session, image))


@pytest.mark.parametrize("frame_wh", FRAMES)
def test_training_feeds_what_the_engine_feeds_rounded_to_a_level(session, frame_wh, rng):
    image = rng.integers(0, 256, (frame_wh[1], frame_wh[0], 3), dtype=np.uint8)
    framed, _ = geometry.letterbox(image, np.zeros(image.shape[:2], np.uint8), nearest_size(frame_wh))
    trained = to_network(torch.from_numpy(framed).permute(2, 0, 1)[None]).numpy()
    assert_arrays_close(trained, engine_input(session, image), HALF_A_LEVEL + ROUNDING)


def test_without_a_resize_nothing_is_rounded_at_all(session, rng):
    image = rng.integers(0, 256, (288, 512, 3), dtype=np.uint8)
    framed, _ = geometry.letterbox(image, np.zeros(image.shape[:2], np.uint8), (512, 288))
    assert_arrays_close(framed, image)
    trained = to_network(torch.from_numpy(framed).permute(2, 0, 1)[None]).numpy()
    assert_arrays_close(trained, engine_input(session, image), ROUNDING)


def test_training_places_a_frame_where_the_engine_places_it():
    for frame_wh in FRAMES:
        for size_wh in ((512, 288), (384, 384), (64, 96)):
            assert geometry.fit_inside(frame_wh, size_wh) == kernels.fit(frame_wh, size_wh).roi


def test_training_and_the_engine_choose_the_same_input_size(session):
    for width in range(20, 2000, 37):
        for height in range(20, 2000, 53):
            assert nearest_size((width, height)) == session.manifest.size_for((width, height))
