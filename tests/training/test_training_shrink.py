"""The small copy of a data folder that travels."""

import tarfile

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from livecut.training import shrink
from livecut.training.data.catalogue import read_catalogue


def unpack(pieces, folder):
    for piece in pieces:
        with tarfile.open(piece) as archive:
            archive.extractall(folder, filter="data")
    return folder


def test_the_copy_is_the_same_data_folder_with_smaller_pictures(data_folder, tmp_path):
    pieces, skipped = shrink.shrink(data_folder, tmp_path / "small", side=40, piece_bytes=10_000_000)
    assert ([piece.name for piece in pieces], skipped) == (["small-00.tar"], [])
    copy = unpack(pieces, tmp_path / "copy")
    relative = [
        [(item.kind, item.folder, item.image.relative_to(root), item.validation) for item in items]
        for root, items in (
            (data_folder, read_catalogue(data_folder).items),
            (copy, read_catalogue(copy).items),
        )
    ]
    assert relative[0] == relative[1]
    for item in read_catalogue(copy).items:
        small = cv2.imread(str(item.image), cv2.IMREAD_UNCHANGED)
        assert max(small.shape[:2]) == 40
        if item.mask:
            mask = cv2.imread(str(item.mask), cv2.IMREAD_UNCHANGED)
            assert mask.shape[:2] == small.shape[:2]
    assert len(list(copy.rglob("LICENCE.txt"))) == len(list(data_folder.rglob("LICENCE.txt")))


def test_small_pictures_travel_as_they_are(data_folder, tmp_path):
    pieces, _ = shrink.shrink(data_folder, tmp_path / "same", side=4000, piece_bytes=10_000_000)
    copy = unpack(pieces, tmp_path / "copy")
    for path in data_folder.rglob("*.jpg"):
        assert (copy / path.relative_to(data_folder)).read_bytes() == path.read_bytes()


def test_archives_keep_to_their_size(data_folder, tmp_path):
    limit = 30_000
    pieces, _ = shrink.shrink(data_folder, tmp_path / "part", side=72, piece_bytes=limit)
    assert len(pieces) > 1
    names = []
    for piece in pieces:
        with tarfile.open(piece) as archive:
            entries = archive.getmembers()
        names += [entry.name for entry in entries]
        assert sum(entry.size for entry in entries) <= limit or len(entries) == 1
    assert len(names) == len(set(names))


def test_a_broken_picture_is_named_and_left_behind(data_folder, tmp_path, capsys):
    broken = next((data_folder / "clothing_cc0" / "images").iterdir())
    broken.write_bytes(b"not a picture")
    assert shrink.main([str(data_folder), str(tmp_path / "x"), "--side", "40"]) == 0
    assert f"skipped {broken}: not readable as a picture" in capsys.readouterr().err


def test_a_folder_without_data_is_one_line(tmp_path, capsys):
    assert shrink.main([str(tmp_path), str(tmp_path / "x")]) == 5
    assert "holds none of the expected data folders" in capsys.readouterr().err


def test_masks_keep_two_values_where_they_are_not_made_smaller(data_folder, tmp_path):
    pieces, _ = shrink.shrink(data_folder, tmp_path / "same", side=72, piece_bytes=10_000_000)
    copy = unpack(pieces, tmp_path / "copy")
    mask = next((copy / "clothing_cc0" / "masks").iterdir())
    assert set(np.unique(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))) == {0, 255}
