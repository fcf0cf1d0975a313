"""Recipes: what they must say, and which file each is recognised by."""

import pytest

from livecut.export import recipes
from livecut.export.recipes import RecipeError, Signature, load_recipe, parse_recipe, recipe_names, recognise

FAMILIES = {
    *{"u2net", "u2netp", "isnet", "birefnet", "modnet", "rvm", "mediapipe-selfie", "pp-humanseg"},
    *{"rmbg-1.4", "rmbg-2.0", "inspyrenet", "sinet"},
}


def float32(**shapes):
    return {name: ("float32", shape) for name, shape in shapes.items()}


def test_every_family_has_a_recipe():
    assert set(recipe_names()) >= FAMILIES


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_whole_and_says_where_its_facts_are_from(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.sizes_wh
    assert "github.com" in recipe.source or "model card" in recipe.source
    assert recipe.licence != "unknown"
    assert all(0 <= mean <= 255 for mean in recipe.mean)
    for width, height in recipe.sizes_wh:
        assert width % recipe.multiple_of == 0
        assert height % recipe.multiple_of == 0


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        # a pixel of value 100, as each network's own code would feed it
        ("u2net", (100, 100, 255), [-0.4054, -0.285, 2.64]),
        ("isnet", (100, 0, 255), [100 / 255 - 0.5, -0.5, 0.5]),
        ("modnet", (0, 127.5, 255), [-1, 0, 1]),
        ("rvm", (0, 51, 255), [0, 0.2, 1]),
        ("mediapipe-selfie", (0, 51, 255), [0, 0.2, 1]),
        ("pp-humanseg", (0, 127.5, 255), [-1, 0, 1]),
        ("sinet", (102.890434, 111.25247, 126.91212 + 66.355705), [0, 0, 1 / 255]),
    ],
)  # fmt: skip
def test_normalisation_is_that_of_the_networks_own_code(name, value, expected):
    recipe = load_recipe(name)
    got = [(v - mean) / std for v, mean, std in zip(value, recipe.mean, recipe.std, strict=True)]
    assert got == pytest.approx(expected, abs=1e-4)


def test_a_recipe_extends_another_and_changes_what_it_says(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "u2net"\n[output]\nactivation = "none"\n')
    mine, base = load_recipe(path), load_recipe("u2net")
    assert mine.activation == ("none",)
    assert (mine.mean, mine.std, mine.sizes_wh) == (base.mean, base.std, base.sizes_wh)
    assert mine.match == ()


def test_a_recipe_may_extend_a_file_beside_it_and_not_itself(tmp_path):
    (tmp_path / "base.toml").write_text("[input]\nsizes_wh = [[96, 64]]\n")
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\n')
    assert load_recipe(tmp_path / "mine.toml").sizes_wh == ((96, 64),)
    (tmp_path / "base.toml").write_text('extends = "mine.toml"\n')
    with pytest.raises(RecipeError, match=r"extends: no recipe 'mine\.toml'"):
        load_recipe(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[input]\ncolour = 'RGB'", "input: unknown key 'colour'; there are color, fit"),
        ("[input]\ncolor = 'YUV'", "input.color: expected RGB or BGR, got 'YUV'"),
        ("[input]\nstd = [1, 0, 1]", "input.std: expected numbers other than 0"),
        ("[input]\nmean = [1, 2]", "input.mean: expected 3 numbers"),
        ("[input]\nmean = 1", "input.mean: expected a list of numbers"),
        ("[input]\nnormalise = 'coco'", "input.normalise: expected 'imagenet', got 'coco'"),
        ("[input]\nsizes_wh = [[0, 64]]", r"input.sizes_wh: expected \[width, height\], got \[0, 64\]"),
        ("[input]\nsizes_wh = [64, 64]", "input.sizes_wh: expected a list of numbers"),
        ("[input]\nmultiple_of = 0", "input.multiple_of: expected a whole number from 1"),
        ("[output]\nactivation = 'relu'", "output.activation: expected none or sigmoid"),
        ("[output]\nactivation = 'softmax'", "softmax needs output.channel"),
        ("[output]\nchannel = -1", "output.channel: expected 0, 1"),
        ("[output]\nname = 1.5", "output.name: expected a name or a position"),
        ("[[state]]\ninput = 'a'", "state: expected input and output"),
        ("[[match]]", "match: expected something to recognise a file by"),
        ("[[match]]\nsize = 3", "match: unknown key 'size'"),
        ("flavour = 1", "unknown key 'flavour'"),
        ("input = 3", "input: expected a table, got 3"),
        ("= 3", "not readable as TOML"),
    ],
)  # fmt: skip
def test_a_malformed_recipe_names_the_key(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert "bad.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_recipe_nobody_has_is_answered_with_those_near_it(tmp_path):
    with pytest.raises(RecipeError, match=r"no recipe 'rmbg'; did you mean rmbg-1.4 or rmbg-2.0\?"):
        load_recipe("rmbg")
    with pytest.raises(RecipeError, match="did you mean modnet"):
        load_recipe("modnt")
    with pytest.raises(RecipeError, match=r"nowhere.toml: cannot be read"):
        load_recipe(tmp_path / "nowhere.toml")


SEVEN = {str(1959 + index): (1, 1, 320, 320) for index in range(7)}
STATES_IN = {f"r{n}i": (None, None, None, None) for n in range(1, 5)}
STATES_OUT = {f"r{n}o": (None, None, None, None) for n in range(1, 5)}
FREE = (None, 3, None, None)
MODNET = ("lr_branch.w", "hr_branch.w", "f_branch.w")


@pytest.mark.parametrize(
    ("inputs", "outputs", "names", "expected"),
    [
        ({"input.1": (1, 3, 320, 320)}, SEVEN, (), "u2net"),
        ({"in": (None, 3, 320, 320)}, {"out": (None, 1, 320, 320)}, ("side6.b", "outconv.w"), "u2net"),
        ({"x": (1, 3, 1024, 1024)}, {"y": (1, 1, 1024, 1024)}, ("conv_in.weight", "side6.bias"), "isnet"),
        ({"input_image": (1, 3, 1024, 1024)}, {"output_image": (1, 1, 1024, 1024)}, (), "birefnet"),
        ({"pixel_values": FREE}, {"alphas": (None, 1, None, None)}, (), "rmbg-2.0"),
        ({"input": FREE}, {"output": (None, 1, None, None)}, MODNET, "modnet"),
        ({"src": FREE, **STATES_IN, "downsample_ratio": (1,)}, {"pha": FREE, **STATES_OUT}, (), "rvm"),
        ({"src": FREE, **STATES_IN}, {"pha": FREE, **STATES_OUT}, (), "rvm"),
        ({"input_1:0": (1, 256, 256, 3)}, {"activation_10": (1, 256, 256, 1)}, (), "mediapipe-selfie"),
        ({"x": (1, 3, 192, 192)}, {"save_infer_model/scale_0.tmp_1": (1, 2, 192, 192)}, (), "pp-humanseg"),
        ({"data": (1, 3, 320, 320)}, {"Softmax/1": (1, 2, 320, 320)}, (), "sinet"),
        ({"x": (1, 3, 384, 384)}, {"y": (1, 1, 384, 384)}, ("context5.w", "attention0.w"), "inspyrenet"),
    ],
)  # fmt: skip
def test_files_are_recognised_by_names_and_shapes(inputs, outputs, names, expected):
    assert recognise(Signature(float32(**inputs), float32(**outputs), names)).name == expected


def test_recipes_of_equal_effect_are_one_answer_with_both_licences():
    recipe = recognise(
        Signature(
            float32(x=(1, 3, 1024, 1024)), float32(y=(1, 1, 1024, 1024)), ("conv_in.weight", "side6.bias")
        )
    )
    assert recipe.title == "IS-Net or BRIA RMBG 1.4"
    assert "non-commercial" in recipe.licence


def test_a_file_that_is_not_recognised_asks_for_a_recipe_in_one_line():
    with pytest.raises(
        RecipeError, match=r"in: input float32 1x3x\?x\?; out: output .*--recipe: there are"
    ) as caught:
        recognise(Signature(float32(input=(1, 3, None, None)), float32(output=(1, 1, None, None))))
    assert "\n" not in str(caught.value)


def test_a_file_that_two_recipes_fit_asks_which():
    one = parse_recipe({"match": [{"inputs": ["x"]}]}, "one")
    two = parse_recipe({"match": [{"inputs": ["x"]}], "output": {"activation": "sigmoid"}}, "two")
    with pytest.raises(RecipeError, match="it could be one or two"):
        recognise(Signature(float32(x=(1, 3, 8, 8)), float32(y=(1, 1, 8, 8))), [one, two])


def test_the_recipes_travel_with_the_package():
    assert recipes.FOLDER.is_dir()
    assert recipes.FOLDER.parent.name == "export"
