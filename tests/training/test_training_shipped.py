"""What ships is trained further: its folded weights become a network that computes the same, and learns."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")
onnx = pytest.importorskip("onnx", reason="a bundle's weights are in its ONNX")
pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.atomic import sha256_of
from livecut.engine.errors import ModelError
from livecut.training import history, shipped
from livecut.training.checkpoint import CheckpointError
from livecut.training.export_checkpoint import export_checkpoint
from livecut.training.ledger import of_both
from livecut.training.model.build import build_network
from livecut.training.train import Trainer

WIDTHS = {"c32": 16, "c16": 16, "c8": 8, "c4": 8, "skip2": 4}


def trained(method="matting", **changes):
    """A network whose every weight and statistic is as if it had been trained."""
    torch.manual_seed(3)
    network = build_network(method, {**WIDTHS, **changes}).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.3, 2.0)
            elif name.endswith("running_mean") or not value.any():
                value.copy_(torch.randn_like(value.float()) * 0.1)
    return network


def pictures(count=1, batches=3):
    torch.manual_seed(5)
    return [tuple(torch.rand(4, 3, 64, 64) * 2 - 1 for _ in range(count)) for _ in range(batches)]


@pytest.mark.parametrize(
    ("method", "inputs", "changes"), [("matting", 1, {"memory": True}), ("plate", 2, {})]
)
def test_a_network_unfolded_computes_what_the_folded_one_does(method, inputs, changes):
    network = trained(method, **changes)
    folded = network.folded()
    fresh = build_network(method, {**WIDTHS, **changes}).eval()
    shown = pictures(inputs)
    state = shipped.unfolded(fresh, folded.state_dict(), shown)
    assert set(fresh.state_dict()) - set(state) == {
        name for name in fresh.state_dict() if name.endswith("num_batches_tracked")
    }
    fresh.load_state_dict(state, strict=False)
    with torch.no_grad():
        assert torch.allclose(fresh(*shown[0]), folded(*shown[0]), atol=1e-5)
    again = fresh.folded().state_dict()
    for name, value in folded.state_dict().items():
        assert torch.allclose(again[name], value, rtol=1e-4, atol=1e-5), name


def test_its_statistics_are_those_of_the_pictures_and_its_filters_as_long_as_fresh_ones():
    network = trained()
    fresh, shown = build_network("matting", WIDTHS).eval(), pictures()
    lengths = fresh.decoder.d8.conv.weight.detach().flatten(1).norm(dim=1)
    fresh.load_state_dict(shipped.unfolded(fresh, network.folded().state_dict(), shown), strict=False)
    assert torch.allclose(fresh.decoder.d8.conv.weight.flatten(1).norm(dim=1), lengths, rtol=1e-4)
    seen = []
    hook = fresh.decoder.d8.conv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        for batch in shown:
            fresh(*batch)
    hook.remove()
    outputs = torch.cat(seen)
    norm = fresh.decoder.d8.norm
    assert torch.allclose(outputs.mean((0, 2, 3)), norm.running_mean, atol=1e-4)
    assert torch.allclose(outputs.var((0, 2, 3), correction=0), norm.running_var, rtol=1e-3)


@pytest.fixture
def bundle(tiny_config, data_folder, tmp_path):
    """A bundle of a short run, and its trainer."""
    config = dataclasses.replace(tiny_config, input_sizes=[[96, 64]])
    first = Trainer(config, data_folder, tmp_path / "first", tmp_path / "cache")
    first.run()
    folder = tmp_path / "models" / "tiny"
    export_checkpoint(
        tmp_path / "first" / "checkpoint.pt", data_folder, folder,
        cache=tmp_path / "cache", version="3.1", failures="None.",
    )  # fmt: skip
    return folder, first


def test_a_run_starts_from_what_ships_and_knows_its_history(bundle, tiny_config, data_folder, tmp_path):
    folder, first = bundle
    log = []
    second = Trainer(tiny_config, data_folder, tmp_path / "second", tmp_path / "cache", say=log.append)
    second.start_from(folder)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(second.average(image), first.average(image), atol=1e-4)
    assert second.earlier == [
        {"name": "tiny", "step": first.step, "pictures": first.pictures, "elapsed_s": first.elapsed_s}
    ]
    said = next(line for line in log if "starts from" in line)
    assert "starts from models/tiny, version 3.1: " in said
    config = dataclasses.asdict(tiny_config)
    assert "--init models/tiny " in history.command(config, "second", [said])
    assert history.began_with([said]) == "It began with `models/tiny` 3.1, as that shipped."
    assert history.began_with([line for line in log if line != said]) == ""
    second.run()
    assert second.step > 0


def test_a_run_starts_halfway_between_another_and_what_that_went_on_from(
    bundle, tiny_config, data_folder, tmp_path
):
    folder, _ = bundle
    second = Trainer(tiny_config, data_folder, tmp_path / "second", tmp_path / "cache")
    second.start_from(folder)
    second.run()
    log = []
    third = Trainer(tiny_config, data_folder, tmp_path / "third", tmp_path / "cache", say=log.append)
    third.start_from(tmp_path / "second", folder)
    ours, (theirs, _) = second.average.folded().state_dict(), shipped.bundle_weights(folder)
    halfway = third.average.folded().state_dict()
    moved = 0
    for name, value in ours.items():
        expected = (value + theirs[name]) / 2 if name in theirs else value
        assert torch.allclose(halfway[name], expected, rtol=1e-4, atol=1e-5), name
        moved += name in theirs and not torch.equal(value, theirs[name])
    assert moved > 10
    said = next(line for line in log if "starts from" in line)
    config = dataclasses.asdict(tiny_config)
    assert "--init runs/second --halfway-to models/tiny " in history.command(config, "third", [said])
    assert history.began_with([said]).startswith("It began halfway between that run and `models/tiny` 3.1:")
    assert [run["name"] for run in third.earlier] == ["tiny", "tiny"]


def test_halfway_is_made_from_what_both_were_made_from(bundle, tiny_config, data_folder, tmp_path):
    folder, first = bundle
    third = Trainer(tiny_config, data_folder, tmp_path / "third", tmp_path / "cache")
    third.start_from(tmp_path / "first", folder)
    sources = [entry["folder"] for entry in third.ledger["data"]]
    assert "clothing_cc0" in sources
    assert first.ledger == {}
    own = {**third.ledger, "data": [{"folder": "mine"}]}
    assert [entry["folder"] for entry in of_both(own, third.ledger)["data"]] == ["mine", *sources]
    assert of_both(own, None) is of_both(None, own) is None


def test_there_is_nothing_halfway_between_two_networks(bundle, tiny_config, data_folder, tmp_path):
    folder, _ = bundle
    wider = dataclasses.replace(tiny_config, network={**tiny_config.network, "c32": 88})
    other = Trainer(wider, data_folder, tmp_path / "wider", tmp_path / "cache")
    other.run()
    with pytest.raises(CheckpointError, match=r"tiny: of another network than .*: \d+ of \d+ tensors"):
        other.start_from(tmp_path / "wider", folder)


def test_a_damaged_or_halved_bundle_is_refused(bundle, tiny_config, data_folder, tmp_path):
    folder, _ = bundle
    trainer = Trainer(tiny_config, data_folder, tmp_path / "second", tmp_path / "cache")
    model = onnx.load(folder / "model.onnx")
    for value in model.graph.initializer:
        half = onnx.numpy_helper.to_array(value).astype(np.float16)
        value.CopyFrom(onnx.numpy_helper.from_array(half, value.name))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ModelError, match="sha256"):
        trainer.start_from(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"] = sha256_of(folder / "model.onnx")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="in FP16; train from the bundle's float32 file"):
        trainer.start_from(folder)


def test_a_model_is_found_by_its_name(bundle, monkeypatch, tmp_path):
    folder, _ = bundle
    monkeypatch.setenv("LIVECUT_HOME", str(tmp_path))
    assert shipped.bundle_at(Path("tiny")) == shipped.bundle_at(folder) == folder
    assert shipped.bundle_at(tmp_path / "first") is None
    assert shipped.bundle_at(Path("no-such-model")) is None


def test_a_bundle_of_another_network_is_refused(bundle, tiny_config, data_folder, tmp_path):
    folder, _ = bundle
    network = {**tiny_config.network, "c32": 88, "encoder": "efficientnet-lite2"}
    config = dataclasses.replace(tiny_config, network=network)
    trainer = Trainer(config, data_folder, tmp_path / "second", tmp_path / "cache")
    with pytest.raises(CheckpointError, match="of another network"):
        trainer.start_from(folder)
