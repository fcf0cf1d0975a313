"""``livecut eval --sheets``: cut-outs of pictures without masks, drawn for looking at."""

import os

import bundles
import numpy as np
import pytest

from livecut.engine.contact_sheet import ACROSS, DOWN, LOUD
from livecut.engine.pictures import read_picture, write_picture

pytest.importorskip("cv2", reason="the training room's rule of what is a mask reads pictures with OpenCV")


def half_red(size_wh=(60, 40)):
    """A picture whose left half is red, which the tiny model takes for the product."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    image[:, : size_wh[0] // 2, 0] = 255
    return image


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.png", "\u043a\u0440\u0443\u0436\u043a\u0430 1.png"):
        write_picture(folder / name, half_red())
    return folder


def test_every_picture_is_drawn_over_a_loud_colour_beside_itself(livecut, tiny_model, photographs, tmp_path):
    out = tmp_path / "new" / "sheets"
    result = livecut("eval", tiny_model, photographs, "--sheets", out)
    assert result.exit_code == 0, result.stderr
    assert "3 of 3 pictures on 1 sheet " in result.stderr
    assert [path.name for path in out.iterdir()] == ["sheet-001.png"]
    sheet = read_picture(out / "sheet-001.png").image
    assert max(sheet.shape) <= 2000
    # Places of a.png: its cut-out is 300x200, the picture itself 176x117 to the right of it.
    assert sheet[100, 8 + 60].tolist() == [255, 0, 0]
    assert sheet[100, 8 + 240].tolist() == list(LOUD)
    assert sheet[60, 8 + 304 + 30].tolist() == [255, 0, 0]
    assert sheet[60, 8 + 304 + 150].tolist() == [0, 0, 0]


def test_what_cannot_be_read_is_named_and_left_out(livecut, tiny_model, photographs, tmp_path):
    (photographs / "bad.jpg").write_bytes(b"no picture")
    (photographs / "empty.png").touch()
    result = livecut("eval", tiny_model, photographs, "--sheets", tmp_path / "out")
    assert result.exit_code == 3
    assert "bad.jpg: not a picture" in result.stderr
    assert "empty.png: the file is empty" in result.stderr
    assert "2 of 5 pictures left out" in result.stderr
    assert (tmp_path / "out" / "sheet-001.png").is_file()


def test_sheets_hold_24_and_masks_beside_pictures_are_no_pictures(livecut, tiny_model, tmp_path):
    for number in range(ACROSS * DOWN + 1):
        for folder in ("images", "masks"):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            write_picture(tmp_path / "set" / folder / f"{number}.png", half_red((32, 32)))
    out = tmp_path / "out"
    result = livecut("eval", tiny_model, tmp_path / "set", "--sheets", out, "--through", "network")
    assert result.exit_code == 0, result.stderr
    assert "25 of 25 pictures on 2 sheets" in result.stderr
    first, second = (read_picture(out / f"sheet-00{number}.png") for number in (1, 2))
    assert first.size_wh[0] == second.size_wh[0]
    assert first.size_wh[1] > 5 * second.size_wh[1]


def test_sheets_of_an_output_folder_inside_are_not_pictures(livecut, tiny_model, photographs):
    for _ in range(2):
        result = livecut("eval", tiny_model, photographs, "--sheets", photographs / "out")
        assert "3 of 3 pictures on 1 sheet " in result.stderr


def test_a_name_that_is_no_text_is_drawn_too(livecut, tiny_model, photographs, tmp_path):
    os.rename(
        os.fsencode(photographs / "a.png"), os.fsencode(photographs) + b"/\xff\n" + b"x" * 100 + b".png"
    )
    result = livecut("eval", tiny_model, photographs, "--sheets", tmp_path / "out")
    assert result.exit_code == 0, result.stderr


def test_mistakes_are_named(livecut, tiny_model, photographs, tmp_path):
    def ends(*arguments):
        result = livecut("eval", *arguments)
        return result.exit_code, result.stderr.splitlines()[-1]

    out = tmp_path / "out"
    code, said = ends(tiny_model, tiny_model, photographs, "--sheets", out)
    assert (code, "expected one MODEL" in said) == (2, True)
    code, said = ends(tiny_model, tmp_path / "nowhere", "--sheets", out)
    assert (code, "no such file or folder" in said) == (5, True)
    code, said = ends(tiny_model, photographs, "--sheets", photographs)
    assert (code, "is the input folder too" in said) == (2, True)
    code, said = ends(tiny_model, photographs, "--sheets", photographs / "a.png")
    assert (code, "--sheets takes a folder" in said) == (2, True)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    code, said = ends(tiny_model, tmp_path / "bad", "--sheets", out)
    assert (code, "none of 1 pictures can be read" in said) == (5, True)
    assert not list(out.glob("*.png"))


def test_a_model_that_begins_with_a_plate_is_refused(livecut, photographs, tmp_path):
    model = bundles.write_bundle(
        tmp_path / "plate", bundles.half_of_before(), state=bundles.HALF_STATE, begins_with="plate"
    )
    result = livecut("eval", model, photographs, "--sheets", tmp_path / "out")
    assert result.exit_code == 2
    assert "begins with a clean plate" in result.stderr
