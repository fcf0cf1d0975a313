"""Manifests: what they must say, and what happens when they lie about their ONNX."""

import json
import shutil

import bundles
import pytest
from onnx import TensorProto, helper

from livecut.engine.errors import ManifestError, ModelError
from livecut.engine.manifest import Manifest, StateTensor


@pytest.fixture
def bundle(tiny_model, tmp_path):
    """A copy of the tiny bundle that a test may spoil."""
    return shutil.copytree(tiny_model, tmp_path / "tiny")


def edit(bundle, key, value):
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    *steps, last = key.split(".")
    place = data
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    path.write_text(json.dumps(data))


def test_a_true_manifest_passes(bundle):
    manifest = Manifest.load(bundle)
    manifest.validate_against_onnx()
    assert manifest.model_path == bundle / "model.onnx"


def test_a_stateful_manifest_passes(tiny_stateful_model):
    Manifest.load(tiny_stateful_model).validate_against_onnx()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format 2; this livecut reads format 1"),
        ("name", None, "name is missing"),
        ("sha256", 5, "sha256: expected str, got 5"),
        ("file", "../elsewhere.onnx", "file: expected a name inside the bundle"),
        ("input.color", "YUV", "color: expected RGB or BGR, got 'YUV'"),
        ("input.fit", "crop", "fit: expected letterbox or stretch, got 'crop'"),
        ("input.mean", [1, 2], "mean: expected 3 numbers"),
        ("input.std", [1, 0, 1], "std: expected numbers other than 0"),
        ("input.sizes_wh", [], "sizes_wh: expected at least one size"),
        ("input.sizes_wh", [[0, 32]], r"expected \[width, height\], got \[0, 32\]"),
        (
            "state",
            [{"input": "a", "output": "b", "shape": [1, "depth"]}],
            "shape: expected a positive number",
        ),
        ("state", ["memory"], "expected an object, got str"),
        ("output", "alpha", "output: expected dict, got 'alpha'"),
    ],
)
def test_a_malformed_manifest_names_the_key(bundle, key, value, message):
    edit(bundle, key, value)
    with pytest.raises(ManifestError, match=message) as caught:
        Manifest.load(bundle)
    assert "manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_a_manifest_that_is_not_json_says_so(bundle, content):
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.json: (not readable as JSON|expected an object)"):
        Manifest.load(bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(ModelError, match=r"not a model bundle: it has no manifest\.json"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("input.name", "pixels", "names the input 'pixels', which the model does not have; it has image"),
        ("output.name", "mask", "names the output 'mask', which the model does not have; it has alpha"),
        (
            "state",
            [{"input": "r", "output": "alpha", "shape": [1, 1, "height", "width"]}],
            "names the input 'r', which the model does not have",
        ),
    ],
)
def test_a_manifest_that_lies_about_its_tensors_is_refused(bundle, key, value, message):
    edit(bundle, key, value)
    with pytest.raises(ManifestError, match=message):
        Manifest.load(bundle).validate_against_onnx()


def graph(*, dtype=TensorProto.FLOAT, shape=(1, 1, "height", "width")):
    return helper.make_graph(
        [helper.make_node("Cast", ["image"], ["alpha"], to=dtype)],
        "g",
        [bundles.picture_input()],
        [helper.make_tensor_value_info("alpha", dtype, list(shape))],
    )


def test_a_wrong_dtype_is_refused(tmp_path):
    folder = bundles.write_bundle(tmp_path / "m", graph(dtype=TensorProto.FLOAT16, shape=(1, 3, "h", "w")))
    with pytest.raises(ManifestError, match="output 'alpha': expected float32, the model has float16"):
        Manifest.load(folder).validate_against_onnx()


def test_a_wrong_shape_is_refused(tmp_path):
    folder = bundles.write_bundle(tmp_path / "m", graph(shape=(1, 3, "h", "w")))
    with pytest.raises(ManifestError, match=r"expected shape 1x1x\?x\?, the model has 1x3x\?x\?"):
        Manifest.load(folder).validate_against_onnx()


def test_an_input_the_manifest_does_not_know_is_refused(tmp_path):
    folder = bundles.write_bundle(tmp_path / "m", bundles.half_of_before())
    with pytest.raises(ManifestError, match="has the input 'memory', of which its manifest says nothing"):
        Manifest.load(folder).validate_against_onnx()


def test_a_damaged_model_file_is_refused_by_its_hash(bundle):
    with open(bundle / "model.onnx", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(ManifestError, match=r"sha256 .* differs from the manifest's"):
        Manifest.load(bundle).check_file()


def test_a_missing_model_file_is_named(bundle):
    (bundle / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read: No such file"):
        Manifest.load(bundle).check_file()


def test_rubbish_with_the_right_hash_is_not_onnx(bundle):
    import hashlib

    (bundle / "model.onnx").write_bytes(b"rubbish")
    edit(bundle, "sha256", hashlib.sha256(b"rubbish").hexdigest())
    with pytest.raises(ManifestError, match="not readable as ONNX"):
        Manifest.load(bundle).validate_against_onnx()


@pytest.mark.parametrize(
    ("frame_wh", "size_wh"),
    [
        ((1920, 1080), (64, 32)),
        ((1080, 1920), (32, 64)),
        ((10, 10), (32, 32)),
        ((10_000, 1), (64, 32)),
        ((1, 1), (32, 32)),
    ],
)
def test_the_size_nearest_in_aspect_is_taken(bundle, frame_wh, size_wh):
    assert Manifest.load(bundle).size_for(frame_wh) == size_wh


def test_state_shapes_follow_the_input_size():
    tensor = StateTensor("r", "r2", (1, 16, "height/4", "width/8"))
    assert tensor.shape_for((512, 288)) == (1, 16, 72, 64)
