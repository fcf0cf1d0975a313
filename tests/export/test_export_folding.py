"""Folding and shapes: fewer nodes, the same answers; fixed and free sizes, and what cannot have them."""

import copy

import export_nets as nets
import numpy as np
import pytest
from onnx import helper

pytest.importorskip("onnxruntime", reason="runs what is exported")

from livecut.engine.errors import ModelError, UsageError
from livecut.export.onnx_folding import fold
from livecut.export.onnx_shapes import Shapes, apply_shapes, chosen, profiles, shapes_at
from livecut.export.runners import onnx_runner


def kinds(model):
    return [node.op_type for node in model.graph.node]


def same(one, other, feed):
    np.testing.assert_allclose(onnx_runner(one)(feed)["alpha"], onnx_runner(other)(feed)["alpha"], atol=1e-6)


@pytest.fixture
def picture(rng):
    return {"image": rng.uniform(0, 1, (1, 3, 32, 64)).astype(np.float32)}


def test_folding_leaves_what_has_to_be_computed_and_nothing_else(rng, picture):
    before = nets.foldable(rng)
    after = fold(before)
    assert kinds(after) == ["Conv", "Relu", "Mul", "Add", "Conv", "Sigmoid"]
    same(before, after, picture)
    assert "BatchNormalization" in kinds(before)  # the source is left as it was


@pytest.mark.parametrize("groups", [1, 2])
def test_normalisation_folds_into_a_transposed_convolution(rng, picture, groups):
    net = nets.model(
        [
            helper.make_node("Conv", ["image", "first"], ["a"], kernel_shape=[1, 1]),
            helper.make_node("ConvTranspose", ["a", "kernel"], ["b"], kernel_shape=[1, 1], group=groups),
            helper.make_node("BatchNormalization", ["b", "gamma", "beta", "mean", "variance"], ["c"]),
            helper.make_node("Conv", ["c", "last"], ["d"], kernel_shape=[1, 1]),
            helper.make_node("Sigmoid", ["d"], ["alpha"]),
        ],
        [
            nets.weights("first", rng.normal(size=(4, 3, 1, 1))),
            nets.weights("kernel", rng.normal(size=(4, 6 // groups, 1, 1))),
            nets.weights("gamma", rng.uniform(0.5, 2, 6)),
            nets.weights("beta", rng.normal(size=6)),
            nets.weights("mean", rng.normal(size=6)),
            nets.weights("variance", rng.uniform(0.5, 2, 6)),
            nets.weights("last", rng.normal(size=(1, 6, 1, 1))),
        ],
    )
    after = fold(net)
    assert kinds(after) == ["Conv", "ConvTranspose", "Conv", "Sigmoid"]
    same(net, after, picture)


def test_normalisation_of_a_tensor_that_others_use_stays_apart(rng, picture):
    net = nets.model(
        [
            helper.make_node("Conv", ["image", "kernel"], ["a"], kernel_shape=[1, 1]),
            helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Sigmoid", ["c"], ["alpha"]),
        ],
        [
            nets.weights("kernel", rng.normal(size=(1, 3, 1, 1))),
            *(nets.weights(name, [1.5]) for name in ("gamma", "beta", "mean", "variance")),
        ],
    )
    after = fold(net)
    assert kinds(after) == ["Conv", "Mul", "Add", "Add", "Sigmoid"]
    same(net, after, picture)


def test_what_only_a_branch_of_a_branch_reads_is_kept(picture):
    def branch(node, name):
        made = helper.make_tensor_value_info(name, nets.TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [made])

    def either(name, one, other):
        return helper.make_node("If", ["yes"], [name], then_branch=one, else_branch=other)

    inner = either(
        "inner",
        branch(helper.make_node("Mul", ["image", "scale"], ["deep"]), "deep"),
        branch(helper.make_node("Identity", ["image"], ["deep_else"]), "deep_else"),
    )
    plain = branch(helper.make_node("Identity", ["image"], ["flat"]), "flat")
    weights = [nets.weights("yes", True, bool), nets.weights("scale", np.full((1, 3, 1, 1), 0.3))]
    last = helper.make_node("ReduceMean", ["b"], ["alpha"], axes=[1], keepdims=1)
    net = nets.model([either("b", branch(inner, "inner"), plain), last], weights)
    same(net, fold(net), picture)


def test_a_known_size_turns_computed_shapes_into_numbers(picture):
    net = nets.upsampling()
    fixed, manifest = apply_shapes(net, nets.MANIFEST, Shapes((64, 32)))
    after = fold(fixed)
    assert kinds(after) == ["Conv", "Resize", "Clip"]
    assert manifest["input"]["sizes_wh"] == [[64, 32]]
    assert nets.MANIFEST["input"]["sizes_wh"] == [[64, 32], [32, 64]]
    same(net, after, picture)
    assert "Shape" in kinds(fold(net))  # free sizes are still read off the input


def test_quantised_weights_are_not_dequantised(rng):
    net = nets.model(
        [
            helper.make_node("DequantizeLinear", ["bytes", "scale", "origin"], ["kernel"]),
            helper.make_node("Conv", ["image", "kernel"], ["a"], kernel_shape=[1, 1]),
            helper.make_node("Sigmoid", ["a"], ["alpha"]),
        ],
        [
            nets.weights("bytes", rng.integers(-100, 100, (1, 3, 1, 1)), np.int8),
            nets.weights("scale", 0.01),
            nets.weights("origin", 0, np.int8),
        ],
    )
    assert kinds(fold(net)) == ["DequantizeLinear", "Conv", "Sigmoid"]


STATE = [{"input": "before", "output": "after", "shape": [1, 8, "height/4", "width/4"]}]


def test_state_follows_the_size():
    manifest = {**nets.MANIFEST, "state": STATE}
    assert shapes_at(manifest, (64, 32)) == {"image": (1, 3, 32, 64), "before": (1, 8, 8, 16)}
    assert shapes_at(manifest, (64, 32), 2, outputs=True)["after"] == (2, 8, 8, 16)


def test_profiles_span_the_manifests_sizes():
    assert profiles(nets.MANIFEST, Shapes(None)) == {
        "image": ((1, 3, 32, 32), (1, 3, 32, 64), (1, 3, 64, 64))
    }
    assert profiles(nets.MANIFEST, Shapes(None, 4, free_batch=True))["image"][0] == (1, 3, 32, 32)
    assert profiles(nets.MANIFEST, Shapes(None, 4, free_batch=True))["image"][2] == (4, 3, 64, 64)
    assert profiles(nets.MANIFEST, Shapes((64, 32), 4)) is None


def ask(net, **changes):
    return chosen(net, nets.MANIFEST, **{"size_wh": None, "batch": 1, "dynamic": False, **changes})


def test_shapes_are_what_was_asked_for_or_what_the_graph_has():
    free, fixed = nets.upsampling(), nets.upsampling((32, 64))
    assert ask(free) == Shapes(None)
    assert ask(free, size_wh=(64, 32)) == Shapes((64, 32))
    assert ask(free, size_wh=(64, 32), batch=3) == Shapes((64, 32), 3)
    assert ask(free, dynamic=True, batch=3) == Shapes(None, 3, free_batch=True)
    assert ask(fixed) == ask(fixed, size_wh=(64, 32)) == Shapes((64, 32))


def test_a_size_that_cannot_be_had_says_which_can():
    with pytest.raises(UsageError, match=r"multiples of 32, got 70x32; near it is 64x32"):
        ask(nets.upsampling(), size_wh=(70, 32))
    with pytest.raises(ModelError, match=r"fixed at 64x32 and cannot take 32x32"):
        ask(nets.upsampling((32, 64)), size_wh=(32, 32))
    with pytest.raises(ModelError, match=r"fixed at 64x32 and cannot take free sizes"):
        ask(nets.upsampling((32, 64)), dynamic=True)


def test_a_graph_with_a_size_inside_cannot_take_another_batch():
    net = nets.upsampling((32, 64))
    node = helper.make_node("Reshape", ["alpha_before", "row"], ["alpha"])
    reshaped = copy.deepcopy(net)
    reshaped.graph.node[-1].output[0] = "alpha_before"
    reshaped.graph.node.append(node)
    reshaped.graph.initializer.append(nets.weights("row", [1, 1, 32, 64], np.int64))
    with pytest.raises(ModelError, match=r"cannot take 64x32, 2 pictures at once"):
        apply_shapes(fold(reshaped), nets.MANIFEST, Shapes((64, 32), 2))


def clipping(*limits):
    """Clips of the red channel; each pair of limits with shapes of its own."""
    names = [[f"low{index}", f"high{index}"] for index in range(len(limits))]
    steps = ["red", *(f"clipped{index}" for index in range(len(limits) - 1)), "alpha"]
    nodes = [helper.make_node("Conv", ["image", "pick"], ["red"], kernel_shape=[1, 1])]
    for index, pair in enumerate(names):
        nodes.append(helper.make_node("Clip", [steps[index], *pair], [steps[index + 1]]))
    constants = [nets.weights("pick", [[[[1]], [[0]], [[0]]]])]
    for pair, values in zip(names, limits, strict=True):
        constants += [nets.weights(name, value) for name, value in zip(pair, values, strict=True)]
    return nets.model(nodes, constants)


def limits_of(model):
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    clips = [node for node in model.graph.node if node.op_type == "Clip"]
    return [[dims[name] for name in node.input[1:] if name] for node in clips]


def test_limits_of_a_clip_that_a_file_holds_as_lists_become_scalars(picture):
    before = clipping(([0.0], [[0.6]]), (0.1, 0.5))
    after = fold(before)
    assert limits_of(before) == [[[1], [1, 1]], [[], []]]
    assert limits_of(after) == [[[], []], [[], []]]
    assert not {"low0", "high0"} & {tensor.name for tensor in after.graph.initializer}
    same(clipping((0.0, 0.6), (0.1, 0.5)), after, picture)


@pytest.mark.parametrize("name", ["b_weight", "b_bias", "d_scale", "d_shift", "d_scaled"])
def test_names_that_a_graph_has_already_keep_their_meaning(rng, picture, name):
    before = nets.foldable(rng)
    last = next(tensor for tensor in before.graph.initializer if tensor.name == "last")
    last.name = name
    for node in before.graph.node:
        node.input[:] = [name if known == "last" else known for known in node.input]
    same(before, fold(before), picture)


def test_a_scalar_limit_takes_no_other_constants_place(picture):
    before = clipping(([0.0], [0.6]))
    before.graph.initializer.append(nets.weights("high0_scalar", 0.3))
    before.graph.node.append(helper.make_node("Mul", ["alpha", "high0_scalar"], ["darker"]))
    before.graph.output[0].name = "darker"
    after = fold(before)
    np.testing.assert_allclose(
        onnx_runner(after)(picture)["darker"], onnx_runner(before)(picture)["darker"], atol=1e-6
    )
    assert limits_of(after) == [[[], []]]


def test_limits_that_are_computed_stay_scalars():
    """Constants are folded too, and np.ascontiguousarray gives everything at least one dimension."""
    model = clipping((0.0, 6.0))
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in ("low0", "high0"):
        model.graph.initializer.remove(held[name])
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=held[name]))
    assert limits_of(fold(model)) == [[[], []]]


def test_a_new_export_of_a_shipped_model_has_scalar_limits(tmp_path):
    from livecut.engine.registry import find_bundle
    from livecut.export import Options, export_model, open_source
    from livecut.export.onnx_file import read_proto

    (made,) = export_model(open_source(find_bundle("livecut-s")), tmp_path, options=Options(size_wh=(64, 64)))
    limits = limits_of(read_proto(made.artefact))
    assert len(limits) > 10
    assert all(shape == [] for pair in limits for shape in pair)
