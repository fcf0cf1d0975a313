"""``livecut eval``: which files are pairs, what is measured and summed up, and what is written."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

import bundles

from livecut.cli.main import app
from livecut.engine.errors import SourceError
from livecut.training import evaluate, metrics, pairs, smoke
from livecut.training.data.holdout import is_validation
from livecut.training.pairs import Sample, Samples

SIZE_WH = (64, 32)


@pytest.fixture
def livecut():
    """Call the command in this process."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle whose alpha is the picture's red, with figures of its cost."""
    folder = tmp_path_factory.mktemp("models") / "red"
    return bundles.write_bundle(folder, bundles.red_as_alpha(), params=3, gmacs=0.5)


@pytest.fixture(scope="module")
def bundle_with_memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "half"
    return bundles.write_bundle(folder, bundles.half_of_before(), state=bundles.HALF_STATE)


class RedAsAlpha:
    """A predictor; counts how often it was told to forget."""

    begins_with_plate = False

    def __init__(self):
        self.resets = 0

    def __call__(self, image):
        return image[..., 0].astype(np.float32) / 255

    def reset(self):
        self.resets += 1


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def red(share, size_wh=SIZE_WH):
    """A picture (BGR) whose left ``share`` is red."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    image[:, : round(size_wh[0] * share), 2] = 255
    return image


def mask(share, size_wh=SIZE_WH):
    return np.ascontiguousarray(red(share, size_wh)[..., 2])


@pytest.fixture
def folder(tmp_path):
    """Three pairs: one that red gives exactly, one half wrong, one all wrong."""
    root = tmp_path / "pairs"
    for name, seen, true in (("good", 0.5, 0.5), ("fair", 0.5, 0.25), ("bad", 0.25, 0.0)):
        write(root / "images" / f"{name}.png", red(seen))
        write(root / "masks" / f"{name}.png", mask(true))
    return root


def names_of(samples):
    return [(sample.group, sample.name) for sample in samples]


def test_pictures_beside_masks_are_pairs_by_name_in_any_usual_folders(tmp_path):
    for images, masks in (("images", "masks"), ("im", "gt"), ("RGB", "Alpha")):
        root = tmp_path / images
        write(root / "set" / images / "b.png", red(0.5))
        write(root / "set" / images / "a10.png", red(0.5))
        write(root / "set" / images / "a9.png", red(0.5))
        for name in ("a9", "a10", "b"):
            write(root / "set" / masks / f"{name}.png", mask(0.5))
        samples = pairs.open_samples(root, tmp_path / "cache")
        assert names_of(samples) == [("set", "a9.png"), ("set", "a10.png"), ("set", "b.png")]


@pytest.mark.parametrize(
    ("picture", "alpha"),
    [
        ("x.jpg", "x_mask.png"),
        ("x.png", "x-alpha.png"),
        ("x_i.jpg", "x_a.png"),
        ("x.webp", "x_matte.png"),
        ("x.jpg", "x.png"),
    ],
)
def test_endings_and_formats_make_pairs(picture, alpha, tmp_path):
    write(tmp_path / "flat" / picture, red(0.5))
    write(tmp_path / "flat" / alpha, mask(0.25))
    (sample,) = pairs.open_samples(tmp_path / "flat", tmp_path / "cache")
    assert sample.name == picture
    assert sample.alpha.mean() == pytest.approx(0.25)


def test_an_alpha_is_read_in_8_and_16_bits_and_from_an_alpha_channel(tmp_path):
    value = np.full((4, 6), 51, np.uint8)
    for number, pixels in enumerate(
        (value, value.astype(np.uint16) * 257, np.dstack([value * 0] * 3 + [value]))
    ):
        write(tmp_path / "set" / f"{number}.jpg", red(0.5, (6, 4)))
        write(tmp_path / "set" / f"{number}_mask.png", pixels)
    samples = list(pairs.open_samples(tmp_path / "set", tmp_path / "cache"))
    assert [float(sample.alpha.max()) for sample in samples] == pytest.approx([0.2, 0.2, 0.2])


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(folder, tmp_path):
    write(folder / "images" / "alone.png", red(0.5))
    write(folder / "masks" / "fair.png", mask(0.25, (20, 20)))
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    samples = pairs.open_samples(folder, tmp_path / "cache")
    assert [sample.name for sample in samples] == ["good.png"]
    said = "\n".join(samples.skipped)
    assert "alone.png: no alpha of that name" in said
    assert "fair.png: alpha is 20x20, the picture 64x32" in said
    assert "bad.png: does not decode" in said
    assert len(samples.skipped) == 3


def test_plates_are_found_beside_the_pictures_and_by_ending(tmp_path):
    for place in ("images", "masks", "plates"):
        write(tmp_path / "set" / place / "x.png", red(0.5))
    write(tmp_path / "set" / "images" / "y.png", red(0.5))
    write(tmp_path / "set" / "masks" / "y.png", mask(0.5))
    for ending in ("i", "p", "a"):
        write(tmp_path / "set" / "flat" / f"z_{ending}.png", red(0.5))
    every = pairs.open_samples(tmp_path / "set", tmp_path / "cache")
    assert [(sample.name, sample.plate is None) for sample in every] == [
        ("z_i.png", False), ("x.png", False), ("y.png", True),
    ]  # fmt: skip
    with_plates = pairs.open_samples(tmp_path / "set", tmp_path / "cache", plates=True)
    assert [sample.name for sample in with_plates] == ["z_i.png", "x.png"]
    (tmp_path / "set" / "flat" / "z_p.png").unlink()
    (tmp_path / "set" / "plates" / "x.png").unlink()
    with pytest.raises(SourceError, match="no picture with a clean plate"):
        pairs.open_samples(tmp_path / "set", tmp_path / "cache", plates=True)


def test_a_plate_of_another_size_is_named_and_left_out(folder, tmp_path):
    write(folder / "plates" / "good.png", red(0.5, (20, 20)))
    samples = pairs.open_samples(folder, tmp_path / "cache")
    assert [sample.name for sample in samples] == ["bad.png", "fair.png"]
    assert samples.skipped == [f"{folder / 'plates' / 'good.png'}: plate and picture differ in size"]


def test_of_a_training_folder_the_renders_have_plates(data_folder, tmp_path):
    with pytest.raises(SourceError, match="without a single held-out pair with a clean plate"):
        pairs.open_samples(data_folder, tmp_path / "cache", plates=True)
    number = next(number for number in range(10_000) if is_validation(f"{number:05d}_i.jpg"))
    for ending in ("i.jpg", "a.png", "p.jpg"):
        write(
            data_folder / "renders" / f"{number:05d}_{ending}", red(0.5) if ending != "a.png" else mask(0.5)
        )
    (sample,) = pairs.open_samples(data_folder, tmp_path / "cache", plates=True)
    assert sample.name == f"{number:05d}_i.jpg"
    assert sample.plate.shape == sample.image.shape
    assert len(pairs.open_samples(data_folder, tmp_path / "cache")) == 3


def test_a_model_that_begins_with_a_plate_is_shown_each_pictures_own(tmp_path):
    seen = []

    class Begins(RedAsAlpha):
        begins_with_plate = True

        def __call__(self, image):
            seen.append(int(image[0, 0, 0]))
            return super().__call__(image)

    alpha = np.zeros((4, 4), np.float32)
    image, plate = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 20, np.uint8)
    given = Given(Sample(f"{k}.png", "g", image + k, alpha, plate=plate + k) for k in range(2))
    evaluate.evaluate(Begins(), given)
    assert seen == [20, 10, 21, 11]


def test_a_folder_without_pairs_is_refused_with_the_names_it_should_have(tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        pairs.open_samples(tmp_path / "nowhere", tmp_path)
    write(tmp_path / "set" / "images" / "alone.png", red(0.5))
    with pytest.raises(SourceError, match=r"expected images/NAME\.\*|Expected images/NAME\.\*"):
        pairs.open_samples(tmp_path / "set", tmp_path / "cache")


def test_of_a_training_folder_only_the_held_out_pairs_count(tmp_path):
    data = smoke.make_data(tmp_path / "data", np.random.default_rng(1), training=9, held_out=3)
    samples = pairs.open_samples(data, tmp_path / "cache")
    assert len(samples) == len(list(samples)) == 3
    assert {sample.group for sample in samples} == {"clothing_cc0"}


def test_means_are_over_pictures_and_the_worst_comes_first(folder, tmp_path):
    done = evaluate.evaluate(RedAsAlpha(), pairs.open_samples(folder, tmp_path / "cache"), worst=2)
    assert [picture["name"] for picture in done.pictures] == ["bad.png", "fair.png", "good.png"]
    assert done.summary["all"]["mae"] == pytest.approx((0.25 + 0.25 + 0) / 3)
    assert done.summary["all"]["iou"] == pytest.approx((0 + 0.5 + 1) / 3)
    assert [result.name for result in done.worst] == ["bad.png", "fair.png"]
    assert set(done.summary["all"]) == {"pictures", *evaluate.METRICS}


def clip_samples(errors, name="clips/a"):
    """Frames of constant alpha 0.5 with a predicted red of 0.5 + error."""
    alpha = np.full((8, 8), 0.5, np.float32)
    for number, error in enumerate(errors):
        image = np.full((8, 8, 3), round(255 * (0.5 + error)), np.uint8)
        yield Sample(f"{number}.png", name, image, alpha, name)


class Given(Samples):
    """Samples made in the test."""

    def __init__(self, samples):
        super().__init__()
        self.given = list(samples)

    def __len__(self):
        return len(self.given)

    def __iter__(self):
        return iter(self.given)


def test_a_clip_has_a_dtssd_and_is_forgotten_only_at_its_start():
    predict = RedAsAlpha()
    still, jumps = clip_samples([0.1, 0.1, 0.1]), clip_samples([0.0, 0.2, 0.0], "clips/b")
    done = evaluate.evaluate(predict, Given([*still, *jumps]))
    assert predict.resets == 2
    by_name = {clip["name"]: clip["dtssd"] for clip in done.clips}
    assert by_name["clips/a"] == pytest.approx(0, abs=1e-5)
    assert by_name["clips/b"] == pytest.approx(20, abs=0.5)  # grey levels are rounded
    assert done.summary["all"]["dtssd"] == pytest.approx(np.mean(list(by_name.values())))
    assert done.summary["clips/b"]["dtssd"] == by_name["clips/b"]


def test_streamed_dtssd_is_the_metrics(rng):
    alphas = rng.random((4, 8, 8)).astype(np.float32)
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    given = Given(Sample(f"{k}.png", "c", images[k], alphas[k], "c") for k in range(4))
    done = evaluate.evaluate(RedAsAlpha(), given)
    assert done.clips[0]["dtssd"] == pytest.approx(metrics.dtssd(images[..., 0] / 255, alphas), rel=1e-5)


def test_unrelated_pictures_are_each_the_first_of_a_stream(folder, tmp_path):
    predict = RedAsAlpha()
    evaluate.evaluate(predict, pairs.open_samples(folder, tmp_path / "cache"))
    assert predict.resets == 3


def test_frames_of_one_clip_that_differ_in_size_are_refused():
    first, second = clip_samples([0, 0])
    second = Sample("1.png", second.group, second.image[:4], second.alpha[:4], second.clip)
    with pytest.raises(ValueError, match=r"clips/a: frames of one clip differ in size, from 1\.png on"):
        evaluate.evaluate(RedAsAlpha(), Given([first, second]))


@pytest.mark.parametrize("through", ["engine", "network"])
def test_eval_writes_a_table_a_report_and_a_page_that_needs_nothing_else(
    through, livecut, bundle, folder, tmp_path
):
    out = tmp_path / "out"
    result = livecut(
        "eval", bundle, folder, "--out", out, "--through", through, "--json", tmp_path / "r.json"
    )
    assert result.exit_code == 0, result.stderr
    assert re.search(r"all +3 ", result.stdout)
    report = json.loads((out / "evaluation.json").read_text())
    assert json.loads((tmp_path / "r.json").read_text()) == report
    assert report["model"]["name"] == "red"
    assert report["model"]["through"].startswith(through)
    assert report["summary"]["all"]["iou"] == pytest.approx(0.5, abs=0.02)
    assert report["summary"]["all"]["mae"] == pytest.approx(0.5 / 3, abs=0.02)
    page = (out / "evaluation.html").read_text()
    assert page.index("bad.png") < page.index("fair.png") < page.index("good.png")
    assert page.count("data:image/jpeg;base64,") == 3 * 5
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_bundle_is_measured_without_pytorch(bundle, folder, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from livecut.cli.main import app\n"
        f"app(['eval', {str(bundle)!r}, {str(folder)!r}, '--out', {str(tmp_path / 'out')!r}, '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "evaluation.html").is_file()


def test_several_models_are_set_side_by_side_by_one_command(
    livecut, bundle, bundle_with_memory, folder, tmp_path
):
    out = tmp_path / "out"
    result = livecut("eval", bundle, bundle_with_memory, bundle, folder, "--out", out, "--markdown")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("| model | M params | GMAC | MAE | MSE |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| red", "| half", "| red-2"]
    assert {path.name for path in out.iterdir()} >= {
        "red",
        "half",
        "red-2",
        "evaluation.html",
        "evaluation.json",
    }
    rows = json.loads((out / "evaluation.json").read_text())["comparison"]
    assert rows["red"]["mae"] == rows["red-2"]["mae"] < rows["half"]["mae"]
    assert 'href="half/evaluation.html"' in (out / "evaluation.html").read_text()


@pytest.mark.parametrize("through", ["engine", "network"])
def test_a_clip_runs_with_the_models_memory(through, livecut, bundle_with_memory, tmp_path):
    for number in range(3):
        write(tmp_path / "set" / "clips" / "a" / "images" / f"{number}.png", red(1.0))
        write(tmp_path / "set" / "clips" / "a" / "masks" / f"{number}.png", mask(1.0))
    out = tmp_path / "out"
    result = livecut("eval", bundle_with_memory, tmp_path / "set", "--out", out, "--through", through)
    assert result.exit_code == 0, result.stderr
    report = json.loads((out / "evaluation.json").read_text())
    errors = [picture["mae"] for picture in report["pictures"]]
    assert errors == pytest.approx([0.5, 0.25, 0.125], abs=0.01 if through == "network" else 0.2)
    assert errors[0] > errors[1] > errors[2]
    assert report["clips"][0]["frames"] == 3
    assert "dtSSD" in (out / "evaluation.html").read_text()


@pytest.mark.parametrize("through", ["engine", "network"])
def test_frame_by_frame_every_frame_is_the_first(through, livecut, bundle_with_memory, tmp_path):
    for number in range(3):
        write(tmp_path / "set" / "clips" / "a" / "images" / f"{number}.png", red(1.0))
        write(tmp_path / "set" / "clips" / "a" / "masks" / f"{number}.png", mask(1.0))
    result = livecut(
        "eval",
        bundle_with_memory,
        tmp_path / "set",
        "--out",
        tmp_path,
        "--through",
        through,
        "--frame-by-frame",
    )
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "evaluation.json").read_text())
    errors = [picture["mae"] for picture in report["pictures"]]
    assert errors[0] == pytest.approx(errors[1]) == pytest.approx(errors[2])
    assert report["model"]["through"].endswith("frame by frame")


def test_pictures_left_out_are_said_and_end_with_3(livecut, bundle, folder, tmp_path):
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    result = livecut("eval", bundle, folder, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "left out: " in result.stderr
    assert "1 pictures left out, 2 measured" in result.stderr
    assert "bad.png" in (tmp_path / "out" / "evaluation.html").read_text()


def test_mistakes_end_with_one_line_and_the_code_of_their_kind(livecut, bundle, folder, tmp_path):
    def ends(*arguments):
        result = livecut("eval", *arguments, "--out", tmp_path / "out")
        assert result.stderr.splitlines()[-1].startswith("livecut: error: ")
        return result.exit_code, result.stderr

    code, said = ends(bundle)
    assert (code, "MODEL... DATA" in said) == (2, True)
    code, said = ends("no-such-model", folder)
    assert (code, "no model 'no-such-model'" in said) == (4, True)
    code, said = ends(bundle, tmp_path / "nowhere")
    assert (code, "no such folder" in said) == (5, True)
    code, said = ends(bundle, folder, "--through", "magic")
    assert (code, "expected engine, network or auto" in said) == (2, True)
    code, said = ends(bundle / "model.onnx", folder, "--through", "engine")
    assert (code, "is no bundle" in said) == (2, True)
    (tmp_path / "broken.onnx").write_bytes(b"rubbish")
    code, said = ends(tmp_path / "broken.onnx", folder)
    assert (code, "ONNX Runtime cannot load it" in said) == (4, True)
    (tmp_path / "broken.pt").write_bytes(b"rubbish")
    code, said = ends(tmp_path / "broken.pt", folder)
    assert (code, "damaged checkpoint" in said) == (4, True)


def test_a_bare_onnx_file_and_a_runs_folder_are_measured_too(livecut, tmp_path):
    from livecut.training.config import load_config
    from livecut.training.train import Trainer

    data = smoke.make_data(tmp_path / "data", np.random.default_rng(1), training=4, held_out=2)
    run = tmp_path / "run"
    Trainer(load_config("smoke"), data, run, tmp_path / "cache").save()
    folder = bundles.write_bundle(tmp_path / "plain", bundles.red_as_alpha())
    arguments = (run, folder / "model.onnx", data, "--cache", tmp_path / "cache", "--device", "cpu")
    result = livecut("eval", *arguments, "--out", tmp_path / "out", "--markdown")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "out" / "smoke" / "evaluation.json").read_text())
    assert report["model"]["runs_on"] == "torch cpu fp32"
    assert report["model"]["gmac"] > 0
    assert (tmp_path / "out" / "model" / "evaluation.html").is_file()
    # Beside a bare network a bundle is measured bare as well.
    result = livecut(
        "eval", folder, folder / "model.onnx", data, "--out", tmp_path / "alike", "--cache", tmp_path
    )
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "alike" / "evaluation.json").read_text())["comparison"]
    assert set(rows) == {"plain", "model"}
    bundle = json.loads((tmp_path / "alike" / "plain" / "evaluation.json").read_text())
    assert bundle["model"]["through"] == "network alone"
