"""Networks from elsewhere on the command line: export, then cut and stream with what came out."""

import itertools

import foreign_nets as nets
import numpy as np
import pytest

from livecut.engine.pictures import read_picture, write_picture


@pytest.mark.slow
def test_a_foreign_file_is_exported_and_cuts_pictures(livecut, tmp_path, photograph):
    nets.birefnet(tmp_path / "net.onnx")
    result = livecut(
        "export", tmp_path / "net.onnx", "--recipe", "birefnet", "--to", "onnx", "-o", tmp_path / "m"
    )
    assert result.exit_code == 0, result.stderr
    result = livecut("cut", photograph, tmp_path / "out.png", "--model", tmp_path / "m", "--only-mask")
    assert result.exit_code == 0, result.stderr
    mask = read_picture(tmp_path / "out.png").image
    assert mask.shape[:2] == (48, 64)
    assert mask.std() > 5  # of noise, and not one value all over


def test_a_file_nobody_knows_asks_for_its_recipe(livecut, tmp_path):
    nets.selfie(tmp_path / "net.onnx", size=(64, 64))
    result = livecut("export", tmp_path / "net.onnx", "--to", "onnx", "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert "name its --recipe" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_a_recurrent_file_keeps_its_memory_through_a_stream(livecut, tmp_path, rng):
    """The same picture again and again: only a memory can make the masks differ."""
    picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for index in range(4):
        write_picture(tmp_path / "in" / f"{index}.png", picture)
    nets.rvm(tmp_path / "rvm.onnx")
    result = livecut("export", tmp_path / "rvm.onnx", "--to", "onnx", "--size", "64x64", "-o", tmp_path / "m")
    assert result.exit_code == 0, result.stderr
    options = ("--model", tmp_path / "m", "--no-temporal", "--only-mask")
    result = livecut("stream", tmp_path / "in", f"{tmp_path}/out/", *options)
    assert result.exit_code == 0, result.stderr
    masks = [read_picture(path).image.astype(int) for path in sorted((tmp_path / "out").iterdir())]
    assert len(masks) == 4
    steps = [np.abs(after - before).max() for before, after in itertools.pairwise(masks)]
    assert steps[0] > 2
    assert steps[0] >= steps[2]  # it settles
