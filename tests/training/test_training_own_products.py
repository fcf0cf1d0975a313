"""A model that ships is taught on pictures of one's own: any folder of pictures with masks."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")
pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from red_pairs import mask, red, write
from training_pictures import LICENCE, names, picture

from livecut.engine.errors import SourceError
from livecut.training import pairs, shipped
from livecut.training.config import load_config
from livecut.training.data import cache
from livecut.training.data.catalogue import read_catalogue
from livecut.training.data.dataset import OWN_SOURCES, SOURCES, SceneMaker
from livecut.training.export_checkpoint import export_checkpoint
from livecut.training.train import Trainer


@pytest.fixture
def own(tmp_path, rng):
    """Six pairs to train on and two held-out ones in a flat folder, and a background beside them."""
    root = tmp_path / "mugs"
    pattern = "mug_{}.jpg"
    for name in names(6, validation=False, pattern=pattern) + names(2, validation=True, pattern=pattern):
        image, alpha = picture(rng)
        write(root / name, image)
        write(root / name.replace(".jpg", "_mask.png"), alpha)
    write(root / "backgrounds" / "shop" / "wall.jpg", rng.integers(0, 255, (80, 100, 3)).astype(np.uint8))
    return root


def test_any_pictures_with_masks_are_data_to_train_on(own):
    catalogue = read_catalogue(own)
    assert len(catalogue.select("pair")) == 6
    assert len(catalogue.select("pair", "mugs", validation=True)) == 2
    assert len(catalogue.select("background")) == 1
    assert catalogue.folders == [".", "backgrounds"]
    assert not catalogue.skipped


def test_frames_of_clips_and_cut_outs_are_no_pairs_of_it(own):
    write(own / "clips" / "a" / "images" / "0.png", red(0.5))
    write(own / "clips" / "a" / "masks" / "0.png", mask(0.5))
    write(own / "cutouts_rgba" / "x.jpg", red(0.5))
    write(own / "cutouts_rgba" / "x.png", mask(0.5))
    catalogue = read_catalogue(own)
    assert {item.folder for item in catalogue.items if item.kind == "pair"} == {"mugs"}
    (said,) = catalogue.skipped
    assert "1 frames of clips" in said


def test_masks_of_every_kind_that_eval_reads_are_read(tmp_path):
    alpha = np.full((20, 30), 40_000, np.uint16)
    write(tmp_path / "images" / "a.png", red(0.5, (30, 20)))
    write(tmp_path / "masks" / "a.png", alpha)
    write(tmp_path / "images" / "b.webp", red(0.5, (30, 20)))
    write(tmp_path / "masks" / "b.png", np.dstack([red(1.0, (30, 20)), mask(0.5, (30, 20))]))
    packed = cache.pack(read_catalogue(tmp_path).items, tmp_path / "cache")
    assert not packed.skipped
    found = {item.image.name: packed[index][..., 3] for index, item in enumerate(packed.items)}
    assert set(np.unique(found["a.png"])) == {round(40_000 / 65535 * 255)}
    assert np.array_equal(found["b.webp"], mask(0.5, (30, 20)))


def test_own_pictures_get_their_share_of_every_batch(own, data_folder, tmp_path, rng):
    items = [*read_catalogue(own).items, *read_catalogue(data_folder).items]
    maker = SceneMaker(cache.pack(items, tmp_path / "cache"))
    known = sum(SOURCES[name] for name in ("composite", "renders", "clothing_cc0", "empty"))
    assert maker.sources["mugs"] == pytest.approx(OWN_SOURCES / (known + OWN_SOURCES))
    assert maker.subjects["mugs"] > 0.3
    alone = SceneMaker(cache.pack(read_catalogue(own).items, tmp_path / "cache"))
    assert set(alone.sources) == {"composite", "mugs", "empty"}
    assert alone.batch((96, 64), 12, rng).alpha.float().mean() > 5


def test_eval_measures_only_what_training_left_out_if_told_so(own, tmp_path):
    assert len(pairs.open_samples(own, tmp_path / "cache")) == 8
    held = pairs.open_samples(own, tmp_path / "cache", held_out=True)
    assert sorted(sample.name for sample in held) == sorted(names(2, validation=True, pattern="mug_{}.jpg"))
    assert not held.skipped
    write(own / "images" / "bare.jpg", red(0.5))
    write(own / "masks" / "other.png", mask(0.5))
    (line,) = pairs.open_samples(own, tmp_path / "cache", held_out=True).skipped
    assert line.endswith("bare.jpg: no alpha of that name")
    write(tmp_path / "few" / names(1, validation=False)[0], red(0.5))
    write(tmp_path / "few" / names(1, validation=False)[0].replace(".jpg", "_mask.png"), mask(0.5))
    with pytest.raises(SourceError, match="none of 1 pictures is held out"):
        pairs.open_samples(tmp_path / "few", tmp_path / "cache", held_out=True)


def test_a_model_taught_on_them_ships_with_both_ledgers_or_not_at_all(
    own, tiny_config, data_folder, tmp_path
):
    config = dataclasses.replace(tiny_config, input_sizes=[[96, 64]])
    Trainer(config, data_folder, tmp_path / "first", tmp_path / "cache").run()
    first, second = tmp_path / "models" / "first", tmp_path / "models" / "second"

    def export(run, data, out):
        export_checkpoint(
            tmp_path / run / "checkpoint.pt", data, out,
            cache=tmp_path / "cache", version="1", failures="None.",
        )  # fmt: skip

    export("first", data_folder, first)
    trainer = Trainer(config, own, tmp_path / "second", tmp_path / "cache")
    trainer.start_from(first)
    trainer.run()
    with pytest.raises(ValueError, match=r"mugs: no LICENCE.txt"):
        export("second", own, second)
    (own / "LICENCE.txt").write_text(LICENCE)
    (own / "backgrounds" / "LICENCE.txt").write_text(LICENCE)
    export("second", own, second)
    ledger = json.loads((second / "LEDGER.json").read_text())
    assert "- Data: mugs, backgrounds" in (second / "MODEL_CARD.md").read_text()
    folders = [entry["folder"] for entry in ledger["data"]]
    assert folders == ["mugs", "backgrounds", "clothing_cc0", "cutouts_rgba/made", "renders"]
    assert len(json.loads((second / "manifest.json").read_text())["trained"]) == 2
    (first / "LEDGER.json").unlink()
    manifest = shipped.bundle_weights(first)[1]
    assert shipped.ledger_of(manifest) is None
    trainer.start_from(first)
    trainer.save()
    with pytest.raises(ValueError, match="no ledger"):
        export("second", own, second)


def test_the_configuration_keeps_the_memory_that_ships():
    config = load_config("own-products")
    assert config.initial == "livecut-s"
    assert config.network == load_config("livecut-s-memory").network
    assert not any("memory.".startswith(name) for name in config.learns)
    assert config.frames == 0


def test_the_command_says_how_to_measure_what_it_trained(livecut, own, tiny_toml, tmp_path):
    run = tmp_path / "run"
    result = livecut("train", "--config", tiny_toml, "--data", own, "--out", run, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    said = result.stderr.strip().splitlines()[-1]
    assert said.endswith(f"livecut eval {run} {own} --held-out")
    words = said.rpartition("livecut eval ")[2].split()
    result = livecut("eval", *words, "--out", tmp_path / "report", "--json", "-")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["pictures"]) == 2
