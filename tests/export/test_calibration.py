"""Pictures that calibrate and pictures that judge: never the same, and laid out as the engine would."""

import cv2
import numpy as np
import precision_nets as nets
import pytest

from livecut.engine.errors import UsageError
from livecut.engine.manifest import Manifest
from livecut.export.calibration import feeds, find_pictures, held_out, make_clip, read_frames
from livecut.training.data.holdout import is_validation


@pytest.fixture
def manifest(tiny_model):
    return Manifest.load(tiny_model)


def no_label(image, plate):
    raise AssertionError("there are masks")


def test_what_training_holds_out_is_held_out_here():
    names = [f"{index:05}_i.jpg" for index in range(500)]
    assert [held_out(name) for name in names] == [is_validation(name) for name in names]
    assert 20 < sum(map(held_out, names)) < 90


def test_masks_are_found_beside_pictures_and_are_no_pictures(tmp_path):
    nets.write_pictures(tmp_path / "set", count=6)
    (tmp_path / "set" / "masks" / "p003.png").unlink()
    found = {picture.image.name: picture.mask for picture in find_pictures(tmp_path / "set")}
    assert len(found) == 6
    assert found["p001.png"] == tmp_path / "set" / "masks" / "p001.png"
    assert found["p003.png"] is None


def test_rendered_scenes_bring_their_alpha_and_their_plate_is_passed_over(tmp_path):
    for name in ("01_i.jpg", "01_a.png", "01_p.jpg", "other_a.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    found = {picture.image.name: picture.mask for picture in find_pictures(tmp_path)}
    assert found == {"01_i.jpg": tmp_path / "01_a.png", "other_a.png": None}


def test_a_picture_calibrates_or_judges_and_never_both(tmp_path, manifest):
    folders = [
        nets.write_pictures(tmp_path / "one", count=30),
        nets.write_pictures(tmp_path / "two", count=12, prefix="q"),
    ]
    frames = read_frames(folders, manifest, no_label, calibrating=100, stills=100, clips=3)
    judging = {clip.name for clip in (*frames.stills, *frames.moving)}
    assert frames.labelled
    assert len(frames.moving) == 3
    assert len(frames.calibrating) + len(frames.stills) == 42
    assert not judging & {clip.name for clip in frames.calibrating}


def test_many_pictures_are_split_by_the_hold_out_rule(tmp_path, manifest):
    folder = nets.write_pictures(tmp_path / "set", count=120, size_wh=(24, 24))
    frames = read_frames([folder], manifest, no_label, calibrating=200)
    assert {clip.name for clip in frames.stills} == {
        n for n in (f"p{i:03}.png" for i in range(120)) if held_out(n)
    }


def test_without_masks_the_label_is_asked_and_only_clips_judge(tmp_path, manifest):
    folder = nets.write_pictures(tmp_path / "set", count=20, masks=False)
    frames = read_frames(
        [folder], manifest, lambda image, plate: np.full(image.shape[:2], 255, np.uint8), clips=2
    )
    assert (frames.labelled, frames.stills, len(frames.moving)) == (False, [], 4)
    clip = frames.moving[0]
    assert all(alpha[clip.inside].min() == 1 for alpha in clip.alphas)


def test_files_that_do_not_decode_are_passed_over(tmp_path, manifest):
    folder = nets.write_pictures(tmp_path / "set", count=10)
    (folder / "images" / "broken.png").write_bytes(b"no picture")
    frames = read_frames([folder], manifest, no_label)
    assert len(frames.calibrating) + len(frames.stills) == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "expected a folder of pictures, .* is none"),
        (lambda path: path.mkdir(), "no picture in"),
        (
            lambda path: (path.mkdir(), (path / "a.png").write_bytes(b"no")),
            "fewer than two pictures that can be read",
        ),
    ],
)
def test_no_pictures_is_a_usage_error_with_the_way_out(make, message, tmp_path, manifest):
    make(tmp_path / "pictures")
    with pytest.raises(UsageError, match=f"--calibrate: .*{message}"):
        read_frames([tmp_path / "pictures"], manifest, no_label)


def test_a_still_picture_is_letterboxed_and_normalised_as_the_manifest_says(manifest):
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 0] = 200
    clip = make_clip(image, np.full((40, 40), 255, np.uint8), manifest)
    assert clip.shape == (1, 3, 32, 32)
    wide = make_clip(image[:16], None, manifest)
    assert wide.shape == (1, 3, 32, 64)
    assert wide.alphas is None
    rows, columns = wide.inside
    assert (rows, columns) == (slice(3, 29), slice(0, 64))
    np.testing.assert_allclose(wide.images[0][0, :, 10, 5], [200 / 255, 0, 0], atol=1e-6)
    np.testing.assert_allclose(wide.images[0][0, :, 0, 5], [114 / 255] * 3, atol=1e-6)


def test_in_a_moving_clip_the_mask_moves_with_the_picture(manifest):
    image, mask = np.zeros((64, 128, 3), np.uint8), np.zeros((64, 128), np.uint8)
    image[20:44, 40:80], mask[20:44, 40:80] = 255, 255
    clip = make_clip(image, mask, manifest, frames=6, name="moving")
    places = []
    for pixels, alpha in zip(clip.images, clip.alphas, strict=True):
        np.testing.assert_allclose(pixels[0, 0], alpha, atol=0.06)  # sensor noise
        places.append(np.average(np.arange(64), weights=alpha.sum(0) + 1e-9))
    assert abs(places[-1] - places[0]) > 0.3
    again = make_clip(image, mask, manifest, frames=6, name="moving")
    np.testing.assert_array_equal(clip.images[3], again.images[3])


def test_feeds_carry_the_state_from_frame_to_frame_and_drop_it_between_clips(tiny_stateful_model):
    manifest = Manifest.load(tiny_stateful_model)
    image = np.full((32, 64, 3), 200, np.uint8)
    clips = [make_clip(image, None, manifest, frames=2, name=name) for name in ("a", "b")]
    seen = list(feeds(clips, manifest, lambda feed: {"memory_after": feed["memory"] + 1}))
    assert [float(feed["memory"].mean()) for feed in seen] == [0, 1, 0, 1]
    assert seen[0]["image"] is clips[0].images[0]
