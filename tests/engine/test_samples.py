"""Frames to prove and calibrate exports on: as a session would feed them, in a useful order."""

import numpy as np
import pytest

from livecut.engine.errors import UsageError
from livecut.engine.pictures import write_picture
from livecut.engine.samples import SYNTHETIC, find_samples, spread

MANIFEST = {
    "input": {
        "mean": [0, 0, 0],
        "std": [255, 255, 255],
        "color": "BGR",
        "fit": "letterbox",
        "pad_value": [51, 51, 51],
    },
    "state": [],
}


def write(folder, count, size=(8, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[..., 0] = 10 * index
        write_picture(folder / f"{index:02d}.png", picture)
    return folder


def test_pictures_come_as_the_network_is_fed(tmp_path):
    samples = find_samples([write(tmp_path / "in", 3, size=(16, 8))])
    frames = dict(samples(MANIFEST, (16, 16)))
    image = frames["02.png"]
    assert image.shape == (1, 3, 16, 16)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0, :, 8, 8], [0, 0, 20 / 255], atol=1e-6)  # BGR, in 0..1
    np.testing.assert_allclose(image[0, :, 0, 0], 0.2, atol=1e-6)  # the letterbox


def test_the_first_few_are_from_all_over_unless_they_make_a_stream(tmp_path):
    samples = find_samples([write(tmp_path / "in", 8)])
    names = [name for name, _ in samples(MANIFEST, (8, 8))]
    assert sorted(names) == [f"{index:02d}.png" for index in range(8)]
    assert names[:4] == ["00.png", "04.png", "02.png", "06.png"]
    stream = {**MANIFEST, "state": [{"input": "a", "output": "b", "shape": [1, 1]}]}
    assert [name for name, _ in samples(stream, (8, 8))] == sorted(names)


def test_several_folders_take_turns(tmp_path):
    one, two = write(tmp_path / "one", 2), write(tmp_path / "two", 3)
    samples = find_samples([one, two])
    assert samples.origin.startswith("5 pictures of ")
    assert [name for name, _ in samples(MANIFEST, (8, 8))] == [
        "00.png",
        "00.png",
        "01.png",
        "02.png",
        "01.png",
    ]
    assert samples.key["pictures"] == 5


def test_other_pictures_are_known_by_their_key(tmp_path):
    before = find_samples([write(tmp_path / "in", 2)]).key
    assert find_samples([tmp_path / "in"]).key == before
    write(tmp_path / "in", 3)
    assert find_samples([tmp_path / "in"]).key != before


def test_a_picture_that_cannot_be_read_is_passed_over(tmp_path):
    write(tmp_path / "in", 2)
    (tmp_path / "in" / "00.png").write_bytes(b"not a picture")
    assert [name for name, _ in find_samples([tmp_path / "in"])(MANIFEST, (8, 8))] == ["01.png"]


def test_folders_without_pictures_are_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "file").touch()
    for name, message in {
        "empty": "found none; give a folder of JPEG or PNG files",
        "bad": "found 1 that cannot be read",
        "file": "not a folder",
        "nowhere": "no such folder",
    }.items():
        with pytest.raises(UsageError, match=f"--calibrate .*{name}.*{message}"):
            find_samples([tmp_path / name])


def test_without_a_folder_there_is_always_something(monkeypatch):
    import livecut.engine.demo as demo

    monkeypatch.setattr(demo, "photographs", dict)
    samples = find_samples()
    assert samples.key == {"camera": SYNTHETIC}
    frames = list(samples(MANIFEST, (32, 18)))
    assert len(frames) == 8
    assert np.abs(frames[0][1] - frames[-1][1]).max() > 0.1  # the product has moved


@pytest.mark.parametrize("count", [0, 1, 5, 16])
def test_spread_keeps_every_one(count):
    paths = list(range(count))
    assert sorted(spread(paths)) == paths


def test_a_network_with_a_plate_gets_each_picture_behind_its_own(tmp_path):
    for index in range(4):
        for kind, value in (("i", 200), ("p", 10 * index), ("a", 255)):
            write_picture(tmp_path / f"{index}_{kind}.png", np.full((8, 8, 3), value, np.uint8))
    samples = find_samples([tmp_path])
    assert samples.origin.startswith("4 pictures of ")
    with_plate = {
        **MANIFEST,
        "state": [{"input": "a", "output": "b", "shape": [1, 1]}],
        "begins_with": "plate",
    }
    frames = list(samples(with_plate, (8, 8)))
    assert [name for name, _ in frames][:4] == ["0_p.png", "0_i.png", "2_p.png", "2_i.png"]
    assert frames[2][1].max() == pytest.approx(20 / 255)
    assert [name for name, _ in samples(MANIFEST, (8, 8))] == ["0_i.png", "2_i.png", "1_i.png", "3_i.png"]


def test_a_plate_that_cannot_be_read_takes_its_picture_along(tmp_path):
    for name in ("0_i.png", "0_p.png", "1_i.png"):
        write_picture(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "1_p.png").write_bytes(b"not a picture")
    frames = find_samples([tmp_path])({**MANIFEST, "begins_with": "plate"}, (8, 8))
    assert [name for name, _ in frames] == ["0_p.png", "0_i.png"]
