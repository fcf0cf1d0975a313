"""What is read is never written over, whichever way it is named: refused with 2, and nothing is written."""

import numpy as np
import pytest
from PIL import Image

from livecut.engine.pictures import write_picture

NULL = ("--backend", "null")


@pytest.fixture
def folder(tmp_path, rng):
    """``in/`` with pictures that a cut-out could be written over, and what else may be read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "plates").mkdir()
    for name in ("a.png", "b.png", "frame_000001.png", "frame_000002.png"):
        write_picture(tmp_path / "in" / name, rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    write_picture(tmp_path / "table.png", np.full((24, 32, 3), 90, np.uint8))
    write_picture(tmp_path / "plates" / "table.jpg", np.full((24, 32, 3), 90, np.uint8))
    return tmp_path


@pytest.fixture
def clip(livecut, folder):
    assert livecut("stream", folder / "in", folder / "clip.mkv", *NULL).exit_code == 0
    return folder / "clip.mkv"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("cut in/a.png in/b.png in", "input"),
        ("cut in/*.png in", "input"),
        ("cut in/../in/a.png in/a.png", "input"),
        ("cut in/a.png table.png --background table.png", "background"),
        ("cut plates . --background table.png", "background"),
        ("cut in/a.png table.png --model livecut-plate --plate table.png", "clean plate"),
        ("cut plates . --model livecut-plate --plate table.png", "clean plate"),
        ("stream in/frame_*.png in/", "input"),
        ("stream in/frame_000001.png in", "input"),
        ("stream in in/", "input folder"),
        ("stream in in/frame_%06d.png", "input folder"),
        ("stream in/a.png table.png --background table.png", "background"),
        ("stream in/a.png table.png --model livecut-plate --plate table.png", "clean plate"),
        ("stream clip.mkv clip.mkv", "input"),
        ("stream clip.mkv null:// --json clip.mkv", "input"),
        ("demo stream.webm --out .", "input"),
        ("stream clip.mkv out.webm --json out.webm", "output"),
        ("stream clip.mkv out/ --json out/frame_000003.png", "output"),
        ("stream clip.mkv out.webm --background table.png --json table.png", "background"),
    ],
)
def test_an_original_is_kept(livecut, folder, clip, monkeypatch, arguments, what):
    monkeypatch.chdir(folder)
    clip.with_name("stream.webm").write_bytes(clip.read_bytes())
    before = contents(folder)
    options = () if "livecut-plate" in arguments else NULL
    result = livecut(*arguments.split(), *options)
    assert result.exit_code == 2, result.stderr
    assert f"is the {what} too" in result.stderr
    assert contents(folder) == before


def test_a_link_to_an_original_is_known(livecut, folder):
    (folder / "link.png").hardlink_to(folder / "in" / "a.png")
    assert livecut("cut", folder / "in" / "a.png", folder / "link.png", *NULL).exit_code == 2


def test_other_names_in_the_same_folder_are_written(livecut, folder):
    write_picture(folder / "in" / "c.jpg", np.full((24, 32, 3), 60, np.uint8))
    assert livecut("cut", folder / "in" / "*.jpg", folder / "in", *NULL).exit_code == 0
    assert (folder / "in" / "c.png").exists()
    assert livecut("stream", folder / "in" / "a.png", folder / "in" / "seen_%d.png", *NULL).exit_code == 0
    assert (folder / "in" / "seen_1.png").exists()


def test_the_output_may_lie_around_the_input(livecut, folder):
    result = livecut("cut", folder / "in", folder, *NULL)
    assert result.exit_code == 0, result.stderr
    with Image.open(folder / "a.png") as cutout:
        assert cutout.mode == "RGBA"


def test_a_stream_does_not_read_its_own_pictures(livecut, folder):
    for _ in range(2):
        result = livecut("stream", folder / "in", folder / "in" / "out", *NULL)
        assert result.exit_code == 0, result.stderr
        assert "4 of 4 frames" in result.stderr
    assert len(list((folder / "in" / "out").iterdir())) == 4


def test_two_reports_do_not_share_a_name(livecut, tmp_path):
    place = tmp_path / "result"
    result = livecut("bench", "--seconds", 0.1, "--json", place, "--html", place, *NULL)
    assert (result.exit_code, "is named twice" in result.stderr) == (2, True)
    assert not place.exists()
