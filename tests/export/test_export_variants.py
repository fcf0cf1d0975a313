"""The INT8 variant of a bundle: made, judged, entered with its passport; or the bundle is as it was."""

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("openvino", reason="the variant is for openvino")
pytest.importorskip("onnxruntime", reason="INT8 is calibrated with onnxruntime")

from livecut.cli.main import app
from livecut.engine.errors import GateMissed, ManifestError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.session import Session
from livecut.export.variants import add_int8


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_variant_runs_in_int8_and_its_passport_says_what_it_cost(bundle, pictures):
    passport, report = add_int8(bundle, [pictures], command="livecut export cutter")
    assert names(bundle) == [
        "manifest.json",
        "model.int8.onnx",
        "model.int8.onnx.passport.json",
        "model.onnx",
    ]
    read = Passport.read(bundle / "model.int8.onnx")
    assert read == passport
    assert read.check(bundle / "model.int8.onnx", bundle / "model.onnx") == []
    assert (read.precision_found, read.precision_evidence) == ("int8", "compiled model")
    assert read.layers == {"int8": 3}
    assert read.parity["mae_growth"] == report.growth.mae_growth < 0.05
    assert read.extra["pictures"][0]["folder"] == "pictures"
    assert read.extra["pictures"][0]["pictures"] == 24
    with Session(bundle, backend="openvino", precision="int8") as session:
        assert session.info.precision == "int8"


def test_a_second_variant_takes_the_place_of_the_first(bundle, pictures):
    add_int8(bundle, [pictures])
    first = Manifest.load(bundle).variants["int8"].sha256
    add_int8(bundle, [pictures], keep=["last"])
    manifest = Manifest.load(bundle)
    manifest.check_file()
    assert manifest.variants["int8"].sha256 != first
    assert Passport.read(bundle / "model.int8.onnx").kept_higher == ["last"]


def test_a_variant_that_is_refused_leaves_the_bundle_as_it_was(bundle, pictures):
    add_int8(bundle, [pictures])
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with pytest.raises(GateMissed, match="refused"):
        add_int8(bundle, [pictures], limit=-0.9)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_when_it_stops_half_way_the_bundle_is_valid_without_the_variant(bundle, pictures, monkeypatch):
    from livecut.export import variants

    add_int8(bundle, [pictures])

    def full_disk(passport, artefact):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(variants.Passport, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        add_int8(bundle, [pictures], keep=["last"])
    manifest = Manifest.load(bundle)
    manifest.check_file()
    assert not manifest.variants


def test_a_damaged_bundle_is_not_quantised(bundle, pictures):
    (bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(ManifestError, match="sha256"):
        add_int8(bundle, [pictures])


def test_the_command_makes_it_and_says_what_it_costs(bundle, pictures):
    arguments = ["export", str(bundle), "--to", "int8", "--calibrate", str(pictures), "--into-bundle"]
    result = command(arguments)
    assert result.exit_code == 0
    told = result.stderr
    assert "3 of 3 multiplying layers in int8, 0 kept higher; MAE " in told
    assert "on 4 held-out pictures and 4 moving clips" in told
    assert json.loads((bundle / "manifest.json").read_text())["variants"]["int8"]["file"] == "model.int8.onnx"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--to", "int8"], "give a folder, --calibrate FOLDER"),
        (["--to", "onnx"], "--into-bundle: is for --to int8"),
        (["--to", "fp16", "--calibrate", "nowhere"], "nowhere"),
        (["--to", "int8", "-o", "elsewhere"], "-o elsewhere: does not go with --into-bundle"),
        (["--to", "int8", "--calibrate", "nowhere"], "expected a folder of pictures, nowhere is none"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(bundle, more, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = command(["export", str(bundle), "--into-bundle", *more])
    assert result.exit_code == 2
    assert message in result.stderr
    assert names(bundle) == ["manifest.json", "model.onnx"]


def command(arguments):
    return CliRunner().invoke(app, arguments)
