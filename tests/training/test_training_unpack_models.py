"""Catalogues of 3D models: which of them can stand about, what comes out of an archive, whom it credits."""

import zipfile

import pytest

from livecut.training import unpack_models
from livecut.training.ledger import parse_statement
from livecut.training.render_layout import Assets

ABOUT = "# a comment\nname=Made\nlicense=CC0\nprovider=example\n"


def entry(number, name, size=(40, 40, 90), creator="Ada", **more):
    properties = {
        "name": name,
        "model": f"/made/{number}/thing{number}.obj",
        "width": size[0],
        "depth": size[1],
        "height": size[2],
        "creator": creator,
        **more,
    }
    return "".join(f"{key}#{number}={value}\n" for key, value in properties.items())


@pytest.fixture
def catalogue(tmp_path):
    """A stool, a plank of a bed, a door, a rug and a lamp whose file is missing."""
    text = (
        ABOUT
        + entry(1, "Stool")
        + entry(2, "Bed", creator="Zo\\u00eb")
        + entry(3, "Way in", doorOrWindow="true")
    )
    text += entry(4, "Rug", size=(200, 100, 2)) + entry(5, "Lamp") + entry(6, "Garden fence")
    path = tmp_path / "made.sh3f"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(unpack_models.PROPERTIES, text)
        for number in (1, 2, 3, 4, 6):
            packed.writestr(f"made/{number}/thing{number}.obj", "v 0 0 0\n")
        packed.writestr("made/1/wood.jpg", b"a texture")
        packed.writestr("made/icon.png", b"not of a model")
    return path


def test_things_come_out_with_what_is_beside_them_and_buildings_stay(catalogue, tmp_path):
    assert unpack_models.main([str(tmp_path / "out" / "objects3d"), str(catalogue)]) == 0
    found = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"thing1.obj", "wood.jpg", "thing2.obj", "LICENCE.txt"}
    assert Assets.find(tmp_path / "out", "objects3d").models == (
        "objects3d/made/1/thing1.obj",
        "objects3d/made/2/thing2.obj",
    )


def test_licence_and_credit_of_each_catalogue_are_stated(catalogue, tmp_path):
    unpack_models.main([str(tmp_path / "out"), str(catalogue)])
    stated = parse_statement((tmp_path / "out" / "LICENCE.txt").read_text())
    assert stated["licence"] == ["made.sh3f: CC0"]
    assert stated["credit"] == ["made.sh3f: Ada, Zoë"]
    assert len(stated["source"]) == 1


@pytest.mark.parametrize("content", [b"no archive", None])
def test_what_is_no_catalogue_is_refused_in_one_line(content, tmp_path, capsys):
    path = tmp_path / "made.sh3f"
    if content:
        path.write_bytes(content)
    assert unpack_models.main([str(tmp_path / "out"), str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out" / "LICENCE.txt").exists()


def test_nothing_is_unpacked_outside_the_folder(tmp_path):
    text = ABOUT + entry(1, "Stool").replace("/made/1/", "/made/../../")
    with zipfile.ZipFile(tmp_path / "made.sh3f", "w") as packed:
        packed.writestr(unpack_models.PROPERTIES, text)
        packed.writestr("made/../../thing1.obj", "v 0 0 0\n")
    unpack_models.unpack(tmp_path / "made.sh3f", tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("thing1.obj"))
