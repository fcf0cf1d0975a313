"""``livecut cut``: what comes out, and how it ends."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from livecut.engine.pictures import read_picture, write_picture

NULL = ("--backend", "null")  # a constant matte: everything is product


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def test_a_picture_becomes_straight_rgba(livecut, photograph, tmp_path):
    result = livecut("cut", photograph, tmp_path / "out.png", *NULL)
    assert result.exit_code == 0, result.stderr
    image = opened(tmp_path / "out.png")
    assert (image.mode, image.size) == ("RGBA", (64, 48))
    assert result.stdout == ""


def test_the_shipped_model_runs_by_default_and_says_what_runs(livecut, photograph, tmp_path):
    result = livecut("cut", photograph, tmp_path / "out.png")
    assert result.exit_code == 0, result.stderr
    assert "livecut-s" in result.stderr
    assert opened(tmp_path / "out.png").mode == "RGBA"


def test_only_mask_writes_the_alpha(livecut, photograph, tmp_path):
    assert livecut("cut", photograph, tmp_path / "out.png", "-om", *NULL).exit_code == 0
    image = opened(tmp_path / "out.png")
    assert image.mode == "L"
    assert np.asarray(image).min() == 255


def test_an_opaque_colour_gives_rgb_and_a_translucent_one_rgba(livecut, tmp_path):
    clear = np.zeros((32, 32, 4), np.uint8)
    write_picture(tmp_path / "clear.png", clear)
    livecut("cut", tmp_path / "clear.png", tmp_path / "a.png", "-bgc", 1, 2, 3, 255, *NULL)
    livecut("cut", tmp_path / "clear.png", tmp_path / "b.png", "-bgc", 1, 2, 3, 100, *NULL)
    assert opened(tmp_path / "a.png").getpixel((5, 5)) == (1, 2, 3)
    assert opened(tmp_path / "b.png").getpixel((5, 5)) == (1, 2, 3, 100)


def test_a_picture_behind_is_scaled_to_cover(livecut, tmp_path):
    write_picture(tmp_path / "clear.png", np.zeros((32, 64, 4), np.uint8))
    write_picture(tmp_path / "wall.png", np.full((7, 5, 3), (9, 8, 7), np.uint8))
    result = livecut(
        "cut", tmp_path / "clear.png", tmp_path / "o.png", "--background", tmp_path / "wall.png", *NULL
    )
    assert result.exit_code == 0, result.stderr
    image = opened(tmp_path / "o.png")
    assert (image.mode, image.size, image.getpixel((60, 30))) == ("RGB", (64, 32), (9, 8, 7))


def test_a_blur_behind(livecut, photograph, tmp_path):
    assert livecut("cut", photograph, tmp_path / "out.webp", "--background", "blur", *NULL).exit_code == 0
    assert opened(tmp_path / "out.webp").size == (64, 48)


def test_the_input_alpha_is_multiplied_in_and_crop_cuts_to_it(livecut, tmp_path):
    rgba = np.zeros((64, 96, 4), np.uint8)
    rgba[10:30, 20:60] = (50, 60, 70, 255)
    write_picture(tmp_path / "in.png", rgba)
    assert (
        livecut("cut", tmp_path / "in.png", tmp_path / "o.png", "--crop", "--margin", 0, *NULL).exit_code == 0
    )
    assert opened(tmp_path / "o.png").size == (40, 20)
    livecut("cut", tmp_path / "in.png", tmp_path / "j.jpg", "--crop", "--margin", 0.1, *NULL)
    assert opened(tmp_path / "j.jpg").size == (48, 28)


def test_jpg_is_composited_over_white_and_it_is_said(livecut, tmp_path):
    write_picture(tmp_path / "clear.png", np.zeros((32, 32, 4), np.uint8))
    result = livecut("cut", tmp_path / "clear.png", tmp_path / "o.jpg", *NULL)
    assert "jpg has no transparency: the background is white" in result.stderr
    assert min(opened(tmp_path / "o.jpg").getpixel((9, 9))) >= 254


def test_one_picture_through_a_pipe(livecut, photograph):
    result = livecut("cut", "-", "-", "--quiet", *NULL, input=photograph.read_bytes())
    assert result.exit_code == 0, result.stderr
    assert opened(io.BytesIO(result.stdout_bytes)).mode == "RGBA"
    assert result.stderr == ""


def test_into_a_folder_that_is_there(livecut, photograph, tmp_path):
    (tmp_path / "out").mkdir()
    assert livecut("cut", photograph, tmp_path / "out", *NULL).exit_code == 0
    assert (tmp_path / "out" / "photograph.png").is_file()


def test_the_names_of_rembg_work(livecut, photograph, tmp_path):
    assert livecut("i", photograph, tmp_path / "i.png", *NULL).exit_code == 0
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "a.jpg", np.zeros((32, 32, 3), np.uint8))
    assert livecut("p", tmp_path / "in", tmp_path / "p", *NULL).exit_code == 0
    assert (tmp_path / "p" / "a.png").is_file()


def test_profile_resolution_and_orientation_survive(livecut, tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(tmp_path / "in.jpg", icc_profile=profile, dpi=(300, 300), exif=exif)
    assert livecut("cut", tmp_path / "in.jpg", tmp_path / "out.png", *NULL).exit_code == 0
    image = opened(tmp_path / "out.png")
    assert (image.size, image.info["icc_profile"], round(image.info["dpi"][0])) == ((32, 64), profile, 300)


# -- folders


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "below/b.webp"):
        write_picture(root / name, np.full((32, 32, 3), 100, np.uint8))
    return root


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_paths_and_says_what_would_collide(livecut, folder, tmp_path):
    result = livecut("cut", folder, tmp_path / "out", *NULL)
    assert result.exit_code == 0, result.stderr
    assert names(tmp_path / "out") == ["a.jpg.png", "a.png.png", "below/b.png"]
    assert result.stderr.count("shares its name with another picture") == 2
    assert "3 of 3 pictures cut out" in result.stderr


def test_a_folder_goes_on_after_bad_files_and_exits_with_3(livecut, folder, tmp_path):
    (folder / "text.png").write_text("no picture at all")
    (folder / "zero.jpg").touch()
    (folder / "half.png").write_bytes((folder / "a.png").read_bytes()[:60])
    result = livecut("cut", folder, tmp_path / "out", *NULL)
    assert result.exit_code == 3
    assert names(tmp_path / "out") == ["a.jpg.png", "a.png.png", "below/b.png"]
    lines = result.stderr.splitlines()
    assert lines[-1] == "livecut: error: 3 of 6 pictures failed: half.png, text.png, zero.jpg"
    for name in ("half.png", "text.png", "zero.jpg"):
        assert sum(line.startswith(f"livecut: error: {folder / name}: ") for line in lines) == 1


def test_a_glob_and_several_pictures(livecut, folder, tmp_path):
    livecut("cut", folder / "**" / "*.webp", tmp_path / "glob", *NULL)
    assert names(tmp_path / "glob") == ["below/b.png"]
    livecut("cut", folder / "a.jpg", folder / "below" / "b.webp", tmp_path / "two", "--format", "webp", *NULL)
    assert names(tmp_path / "two") == ["a.webp", "b.webp"]


def test_no_overwrite_leaves_what_is_there(livecut, folder, tmp_path):
    livecut("cut", folder, tmp_path / "out", *NULL)
    (tmp_path / "out" / "below" / "b.png").write_bytes(b"mine")
    result = livecut("cut", folder, tmp_path / "out", "--no-overwrite", *NULL)
    assert "3 were there already" in result.stderr
    assert (tmp_path / "out" / "below" / "b.png").read_bytes() == b"mine"


def test_a_folder_of_another_kind_of_pictures_keeps_16_bits(livecut, tmp_path):
    import cv2

    (tmp_path / "in").mkdir()
    deep = np.full((32, 32, 3), 1000, np.uint16)
    cv2.imwrite(str(tmp_path / "in" / "a.tiff"), deep)
    assert livecut("cut", tmp_path / "in", tmp_path / "out", *NULL).exit_code == 0
    assert read_picture(tmp_path / "out" / "a.png").deep is not None


# -- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["IN", "OUT", "--model", "nonesuch"], 4, "no model 'nonesuch'"),
        (["IN", "OUT", "--backend", "nonesuch"], 2, "no backend 'nonesuch'"),
        (["IN", "OUT", "--require-gpu"], 4, "--require-gpu"),
        (["IN", "OUT", "--input-size", "7x"], 2, "--input-size: expected WIDTHxHEIGHT"),
        (["IN", "OUT", "--format", "bmp"], 2, "--format: expected png, webp, tiff or jpg"),
        (["IN", "OUT", "-bgc", "1", "2", "3", "256"], 2, "--bgcolor: expected four numbers from 0 to 255"),
        (["IN", "OUT", "-om", "--background", "blur"], 2, "--only-mask and --background"),
        (["IN", "OUT", "--background", "gone.png"], 5, "gone.png: no such file"),
        (["gone.png", "OUT"], 5, "gone.png: no such file"),
        (["IN", "out.bmp"], 2, "out.bmp: expected a name ending in .png"),
        (["IN", "IN"], 2, "the output would replace its original"),
        (["IN"], 2, "Missing argument"),
        (["IN", "OUT", "--nonesuch"], 2, "No such option"),
        (["IN", "IN", "-"], 2, "-: stands for one picture"),
        (["IN", "IN", "OUT"], 2, "several pictures need a folder"),
    ],
)
def test_errors_are_one_line_with_the_right_exit_code(
    livecut, photograph, tmp_path, monkeypatch, arguments, exit_code, text
):
    monkeypatch.chdir(tmp_path)
    places = {"IN": photograph, "OUT": tmp_path / "out.png"}
    result = livecut("cut", *(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == exit_code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.png").exists()
    if exit_code != 2 or "livecut: error" in result.stderr:
        assert sum(line.startswith("livecut: error: ") for line in result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is unwritable to this user")
def test_an_unwritable_folder_is_5(livecut, photograph, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = livecut("cut", photograph, tmp_path / "locked" / "out.png", *NULL)
    assert result.exit_code == 5
    assert "Permission denied" in result.stderr


def test_an_output_folder_that_is_a_file_is_named(livecut, photograph, folder, tmp_path):
    assert livecut("cut", folder, photograph, *NULL).exit_code == 2
    result = livecut("cut", photograph, photograph / "out.png", *NULL)
    assert result.exit_code == 5
    assert "cannot be made" in result.stderr


def test_quiet_says_nothing_but_errors(livecut, photograph, folder, tmp_path):
    assert livecut("cut", photograph, tmp_path / "o.png", "--quiet", *NULL).stderr == ""
    assert livecut("cut", folder, tmp_path / "out", "-q", *NULL).stderr == ""
    (folder / "zero.jpg").touch()
    assert len(livecut("cut", folder, tmp_path / "out", "-q", *NULL).stderr.splitlines()) == 2


def test_no_progress_bar_where_stderr_is_no_terminal(livecut, folder, tmp_path):
    assert "\x1b" not in livecut("cut", folder, tmp_path / "out", *NULL).stderr


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_standard_output_is_5(photograph, tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "livecut", "cut", str(photograph), "-", "-q", *NULL]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=50
        )
    assert done.returncode == 5
    assert done.stderr == "livecut: error: standard output: cannot be written: No space left on device\n"
