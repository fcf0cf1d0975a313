"""``livecut eval``: what it prints and writes, and how it ends."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

import bundles
from red_pairs import mask, red, write

from livecut.training import smoke


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle whose alpha is the picture's red, with figures of its cost."""
    folder = tmp_path_factory.mktemp("models") / "red"
    return bundles.write_bundle(folder, bundles.red_as_alpha(), params=3, gmacs=0.5)


@pytest.fixture(scope="module")
def bundle_with_memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "half"
    return bundles.write_bundle(folder, bundles.half_of_before(), state=bundles.HALF_STATE)


@pytest.mark.parametrize("through", ["engine", "network"])
def test_eval_writes_a_table_a_report_and_a_page_that_needs_nothing_else(
    through, livecut, bundle, pairs_folder, tmp_path
):
    out = tmp_path / "out"
    result = livecut(
        "eval", bundle, pairs_folder, "--out", out, "--through", through, "--json", tmp_path / "r.json"
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


def test_a_bundle_is_measured_without_pytorch(bundle, pairs_folder, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from livecut.cli.main import app\n"
        f"app(['eval', {str(bundle)!r}, {str(pairs_folder)!r}, '--out', {str(tmp_path / 'out')!r}, '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "evaluation.html").is_file()


def test_several_models_are_set_side_by_side_by_one_command(
    livecut, bundle, bundle_with_memory, pairs_folder, tmp_path
):
    out = tmp_path / "out"
    result = livecut("eval", bundle, bundle_with_memory, bundle, pairs_folder, "--out", out, "--markdown")
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


def test_pictures_left_out_are_said_and_end_with_3(livecut, bundle, pairs_folder, tmp_path):
    (pairs_folder / "images" / "bad.png").write_bytes(b"no picture")
    result = livecut("eval", bundle, pairs_folder, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "left out: " in result.stderr
    assert "1 pictures left out, 2 measured" in result.stderr
    assert "bad.png" in (tmp_path / "out" / "evaluation.html").read_text()


def test_mistakes_end_with_one_line_and_the_code_of_their_kind(livecut, bundle, pairs_folder, tmp_path):
    def ends(*arguments):
        result = livecut("eval", *arguments, "--out", tmp_path / "out")
        assert result.stderr.splitlines()[-1].startswith("livecut: error: ")
        return result.exit_code, result.stderr

    code, said = ends(bundle)
    assert (code, "MODEL... DATA" in said) == (2, True)
    code, said = ends("no-such-model", pairs_folder)
    assert (code, "no model 'no-such-model'" in said) == (4, True)
    code, said = ends(bundle, tmp_path / "nowhere")
    assert (code, "no such folder" in said) == (5, True)
    code, said = ends(bundle, pairs_folder, "--through", "magic")
    assert (code, "expected engine, network or auto" in said) == (2, True)
    code, said = ends(bundle, pairs_folder, "--through", "network", "--precision", "fp32")
    assert (code, "--precision are of the engine" in said) == (2, True)
    code, said = ends(bundle / "model.onnx", pairs_folder, "--through", "engine")
    assert (code, "is no bundle" in said) == (2, True)
    (tmp_path / "broken.onnx").write_bytes(b"rubbish")
    code, said = ends(tmp_path / "broken.onnx", pairs_folder)
    assert (code, "ONNX Runtime cannot load it" in said) == (4, True)
    (tmp_path / "broken.pt").write_bytes(b"rubbish")
    code, said = ends(tmp_path / "broken.pt", pairs_folder)
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
        "eval",
        folder,
        folder / "model.onnx",
        data,
        "--out",
        tmp_path / "alike",
        "--cache",
        tmp_path,
    )
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "alike" / "evaluation.json").read_text())["comparison"]
    assert set(rows) == {"plain", "model"}
    bundle = json.loads((tmp_path / "alike" / "plain" / "evaluation.json").read_text())
    assert bundle["model"]["through"] == "network alone"
