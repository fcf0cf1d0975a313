"""``livecut export inspect`` and the engine line of ``livecut doctor``: what is said of a derived file."""

import json

import bundles
import engines
import pytest
import versions_of_tensorrt
from engines import ORIN, PLAN, put
from small_networks import write_network

from livecut.engine.errors import DeviceUnavailable
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.tensorrt import api as api_module
from livecut.engine.tensorrt import build as build_module
from livecut.engine.tensorrt import build_engine, report
from livecut.engine.tensorrt.api import Api
from livecut.engine.tensorrt.cache import EngineCache
from livecut.engine.tensorrt.targets import Gpu
from livecut.engine.tensorrt.wanted import Place, find_wanted


@pytest.fixture
def bundle(tmp_path):
    """The folder of a model with an engine in it."""
    folder = bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha())
    wanted = find_wanted(Manifest.load(folder), (64, 32), "auto", ORIN)
    path = folder / "model-fp32-sm_87.plan"
    path.write_bytes(PLAN)
    engines.issue(
        wanted, path, layers={"fp32": 2, "fp16": 0}, kept_higher=["head"], parity={"max_abs": 0.00123},
        extra={"layers_by_kind": {"convolution": {"fp32": 1}, "activation": {"fp32": 1}}},
    )  # fmt: skip
    return folder


@pytest.fixture
def plan(bundle):
    return bundle / "model-fp32-sm_87.plan"


@pytest.fixture
def at(monkeypatch):
    """Make this machine another place, or none."""

    def at(place, reason="TensorRT 10.3.0 is installed, and there is no NVIDIA GPU"):
        def this_place():
            if place is None:
                raise DeviceUnavailable(reason)
            return place

        monkeypatch.setattr(report, "is_installed", lambda: True)
        monkeypatch.setattr(report, "this_place", this_place)

    at(ORIN)
    return at


def rows(result):
    return {line[3:16].strip(): line[16:].strip() for line in result.stdout.splitlines()[1:]}


def test_a_sound_engine_is_printed_and_said_to_be_usable(livecut, plan, at):
    result = livecut("export", "inspect", plan)
    assert result.exit_code == 0, result.stderr
    said = rows(result)
    assert result.stdout.splitlines()[0] == str(plan)
    assert said["made by"] == "tensorrt 10.3.0"
    assert said["for"] == "compute capability 8.7, driver L4T 36.4.3"
    assert said["precision"] == "fp32, by the engine inspector"
    assert said["layers"] == "2 fp32"
    assert said["kept higher"] == "head"
    assert said["shapes"] == "image 1x3x32x64"
    assert said["parity"].startswith("max_abs 0.00123 (of its ONNX graph, on a CPU;")
    assert said["sound"] == "model-fp32-sm_87.plan against the passport, its source model.onnx"
    assert said["usable here"] == "yes, by its passport"
    assert "kinds" not in said
    assert "convolution: 1 fp32" in rows(livecut("export", "inspect", plan, "--layers"))["kinds"]


def test_an_engine_that_loads_here_is_listed_layer_by_layer(livecut, plan, at, tmp_path, monkeypatch):
    source = write_network(tmp_path / "small.onnx", "fp16", kept=(3,), dynamic=False)
    api = Api(versions_of_tensorrt.make("10.3"))
    monkeypatch.setattr(
        build_module, "present_gpu", lambda: Gpu("Orin", ORIN.compute_capability, ORIN.driver)
    )
    monkeypatch.setattr(api_module, "load", lambda library: api)
    built = build_engine(source, tmp_path / "small.plan", api=api)
    built.passport().write(built.engine)
    lines = livecut("export", "inspect", built.engine, "--layers").stdout.splitlines()
    assert "   fp16         CaskConvolution  conv_0" in lines
    assert "   fp32         CaskConvolution  conv_3" in lines
    api.trt.fake.has_gpu = False
    result = livecut("export", "inspect", built.engine, "--layers")
    assert result.exit_code == 4
    assert "TensorRT 10.3.0 cannot load the engine: the engine plan file is not compatible" in result.stderr


def test_the_passport_and_the_folder_name_the_same_engine(livecut, bundle, plan, at):
    one = livecut("export", "inspect", plan).stdout
    assert livecut("export", "inspect", Passport.path_for(plan)).stdout == one
    assert livecut("export", "inspect", bundle).stdout == one


def test_an_engine_for_another_gpu_is_sound_and_not_usable_here(livecut, plan, at):
    at(Place("tensorrt", "10.7.0", "580.65.06", "8.6"))
    result = livecut("export", "inspect", plan)
    assert result.exit_code == 0
    assert rows(result)["usable here"] == (
        "no: made by tensorrt 10.3.0, here is 10.7.0; made under NVIDIA driver L4T 36.4.3, here is 580.65.06"
        "; made for compute capability 8.7, here is 8.6"
    )
    at(None)
    assert rows(livecut("export", "inspect", plan))["usable here"].startswith(
        "no: TensorRT 10.3.0 is installed"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plan: plan.write_bytes(PLAN[:-1]), "cut short"),
        (lambda plan: plan.unlink(), "missing"),
        (lambda plan: (plan.parent / "model.onnx").write_bytes(b"another"), "made from another model.onnx"),
        (lambda plan: Passport.path_for(plan).write_text("{}"), "format None"),
        (lambda plan: Passport.path_for(plan).unlink(), "has no passport"),
    ],
)
def test_what_is_not_what_it_was_ends_with_4_and_one_line(damage, message, livecut, plan, at):
    damage(plan)
    result = livecut("export", "inspect", plan)
    assert result.exit_code == 4
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_another_source_can_be_named(livecut, plan, at, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another network")
    result = livecut("export", "inspect", plan, "--source", other)
    assert result.exit_code == 4
    assert "made from another model.onnx" in result.stderr
    assert livecut("export", "inspect", plan, "--source", tmp_path / "none.onnx").exit_code == 2


def test_what_was_never_exported_is_said_to_be_so(livecut, tmp_path):
    assert "no such file" in livecut("export", "inspect", tmp_path / "x.plan").stderr
    result = livecut("export", "inspect", tmp_path)
    assert result.exit_code == 4
    assert "holds nothing with a passport" in result.stderr


def test_inspect_for_machines(livecut, plan, at):
    at(None)
    result = livecut("export", "inspect", plan, "--json")
    (artefact,) = json.loads(result.stdout)["artefacts"]
    assert artefact["passport"]["precision_found"] == "fp32"
    assert (artefact["problems"], artefact["usable_here"]) == ([], False)
    plan.write_bytes(b"")
    result = livecut("export", "inspect", plan, "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["artefacts"][0]["problems"] == [f"{plan.name}: empty"]


# -- livecut doctor --model M


@pytest.fixture
def said_of_engines(livecut, monkeypatch, tmp_path):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path / "cache"))

    def said(model):
        result = livecut("doctor", "--model", model, "--json", "--backend", "null")
        assert result.exit_code == 0, result.stderr
        return next(f for f in json.loads(result.stdout)["findings"] if f["name"] == "engines")

    return said


def test_doctor_says_which_engines_are_usable_and_why_the_others_are_not(said_of_engines, bundle, plan, at):
    at(ORIN)
    finding = said_of_engines(bundle)
    assert finding["status"] == "ok"
    assert [state["is_usable"] for state in finding["data"]["engines"]] == [True, False, False]
    assert finding["data"]["engines"][0]["text"] == f"{plan}, fits"
    assert "image: takes 1x3x32x64, wanted is 1x3x32x32" in finding["text"]
    assert finding["text"].endswith("what is missing is built when it is first used")


def test_doctor_looks_into_the_cache(said_of_engines, tiny_model, at):
    folder = EngineCache().folder
    for size_wh in Manifest.load(tiny_model).sizes_wh:
        put(find_wanted(Manifest.load(tiny_model), size_wh, "auto", ORIN), folder)
    finding = said_of_engines(tiny_model)
    assert all(state["is_usable"] for state in finding["data"]["engines"])
    at(Place("tensorrt", "10.3.0", "L4T 36.5.0", "8.7"))
    finding = said_of_engines(tiny_model)
    assert finding["status"] == "absent"
    assert "made under NVIDIA driver L4T 36.4.3, here is L4T 36.5.0" in finding["text"]


def test_doctor_without_a_gpu_lists_what_engines_were_made_for(said_of_engines, bundle, tiny_model, at):
    at(None)
    finding = said_of_engines(bundle)
    assert finding["status"] == "absent"
    assert finding["text"].endswith(
        "There are: model-fp32-sm_87.plan: fp32 for tensorrt 10.3.0, compute capability 8.7, "
        "driver L4T 36.4.3"
    )
    assert said_of_engines(tiny_model)["text"].endswith("as --backend tensorrt needs")


def test_no_rebuild_is_an_option_of_cut_and_stream(livecut, photograph, tmp_path):
    out = tmp_path / "out.png"
    result = livecut("cut", photograph, out, "--backend", "null", "--no-rebuild", "-q")
    assert result.exit_code == 0, result.stderr
    result = livecut(
        "stream",
        "synthetic://64x48@30?seconds=0.1&pace=0",
        "null://",
        "--backend",
        "null",
        "--no-rebuild",
        "-q",
    )
    assert result.exit_code == 0, result.stderr
