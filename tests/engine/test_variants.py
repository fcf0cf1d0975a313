"""Variants: another precision of a model in its bundle, taken where the chip is fast, never in silence."""

import hashlib
import json
import logging
import shutil

import bundles
import numpy as np
import pytest
from typer.testing import CliRunner

from livecut.cli.main import app
from livecut.engine.errors import DeviceUnavailable, ManifestError, ModelError
from livecut.engine.manifest import Manifest
from livecut.engine.picture_files import write_picture
from livecut.engine.remove import new_session
from livecut.engine.session import Session

openvino = pytest.importorskip("openvino", reason="variants are for openvino")

from livecut.engine import processor
from livecut.engine.backends import openvino as backend
from livecut.engine.backends.openvino import choose_precision


@pytest.fixture
def bundle(tiny_model, tmp_path):
    """The tiny bundle with an INT8 variant."""
    folder = shutil.copytree(tiny_model, tmp_path / "tiny")
    inner = bundles.write_bundle(tmp_path / "q", bundles.quantised_red())
    shutil.copy(inner / "model.onnx", folder / "model.int8.onnx")
    digest = hashlib.sha256((folder / "model.int8.onnx").read_bytes()).hexdigest()
    write_variants(folder, {"int8": {"file": "model.int8.onnx", "sha256": digest}})
    return folder


def write_variants(folder, variants):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "variants": variants}))


def test_a_manifest_names_the_file_of_each_precision(bundle, tiny_model):
    manifest = Manifest.load(bundle)
    manifest.check_file()
    assert manifest.path_for("int8") == bundle / "model.int8.onnx"
    assert manifest.path_for("fp32") == bundle / "model.onnx"
    assert not Manifest.load(tiny_model).variants


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([], r"variants: expected an object, got list"),
        ({"int8": "model.int8.onnx"}, r"variants: int8: expected an object, got str"),
        (
            {"int8": {"file": "../x.onnx", "sha256": ""}},
            r"file: expected a name inside the bundle, got '../x.onnx'",
        ),
        ({"int8": {"file": "x.onnx"}}, r"int8: sha256 is missing"),
    ],
)
def test_variants_that_make_no_sense_are_named(bundle, variants, message):
    write_variants(bundle, variants)
    with pytest.raises(ManifestError, match=message):
        Manifest.load(bundle)


def test_a_damaged_or_missing_variant_is_no_valid_bundle(bundle):
    (bundle / "model.int8.onnx").write_bytes(b"other")
    with pytest.raises(ManifestError, match=r"model\.int8\.onnx: sha256 .* differs"):
        Session(bundle)
    (bundle / "model.int8.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.int8\.onnx: cannot be read"):
        Session(bundle)


def test_a_variant_is_opened_by_its_precision(bundle):
    with Session(bundle, backend="openvino", precision="int8") as session:
        assert session.info.precision == "int8"
    with Session(bundle, backend="openvino", precision="fp32") as session:
        assert session.info.precision == "fp32"


def test_auto_takes_int8_where_the_chip_multiplies_bytes_and_says_so(bundle, monkeypatch, caplog):
    monkeypatch.setattr(backend, "int8_instructions", lambda: "AVX-512 VNNI")
    with caplog.at_level(logging.INFO, "livecut"), Session(bundle, backend="openvino") as session:
        assert session.info.precision == "int8"
    assert "int8 as the model has it and the chip has AVX-512 VNNI" in caplog.messages[0]


def test_auto_leaves_int8_alone_on_a_chip_without_it_and_says_so(bundle, monkeypatch):
    monkeypatch.setattr(backend, "int8_instructions", lambda: "")
    with Session(bundle, backend="openvino") as session:
        assert session.info.precision in ("fp32", "bf16")
        assert "not the model's int8, as the chip has neither VNNI nor AMX" in session.info.details


def test_a_model_without_int8_says_how_to_get_it(tiny_model):
    with Session(tiny_model, backend="openvino", precision="int8") as session:
        with pytest.raises(
            DeviceUnavailable, match=r"tiny has no int8 variant, .*livecut export tiny --to int8"
        ):
            _ = session.info


def test_what_is_refused_lists_int8_where_the_model_has_it(bundle):
    manifest = Manifest.load(bundle)
    with pytest.raises(
        DeviceUnavailable, match=r"precision fp16: openvino has fp32, bf16 on this CPU, and int8"
    ):
        choose_precision(manifest, "fp16", ("fp32", "bf16"))
    assert choose_precision(manifest, "int8", ("fp32", "bf16")) == ("int8", "bf16", "")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_vnni", "AVX-512 VNNI"),
        ("fpu avx2 avx_vnni", "AVX-VNNI"),
        ("fpu avx512_vnni amx_int8", "AMX"),
        ("fpu avx2 avx512f", ""),
    ],
)
def test_the_chips_own_flags_decide(flags, expected, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "Path", lambda path: cpuinfo)
    monkeypatch.setattr(processor, "cpu_flags", processor.cpu_flags.__wrapped__)
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    assert processor.int8_instructions() == expected
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert processor.int8_instructions() == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16", True),
        ("flags\t\t: fpu avx512f amx_bf16", True),
        ("Features\t: asimd bf16", True),
        ("flags\t\t: fpu avx512f avx512_vnni", False),
        ("", False),
    ],
)
def test_the_chips_own_flags_say_whether_it_has_bfloat16(line, expected, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(processor, "Path", lambda path: tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "cpu_flags", processor.cpu_flags.__wrapped__)
    assert processor.has_bfloat16() is expected
    monkeypatch.setattr(processor, "Path", lambda path: tmp_path / "missing")
    assert processor.has_bfloat16() is False


def test_auto_falls_back_to_the_models_own_file_where_int8_is_none_on_this_cpu(bundle, monkeypatch):
    monkeypatch.setattr(backend, "int8_instructions", lambda: "AVX-512 VNNI")
    monkeypatch.setattr(backend, "int8_layers", lambda compiled: (0, 1))
    with Session(bundle, backend="openvino") as session:
        assert session.info.precision in ("fp32", "bf16")
        assert "not the model's int8, which is none on this CPU" in session.info.details
    with Session(bundle, backend="openvino", precision="int8") as session:
        with pytest.raises(DeviceUnavailable, match="the int8 variant of tiny is not int8 on this CPU"):
            _ = session.info


def test_doctor_and_the_model_list_say_which_variants_there_are(bundle, monkeypatch):
    from livecut.cli.model import _describe
    from livecut.engine import doctor

    monkeypatch.setattr("livecut.engine.registry.available_models", lambda: {"tiny": bundle})
    (finding,) = doctor._models()
    assert ", also in int8, sha256 is right, " in finding.text
    assert finding.data["variants"] == ["int8"]
    assert _describe(str(bundle))["variants"] == {"int8": "model.int8.onnx"}


def test_single_pictures_are_computed_in_floats_and_it_is_said(bundle, monkeypatch, caplog):
    monkeypatch.setattr(backend, "int8_instructions", lambda: "AVX-512 VNNI")
    caplog.set_level(logging.INFO, logger="livecut")
    with Session(bundle, backend="openvino", stills=True) as session:
        assert session.info.precision in ("fp32", "bf16")
    assert "not the model's int8, which pays in streams" in caplog.messages[0]
    with Session(bundle, backend="openvino", precision="int8", stills=True) as session:
        assert session.info.precision == "int8"  # asked for is asked for


def test_cut_and_remove_take_floats_and_a_stream_int8(bundle, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(backend, "int8_instructions", lambda: "AVX-512 VNNI")
    picture = tmp_path / "a.png"
    write_picture(picture, np.zeros((32, 64, 3), np.uint8))
    said = []
    for command in (["cut", picture, tmp_path / "b.png"], ["stream", picture, tmp_path / "frames/"]):
        arguments = [*command, "--model", bundle, "--backend", "openvino"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        said.append(", int8," in result.output)
    assert said == [False, True]
    with new_session(str(bundle), backend="openvino") as session:
        assert session.info.precision in ("fp32", "bf16")
