"""The clean plate: shown before the first frame, kept to the end, refused where it does not fit."""

import bundles
import numpy as np
import pytest
from PIL import Image

from livecut.engine.errors import ManifestError, PictureError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session


def red(value, size_wh=(64, 32)):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    image[..., 0] = value
    return image


@pytest.fixture(scope="module")
def plate_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny-plate"
    graph, state = bundles.red_beside_the_plate(), bundles.PLATE_STATE
    return bundles.write_bundle(folder, graph, state=state, begins_with="plate")


def open_session(model, plate, **options):
    return Session(model, threads=1, precision="fp32", refine=False, plate=plate, **options)


def middle(session, image):
    height, width = image.shape[:2]
    return int(session.matte(image, foreground=False).alpha[height // 2, width // 2])


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_every_frame_is_compared_with_the_plate_also_after_a_reset(plate_model, backend):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    with open_session(plate_model, red(100), backend=backend) as session:
        assert [middle(session, red(value)) for value in (100, 255, 40)] == pytest.approx([0, 155, 60], abs=1)
        session.reset()
        assert middle(session, red(200)) == pytest.approx(100, abs=1)


def test_the_plate_may_be_a_file_of_another_resolution(plate_model, tmp_path):
    Image.fromarray(red(100, (640, 320))).save(tmp_path / "plate.png")
    with open_session(plate_model, tmp_path / "plate.png") as session:
        assert middle(session, red(130)) == pytest.approx(30, abs=1)


def test_frames_of_two_sizes_each_see_the_plate(plate_model):
    with open_session(plate_model, red(100), size_wh=(64, 32)) as session:
        assert middle(session, red(150)) == pytest.approx(50, abs=1)
        assert middle(session, red(150, (130, 64))) == pytest.approx(50, abs=1)


def test_a_plate_of_another_shape_is_refused(plate_model):
    with open_session(plate_model, red(100, (64, 64))) as session:
        message = "plate: expected a picture of the shape of the frames, 64x32, got 64x64"
        with pytest.raises(UsageError, match=message):
            session.matte(red(0))


def test_a_model_that_begins_with_a_plate_says_so(plate_model):
    with pytest.raises(UsageError, match=r"tiny-plate needs a clean plate.*--plate PICTURE"):
        open_session(plate_model, None)


def test_a_model_that_takes_no_plate_says_so(tiny_model):
    with pytest.raises(UsageError, match="does not take one"):
        open_session(tiny_model, red(0))


def test_a_plate_that_is_no_picture_is_named(plate_model, tmp_path):
    (tmp_path / "plate.png").write_text("hello")
    with pytest.raises(PictureError, match=r"plate\.png"):
        open_session(plate_model, tmp_path / "plate.png")


def test_the_manifest_knows_only_plates(plate_model, tmp_path):
    assert Manifest.load(plate_model).begins_with == "plate"
    folder = bundles.write_bundle(tmp_path / "odd", bundles.red_as_alpha(), begins_with="depth")
    with pytest.raises(ManifestError, match='begins_with: expected "plate" or nothing'):
        Manifest.load(folder)
