"""Trained weights as they are handed on: what was trained is what is exported, other weights are refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="reads checkpoints")
pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.errors import ModelError
from livecut.engine.manifest import Manifest
from livecut.export import Options, export_model
from livecut.training.checkpoint import save_checkpoint
from livecut.training.model.build import build_network
from livecut.training.weights import open_checkpoint, save_weights

WIDTHS = {"c32": 16, "c16": 16, "c8": 8, "c4": 8, "skip2": 4}
CONFIG = {"name": "small", "method": "matting", "network": WIDTHS, "input_sizes": [[64, 32]]}


def network(**changes):
    torch.manual_seed(0)
    return build_network("matting", {**WIDTHS, **changes}).eval()


def write(path, module, config):
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="the format of weights")
        save_weights(path, module.state_dict(), config)
    else:
        state = module.state_dict()
        save_checkpoint(path, config=config, network=state, average=state, counters={})
    return path


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.pt"])
def test_weights_of_a_run_are_exported(tmp_path, name):
    source = open_checkpoint(write(tmp_path / name, network(), CONFIG))
    (made,) = export_model(source, tmp_path / "out", options=Options(size_wh=(64, 32)))
    assert (made.passport.library, made.passport.source) == ("torch", name)
    assert made.passport.parity["max_abs"] < 1e-4
    manifest = Manifest.load(tmp_path / "out")
    assert (manifest.name, manifest.sizes_wh) == ("small", ((64, 32),))


def test_a_network_with_a_memory_is_exported_with_its_state(tmp_path):
    module = network(memory=True)
    with torch.no_grad():
        for parameter in module.memory.parameters():
            parameter.normal_(0, 0.3)  # a fresh memory does nothing
    config = {**CONFIG, "network": {**WIDTHS, "memory": True}}
    source = open_checkpoint(write(tmp_path / "w.safetensors", module, config))
    (made,) = export_model(source, tmp_path / "out", options=Options(size_wh=(64, 32)))
    previous, seen = Manifest.load(tmp_path / "out").state
    assert made.passport.shapes[previous.input] == [1, 16, 8, 16]
    assert made.passport.shapes[seen.input] == [1, 16, 4, 8]
    assert made.passport.parity["max_abs"] < 1e-4
    assert made.passport.parity["inputs"] == 16  # the edge cases in pairs: the second of each has a state


def test_weights_of_another_network_are_refused(tmp_path):
    path = write(tmp_path / "w.safetensors", network(), {**CONFIG, "network": {**WIDTHS, "c8": 12}})
    with pytest.raises(ModelError, match="of another network than its configuration says") as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)
    write(tmp_path / "m.safetensors", network(), {**CONFIG, "method": "unheard of"})
    with pytest.raises(ModelError, match="its configuration is not of this livecut"):
        open_checkpoint(tmp_path / "m.safetensors")


def test_strangers_and_damaged_files_are_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="the format of weights")
    safetensors.save_file({"w": np.zeros(3, np.float32)}, str(tmp_path / "other.safetensors"))
    torch.save({"w": torch.zeros(3)}, tmp_path / "other.pt")
    for name in ("other.safetensors", "other.pt"):
        with pytest.raises(
            ModelError, match="of another network than livecut's, and weights alone say not which"
        ):
            open_checkpoint(tmp_path / name)
    whole = write(tmp_path / "w.safetensors", network(), CONFIG).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not readable as safetensors"):
        open_checkpoint(tmp_path / "cut.safetensors")
    data = (tmp_path / "other.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="a damaged checkpoint"):
        open_checkpoint(tmp_path / "cut.pt")
