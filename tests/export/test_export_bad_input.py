"""Whatever can be wrong with weights is one line with the way out, exit code 4 or 2, nothing written."""

import pickle
import zipfile

import bundles
import export_nets as nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.errors import LivecutError
from livecut.export import export_model
from livecut.export.checks import ALLOWED, check_graph, findings
from livecut.export.onnx_file import load_onnx

RECIPE = """
[input]
sizes_wh = [[64, 32]]
std = [255.0, 255.0, 255.0]
[output]
name = 0
"""


def conv_and(*nodes, opset=17, domains=(), inputs=None, initialisers=()):
    first = helper.make_node("Conv", ["image", "kernel"], ["a"], kernel_shape=[1, 1], name="first")
    kernel = nets.weights("kernel", np.full((1, 3, 1, 1), 0.3))
    return nets.model([first, *nodes], [kernel, *initialisers], opset=opset, domains=domains, inputs=inputs)


def text(path):
    path.write_text("this is not a network\n" * 20, encoding="utf-8")


def cut_short(path):
    data = nets.foldable(np.random.default_rng(0)).SerializeToString()
    path.write_bytes(data[: len(data) // 2])


def unknown_operator(path):
    nodes = [
        helper.make_node("Fancy", ["a"], ["b"], name="secret sauce", domain="com.example"),
        helper.make_node("Sigmoid", ["b"], ["alpha"]),
    ]
    nets.write(path, conv_and(*nodes, domains=["com.example"]), checked=False)


def forbidden_operator(path):
    nodes = [
        helper.make_node("Hardmax", ["a"], ["b"], name="hard"),
        helper.make_node("Sigmoid", ["b"], ["alpha"]),
    ]
    nets.write(path, conv_and(*nodes))


def cubic(path):
    nodes = [
        helper.make_node("Resize", ["a", "", "scales"], ["b"], mode="cubic", name="enlarge"),
        helper.make_node("Sigmoid", ["b"], ["alpha"]),
    ]
    nets.write(path, conv_and(*nodes, initialisers=[nets.weights("scales", [1, 1, 1, 1])]))


def rank_of_input(path):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, None)
    net = conv_and(helper.make_node("Sigmoid", ["a"], ["alpha"]), inputs=[image])
    nets.write(path, net, checked=False)


def external_missing(path):
    net = nets.foldable(np.random.default_rng(0))
    onnx.save(net, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def external_short(path):
    net = nets.foldable(np.random.default_rng(0))
    onnx.save(net, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").write_bytes(b"1234")


def external_elsewhere(path):
    net = nets.foldable(np.random.default_rng(0))
    onnx.save(net, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../../etc/passwd" if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())


def external_damaged(key, value):
    def write(path):
        net = nets.foldable(np.random.default_rng(0))
        onnx.save(net, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
        model = onnx.load(str(path), load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            entry.value = value if entry.key == key else entry.value
        path.write_bytes(model.SerializeToString())

    return write


def opset(version):
    def write(path):
        net = conv_and(helper.make_node("Sigmoid", ["a"], ["alpha"]))
        net.opset_import[0].version = version
        path.write_bytes(net.SerializeToString())

    return write


def newer_format(path):
    net = conv_and(helper.make_node("Sigmoid", ["a"], ["alpha"]))
    net.ir_version = 99
    path.write_bytes(net.SerializeToString())


def not_valid(path):
    nets.write(path, conv_and(helper.make_node("Sigmoid", ["nothing"], ["alpha"])), checked=False)


def bytes_in(path):
    image = nets.value("image", [1, 3, 32, 64], TensorProto.DOUBLE)
    first = helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT)
    pick = helper.make_node("ReduceMean", ["a"], ["b"], axes=[1])
    last = helper.make_node("Sigmoid", ["b"], ["alpha"])
    nets.write(path, nets.model([first, pick, last], [], inputs=[image]))


def goes_round(path):
    nodes = [
        helper.make_node("Add", ["a", "c"], ["b"], name="this"),
        helper.make_node("Relu", ["b"], ["c"], name="that"),
        helper.make_node("Sigmoid", ["c"], ["alpha"]),
    ]
    nets.write(path, conv_and(*nodes), checked=False)


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing to run")


BAD = {
    "no such file": (lambda path: None, r"no such file"),
    "empty": (lambda path: path.touch(), r"an empty file; copy or download it again"),
    "not ONNX": (text, r"not an ONNX model, or cut short; expected a file that onnx\.checker accepts"),
    "cut short": (cut_short, r"not an ONNX model, or cut short|not a valid ONNX"),
    "an operator of others": (
        unknown_operator,
        r"'secret sauce': the operator com\.example::Fancy is not taken",
    ),
    "an operator TensorRT has not": (forbidden_operator, r"hard': the operator Hardmax is not taken"),
    "cubic resizing": (cubic, r"enlarge': Resize with mode cubic is not taken, only linear or nearest"),
    "the input's rank is open": (
        rank_of_input,
        r"the input 'image' has a number of dimensions that is known only",
    ),
    "external data is missing": (
        external_missing,
        r"'weights\.bin', which is missing beside it: copy that file",
    ),
    "external data is cut short": (
        external_short,
        r"'weights\.bin' beside it is cut short: 4 bytes, expected at",
    ),
    "external data lie elsewhere": (
        external_elsewhere,
        r"'\.\./\.\./etc/passwd', outside its own folder; refused",
    ),
    "external data begin nowhere": (external_damaged("offset", "here"), r"whole numbers, got 'here' and"),
    "external data begin before the file": (external_damaged("offset", "-5"), r"whole numbers, got '-5' and"),
    "external data end far away": (external_damaged("length", "9" * 14), r"is cut short: \d+ bytes"),
    "an opset of long ago": (
        opset(5),
        r"opset 5 is too old: expected 7 to 2\d; export the network again with opset 17",
    ),
    "an opset to come": (opset(60), r"opset 60 is too new: TensorRT to 11 reads 7 to 2\d; export"),
    "a format to come": (
        newer_format,
        r"IR version 99, the package onnx .* reads to \d+: pip install --upgrade onnx",
    ),
    "not valid": (
        not_valid,
        r"not a valid ONNX model: .* input 'nothing' of node: name: .*; export it again",
    ),
    "a circle": (goes_round, r"not a valid ONNX model: .* topologically sorted, .* 'c' of node: name: this"),
    "another archive": (
        other_archive,
        r"an archive that holds no model livecut knows; expected an ONNX model",
    ),
    "TensorFlow Lite": (
        lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)),
        r"tf2onnx --tflite FILE",
    ),
    "a plan": (lambda path: path.write_bytes(b"ftrt" + bytes(64)), r"a plan cannot be turned back"),
    "a folder without a manifest": (
        lambda path: path.mkdir(),
        r"a folder without a manifest\.json is no model",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_weights_are_one_line_and_nothing_is_written(tmp_path, case):
    write, message = BAD[case]
    (tmp_path / "any.toml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "weights.onnx"
    write(path)
    with pytest.raises(LivecutError, match=message) as caught:
        export_model(path, tmp_path / "out", recipe=None if path.is_dir() else tmp_path / "any.toml")
    assert caught.value.exit_code in (2, 4)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"state": [{"input": "before", "output": "after", "shape": [1]}]},
            r"names the input 'before', which the graph does not have; it has image",
        ),
        (
            {"output": {"name": "matte", "range": [0, 1]}},
            r"names the output 'matte', which the graph does not have; it has alpha: take the manifest that",
        ),
    ],
)
def test_a_manifest_of_another_graph_is_one_line(tmp_path, changes, message):
    state = changes.pop("state", ())
    folder = bundles.write_bundle(tmp_path / "in", bundles.sigmoid_of_sum(), state=state, **changes)
    with pytest.raises(LivecutError, match=message) as caught:
        export_model(folder, tmp_path / "out")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "out").exists()


def test_nodes_are_put_in_order_and_a_branch_reads_what_is_made_outside(tmp_path):
    branches = [
        helper.make_graph([helper.make_node("Identity", ["late"], [name])], name, [], [outcome])
        for name in ("then", "else")
        for outcome in [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
    ]
    nodes = [
        helper.make_node("If", ["yes"], ["b"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Relu", ["a"], ["late"]),
        helper.make_node("Sigmoid", ["b"], ["alpha"]),
    ]
    model = conv_and(*nodes, initialisers=[nets.weights("yes", True, bool)])
    nets.write(tmp_path / "w.onnx", model, checked=False)
    order = [node.op_type for node in load_onnx(tmp_path / "w.onnx").graph.node]
    assert order == ["Conv", "Relu", "If", "Sigmoid"]


def test_a_rank_that_depends_on_the_values_is_refused(tmp_path):
    from livecut.engine.errors import ModelError
    from livecut.export.onnx_file import ranks_are_known

    nodes = [
        helper.make_node("Reshape", ["image", "target"], ["a"], name="whatever"),
        helper.make_node("Sigmoid", ["a"], ["alpha"]),
    ]
    target = nets.value("target", ["rank"], TensorProto.INT64)
    output = helper.make_empty_tensor_value_info("alpha")
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    net = nets.model(nodes, [], inputs=[nets.value("image", [1, 3, 4, 4]), target], outputs=[output])
    with pytest.raises(ModelError, match=r"'a', the output of a Reshape, has a number of dimensions"):
        ranks_are_known(net, "net")


@pytest.mark.parametrize("version", [9, 11, 13, 16])
def test_older_opsets_are_brought_to_17(tmp_path, version):
    path = tmp_path / "old.onnx"
    opset(version)(path)
    assert load_onnx(path).opset_import[0].version == 17


def test_every_operator_of_the_list_is_one():
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= ALLOWED
    assert not {"If", "Loop", "Scan", "LSTM", "NonZero"} & ALLOWED


def test_findings_name_every_place(rng):
    assert findings(nets.foldable(rng)) == []
    nodes = [helper.make_node("Hardmax", ["a"], [f"h{i}"], name=f"hard {i}") for i in range(6)]
    net = conv_and(*nodes, helper.make_node("Sigmoid", ["a"], ["alpha"]))
    assert len(findings(net)) == 6
    with pytest.raises(LivecutError, match=r"'hard 0'.*'hard 3'.*and 2 more\. Export the network again"):
        check_graph(net, "net")


class Evil:
    """Would write a file if anybody unpickled it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_pickle_is_named_and_never_run(tmp_path, kind):
    torch = pytest.importorskip("torch", reason="reads checkpoints")
    from livecut.training.weights import open_checkpoint

    path, mark = tmp_path / "evil.pt", tmp_path / "was here"
    if kind == "torch":
        torch.save({"weights": Evil(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"weights": Evil(mark)}))
    with pytest.raises(LivecutError, match=r"holds Python code \(.*open\) that would run") as caught:
        open_checkpoint(path)
    assert caught.value.exit_code == 4
    assert not mark.exists()
