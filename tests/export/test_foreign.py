"""Networks from elsewhere become bundles that the engine runs: each answer is computed again in NumPy."""

import json

import foreign_nets as nets
import numpy as np
import onnx
import pytest
from foreign_answers import ATOL, alpha_of, normalised, scene, sigmoid

from livecut.engine.backends import select_backend
from livecut.engine.errors import ModelError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.export import foreign, foreign_runs
from livecut.export.foreign import import_foreign
from livecut.export.parity import ParityError
from livecut.export.recipes import RecipeError, load_recipe


def test_u2net_takes_the_first_of_seven_outputs_and_spreads_it(tmp_path):
    report = import_foreign(nets.u2net(tmp_path / "u2net.onnx"), None, tmp_path / "u2net")
    assert (report.recipe.name, report.sizes_wh, report.fixed) == ("u2net", ((320, 320),), True)
    image = scene((320, 320))
    red = sigmoid(normalised(image, report.recipe)[0])
    expected = (red - red.min()) / (red.max() - red.min())
    np.testing.assert_allclose(alpha_of(tmp_path / "u2net", image), expected, atol=ATOL)


def test_isnet_takes_the_first_of_its_outputs_and_drops_the_features(tmp_path):
    report = import_foreign(nets.isnet(tmp_path / "is.onnx"), None, tmp_path / "is")
    graph = onnx.load(str(tmp_path / "is" / "model.onnx")).graph
    assert [value.name for value in graph.output] == ["alpha"]
    assert not any("features" in name for node in graph.node for name in node.output)
    image = scene((64, 64))
    green = sigmoid(2 * normalised(image, report.recipe)[1])
    np.testing.assert_allclose(
        alpha_of(tmp_path / "is", image), (green - green.min()) / np.ptp(green), atol=ATOL
    )


def test_nodes_in_no_order_are_the_same_network(tmp_path):
    path = nets.isnet(tmp_path / "in_order.onnx")
    import_foreign(path, None, tmp_path / "in_order")
    model = onnx.load(str(path))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(tmp_path / "backwards.onnx"))
    import_foreign(tmp_path / "backwards.onnx", None, tmp_path / "backwards")
    image = scene((64, 64))
    np.testing.assert_array_equal(
        alpha_of(tmp_path / "backwards", image), alpha_of(tmp_path / "in_order", image)
    )


@pytest.mark.parametrize("inside", [False, True])
def test_birefnets_last_output_gets_one_sigmoid_not_two(tmp_path, inside):
    report = import_foreign(nets.birefnet(tmp_path / "b.onnx", sigmoid=inside), None, tmp_path / "b")
    assert ("the file ends in a sigmoid already: none is added" in report.notes) == inside
    image = scene((64, 64))
    expected = sigmoid(3 * normalised(image, report.recipe)[2])
    np.testing.assert_allclose(alpha_of(tmp_path / "b", image), expected, atol=ATOL)


@pytest.mark.parametrize("nhwc", [True, False])
def test_the_layout_is_turned_inside_the_graph(tmp_path, nhwc):
    report = import_foreign(nets.selfie(tmp_path / "s.onnx", nhwc=nhwc), "mediapipe-selfie", tmp_path / "s")
    assert len(report.notes) == (0 if nhwc else 2)  # the file knew better than the recipe
    image = scene((256, 256))
    x = normalised(image, report.recipe)
    np.testing.assert_allclose(alpha_of(tmp_path / "s", image), sigmoid(4 * x[0] - 4 * x[2]), atol=ATOL)


@pytest.mark.parametrize(("name", "size", "recipe"), [("x", 192, "pp-humanseg"), ("data", 320, "sinet")])
@pytest.mark.parametrize("inside", [True, False])
def test_the_persons_class_is_taken_after_one_softmax(tmp_path, name, size, recipe, inside):
    path = nets.two_classes(tmp_path / "p.onnx", size=(size, size), name=name, softmax=inside)
    report = import_foreign(path, None, tmp_path / "p")
    assert report.recipe.name == recipe
    image = scene((size, size))
    x = normalised(image, report.recipe)
    background, person = -2 * x[0] + 0.5 * x[1], 3 * x[0] - x[2]
    np.testing.assert_allclose(alpha_of(tmp_path / "p", image), sigmoid(person - background), atol=ATOL)


def test_an_argmax_in_whole_numbers_becomes_a_hard_alpha(tmp_path):
    path = nets.two_classes(tmp_path / "p.onnx", argmax=True)
    report = import_foreign(path, "pp-humanseg", tmp_path / "p")
    image = scene((192, 192))
    x = normalised(image, report.recipe)
    expected = (3 * x[0] - x[2]) > (-2 * x[0] + 0.5 * x[1])
    np.testing.assert_allclose(alpha_of(tmp_path / "p", image), expected, atol=ATOL)


@pytest.mark.slow
def test_modnet_keeps_its_free_sizes(tmp_path):
    report = import_foreign(nets.modnet(tmp_path / "m.onnx"), None, tmp_path / "m")
    assert not report.fixed
    manifest = Manifest.load(tmp_path / "m")
    assert manifest.size_for((1920, 1080)) == (896, 512)
    assert manifest.size_for((1080, 1920)) == (512, 896)
    for size in ((96, 64), (64, 64)):
        assert alpha_of(tmp_path / "m", scene(size), size_wh=size).shape == size[::-1]


def test_a_size_makes_one_of_a_free_file(tmp_path):
    report = import_foreign(nets.modnet(tmp_path / "m.onnx"), "modnet", tmp_path / "m", size=(100, 60))
    assert (report.sizes_wh, report.fixed) == (((100, 60),), True)
    graph = onnx.load(str(tmp_path / "m" / "model.onnx")).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 60, 100]
    assert alpha_of(tmp_path / "m", scene((100, 60))).shape == (60, 100)
    with pytest.raises(UsageError, match="m is fixed at 100x60 and cannot take 96x64"):
        alpha_of(tmp_path / "m", scene((96, 64)), size_wh=(96, 64))


@pytest.mark.slow
def test_fp16_files_get_a_cast_in_front_and_behind(tmp_path):
    half = import_foreign(
        nets.modnet(tmp_path / "h.onnx", dtype=nets.HALF), None, tmp_path / "h", size=(64, 64)
    )
    full = import_foreign(nets.modnet(tmp_path / "f.onnx"), None, tmp_path / "f", size=(64, 64))
    assert (half.precision, full.precision) == ("fp16", "fp32")
    image = scene((64, 64))
    np.testing.assert_allclose(
        alpha_of(tmp_path / "h", image), alpha_of(tmp_path / "f", image), atol=2 / 255 + ATOL
    )


def test_a_file_that_takes_bytes_gets_rounded_ones(tmp_path):
    nodes = [
        onnx.helper.make_node("Cast", ["pixels"], ["x"], to=nets.FLOAT),
        onnx.helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1]),
    ]
    inputs = [nets.info("pixels", [1, 3, 32, 32], onnx.TensorProto.UINT8)]
    weights = [nets.tensor("w", nets.pick(1 / 255))]
    path = nets.save(tmp_path / "b.onnx", nodes, inputs, [nets.info("y", [1, 1, 32, 32])], weights)
    (tmp_path / "bytes.toml").write_text('[output]\nname = "y"\n')
    import_foreign(path, tmp_path / "bytes.toml", tmp_path / "b")
    image = scene((32, 32))
    np.testing.assert_allclose(alpha_of(tmp_path / "b", image), image[..., 0] / 255, atol=ATOL)


def test_a_smaller_output_is_enlarged_and_an_inverted_one_turned(tmp_path):
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["red"], kernel_shape=[1, 1]),
        onnx.helper.make_node("AveragePool", ["red"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    weights = [nets.tensor("w", nets.pick(1))]
    outputs = [nets.info("small", [1, 1, "h4", "w4"])]
    path = nets.save(tmp_path / "s.onnx", nodes, [nets.info("x", [1, 3, "h", "w"])], outputs, weights)
    (tmp_path / "s.toml").write_text(
        "[input]\nstd = [255, 255, 255]\nsizes_wh = [[64, 32], [32, 64]]\n[output]\ninvert = true\n"
    )
    report = import_foreign(path, tmp_path / "s.toml", tmp_path / "s")
    assert any("16x8: it is enlarged to the input's 64x32" in note for note in report.notes)
    for size in report.sizes_wh:
        image = scene(size)
        red = 1 - image[..., 0] / 255
        inner = (slice(4, -4), slice(4, -4))  # a ramp stays one under pooling and linear enlargement
        np.testing.assert_allclose(alpha_of(tmp_path / "s", image)[inner], red[inner], atol=2.5 / 255)


# -- what the bundle says


def test_the_bundle_says_what_it_is(tmp_path):
    path = nets.u2net(tmp_path / "mine.onnx")
    steps = []
    report = import_foreign(
        path, None, tmp_path / "out" / "u2", progress=lambda name, share: steps.append(share)
    )
    folder = tmp_path / "out" / "u2"
    assert sorted(item.name for item in folder.iterdir()) == [
        "LEDGER.json",
        "MODEL_CARD.md",
        "manifest.json",
        "model.onnx",
        "model.onnx.passport.json",
    ]
    assert [item.name for item in folder.parent.iterdir()] == ["u2"]  # nothing half-written is left
    passport = Passport.read(folder / "model.onnx")
    assert passport.check(folder / "model.onnx", path) == []
    assert (passport.precision_found, passport.shapes["image"]) == ("fp32", [1, 3, 320, 320])
    assert passport.parity["max_abs"] == report.parity["max_abs"]
    ledger = json.loads((folder / "LEDGER.json").read_text())
    assert (ledger["trained_by_livecut"], ledger["source_sha256"]) == (False, report.sha256)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "mine.onnx" in card
    assert "Apache-2.0" in card
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    model = onnx.load(str(folder / "model.onnx"))
    assert model.opset_import[0].version >= 17
    assert {entry.key: entry.value for entry in model.metadata_props}["recipe"] == "u2net"


def test_names_inside_the_file_that_are_ours_do_not_clash(tmp_path):
    nodes = [
        onnx.helper.make_node("Conv", ["image", "alpha"], ["livecut"], kernel_shape=[1, 1]),
        onnx.helper.make_node("Sigmoid", ["livecut"], ["out"]),
    ]
    inputs, outputs = [nets.info("image", [1, 3, 32, 32])], [nets.info("out", [1, 1, 32, 32])]
    path = nets.save(tmp_path / "n.onnx", nodes, inputs, outputs, [nets.tensor("alpha", nets.pick(1))])
    (tmp_path / "n.toml").write_text("[input]\nstd = [255, 255, 255]\n")
    import_foreign(path, tmp_path / "n.toml", tmp_path / "n")
    image = scene((32, 32))
    np.testing.assert_allclose(alpha_of(tmp_path / "n", image), sigmoid(image[..., 0] / 255), atol=ATOL)


# -- what is refused


def test_a_recipe_that_does_not_fit_says_where(tmp_path):
    path = nets.u2net(tmp_path / "u.onnx")
    cases = {
        "wants an input 'src'": "rvm",
        "wants an output 'matte'": '[output]\nname = "matte"\n',
        "wants an output at position 7": "[output]\nname = 7\n",
        "wants a state 'a' -> 'b'": '[[state]]\ninput = "a"\noutput = "b"\n',
    }
    for message, recipe in cases.items():
        name = recipe
        if "\n" in recipe:
            name = tmp_path / "case.toml"
            name.write_text(recipe)
        with pytest.raises(RecipeError, match=message) as caught:
            import_foreign(path, name, tmp_path / "out")
        assert "input.1 float32 1x3x320x320" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_input_of_which_the_recipe_says_nothing_is_named(tmp_path):
    (tmp_path / "r.toml").write_text(
        '[input]\nname = "src"\nsizes_wh = [[64, 64]]\n[output]\nname = "pha"\n'
        + "".join(f'[[state]]\ninput = "r{n}i"\noutput = "r{n}o"\n' for n in range(1, 5))
    )
    with pytest.raises(RecipeError, match="says nothing of the input 'downsample_ratio'"):
        import_foreign(nets.rvm(tmp_path / "rvm.onnx"), tmp_path / "r.toml", tmp_path / "out")


def test_several_channels_need_to_be_chosen_from(tmp_path):
    path = nets.two_classes(tmp_path / "p.onnx", softmax=False)
    (tmp_path / "none.toml").write_text("")
    with pytest.raises(RecipeError, match="has 2 channels and the recipe none says not which"):
        import_foreign(path, tmp_path / "none.toml", tmp_path / "out")
    (tmp_path / "third.toml").write_text("[output]\nchannel = 2\n")
    with pytest.raises(RecipeError, match="wants number 2"):
        import_foreign(path, tmp_path / "third.toml", tmp_path / "out")


def test_sizes_that_are_not_to_be_had_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--size 64x64: the file is fixed at 320x320; leave out --size"):
        import_foreign(nets.u2net(tmp_path / "u.onnx"), None, tmp_path / "out", size=(64, 64))
    (tmp_path / "free.toml").write_text("")
    with pytest.raises(RecipeError, match="takes any size and the recipe free names none"):
        import_foreign(nets.modnet(tmp_path / "m.onnx"), tmp_path / "free.toml", tmp_path / "out")


def test_a_file_for_several_pictures_at_once_is_refused(tmp_path):
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])]
    inputs, outputs = [nets.info("x", [4, 3, 32, 32])], [nets.info("y", [4, 1, 32, 32])]
    path = nets.save(tmp_path / "b.onnx", nodes, inputs, outputs, [nets.tensor("w", nets.pick(1))])
    (tmp_path / "b.toml").write_text("")
    with pytest.raises(ModelError, match="takes 4 pictures at once"):
        import_foreign(path, tmp_path / "b.toml", tmp_path / "out")


def test_an_output_that_is_no_plane_is_refused(tmp_path):
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["y"]),
    ]
    inputs, outputs = [nets.info("x", [1, 3, 32, 32])], [nets.info("y", [1, 3])]
    path = nets.save(tmp_path / "c.onnx", nodes, inputs, outputs, [])
    (tmp_path / "c.toml").write_text("")
    with pytest.raises(ModelError, match="the output 'y' is 1x3; expected an alpha"):
        import_foreign(path, tmp_path / "c.toml", tmp_path / "out")


def test_a_wrapped_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    path = nets.birefnet(tmp_path / "b.onnx")
    import_foreign(path, None, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    monkeypatch.setattr(foreign, "activations_left", lambda *_: ([], []))  # forgets the sigmoid

    def read_with_sigmoid(raw, plan):
        return sigmoid(raw[0, 0].astype(np.float64))

    monkeypatch.setattr(foreign_runs, "read_alpha", read_with_sigmoid)
    with pytest.raises(ParityError, match="differs from the file by"):
        import_foreign(path, None, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert {item.name for item in tmp_path.iterdir()} == {"b.onnx", "out"}


def test_a_file_that_nothing_here_can_run_says_why(tmp_path):
    nodes = [onnx.helper.make_node("Sharpen", ["x"], ["y"], domain="com.example")]
    inputs, outputs = [nets.info("x", [1, 3, 32, 32])], [nets.info("y", [1, 1, 32, 32])]
    path = nets.save(tmp_path / "s.onnx", nodes, inputs, outputs, [], domains=("com.example",))
    (tmp_path / "s.toml").write_text("")
    with pytest.raises(ModelError, match="Sharpen") as caught:
        import_foreign(path, tmp_path / "s.toml", tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_quantised_file_stays_quantised(tmp_path, rng):
    quantization = pytest.importorskip("onnxruntime.quantization", reason="makes the int8 file")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [{"input": rng.normal(0, 1, (1, 3, 64, 64)).astype(np.float32)} for _ in range(4)]

        def get_next(self):
            return self.left.pop() if self.left else None

    source = nets.modnet(tmp_path / "m.onnx")
    quantization.quantize_static(
        str(source), str(tmp_path / "q.onnx"), Reader(), quant_format=quantization.QuantFormat.QDQ
    )
    report = import_foreign(tmp_path / "q.onnx", "modnet", tmp_path / "q", size=(64, 64))
    assert report.precision == "int8"
    make, _ = select_backend("openvino")
    backend = make()
    backend.open(Manifest.load(tmp_path / "q"), (64, 64), precision="fp32", threads=1)
    assert backend.info.precision == "int8"
    backend.close()
    import_foreign(source, "modnet", tmp_path / "m", size=(64, 64))
    image = scene((64, 64))
    difference = np.abs(alpha_of(tmp_path / "q", image) - alpha_of(tmp_path / "m", image))
    assert difference.mean() < 0.03


def test_load_recipe_objects_are_taken_as_well(tmp_path):
    report = import_foreign(nets.birefnet(tmp_path / "b.onnx"), load_recipe("birefnet"), tmp_path / "b")
    assert report.notes == ()
