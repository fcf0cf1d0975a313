"""A run from start to bundle on a few small pictures: it learns, stops, resumes, refuses NaN, exports."""

import csv
import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livecut.training import export_checkpoint, ledger, optimiser, train
from livecut.training.card import excerpt
from livecut.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from livecut.training.config import load_config, parse_config
from livecut.training.data.dataset import SceneMaker


@pytest.fixture
def trainer(tiny_config, data_folder, tmp_path):
    return train.Trainer(tiny_config, data_folder, tmp_path / "run", tmp_path / "cache")


def batch_of(trainer, size=(64, 64), count=4):
    return SceneMaker(trainer.training).batch(size, count, np.random.default_rng(2))


def test_the_loss_falls_on_pictures_seen_again_and_again(trainer):
    batch = batch_of(trainer)
    for _ in range(25):
        trainer.train_step(batch, 1.0)
    losses = [terms["total"] for terms in trainer.window]
    assert losses[-1] < 0.7 * losses[0]


def test_a_run_leaves_checkpoint_log_curve_and_samples_and_goes_on_where_it_stopped(
    trainer, tiny_config, data_folder, tmp_path
):
    trainer.run()
    out = tmp_path / "run"
    assert trainer.step >= 1
    assert {"checkpoint.pt", "log.txt", "curve.csv", "curve.png"} <= {path.name for path in out.iterdir()}
    assert list(out.glob("samples-*.png"))
    with open(out / "curve.csv", newline="") as stream:
        assert float(list(csv.DictReader(stream))[-1]["val_mae"]) >= 0
    again = train.Trainer(tiny_config, data_folder, out, tmp_path / "cache")
    again.resume()
    assert (again.step, again.pictures) == (trainer.step, trainer.pictures)
    assert again.elapsed_s == pytest.approx(trainer.elapsed_s)
    for ours, theirs in zip(again.average.parameters(), trainer.average.parameters(), strict=True):
        assert ours.equal(theirs)


def test_a_step_without_finite_loss_changes_nothing_and_several_end_the_run(trainer):
    batch = batch_of(trainer)
    trainer.train_step(batch, 1.0)
    with torch.no_grad():
        trainer.network.decoder.head.bias[0] = float("nan")
    before = [value.clone() for value in trainer.network.encoder.parameters()]
    for _ in range(train.MAX_BAD_STEPS - 1):
        trainer.train_step(batch, 1.0)
    with pytest.raises(train.TrainingError, match="--resume"):
        trainer.train_step(batch, 1.0)
    assert trainer.step == 1
    assert all(a.equal(b) for a, b in zip(before, trainer.network.encoder.parameters(), strict=True))
    assert all(value.isfinite().all() for value in trainer.average.parameters())


def test_the_learning_rate_warms_up_and_then_falls_with_the_clock(tiny_config):
    config = dataclasses.replace(
        tiny_config, optimiser=dataclasses.replace(tiny_config.optimiser, warm_up_steps=10)
    )
    assert optimiser.share_at(0, 0, config) == pytest.approx(0.1)
    assert optimiser.share_at(0, 9, config) == pytest.approx(1)
    assert optimiser.share_at(0.5, 500, config) == pytest.approx(0.01 + 0.99 / 2)
    assert optimiser.share_at(1, 500, config) == pytest.approx(0.01)


def test_masks_are_doubted_only_later_in_the_run(trainer):
    batch = batch_of(trainer)
    batch.trust[:] = 0.8
    assert trainer.trust(batch).eq(1).all()
    trainer.elapsed_s = trainer.config.run.minutes * 60
    assert trainer.trust(batch).allclose(batch.trust)


def test_checkpoints_of_another_network_or_none_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(CheckpointError, match="without --resume"):
        load_checkpoint(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(path)
    torch.save({"something": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_checkpoint(path)
    save_checkpoint(path, config={"network": {"c32": 8}})
    with pytest.raises(CheckpointError, match="incomplete, without network"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="another network"):
        load_checkpoint(path, {"c32": 80})


def test_the_shipped_configuration_reads_and_mistakes_in_one_are_named():
    config = load_config("livecut-s")
    assert config.name == "livecut-s"
    assert all(side % 32 == 0 for stage in config.stages for size in stage.sizes for side in size)
    with pytest.raises(ValueError, match=r"Available: .*livecut-s"):
        load_config("livecut-xxl")
    with pytest.raises(ValueError, match="optimiser"):
        parse_config({"name": "x", "stage": []}, "x.toml")
    with pytest.raises(ValueError, match=r"optimiser: .*learning_rat"):
        parse_config({"name": "x", "stage": [], "optimiser": {"learning_rat": 1}, "run": {}}, "x.toml")


def test_a_checkpoint_becomes_a_bundle_with_card_and_ledger(trainer, data_folder, tmp_path, capsys):
    trainer.train_step(batch_of(trainer), 1.0)
    trainer.save()
    out = tmp_path / "models" / "tiny"
    arguments = [str(tmp_path / "run" / "checkpoint.pt"), "--data", str(data_folder), "--out", str(out)]
    assert export_checkpoint.main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    assert "agree with torch" in capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["name"] == "tiny"
    assert manifest["metrics"]["pictures"] == 2
    assert 1 < manifest["gmacs"] < 2
    assert {entry["folder"] for entry in json.loads((out / "LEDGER.json").read_text())["data"]} == {
        "backgrounds",
        "clothing_cc0",
        "cutouts_rgba/made",
        "renders",
    }
    card = (out / "MODEL_CARD.md").read_text()
    assert "| clothing_cc0 | 2 |" in card
    assert "Seed 1" in card
    assert f"livecut train --config tiny --data ../shared/data --out runs/{(tmp_path / 'run').name}" in card
    assert "](samples.jpg)" in card
    assert (out / "samples.jpg").stat().st_size < 290_000


def test_a_weight_of_unknown_origin_does_not_ship(trainer, data_folder, tmp_path, capsys):
    trainer.save()
    (data_folder / "renders" / "LICENCE.txt").unlink()
    out = tmp_path / "models" / "tiny"
    arguments = [str(tmp_path / "run" / "checkpoint.pt"), "--data", str(data_folder), "--out", str(out)]
    assert export_checkpoint.main([*arguments, "--cache", str(tmp_path / "cache")]) == 2
    assert "must not ship" in capsys.readouterr().err
    assert not out.exists()


def test_a_licence_text_is_taken_apart():
    parsed = ledger.parse_statement(
        "source: here\nsource: there\nLicence: MIT\ncitation / credit: A. Body\nother: x\n"
    )
    assert parsed == {"source": ["here", "there"], "licence": ["MIT"], "credit": ["A. Body"]}


def test_the_logs_excerpt_keeps_the_last_step_and_every_validation():
    log = [f"00:00:00 step {k} {k / 10} min lr 1" for k in range(100)]
    log.insert(50, "00:00:00 validation all: mae 0.1")
    lines = excerpt(log)
    assert len(lines) < 20
    assert log[50] in lines
    assert log[-1] in lines
