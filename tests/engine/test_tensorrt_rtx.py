"""Real engines, built by TensorRT-RTX on a machine without a GPU: fp16 as its own parser says."""

import pytest
import versions_of_tensorrt
from small_networks import write_network

trt = pytest.importorskip("tensorrt_rtx", reason="needs livecut[rtx]")

from livecut.engine.errors import BackendError, DeviceUnavailable, ModelError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.registry import SHIPPED
from livecut.engine.tensorrt import build_engine, load, present_gpu
from livecut.engine.tensorrt.inspect import engine_precisions
from livecut.engine.tensorrt.profiles import fixed_profiles

api = load("tensorrt_rtx")
BOTH = {"image": ((1, 3, 288, 288), (1, 3, 288, 512), (1, 3, 512, 512))}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["8.6", "8.9", "12.0"])
def test_livecut_s_becomes_an_fp16_engine(target, tmp_path):
    livecut_s_fp16 = SHIPPED / "livecut-s/model.fp16.onnx"
    manifest = Manifest.load(SHIPPED / "livecut-s")
    width, height = size_wh = manifest.sizes_wh[0]
    shapes = {"image": (1, 3, height, width)}
    shapes |= {tensor.input: tensor.shape_for(size_wh) for tensor in manifest.state}
    seen = []
    report = build_engine(
        livecut_s_fp16,
        tmp_path / "livecut-s.plan",
        profiles={name: (shape,) * 3 for name, shape in shapes.items()},
        compute_capability=target,
        progress=lambda step, share: seen.append(share),
        api=api,
    )
    passport = report.passport(command="test")
    passport.write(report.engine)
    assert (passport.precision_found, passport.precision_evidence) == ("fp16", "parsed network")
    assert set(passport.layers) == {"fp16"}
    assert passport.kept_higher == []
    assert passport.extra["tensors"]["fp32"] == 6  # picture, alpha and two states, as they are fed and read
    convolutions = passport.extra["layers_by_kind"]["convolution"]
    assert list(convolutions) == ["fp16"]
    assert convolutions["fp16"] > 20
    assert (passport.library, passport.library_version) == ("tensorrt_rtx", trt.__version__)
    assert passport.compute_capability == target
    assert 1e6 < report.bytes < 20e6
    passport = Passport.read(report.engine)
    assert passport.check(report.engine, livecut_s_fp16) == []
    assert passport.differences(compute_capability=target) == []
    assert seen == sorted(seen)
    assert len(seen) > 20
    assert seen[-1] == 1.0


def test_shipped_fp32_networks_are_not_sold_as_fp16(tmp_path):
    with pytest.raises(ModelError, match=r"asked for fp16, and its graph is fp32 \(\d+ layers fp32\)"):
        build_engine(
            SHIPPED / "livecut-s/model.onnx",
            tmp_path / "x.plan",
            profiles=BOTH,
            compute_capability="8.6",
            api=api,
        )
    assert list(tmp_path.iterdir()) == []


def test_one_engine_takes_a_range_of_sizes_and_several_gpus(tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp16", kept=(3,))
    report = build_engine(
        source, tmp_path / "small.plan", profiles=BOTH, compute_capability="sm_86,sm_120", api=api
    )
    passport = report.passport()
    assert passport.compute_capabilities == ("8.6", "12.0")
    assert passport.shapes["image"]["max"] == [1, 3, 512, 512]
    assert passport.layers == {"fp16": 6, "fp32": 2}
    assert passport.kept_higher == ["conv_3", "act_3"]


def test_an_int8_graph_becomes_an_int8_engine(tmp_path):
    source = write_network(tmp_path / "small.onnx", "int8", kept=(0,))
    report = build_engine(
        source, tmp_path / "small.plan", precision="int8", profiles=BOTH, compute_capability="8.9", api=api
    )
    assert report.precisions.found == "int8"
    assert report.precisions.layers["int8"] == 3
    assert report.precisions.kept_higher == ["conv_0"]


def test_every_target_of_the_library_can_be_built_for(tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp16", dynamic=False)
    assert {"7.5", "8.6", "8.9", "12.0"} <= set(api.targets())
    for target in api.targets():
        report = build_engine(source, tmp_path / f"{target}.plan", compute_capability=target, api=api)
        assert report.compute_capability == target


def test_a_jetson_is_refused_with_the_way_out(tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp16")
    with pytest.raises(
        DeviceUnavailable, match=r"8.7 \(Jetson Orin\): TensorRT-RTX .* builds for 7.5, .*JetPack"
    ):
        build_engine(source, tmp_path / "x.plan", profiles=BOTH, compute_capability="sm_87", api=api)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"not ONNX" * 8, "cannot read it: .*Failed to parse the ONNX model"),
        (b"", "has no layers or no outputs"),
    ],
)
def test_what_is_no_onnx_is_refused_in_a_line(contents, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(contents)
    with pytest.raises(ModelError, match=message) as caught:
        build_engine(path, tmp_path / "x.plan", compute_capability="8.6", api=api)
    assert "\n" not in str(caught.value)


def test_an_operator_that_does_not_exist_is_named(tmp_path):
    import onnx

    path = write_network(tmp_path / "odd.onnx", "fp16")
    model = onnx.load(str(path))
    model.graph.node[2].op_type = "Frobnicate"
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=r"odd.onnx: .* cannot read it: node .*\(Frobnicate\)"):
        build_engine(path, tmp_path / "x.plan", profiles=BOTH, compute_capability="8.6", api=api)


def test_stopping_in_the_middle_leaves_nothing(tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp16")

    def stop(step, share):
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(
            source, tmp_path / "x.plan", profiles=BOTH, compute_capability="8.6", progress=stop, api=api
        )
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


@pytest.mark.skipif(present_gpu() is not None, reason="needs a machine without a GPU")
def test_without_a_driver_a_plan_does_not_load_and_the_reason_is_told(tmp_path):
    source = write_network(tmp_path / "small.onnx", "fp16", dynamic=False)
    report = build_engine(source, tmp_path / "x.plan", compute_capability="8.6", api=api)
    with pytest.raises(BackendError, match=r"cannot load the engine: .*(driver|CUDA)"):
        api.deserialise(report.engine.read_bytes())


@pytest.mark.needs_gpu
def test_with_a_driver_the_engine_itself_says_fp16(tmp_path):
    gpu = present_gpu()
    if gpu is not None and api.target(gpu.compute_capability) is None:
        pytest.skip(f"{api} does not build for {gpu.name} (SM {gpu.compute_capability})")
    source = write_network(tmp_path / "small.onnx", "fp16", dynamic=False)
    report = build_engine(source, tmp_path / "x.plan", api=api)
    engine, _runtime = api.deserialise(report.engine.read_bytes())
    assert engine_precisions(api, engine).found == "fp16"
    assert report.precisions.evidence == "engine inspector"


def test_profiles_of_a_manifest_are_of_one_size(tiny_stateful_model):

    manifest = Manifest.load(tiny_stateful_model)
    profiles = fixed_profiles(manifest, (64, 32), batch=2)
    assert profiles[manifest.input_name] == ((2, 3, 32, 64),) * 3
    for tensor in manifest.state:
        low, usual, high = profiles[tensor.input]
        assert low == usual == high == (2 * tensor.shape_for((64, 32))[0], *tensor.shape_for((64, 32))[1:])


def test_the_fake_has_the_names_that_this_release_has():
    """What makes the fakes of the versions that are not here worth something."""
    if trt.__version__ != versions_of_tensorrt.VERSIONS["rtx"]:
        pytest.skip(
            f"the names were read from {versions_of_tensorrt.VERSIONS['rtx']}, here is {trt.__version__}"
        )
    for name in versions_of_tensorrt.SURFACES["classes"]:
        real, expected = getattr(trt, name, None), versions_of_tensorrt.surface("rtx", name)
        if expected is None:
            assert real is None, name
            continue
        names = {entry for entry in dir(real) if not entry.startswith("_")}
        names -= {"name", "value", "shape", "itemsize"}  # of every class or enum member
        assert names == expected - {"name", "shape"}, name
