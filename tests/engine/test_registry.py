"""Finding bundles: by name, by path, and what is said when there is none."""

import shutil

import pytest

from livecut.engine import registry
from livecut.engine.errors import ManifestError, ModelError
from livecut.engine.passport import Passport


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A LIVECUT_HOME of its own, and no user data."""
    monkeypatch.setenv("LIVECUT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "home/models").mkdir(parents=True)
    return tmp_path / "home"


def test_the_default_model_ships(home):
    assert registry.find_bundle() == registry.SHIPPED / "livecut-s"
    registry.load_manifest().validate_against_onnx()


@pytest.mark.parametrize(
    "artefact", sorted(registry.SHIPPED.glob("*/*.onnx")), ids=lambda p: str(p.parent.name) + "/" + p.name
)
def test_what_ships_is_what_its_passport_and_its_manifest_say(artefact):
    manifest = registry.load_manifest(artefact.parent)
    if artefact == manifest.model_path:
        manifest.validate_against_onnx()
    else:
        passport = Passport.read(artefact)
        assert passport.check(artefact, manifest.model_path) == []
        assert manifest.variants[passport.target].file == artefact.name


def test_a_bundle_is_found_by_name_at_home_first(home, tiny_model):
    shutil.copytree(tiny_model, home / "models/livecut-s")
    assert registry.find_bundle("livecut-s") == home / "models/livecut-s"


def test_user_data_is_looked_in_too(home, tmp_path, tiny_model):
    bundle = tmp_path / "data/livecut/models/mine"
    shutil.copytree(tiny_model, bundle)
    assert registry.find_bundle("mine") == bundle
    assert registry.available_models()["mine"] == bundle


def test_a_folder_is_taken_as_it_is(tiny_model):
    assert registry.find_bundle(tiny_model) == tiny_model
    assert registry.find_bundle(str(tiny_model)) == tiny_model


def test_a_folder_in_the_working_directory_needs_no_slash(tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    assert registry.find_bundle("tiny").resolve() == tiny_model.resolve()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "livecut-x",
            r"no model 'livecut-x'; did you mean livecut-s\? There are: livecut-m, livecut-plate, livecut-s",
        ),
        ("zzz", "no model 'zzz'; There are: .*livecut-s.*; or give a bundle's folder"),
        ("model.onnx", "model.onnx: a model is a folder with model.onnx and a manifest.json"),
        ("./nowhere", "not a model bundle"),
        ("/nowhere/at/all", "not a model bundle"),
    ],
)
def test_what_is_not_there_is_said_with_the_way_out(home, model, message):
    with pytest.raises(ModelError, match=message):
        registry.find_bundle(model)


def test_an_onnx_file_that_exists_is_refused_all_the_same(tiny_model):
    with pytest.raises(ModelError, match="a model is a folder"):
        registry.find_bundle(tiny_model / "model.onnx")


def test_a_damaged_bundle_is_refused_when_it_is_loaded(home, tiny_model):
    bundle = shutil.copytree(tiny_model, home / "models/broken")
    (bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(ManifestError, match="damaged or was replaced"):
        registry.load_manifest("broken")
