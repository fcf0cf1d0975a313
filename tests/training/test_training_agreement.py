"""A held-out picture's second outline, its mask and a model's answer are each compared with the others."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from livecut.training import agreement
from livecut.training.data import outlines
from livecut.training.data.holdout import is_validation

SQUARE = [[10, 10], [50, 10], [50, 40], [10, 40]]


@pytest.fixture
def twice(data_folder, tmp_path, monkeypatch):
    """Data whose two held-out garments have that square for a mask; the first has a second outline of it."""
    monkeypatch.setattr(outlines, "FOLDER", tmp_path / "outlines")
    outlines.read_outlines.cache_clear()
    masks = data_folder / "clothing_cc0" / "masks"
    held = [path for path in sorted(masks.iterdir()) if is_validation(f"{path.stem}.jpg")]
    learnt = next(path for path in masks.iterdir() if not is_validation(f"{path.stem}.jpg"))
    for path in held:
        square = np.zeros_like(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        square[10:40, 10:50] = 255
        cv2.imwrite(str(path), square)
    size_wh = list(square.shape[1::-1])

    def draw(corners):
        drawing = {"size_wh": size_wh, "subject": [corners], "not_subject": []}
        second = tmp_path / "outlines" / "second"
        second.mkdir(parents=True, exist_ok=True)
        pictures = {f"{held[0].stem}.jpg": drawing, f"{learnt.stem}.jpg": drawing}
        (second / "clothing_cc0.json").write_text(json.dumps({"format": 1, "pictures": pictures}))
        outlines.read_outlines.cache_clear()
        return data_folder

    return draw


class Answers:
    """A model that says everything is subject."""

    begins_with_plate = False

    def reset(self):
        pass

    def __call__(self, image):
        return np.ones(image.shape[:2], np.float32)


def test_only_held_out_pictures_with_a_second_outline_are_compared(twice, tmp_path):
    data = twice(SQUARE)
    ((sample, drawn),) = agreement.twice_outlined(data, tmp_path / "cache")
    assert is_validation(sample.name)
    assert drawn.shape == sample.alpha.shape
    assert [drawn[25, 20], drawn[5, 5]] == [1, 0]


def test_who_agrees_with_whom(twice, tmp_path):
    half = [[10, 10], [30, 10], [30, 40], [10, 40]]
    both = agreement.twice_outlined(twice(half), tmp_path / "cache")
    rows = agreement.agreement(both, {"all": Answers()})
    pixels = both[0][0].alpha.size
    assert list(rows)[:3] == ["all: second outline, mask", "all: all, mask", "all: all, second outline"]
    assert rows["clothing_cc0: second outline, mask"]["iou"] == pytest.approx(0.5, abs=0.03)
    assert rows["clothing_cc0: second outline, mask"]["mae"] == pytest.approx(600 / pixels, abs=0.01)
    assert rows["clothing_cc0: all, mask"]["mae"] == pytest.approx(1 - 1200 / pixels, abs=0.01)
    assert rows["clothing_cc0: all, second outline"]["mae"] == pytest.approx(1 - 600 / pixels, abs=0.01)


def test_the_command_prints_the_table_and_says_what_is_missing(twice, tmp_path, capsys):
    data = twice(SQUARE)
    assert agreement.main([str(data), "--cache", str(tmp_path / "cache")]) == 0
    assert "| clothing_cc0: second outline, mask | 1 |" in capsys.readouterr().out
    (tmp_path / "outlines" / "second" / "clothing_cc0.json").unlink()
    outlines.read_outlines.cache_clear()
    assert agreement.main([str(data), "--cache", str(tmp_path / "cache")]) == 2
    assert "second outline" in capsys.readouterr().err
    assert agreement.main([str(tmp_path / "nothing"), "--cache", str(tmp_path / "cache")]) == 5


def test_second_outlines_that_come_with_livecut_are_of_held_out_pictures():
    folder = outlines.FOLDER / "second"
    named = [name for path in folder.glob("*.json") for name in outlines.read_outlines(path).pictures]
    assert len(named) > 100
    assert all(is_validation(name) for name in named)
