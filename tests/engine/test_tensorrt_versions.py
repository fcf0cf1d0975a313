"""One adapter over TensorRT 8.6, 10, 11 and RTX: each is used with what it has, and its work is inspected.

The versions are fakes with the exact names of each release; ``test_tensorrt_rtx`` uses a real one.
"""

import json
import logging
from types import SimpleNamespace

import pytest
import versions_of_tensorrt
from small_networks import write_network

from livecut.engine.errors import BackendError, DeviceUnavailable, ModelError, UsageError
from livecut.engine.passport import Passport
from livecut.engine.tensorrt import api as api_module
from livecut.engine.tensorrt import build as build_module
from livecut.engine.tensorrt import build_engine, load
from livecut.engine.tensorrt.api import Api
from livecut.engine.tensorrt.inspect import engine_precisions, summarise
from livecut.engine.tensorrt.targets import Gpu

CLASSIC = ["8.6", "10.3", "10.16", "11.4"]
ORIN = Gpu("Orin", "8.7", "L4T 36.4.3")
PROFILES = {"image": ((1, 3, 32, 32), (1, 3, 32, 64), (1, 3, 64, 64))}


@pytest.fixture(autouse=True)
def on_an_orin(monkeypatch):
    monkeypatch.setattr(build_module, "present_gpu", lambda: ORIN)


@pytest.fixture
def fp16(tmp_path):
    return write_network(tmp_path / "small.fp16.onnx", "fp16")


def build(version, source, tmp_path, **options):
    api = Api(versions_of_tensorrt.make(version))
    options = {"profiles": PROFILES, "api": api, **options}
    return api, build_engine(source, tmp_path / "small.plan", **options)


@pytest.mark.parametrize("version", CLASSIC)
def test_an_fp16_engine_is_fp16_by_the_engines_own_word(version, fp16, tmp_path):
    _, report = build(version, fp16, tmp_path)
    passport = report.passport(command="test")
    passport.write(report.engine)
    assert (passport.library, passport.library_version) == (
        "tensorrt",
        versions_of_tensorrt.VERSIONS[version],
    )
    assert (passport.precision_found, passport.precision_evidence) == ("fp16", "engine inspector")
    assert passport.layers == {"fp16": 8}
    assert passport.kept_higher == []
    assert (passport.compute_capability, passport.driver) == ("8.7", "L4T 36.4.3")
    assert passport.extra["strongly_typed"] is (version != "8.6")
    assert passport.extra["io"] == {"image": "fp32", "alpha": "fp32"}
    assert passport.shapes["image"] == {"min": [1, 3, 32, 32], "opt": [1, 3, 32, 64], "max": [1, 3, 64, 64]}
    assert Passport.read(report.engine).check(report.engine, fp16) == []


def test_only_8_6_is_given_precision_flags(fp16, tmp_path):
    flags = {}
    for version in CLASSIC:
        api, _ = build(version, fp16, tmp_path)
        flags[version] = api.trt.fake.config._flags - {"TF32"}
    assert flags == {
        "8.6": {"FP16", "OBEY_PRECISION_CONSTRAINTS"},
        "10.3": set(),
        "10.16": set(),
        "11.4": set(),
    }


def test_an_rtx_engine_takes_no_memory_while_it_runs_and_so_can_be_captured(fp16, tmp_path):
    api, _ = build("rtx", fp16, tmp_path, compute_capability="8.6")
    assert "REQUIRE_USER_ALLOCATION" in api.trt.fake.config._flags


@pytest.mark.parametrize("version", CLASSIC)
def test_layers_kept_in_fp32_stay_fp32_and_are_named(version, tmp_path):
    source = write_network(tmp_path / "kept.onnx", "fp16", kept=(3,))
    _, report = build(version, source, tmp_path)
    assert report.precisions.found == "fp16"
    assert report.precisions.layers == {"fp16": 6, "fp32": 2}
    assert report.precisions.kept_higher == ["conv_3", "act_3"]


@pytest.mark.parametrize("version", CLASSIC)
def test_int8_comes_from_the_graph(version, tmp_path, monkeypatch):
    source = write_network(tmp_path / "small.int8.onnx", "int8", kept=(0,))
    monkeypatch.setattr(
        build_module, "engine_precisions", lambda api, engine: summarise([], "engine inspector")
    )
    api, report = build(version, source, tmp_path, precision="int8")
    assert (report.precisions.found, report.precisions.evidence) == ("int8", "parsed network")
    assert report.precisions.layers == {"fp32": 5, "int8": 3}
    assert report.precisions.kept_higher == ["conv_0"]
    assert ("INT8" in api.trt.fake.config._flags) is (version == "8.6")


@pytest.mark.parametrize("version", CLASSIC)
def test_fp32_is_built_without_tf32(version, tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp32")
    api, report = build(version, source, tmp_path, precision="fp32")
    assert report.precisions.layers == {"fp32": 8}
    assert "TF32" not in api.trt.fake.config._flags
    assert report.extra["tf32"] is False


@pytest.mark.parametrize("version", [*CLASSIC, "rtx"])
def test_a_precision_that_is_not_in_the_graph_is_refused(version, tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp32")
    options = {"compute_capability": "8.6"} if version == "rtx" else {}
    with pytest.raises(
        ModelError, match=r"asked for fp16, and its graph is fp32 \(8 layers fp32\); .*--to fp16"
    ):
        build(version, source, tmp_path, **options)
    assert not (tmp_path / "small.plan").exists()


def test_an_engine_that_is_not_what_was_asked_for_is_not_written(fp16, tmp_path):
    api = Api(versions_of_tensorrt.make("10.3"))
    layer = {
        "Name": "conv",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Format/Datatype": "Row major FP32"}],
    }
    api.trt.fake.inspector_text = json.dumps({"Layers": [layer]})
    with pytest.raises(
        ModelError, match=r"asked for fp16, the engine inspector says fp32 .*nothing was written"
    ):
        build_engine(fp16, tmp_path / "small.plan", profiles=PROFILES, api=api)
    assert [path.name for path in tmp_path.iterdir()] == ["small.fp16.onnx"]


@pytest.mark.parametrize("version", CLASSIC)
def test_without_a_gpu_classic_tensorrt_says_where_to_build(version, fp16, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "present_gpu", lambda: None)
    with pytest.raises(DeviceUnavailable, match=r"TensorRT .*there is none here; .*livecut\[rtx\]"):
        build(version, fp16, tmp_path)


def test_classic_tensorrt_builds_for_no_other_gpu(fp16, tmp_path):
    with pytest.raises(
        DeviceUnavailable, match=r"8.6 \(RTX 30, A10\): TensorRT 10.3.0 .* 8.7 \(Jetson Orin\)"
    ):
        build("10.3", fp16, tmp_path, compute_capability="sm_86")
    build("10.3", fp16, tmp_path, compute_capability="sm_87")


def test_rtx_builds_for_gpus_that_are_not_here(fp16, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "present_gpu", lambda: None)
    api, report = build("rtx", fp16, tmp_path, compute_capability="sm_86,12.0")
    assert api.trt.fake.config._targets == ["SM86", "SM120"]
    assert (report.compute_capability, report.driver) == ("8.6,12.0", None)
    assert (report.library, report.precisions.evidence) == ("tensorrt_rtx", "parsed network")
    with pytest.raises(UsageError, match=r"there is no GPU here to take it from; name one .*sm_75, sm_80"):
        build("rtx", fp16, tmp_path)
    with pytest.raises(
        DeviceUnavailable, match=r"9.0 \(H100\): TensorRT-RTX .* builds for 7.5, 8.0, 8.6, 8.9, 12"
    ):
        build("rtx", fp16, tmp_path, compute_capability="9.0")


# -- options


@pytest.mark.parametrize("version", [*CLASSIC, "rtx"])
def test_progress_rises_to_one(version, fp16, tmp_path):
    seen = []
    options = {"compute_capability": "8.6"} if version == "rtx" else {}
    build(version, fp16, tmp_path, progress=lambda step, share: seen.append((step, share)), **options)
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert seen[0] == ("parse", 0.0)
    assert seen[-1] == ("build", 1.0)
    if version == "8.6":
        assert len(seen) == 3  # it has no monitor
    else:
        assert ("build: Timing", 0.125) in seen


def test_what_progress_raises_stops_the_build_and_comes_out(fp16, tmp_path):
    def stop(step, share):
        if share > 0:
            raise KeyboardInterrupt

    api = Api(versions_of_tensorrt.make("10.3"))
    with pytest.raises(KeyboardInterrupt):
        build_engine(fp16, tmp_path / "small.plan", profiles=PROFILES, progress=stop, api=api)
    assert api.trt.fake.cancelled
    assert not (tmp_path / "small.plan").exists()


def test_the_workspace_is_bounded_where_asked(fp16, tmp_path):
    api, report = build("8.6", fp16, tmp_path, workspace_bytes=1 << 28)
    assert api.trt.fake.config._limit == ("WORKSPACE", 1 << 28)
    assert report.extra["workspace_bytes"] == 1 << 28
    api, _ = build("8.6", fp16, tmp_path)
    assert api.trt.fake.config._limit is None
    with pytest.raises(UsageError, match="workspace: expected at least 1 byte, got 0"):
        build("8.6", fp16, tmp_path, workspace_bytes=0)


@pytest.mark.parametrize("kept", [None, b"timings", b"of another version"])
def test_the_timing_cache_is_read_and_written_and_a_foreign_one_is_begun_anew(kept, fp16, tmp_path):
    path = tmp_path / "cache" / "timings"
    if kept is not None:
        path.parent.mkdir()
        path.write_bytes(kept)
    api, _ = build("10.16", fp16, tmp_path, timing_cache=path)
    assert api.trt.fake.config._cache._blob == (kept if kept == b"timings" else b"")
    assert path.read_bytes() == b"timings"


def test_rtx_keeps_no_timings(fp16, tmp_path):
    path = tmp_path / "timings"
    build("rtx", fp16, tmp_path, compute_capability="8.6", timing_cache=path)
    assert not path.exists()


# -- what goes wrong


@pytest.mark.parametrize("version", [*CLASSIC, "rtx"])
def test_the_builders_reason_is_in_the_error(version, fp16, tmp_path):
    api = Api(versions_of_tensorrt.make(version))
    api.trt.fake.build_problem = "Could not find any implementation\n for node conv_0."
    target = "8.6" if version == "rtx" else "8.7"
    with pytest.raises(
        BackendError, match=r"failed to build the engine: Could not find any .* for node conv_0"
    ):
        build_engine(fp16, tmp_path / "small.plan", profiles=PROFILES, compute_capability=target, api=api)


def test_a_library_that_makes_no_builder_says_why(fp16, tmp_path):
    api = Api(versions_of_tensorrt.make("10.3", has_gpu=False))
    with pytest.raises(
        BackendError, match=r"TensorRT 10.3.0 makes no builder here: CUDA initialization failure"
    ):
        build_engine(fp16, tmp_path / "small.plan", api=api)


@pytest.mark.parametrize(("version", "where"), [("8.6", "node 1: no"), ("10.3", r"node node_1 \(Exp\): no")])
def test_an_operator_tensorrt_has_not_is_named(version, where, tmp_path):
    import onnx

    path = write_network(tmp_path / "exp.onnx", "fp32")
    model = onnx.load(str(path))
    model.graph.node[1].op_type = "Exp"
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=f"exp.onnx: TensorRT .* cannot read it: {where} importer"):
        build(version, path, tmp_path, precision="fp32")


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        (None, r"the input 'image' has free sizes \(1x3x\?x\?\)"),
        ({"picture": PROFILES["image"], **PROFILES}, "no input 'picture'; it has image"),
        ({"image": ((1, 3, 64, 64), (1, 3, 32, 32), (1, 3, 64, 64))}, "expected min <= opt <= max"),
        ({"image": ((1, 4, 32, 32),) * 3}, "axis 1 is 3 in the model"),
        ({"image": ((3, 32, 32),) * 3}, "expected 3 shapes of 4 sizes"),
        ({"image": ((0, 3, 32, 32),) * 3}, "at least 1"),
    ],
)
def test_profiles_that_do_not_fit_are_refused_in_our_words(profiles, message, fp16, tmp_path):
    with pytest.raises(UsageError, match=message):
        build("10.3", fp16, tmp_path, profiles=profiles)


def test_a_model_of_fixed_size_needs_no_profile(tmp_path):
    source = write_network(tmp_path / "fixed.onnx", "fp16", dynamic=False)
    api, report = build("8.6", source, tmp_path, profiles=None)
    assert api.trt.fake.config._profiles == []
    assert report.shapes == {"image": [1, 3, 32, 64], "alpha": [1, 1, 32, 64]}


def test_an_unknown_precision_is_refused(fp16, tmp_path):
    with pytest.raises(UsageError, match="precision: expected one of fp32, fp16, int8, got 'bf16'"):
        build("10.3", fp16, tmp_path, precision="bf16")


# -- which is here


@pytest.fixture
def installed(monkeypatch):
    """What pretends to be installed: module name -> module, or the error of importing it."""
    found = {}

    def import_module(name):
        if isinstance(found[name], Exception):
            raise found[name]
        return found[name]

    monkeypatch.setattr(api_module, "find_spec", lambda name: found.get(name))
    monkeypatch.setattr(api_module, "import_module", import_module)
    monkeypatch.setattr(api_module, "_loaded", {})
    return found


def test_classic_tensorrt_is_taken_before_rtx(installed):
    installed["tensorrt_rtx"] = versions_of_tensorrt.make("rtx")
    assert str(load()) == "TensorRT-RTX 1.7.1.116"
    installed["tensorrt"] = versions_of_tensorrt.make("10.3")
    assert str(load()) == "TensorRT 10.3.0"
    assert load() is load()
    assert load("tensorrt_rtx").is_rtx


def test_a_package_that_does_not_load_is_passed_over_and_named_if_it_was_the_last(installed):
    installed["tensorrt"] = ImportError("libnvinfer.so.11: cannot open\nshared object file")
    installed["tensorrt_rtx_bindings"] = versions_of_tensorrt.make("rtx")
    assert load().is_rtx
    with pytest.raises(
        DeviceUnavailable, match=r"tensorrt is installed and does not load: libnvinfer.so.11: cannot"
    ):
        load("tensorrt")


def test_without_any_the_error_says_how_to_get_one(installed):
    with pytest.raises(DeviceUnavailable, match=r"TensorRT is not installed: pip install livecut\[rtx\]"):
        load()
    with pytest.raises(UsageError, match="library: expected tensorrt or tensorrt_rtx, got 'cudnn'"):
        load("cudnn")


def test_there_is_one_logger_and_only_what_matters_is_passed_on(caplog):
    api = Api(versions_of_tensorrt.make("10.3"))
    assert api.logger is api.logger
    severity = api.trt.ILogger.Severity
    with caplog.at_level(logging.DEBUG, "livecut.tensorrt"):
        for level in severity:
            api.logger.log(level, level.name)
    assert caplog.messages == ["INTERNAL_ERROR", "ERROR", "WARNING"]


@pytest.mark.parametrize("version", CLASSIC)
def test_a_plan_of_another_version_does_not_load_and_says_so(version, fp16, tmp_path):
    api, report = build(version, fp16, tmp_path)
    plan = report.engine.read_bytes()
    engine, runtime = api.deserialise(plan)
    assert engine_precisions(api, engine).layers == {"fp16": 8}
    assert runtime is not None
    other = Api(versions_of_tensorrt.make("8.6" if version != "8.6" else "10.3"))
    with pytest.raises(BackendError, match="cannot load the engine: the engine plan file is not compatible"):
        other.deserialise(plan)


def test_an_inspector_without_details_finds_nothing_rather_than_something(fp16, tmp_path):
    api, report = build("10.3", fp16, tmp_path)
    engine, _ = api.deserialise(report.engine.read_bytes().replace(b"DETAILED", b"LAYER_NAMES_ONLY"))
    assert engine_precisions(api, engine).found == "unknown"
    api.trt.fake.inspector_text = "no JSON"
    with pytest.raises(BackendError, match="gave nothing that can be read"):
        engine_precisions(api, engine)


@pytest.mark.parametrize(("is_typed", "asked"), [(False, [("sharing", True)]), (True, [])])
def test_only_8_6_is_asked_to_let_contexts_share_a_profile(is_typed, asked):
    flags = SimpleNamespace(STRONGLY_TYPED=1) if is_typed else SimpleNamespace()
    module = SimpleNamespace(
        NetworkDefinitionCreationFlag=flags, PreviewFeature=SimpleNamespace(PROFILE_SHARING_0806="sharing")
    )
    found = []
    config = SimpleNamespace(set_preview_feature=lambda *arguments: found.append(arguments))
    Api(module).share_profiles(config)
    assert found == asked
