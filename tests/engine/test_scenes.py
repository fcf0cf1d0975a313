"""Which files of a folder are pictures, which masks, which plates."""

import pytest

from livecut.engine.scenes import find_scenes


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder):
    def named(path):
        return path and path.relative_to(folder).as_posix()

    return [(named(s.image), named(s.mask), named(s.plate)) for s in find_scenes(folder)]


LAYOUTS = {
    "numbered": (
        ["1_i.jpg", "1_a.png", "1_p.jpg", "2_i.jpg", "3_p.jpg"],
        [("1_i.jpg", "1_a.png", "1_p.jpg"), ("2_i.jpg", None, None), ("3_p.jpg", None, None)],
    ),
    "folders": (
        ["images/x.jpg", "images/y.jpg", "masks/x.png", "plates/x.jpeg"],
        [("images/x.jpg", "masks/x.png", "plates/x.jpeg"), ("images/y.jpg", None, None)],
    ),
    "by their names": (
        ["x.jpg", "x_mask.png", "x_plate.png", "gas_mask.jpg", "tin_plate.jpg"],
        [
            ("gas_mask.jpg", None, None),
            ("tin_plate.jpg", None, None),
            ("x.jpg", "x_mask.png", "x_plate.png"),
        ],
    ),
    "one camera": (
        ["plate.jpg", "a.jpg", "b.png", "far/c.jpg"],
        [("a.jpg", None, "plate.jpg"), ("b.png", None, "plate.jpg"), ("far/c.jpg", None, None)],
    ),
    "its own plate counts first": (
        ["plate.jpg", "1_i.jpg", "1_p.jpg"],
        [("1_i.jpg", None, "1_p.jpg")],
    ),
    "a plate alone is a picture": (["plate.jpg"], [("plate.jpg", None, None)]),
    "masks without images are pictures": (["masks/x.png"], [("masks/x.png", None, None)]),
    "nothing": (["notes.txt", ".hidden.jpg"], []),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_masks_and_plates_are_told_apart(layout, tmp_path):
    names, expected = LAYOUTS[layout]
    assert found(touch(tmp_path, *names)) == expected
