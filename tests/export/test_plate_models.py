"""A model that begins with a plate: calibrated and judged with the plate of each picture."""

import bundles
import cv2
import numpy as np
import onnx
import precision_nets as nets
import pytest
from typer.testing import CliRunner

pytest.importorskip("openvino", reason="INT8 is judged with openvino")
pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from livecut.cli.export_progress import described
from livecut.cli.main import app
from livecut.engine.errors import GateMissed, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.samples import find_samples
from livecut.engine.session import Session
from livecut.export import Options, export_model, open_source
from livecut.export.calibration import feeds, make_clip, read_frames
from livecut.export.growth import run_clips
from livecut.export.int8 import quantise_folders
from livecut.export.onnx_step import real_cases
from livecut.export.parity import Case, ParityError, compare
from livecut.export.runners import onnx_runner


@pytest.fixture
def bundle(tmp_path):
    changes = {"input__mean": [127.5] * 3, "input__std": [127.5] * 3, "begins_with": "plate"}
    folder = tmp_path / "models" / "beside"
    return bundles.write_bundle(folder, nets.beside_plate().graph, state=nets.plate_state(), **changes)


@pytest.fixture
def manifest(bundle):
    return Manifest.load(bundle)


@pytest.fixture
def scenes(tmp_path):
    return nets.write_scenes(tmp_path / "scenes")


def no_label(image, plate):
    raise AssertionError("there are masks")


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_every_picture_calibrates_and_judges_behind_its_own_plate(manifest, scenes):
    frames = read_frames([scenes], manifest, no_label)
    assert frames.labelled
    assert len(frames.calibrating) + len(frames.stills) == 24
    for clip in (*frames.calibrating, *frames.stills):
        expected = make_clip(read(scenes / clip.name.replace("_i", "_p")), None, manifest).images[0]
        np.testing.assert_array_equal(clip.plate, expected)
        assert len(clip.images) == 1
        assert np.abs(clip.images[0] - clip.plate).max() > 0.3


def test_the_network_is_fed_the_plate_first_and_keeps_it(manifest, bundle, scenes):
    clips = read_frames([scenes], manifest, no_label, calibrating=3).calibrating
    seen = list(feeds(clips, manifest, onnx_runner(bundle / "model.onnx")))
    assert [float(feed["known"].item()) for feed in seen] == [0, 1] * 3
    for clip, plate, image in zip(clips, seen[::2], seen[1::2], strict=True):
        assert plate["image"] is clip.plate
        assert image["image"] is clip.images[0]
        assert np.abs(image["plate"]).max() > 0


def test_alphas_are_those_of_the_images_beside_their_plate(manifest, bundle, scenes):
    (clip, *_) = read_frames([scenes], manifest, no_label).stills
    ((alpha,),) = run_clips(onnx.load(bundle / "model.onnx"), [clip], manifest, "openvino-fp32")
    with Session(
        bundle, precision="fp32", plate=scenes / clip.name.replace("_i", "_p"), refine=False
    ) as session:
        expected = session.matte(read(scenes / clip.name), foreground=False).alpha
    inside = cv2.resize(alpha[clip.inside], expected.shape[1::-1]) * 255
    assert np.abs(inside - expected).mean() < 3
    assert expected.max() > 200  # the subject is found, which without its plate it would not be


def test_before_a_fixed_camera_the_subject_moves_and_the_place_stays(manifest, scenes):
    clip = read_frames([scenes], manifest, no_label).moving[0]
    places = []
    for image, alpha in zip(clip.images, clip.alphas, strict=True):
        empty = np.broadcast_to(alpha == 0, image.shape[1:])[None]
        assert np.abs(image - clip.plate)[empty].max() < 10 * 1.5 / 127.5  # sensor noise
        places.append(np.argwhere(alpha > 0.5).mean(0))
    assert np.abs(places[-1] - places[0]).max() > 0.3


def test_without_masks_the_models_own_answer_beside_the_plate_is_the_truth(manifest, bundle, tmp_path):
    scenes = nets.write_scenes(tmp_path / "unlabelled", count=6, masks=False)
    asked = []

    def label(image, plate):
        asked.append(np.abs(image.astype(int) - plate).max())
        return np.full(image.shape[:2], 255, np.uint8)

    frames = read_frames([scenes], manifest, label)
    assert not frames.labelled
    assert len(asked) == len(frames.moving)
    assert min(asked) > 50


def test_pictures_without_plates_are_a_usage_error_that_says_how_to_lay_them_out(manifest, tmp_path):
    folder = nets.write_pictures(tmp_path / "pictures", count=4)
    with pytest.raises(
        UsageError, match=r"begins with a clean plate, and no picture of .* N_p.jpg beside N_i"
    ):
        read_frames([folder], manifest, no_label)


def test_a_plate_of_another_shape_is_no_plate_of_the_picture(manifest, scenes):
    cv2.imwrite(str(scenes / "003_p.png"), np.zeros((64, 48, 3), np.uint8))
    frames = read_frames([scenes], manifest, no_label)
    assert "003_i.png" not in {clip.name for clip in (*frames.calibrating, *frames.stills)}
    assert len(frames.calibrating) + len(frames.stills) == 23


def test_int8_is_judged_beside_plates_and_refused_in_one_line(manifest, bundle, scenes, tmp_path):
    source, out = bundle / "model.onnx", tmp_path / "int8.onnx"
    report = quantise_folders(source, out, [scenes], manifest)
    assert report.layers == {"int8": 2, "fp32": 0}
    assert report.growth.float_mae < 0.1
    assert report.growth.mae_growth < 0.05
    with pytest.raises(GateMissed, match=r"refused: MAE grows by .*; the limit is -90%") as caught:
        quantise_folders(source, tmp_path / "no.onnx", [scenes], manifest, limit=-0.9)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "no.onnx").exists()


def test_the_command_puts_int8_into_the_bundle_and_the_engine_runs_it(bundle, scenes):
    arguments = ["export", str(bundle), "--to", "int8", "--calibrate", str(scenes), "--into-bundle"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 multiplying layers in int8" in result.stderr
    assert "moving clips beside their plates (truth: masks)" in result.stderr
    assert Passport.read(bundle / "model.int8.onnx").extra["begins_with"] == "plate"
    image, plate, mask = (read(scenes / f"005_{kind}.png") for kind in "ipa")
    with Session(bundle, backend="openvino", precision="int8", plate=plate, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    assert np.abs(alpha.astype(float) - mask[..., 0]).mean() < 20


def test_a_file_of_its_own_still_begins_with_the_plate(bundle, scenes, tmp_path):
    options = Options(target="int8")
    made = export_model(
        open_source(bundle),
        tmp_path / "out",
        options=options,
        frames=find_samples([scenes]),
        calibrate=[scenes],
    )
    assert [step.name for step in made] == ["onnx", "int8"]
    parity = made[1].passport.parity
    assert parity["mae_growth"] < 0.05
    assert (
        described(made[1]).count(f"MAE {parity['mae_growth']:+.1%}, dtSSD {parity['dtssd_growth']:+.1%}") == 1
    )
    assert Manifest.load(tmp_path / "out").begins_with == "plate"
    assert Manifest.load(tmp_path / "out").variants.keys() == {"int8"}
    again = export_model(open_source(tmp_path / "out" / "model.onnx"), tmp_path / "again")
    assert Manifest.load(tmp_path / "again").begins_with == "plate"
    assert again[0].passport.parity["max_abs"] < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
def test_real_cases_are_pairs_of_a_plate_and_its_picture(batch, manifest, scenes):
    spec = {"input": dict(nets_input()), "state": nets.plate_state(), "begins_with": "plate"}
    cases = real_cases(spec, (64, 32), find_samples([scenes]), batch, most=4)
    assert all(case.begins_with_plate and len(case.frames) == 2 for case in cases)
    first = cases[0]
    assert first.name == "000_i.png beside 000_p.png"
    assert first.frames[0].shape == (batch, 3, 32, 64)
    if batch == 1:
        assert len(cases) == 4
    else:
        assert np.abs(first.frames[0][0] - first.frames[0][1]).max() > 0.1


def nets_input():
    numbers = {"mean": [127.5] * 3, "std": [127.5] * 3, "pad_value": [114] * 3}
    return {"name": "image", "color": "RGB", "fit": "letterbox", **numbers}


def test_the_alpha_of_a_plate_is_not_compared_and_its_state_is():
    spec = {"input": {"name": "image"}, "output": {"name": "alpha"}, "begins_with": "plate"}
    spec["state"] = [{"input": "kept", "output": "kept_after", "shape": [1, 1, 1, 1]}]
    image = np.zeros((1, 3, 2, 2), np.float32)

    def runner(alpha, state):
        def run(feed):
            first = not feed["kept"].any()
            shape = (1, 1, 2, 2)
            value = alpha if first else 0.5
            return {"alpha": np.full(shape, value, np.float32), "kept_after": np.full((1, 1, 1, 1), state)}

        return run

    case = Case("pair", [image, image], begins_with_plate=True)
    parity = compare(runner(0.1, 1.0), runner(0.9, 1.0), [case], spec, name="x")
    assert (parity.max_abs, parity.alpha_mad, parity.inputs) == (0, 0, 2)
    with pytest.raises(ParityError, match="differs from its source"):
        compare(runner(0.1, 1.0), runner(0.1, 0.5), [case], spec, name="x")
