"""Outlines drawn by eye: what they cover, what they replace, and that no held-out picture is learnt from."""

import json
import tarfile

import cv2
import numpy as np
import pytest
from training_pictures import LICENCE, names, picture

pytest.importorskip("torch")

from livecut.training import shrink, write_outlined
from livecut.training.data import cache, outlines
from livecut.training.data.catalogue import FOLDERS, OUTLINE, OUTLINED, read_catalogue
from livecut.training.data.dataset import SceneMaker
from livecut.training.data.holdout import is_validation
from livecut.training.ledger import build_ledger, with_earlier

SQUARE = [[10, 10], [50, 10], [50, 40], [10, 40]]
HOLE = [[20, 20], [30, 20], [30, 30], [20, 30]]
FOLDER, *_ = OUTLINED


def drawing(size_wh=(72, 56), subject=(SQUARE,), not_subject=()):
    return {"size_wh": list(size_wh), "subject": list(subject), "not_subject": list(not_subject)}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Writes the outlines of a data folder where livecut looks for them; nothing is outlined before."""
    folder = tmp_path / "outlines"
    folder.mkdir()
    monkeypatch.setattr(outlines, "FOLDER", folder)

    def write(data_folder, pictures, left_out=None):
        content = {"format": 1, "pictures": pictures, "left_out": left_out or {}}
        path = folder / f"{data_folder}.json"
        path.write_text(json.dumps(content))
        outlines.read_outlines.cache_clear()
        return path

    return write


@pytest.fixture
def inhand(data_folder, rng):
    """A folder of pictures without masks beside the others: names to train on, and held-out ones."""
    images = data_folder / FOLDER / "images"
    images.mkdir(parents=True)
    (data_folder / FOLDER / "LICENCE.txt").write_text(LICENCE)
    learnt = names(3, validation=False, pattern="pack_{}.jpg")
    held = names(2, validation=True, pattern="pack_{}.jpg")
    for name in learnt + held:
        cv2.imwrite(str(images / name), picture(rng)[0])
    return learnt, held


def test_what_is_before_the_subject_is_not_subject(drawn):
    path = drawn("some", {"a.jpg": drawing(not_subject=[HOLE])})
    mask = outlines.outlined_mask(path, "a.jpg", (72, 56))
    inside = np.zeros((56, 72), bool)
    inside[11:39, 11:49] = True
    outside = np.ones((56, 72), bool)
    outside[9:41, 9:51] = False
    hole = np.zeros((56, 72), bool)
    hole[21:29, 21:29] = True
    around = np.zeros((56, 72), bool)
    around[19:31, 19:31] = True
    assert (mask.shape, mask.dtype) == ((56, 72), np.uint8)
    assert (mask[inside & ~around] == 255).all()
    assert (mask[outside] == 0).all()
    assert (mask[hole] == 0).all()


def test_an_edge_across_a_pixel_covers_its_share(drawn):
    half = [[10, 10], [50.5, 10], [50.5, 40], [10, 40]]
    path = drawn("some", {"a.jpg": drawing(subject=[half])})
    mask = outlines.outlined_mask(path, "a.jpg", (72, 56))
    assert abs(int(mask[25, 50]) - 128) <= 64  # a quarter of a pixel is as fine as it gets
    assert mask[25, 49:52:2].tolist() == [255, 0]


def test_a_smaller_picture_gets_a_smaller_mask(drawn):
    path = drawn("some", {"a.jpg": drawing(size_wh=(144, 112), subject=[(2 * np.array(SQUARE)).tolist()])})
    whole = outlines.outlined_mask(path, "a.jpg", (144, 112))
    half = outlines.outlined_mask(path, "a.jpg", (72, 56))
    shrunk = cv2.resize(whole, (72, 56), interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - shrunk).max() <= 96
    assert (half == 255).any()
    assert np.abs(half.astype(int) - shrunk).mean() < 2


def test_an_outline_of_another_picture_is_refused_by_name(drawn):
    path = drawn("some", {"a.jpg": drawing()})
    with pytest.raises(ValueError, match=r"outlined a\.jpg as \[72, 56\], the picture is 56x72"):
        outlines.outlined_mask(path, "a.jpg", (56, 72))
    with pytest.raises(ValueError, match=r"no outline of b\.jpg"):
        outlines.outlined_mask(path, "b.jpg", (72, 56))


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "later.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ValueError, match=r"later\.json: expected format 1, got 2"):
        outlines.read_outlines(path)


def test_an_outline_takes_the_place_of_a_mask_and_a_bad_mask_is_left_out(data_folder, drawn, tmp_path):
    before = [item for item in read_catalogue(data_folder).items if item.folder == "clothing_cc0"]
    replaced, left_out = before[0].image.name, before[1].image.name
    drawn("clothing_cc0", {replaced: drawing()}, {left_out: "its mask lacks a sleeve"})
    catalogue = read_catalogue(data_folder)
    assert [line for line in catalogue.skipped if left_out in line and "lacks a sleeve" in line]
    after = {item.image.name: item for item in catalogue.items if item.folder == "clothing_cc0"}
    assert set(after) == {item.image.name for item in before} - {left_out}
    packed = cache.pack([after[replaced]], tmp_path / "cache")
    assert not packed.skipped
    assert [packed[0][25, 20, 3], packed[0][5, 5, 3]] == [255, 0]


def test_an_outline_is_believed_more_than_the_masks_beside_it(data_folder, drawn, tmp_path):
    before = [item for item in read_catalogue(data_folder).items if item.folder == "clothing_cc0"]
    drawn("clothing_cc0", {before[0].image.name: drawing()})
    pairs = [item for item in read_catalogue(data_folder).items if item.folder == "clothing_cc0"]
    for pair in pairs:
        maker = SceneMaker(cache.pack([pair], tmp_path / "cache"))
        maker.sources = {"clothing_cc0": 1.0}
        _, _, quality = maker.draw((64, 48), np.random.default_rng(1))
        assert quality == (OUTLINE if pair.image.name == before[0].image.name else FOLDERS["clothing_cc0"])


def test_a_mask_that_is_missing_is_still_named(data_folder, drawn):
    drawn("clothing_cc0", {})
    mask = sorted((data_folder / "clothing_cc0" / "masks").iterdir())[0]
    mask.unlink()
    assert mask.name in read_catalogue(data_folder).skipped[0]


def test_pictures_without_masks_are_trained_on_where_outlined_and_not_held_out(data_folder, drawn, inhand):
    learnt, held = inhand
    assert read_catalogue(data_folder).select("pair", FOLDER) == []
    assert FOLDER not in read_catalogue(data_folder).folders
    drawn(FOLDER, {name: drawing() for name in [*learnt[:2], *held]})
    catalogue = read_catalogue(data_folder)
    assert [item.image.name for item in catalogue.items if item.folder == FOLDER] == sorted(learnt[:2])
    assert FOLDER in catalogue.folders
    assert not [line for line in catalogue.skipped if FOLDER in line]


def test_the_ledger_says_whose_masks_were_drawn(data_folder, drawn, inhand):
    learnt, held = inhand
    drawn(FOLDER, {name: drawing() for name in [*learnt, *held]})
    drawn("clothing_cc0", {"x.jpg": drawing()})
    ledger = build_ledger(data_folder, read_catalogue(data_folder).folders, [])
    assert ledger["outlines"]["pictures"] == {"clothing_cc0": 1, FOLDER: 3}
    assert "Apache-2.0" in ledger["outlines"]["licence"]
    assert "begun with" in ledger["outlines"]["origin"]
    assert FOLDER in [entry["folder"] for entry in ledger["data"]]


def test_a_model_trained_further_elsewhere_still_names_the_outlines_behind_it(data_folder, drawn):
    behind = {
        "initial_weights": [],
        "data": [],
        "outlines": {"licence": "Apache-2.0", "pictures": {"old": 7}},
    }
    drawn("clothing_cc0", {"x.jpg": drawing()})
    ledger = build_ledger(data_folder, ["clothing_cc0"], [])
    assert with_earlier(ledger, behind)["outlines"]["pictures"] == {"old": 7, "clothing_cc0": 1}
    assert with_earlier(ledger, {"data": []})["outlines"] == ledger["outlines"]


def test_held_out_outlines_are_written_to_be_measured(data_folder, drawn, inhand, tmp_path, capsys):
    learnt, held = inhand
    drawn(FOLDER, {name: drawing() for name in [*learnt, *held]})
    assert write_outlined.main([str(data_folder), str(tmp_path / "out")]) == 0
    assert "2 pictures" in capsys.readouterr().out
    place = tmp_path / "out" / FOLDER
    assert sorted(path.name for path in (place / "images").iterdir()) == sorted(held)
    mask = cv2.imread(str(place / "masks" / f"{held[0][:-4]}.png"), cv2.IMREAD_UNCHANGED)
    assert (mask.shape, mask[25, 20]) == ((56, 72), 255)
    assert write_outlined.main([str(data_folder), str(tmp_path / "out")]) == 2
    assert "exists" in capsys.readouterr().err
    assert write_outlined.main([str(data_folder), str(tmp_path / "learnt"), "--trained-on"]) == 0
    assert "3 pictures" in capsys.readouterr().out


def test_without_outlined_pictures_nothing_is_written(data_folder, tmp_path, capsys):
    assert write_outlined.main([str(data_folder), str(tmp_path / "out")]) == 2
    assert FOLDER in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_small_copy_takes_the_picture_and_leaves_the_outline(data_folder, drawn, inhand, tmp_path):
    drawn(FOLDER, {name: drawing() for name in inhand[0]})
    pieces, skipped = shrink.shrink(data_folder, tmp_path / "small", side=36, piece_bytes=10_000_000)
    assert not skipped
    with tarfile.open(pieces[0]) as archive:
        archive.extractall(tmp_path / "copy", filter="data")
    items = read_catalogue(tmp_path / "copy").select("pair", FOLDER)
    assert len(items) == len(inhand[0])
    assert cache.read_item(items[0])[12, 10, 3] == 255


@pytest.mark.parametrize("path", sorted(outlines.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_ships_is_well_formed_and_replaces_no_held_out_mask(path):
    drawn = outlines.read_outlines(path)
    assert path.stem in FOLDERS or path.stem in OUTLINED
    assert not set(drawn.pictures) & set(drawn.left_out)
    if path.stem in FOLDERS:
        assert not [name for name in [*drawn.pictures, *drawn.left_out] if is_validation(name)]
    for name, picture_drawn in drawn.pictures.items():
        size_wh = np.array(picture_drawn["size_wh"])
        for polygon in picture_drawn["subject"] + picture_drawn["not_subject"]:
            corners = np.array(polygon)
            assert len(corners) >= 3, name
            assert (np.abs(corners / size_wh - 0.5) <= 0.6).all(), name
        mask = outlines.outlined_mask(path, name, tuple(picture_drawn["size_wh"]))
        assert 0.005 < (mask > 127).mean() < 0.99, name
