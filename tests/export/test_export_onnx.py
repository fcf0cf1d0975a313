"""Export: dynamic shapes, parity that refuses a wrong file, bundles that are whole or not there."""

import hashlib
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from livecut.export import bundle
from livecut.export.onnx import export_onnx
from livecut.export.parity import ParityError, check_parity, edge_cases


class Tiny(torch.nn.Module):
    """One convolution and a sigmoid: alpha of the input's size."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image):
        return torch.sigmoid(self.convolution(image))


@pytest.fixture
def exported(tmp_path):
    module = Tiny().eval()
    export_onnx(module, tmp_path / "tiny.onnx", height=32, width=64)
    return module, tmp_path / "tiny.onnx"


def test_the_file_has_the_agreed_names_and_runs_at_other_sizes(exported):
    _, path = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (alpha,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", [1, 3, "height", "width"])
    assert (alpha.name, alpha.shape) == ("alpha", [1, 1, "height", "width"])
    for height, width in ((32, 32), (96, 64)):
        (out,) = session.run(None, {"image": np.zeros((1, 3, height, width), np.float32)})
        assert out.shape == (1, 1, height, width)


def test_a_module_in_training_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"call module\.eval\(\)"):
        export_onnx(Tiny().train(), tmp_path / "x.onnx", height=32, width=32)


def test_parity_holds_for_what_was_exported(exported):
    parity = check_parity(*exported, edge_cases(32, 64))
    assert parity.inputs == 24
    assert parity.max_abs < 1e-5


def test_parity_refuses_a_file_that_differs_from_torch(exported):
    with pytest.raises(ParityError, match="differs from its source"):
        check_parity(Tiny(seed=1).eval(), exported[1], edge_cases(32, 64))


def test_parity_refuses_to_agree_on_nothing(exported):
    with pytest.raises(ParityError, match="no inputs"):
        check_parity(*exported, [])


def test_parity_refuses_values_outside_0_1(tmp_path):
    class Doubled(Tiny):
        def forward(self, image):
            return 2 * super().forward(image)

    module = Doubled().eval()
    export_onnx(module, tmp_path / "x.onnx", height=32, width=32)
    with pytest.raises(ParityError, match=r"outside 0\.\.1"):
        check_parity(module, tmp_path / "x.onnx", edge_cases(32, 32))


def test_edge_cases_are_in_range_and_of_three_shapes():
    cases = edge_cases(32, 64)
    assert {case.shape for case in cases} == {(1, 3, 32, 64), (1, 3, 64, 32), (1, 3, 64, 96)}
    assert all(case.dtype == np.float32 and np.abs(case).max() <= 1 for case in cases)


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


def test_limits_of_a_clip_stay_scalars():
    """ONNX wants them without dimensions, and np.ascontiguousarray gives everything at least one."""
    from onnx import TensorProto, helper, numpy_helper

    from livecut.export.onnx_folding import fold

    def constant(name, value):
        return helper.make_node(
            "Constant", [], [name], value=numpy_helper.from_array(np.float32(value), name)
        )

    image, alpha = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 4, 4]) for n in ("x", "y"))
    nodes = [constant("low", 0), constant("high", 6), helper.make_node("Clip", ["x", "low", "high"], ["y"])]
    graph = helper.make_graph(nodes, "clip", [image], [alpha])
    folded = fold(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert {t.name: list(t.dims) for t in folded.graph.initializer} == {"low": [], "high": []}
