"""Where training runs, and the whole of it on a GPU where there is one."""

import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

import contextlib

import numpy as np

from livecut.training import device, objectives, predictors, train
from livecut.training.config import load_config
from livecut.training.data.dataset import SceneMaker
from livecut.training.model.build import build_network


def test_auto_is_the_cpu_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose_device("auto") == device.choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="no CUDA device; use --device cpu"):
        device.choose_device("cuda")


def test_auto_is_cuda_where_it_is_there_and_a_card_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.choose_device("auto") == torch.device("cuda", 0)
    assert device.choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="there are 2"):
        device.choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", ""])
def test_other_words_are_refused(name):
    with pytest.raises(ValueError, match="expected one of auto, cpu, cuda"):
        device.choose_device(name)


def test_a_gpu_gets_every_core_but_one_to_make_pictures(monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert device.default_workers(torch.device("cuda"), 1) == 15
    assert device.default_workers(torch.device("cpu"), 1) == 1


def test_mixed_precision_is_bfloat16_only_where_asked_for(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)
    x, cpu = torch.ones(2, 3, 8, 8), torch.device("cpu")
    layer = torch.nn.Conv2d(3, 4, 3)
    for asked, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with device.autocast(cpu, asked):
            assert layer(x).dtype == dtype
    assert "bfloat16" in device.describe(cpu, True)
    assert "bfloat16" not in device.describe(cpu, False)


def test_a_cpu_that_only_emulates_bfloat16_trains_in_float32(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)
    cpu = torch.device("cpu")
    with device.autocast(cpu, True):
        assert torch.nn.Conv2d(3, 4, 3)(torch.ones(2, 3, 8, 8)).dtype == torch.float32
    assert device.describe(cpu, True).endswith("float32 (bfloat16 was asked for; the device has none)")


def test_a_batch_moves_as_a_whole(tiny_config, data_folder, tmp_path):
    trainer = train.Trainer(tiny_config, data_folder, tmp_path / "run", tmp_path / "cache")
    batch = SceneMaker(trainer.training).batch((64, 64), 2, np.random.default_rng(0))
    moved = batch.to(torch.device("meta"))
    assert {value.device.type for value in vars(moved).values()} == {"meta"}


@pytest.mark.parametrize("name", ["livecut-s", "livecut-plate", "article"])
def test_no_tensor_of_a_step_is_left_on_the_cpu(name, monkeypatch):
    """The device ``meta`` has shapes but no numbers, and refuses what mixes with another device's tensors."""
    monkeypatch.setattr(objectives, "autocast", lambda *_: contextlib.nullcontext())
    config, meta = load_config(name), torch.device("meta")
    network = build_network(config.method, config.network).to(meta)
    image, alpha = torch.zeros(2, 3, 64, 64, device=meta), torch.zeros(2, 1, 64, 64, device=meta)
    plate = image if config.method == "plate" else None
    step = objectives.Step(image, alpha, alpha.new_ones(2), alpha.new_ones(2), plate)
    loss, terms = objectives.make_objective(config, meta)(network, step)
    loss.backward()
    assert {term.device.type for term in terms.values()} == {"meta"}


@pytest.mark.needs_gpu
@pytest.mark.parametrize("method", ["matting", "article"])
def test_a_run_on_a_gpu_trains_saves_resumes_and_predicts_as_the_cpu_does(
    method, tiny_config, article_config, data_folder, tmp_path
):
    config = article_config if method == "article" else tiny_config
    where = device.choose_device("cuda")
    trainer = train.Trainer(config, data_folder, tmp_path / "run", tmp_path / "cache", device=where)
    trainer.run()
    assert trainer.step > 0
    again = train.Trainer(config, data_folder, tmp_path / "run", tmp_path / "cache", device=where)
    again.resume()
    assert again.step == trainer.step
    assert next(again.network.parameters()).is_cuda
    image = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    sizes = [(64, 64)]
    on_gpu = predictors.torch_predictor(again.average, sizes, device=where)(image)
    on_cpu = predictors.torch_predictor(again.average.cpu(), sizes)(image)
    assert np.abs(on_gpu - on_cpu).max() < 0.02  # TF32
