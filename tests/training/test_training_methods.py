"""Configurations that build on each other, optimisers, and both methods through a whole run."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from livecut.engine.session import Session
from livecut.training import export_checkpoint, losses, optimiser, predictors, smoke, train
from livecut.training.config import CONFIGS, Adversarial, adjusted, load_config
from livecut.training.data.dataset import SceneMaker


def trainer_of(config, data_folder, tmp_path, **more):
    return train.Trainer(config, data_folder, tmp_path / config.name, tmp_path / "cache", **more)


def batch_of(trainer, size=(64, 64), count=4):
    return SceneMaker(trainer.training).batch(size, count, np.random.default_rng(2))


def with_adversary(config):
    settings = Adversarial(weight=0.1, learning_rate=1e-3, channels=[4, 8])
    return dataclasses.replace(config, name="tiny-gan", adversarial=settings)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_every_shipped_configuration_reads_and_builds(name):
    config = load_config(name)
    train.build_network(config.method, config.network)
    assert all(side % 32 == 0 for stage in config.stages for size in stage.sizes for side in size)


def test_the_two_sides_of_the_ablation_differ_in_the_discriminator_alone():
    alone, adversarial = load_config("ablation-cnn"), load_config("ablation-gan")
    assert alone.adversarial is None
    assert adversarial.adversarial is not None
    assert dataclasses.replace(adversarial, adversarial=None, name=alone.name) == alone
    assert alone.network == load_config("livecut-s-further").network


def test_a_base_is_changed_key_by_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "livecut-s"\nname = "mine"\n[optimiser]\nkind = "sgd"\n')
    mine, base = load_config(path), load_config("livecut-s")
    assert mine.optimiser == dataclasses.replace(base.optimiser, kind="sgd")
    assert (mine.stages, mine.network) == (base.stages, base.network)


def test_mistakes_in_a_configuration_are_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('base = "bad"\n')
    with pytest.raises(ValueError, match="is the configuration itself"):
        load_config(path)
    path.write_text("name = \n")
    with pytest.raises(ValueError, match="not readable as TOML"):
        load_config(path)
    path.write_text('base = "livecut-s"\n[optimiser]\nkind = "rmsprop"\n')
    with pytest.raises(ValueError, match="expected one of adamw, adam, sgd"):
        load_config(path)
    path.write_text('base = "livecut-s"\nmethod = "article"\n')
    with pytest.raises(ValueError, match=r"\[adversarial\] is missing"):
        load_config(path)
    with pytest.raises(ValueError, match="no term hue; there are bce"):
        losses.merge_weights({"hue": 1})
    with pytest.raises(ValueError, match="method: expected one of matting, plate, article"):
        train.build_network("other", {})
    with pytest.raises(ValueError, match="network: "):
        train.build_network("matting", {"c33": 1})


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_every_optimiser_lowers_the_loss_and_has_its_two_rates(kind, tiny_config, data_folder, tmp_path):
    settings = dataclasses.replace(tiny_config.optimiser, kind=kind)
    trainer = trainer_of(dataclasses.replace(tiny_config, optimiser=settings), data_folder, tmp_path)
    assert [group["full"] for group in trainer.optimiser.param_groups] == pytest.approx([4e-4, 2e-3])
    batch = batch_of(trainer)
    for _ in range(8):
        trainer.train_step(batch, 1.0)
    totals = [terms["total"] for terms in trainer.window]
    assert totals[-1] < totals[0]


def test_the_average_follows_faster_in_the_first_steps():
    network = torch.nn.Conv2d(1, 1, 1)
    average = optimiser.averaged_copy(network)
    with torch.no_grad():
        network.weight += 1
    before = average.weight.clone()
    optimiser.follow(average, network, step=0, decay=0.999)
    assert (average.weight - before).item() == pytest.approx(0.9)
    before = average.weight.clone()
    optimiser.follow(average, network, step=10**6, decay=0.9)
    assert ((average.weight - before) / (network.weight - before)).item() == pytest.approx(0.1, rel=1e-4)


def test_a_run_with_a_discriminator_reports_it_and_goes_on_with_it(tiny_config, data_folder, tmp_path):
    config = with_adversary(tiny_config)
    trainer = trainer_of(config, data_folder, tmp_path)
    trainer.train_step(batch_of(trainer), 1.0)
    assert "adversarial" in trainer.window[-1]
    trainer.save()
    again = trainer_of(config, data_folder, tmp_path)
    again.resume()
    ours, theirs = again.objective.adversary.parameters(), trainer.objective.adversary.parameters()
    assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))


def test_a_run_starts_from_the_averaged_weights_of_another_and_counts_anew(
    tiny_config, data_folder, tmp_path
):
    first = trainer_of(tiny_config, data_folder, tmp_path)
    first.train_step(batch_of(first), 1.0)
    first.save()
    second = trainer_of(with_adversary(tiny_config), data_folder, tmp_path)
    second.start_from(tmp_path / "tiny")
    assert second.step == 0
    for network in (second.network, second.average):
        pairs = zip(network.parameters(), first.average.parameters(), strict=True)
        assert all(a.equal(b) for a, b in pairs)


def test_the_article_learns_from_a_picture_to_its_cut_out(article_config, data_folder, tmp_path):
    trainer = trainer_of(article_config, data_folder, tmp_path)
    batch = batch_of(trainer)
    for _ in range(25):
        trainer.train_step(batch, 1.0)
    errors = [terms["mse"] for terms in trainer.window]
    assert errors[-1] < 0.7 * errors[0]


def test_the_article_is_exported_and_runs_in_the_engine(article_config, data_folder, tmp_path, rng):
    trainer = trainer_of(article_config, data_folder, tmp_path)
    trainer.train_step(batch_of(trainer), 1.0)
    trainer.save()
    bundle = tmp_path / "bundle"
    export_checkpoint.export_checkpoint(
        tmp_path / "tiny-article" / "checkpoint.pt", data_folder, bundle,
        cache=tmp_path / "cache", version="0", failures="None known.",
    )  # fmt: skip
    assert json.loads((bundle / "manifest.json").read_text())["input"]["sizes_wh"] == [[64, 64]]
    image = rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)
    with Session(bundle, backend="onnxruntime", precision="fp32", refine=False) as session:
        matte = session.matte(image)
    direct = predictors.torch_predictor(trainer.average, [(64, 64)])(image)
    assert np.abs(matte.alpha / 255 - direct).mean() < 0.02  # enlarged by another kernel, rounded to 8 bits


def test_a_stopped_run_has_saved_the_step_it_was_at(tiny_config, data_folder, tmp_path):
    lines = []
    trainer = trainer_of(tiny_config, data_folder, tmp_path, say=lines.append)
    trainer.on_step = lambda progress: trainer.stop() if progress.step == 2 else None
    trainer.config = adjusted(tiny_config, minutes=60, workers=0, threads=1)
    trainer.run()
    assert trainer.step == 2
    assert any("stopped; saved" in line for line in lines)
    again = trainer_of(tiny_config, data_folder, tmp_path)
    again.resume()
    assert again.step == 2


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tiny_config, data_folder, tmp_path, monkeypatch
):
    trainer = trainer_of(tiny_config, data_folder, tmp_path)
    trainer.save()
    before = (tmp_path / "tiny" / "checkpoint.pt").read_bytes()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(train.TrainingError, match=r"No space left.*--resume"):
        trainer.save()
    assert (tmp_path / "tiny" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "tiny").glob("*.part"))


def test_a_refused_step_leaves_no_trace_in_the_statistics_of_normalisation(
    article_config, data_folder, tmp_path
):
    trainer = trainer_of(article_config, data_folder, tmp_path)
    batch, weight = batch_of(trainer), trainer.network.generator.features[0].weight
    trainer.train_step(batch, 1.0)
    good = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0, 0, 0] = float("inf")
    trainer.train_step(batch, 1.0)
    assert (trainer.step, trainer.bad_steps) == (1, 1)
    with torch.no_grad():
        weight.copy_(good)
    trainer.train_step(batch, 1.0)
    assert (trainer.step, trainer.bad_steps) == (2, 0)
    for network in (trainer.network, trainer.average):
        assert all(value.isfinite().all() for value in network.state_dict().values())


def test_an_older_curve_gets_the_columns_of_this_run(tiny_config, data_folder, tmp_path):
    trainer = trainer_of(tiny_config, data_folder, tmp_path)
    path = tmp_path / "tiny" / "curve.csv"
    path.write_text("minutes,step,gone\n1.0,5,7\n")
    trainer.add_row({"total": 0.5})
    header, first, second = path.read_text().splitlines()
    assert header.startswith("minutes,step,pictures,learning_rate,total,bce")
    assert "gone" not in header
    assert first.startswith("1.0,5,,")
    assert ",0.5," in second


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_smoke_trains_stops_resumes_and_exports_what_the_engine_runs(tmp_path):
    random = dataclasses.replace(load_config("smoke"), encoder_weights="")  # needs no package
    config = adjusted(random, minutes=0.03, workers=0, threads=1)
    values, nothing = smoke.run_smoke(tmp_path / "smoke", config, "cpu")
    assert 0 < nothing < 0.5
    assert 0 <= values["mae"] <= 1
    assert "resumed at step" in (tmp_path / "smoke" / "log.txt").read_text()
    image, _ = smoke.make_picture(np.random.default_rng(1))
    with Session(tmp_path / "smoke" / "bundle", backend="onnxruntime") as session:
        assert session.matte(image).alpha.shape == image.shape[:2]
    smoke.run_smoke(tmp_path / "smoke", adjusted(config, minutes=0.01, workers=0, threads=1), "cpu")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photograph.jpg").touch()
    with pytest.raises(ValueError, match="no earlier smoke run"):
        smoke.run_smoke(tmp_path / "mine", config, "cpu")
