"""Bundles that are whole, or not there."""

import hashlib
import json

import pytest

from livecut.export import bundle


def write(folder, model, **manifest):
    return bundle.write_bundle(folder, model=model, manifest=manifest, card="# card\n", ledger={"data": []})


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "some.onnx"
    path.write_bytes(b"model")
    return path


def test_a_bundle_has_its_four_files_and_the_models_hash(tmp_path, model):
    folder = write(tmp_path / "models" / "m", model, name="m")
    assert sorted(path.name for path in folder.iterdir()) == [
        "LEDGER.json",
        "MODEL_CARD.md",
        "manifest.json",
        "model.onnx",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {"name": "m", "file": "model.onnx", "sha256": hashlib.sha256(b"model").hexdigest()}


def test_a_bundle_replaces_the_one_before_it(tmp_path, model):
    folder = write(tmp_path / "m", model, version="1")
    (folder / "left-over").touch()
    write(folder, model, version="2")
    assert json.loads((folder / "manifest.json").read_text())["version"] == "2"
    assert not (folder / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["m"]


def test_a_bundle_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path, model):
    folder = write(tmp_path / "m", model, version="1")
    with pytest.raises(TypeError):
        write(folder, model, version=object())
    with pytest.raises(FileNotFoundError):
        write(folder, tmp_path / "missing.onnx", version="2")
    assert json.loads((folder / "manifest.json").read_text())["version"] == "1"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["m"]


def test_a_swap_that_fails_puts_the_old_bundle_back(tmp_path, model, monkeypatch):
    folder = write(tmp_path / "m", model, version="1")
    rename = bundle.os.rename

    def failing(source, target):
        if str(target) == str(folder) and "-old-" not in str(source):
            raise OSError("no space left")
        rename(source, target)

    monkeypatch.setattr(bundle.os, "rename", failing)
    with pytest.raises(OSError, match="no space"):
        write(folder, model, version="2")
    assert json.loads((folder / "manifest.json").read_text())["version"] == "1"


def test_a_file_in_the_bundles_place_is_refused(tmp_path, model):
    with pytest.raises(NotADirectoryError, match="found a file"):
        write(model, model)
