"""The FP16 graph in a model's own bundle: what TensorRT engines are built from where they run."""

import pytest
from engines import ORIN
from typer.testing import CliRunner

pytest.importorskip("onnxruntime", reason="FP16 is held against fp32 with onnxruntime")

from livecut.cli.main import app
from livecut.engine.errors import ManifestError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.samples import find_samples
from livecut.engine.session import Session
from livecut.engine.tensorrt.wanted import find_wanted
from livecut.export import variant_fp16
from livecut.export.variant_fp16 import FP16_FILE, add_fp16


@pytest.fixture
def frames(pictures):
    return find_samples([pictures])


def test_the_variant_is_half_and_what_an_engine_is_then_built_from(bundle, frames):
    passport, report = add_fp16(bundle, frames, command="livecut export cutter")
    read = Passport.read(bundle / FP16_FILE)
    assert read == passport
    assert read.check(bundle / FP16_FILE, bundle / "model.onnx") == []
    assert (read.precision_found, read.precision_evidence) == ("fp16", "graph")
    assert report.half > report.single
    assert 0 < read.parity["max_abs"] < 0.05
    wanted = find_wanted(Manifest.load(bundle), (64, 32), "auto", ORIN)
    assert (wanted.precision, wanted.source) == ("fp16", bundle / FP16_FILE)
    assert wanted.source_sha256 == read.sha256
    with Session(bundle, backend="openvino", precision="fp32") as session:
        assert session.info.precision == "fp32"  # a CPU goes on with the model's own graph


def test_a_real_engine_is_built_from_it(bundle, frames, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")
    from livecut.engine.tensorrt import build_engine

    add_fp16(bundle, frames)
    wanted = find_wanted(Manifest.load(bundle), (64, 32), "auto", ORIN)
    report = build_engine(
        wanted.source, tmp_path / "x.plan", profiles=wanted.profiles, compute_capability="sm_120"
    )
    assert report.precisions.found == "fp16"
    passport = report.passport()
    assert passport.check(report.engine, wanted.source) == []
    assert passport.differences(shapes=wanted.shapes) == []


def test_when_it_stops_half_way_the_bundle_is_valid_without_the_variant(bundle, frames, monkeypatch):
    add_fp16(bundle, frames)

    def full_disk(passport, artefact):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(variant_fp16.Passport, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        add_fp16(bundle, frames)
    manifest = Manifest.load(bundle)
    manifest.check_file()
    assert not manifest.variants


def test_a_damaged_bundle_is_not_converted(bundle, frames):
    (bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(ManifestError, match="sha256"):
        add_fp16(bundle, frames)


def test_the_command_makes_it_and_says_what_it_costs(bundle, pictures):
    arguments = ["export", str(bundle), "--to", "fp16", "--calibrate", str(pictures), "--into-bundle"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "layers in fp16, 0 in fp32; alpha differs by" in result.stderr
    assert Manifest.load(bundle).variants["fp16"].file == FP16_FILE
