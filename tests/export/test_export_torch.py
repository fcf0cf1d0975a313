"""PyTorch modules, TorchScript and livecut's own checkpoints become models that compute the same."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exports PyTorch modules")
pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.errors import ModelError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.export import Options, describe, export_model, module_source
from livecut.export.parity import ParityError


class Tiny(torch.nn.Module):
    """One convolution with batch normalisation, and a sigmoid."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Conv2d(4, 1, 1)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, image):
        return torch.sigmoid(self.head(torch.relu(self.norm(self.convolution(image)))))


class Recurrent(torch.nn.Module):
    """Half of the new alpha and half of the one before, at a quarter of the size."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 1, 1)

    def forward(self, image, before):
        alpha = torch.sigmoid(self.convolution(image))
        small = torch.nn.functional.avg_pool2d(alpha, 4)
        mixed = 0.5 * alpha + 0.5 * torch.nn.functional.interpolate(before, scale_factor=4.0)
        return mixed, small


SIZES = [(64, 32), (32, 64)]


def test_a_module_becomes_a_model_the_engine_runs(tmp_path):
    module = Tiny().eval()
    manifest = describe("tiny", sizes_wh=SIZES, mean=[0, 0, 0], std=[255, 255, 255])
    (made,) = export_model(module, tmp_path / "tiny", manifest=manifest)
    assert made.passport.library == "torch"
    assert made.passport.source == "Tiny"
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    with torch.no_grad():
        expected = module(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255))[0, 0]
    with Session(tmp_path / "tiny", precision="fp32", threads=1, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    np.testing.assert_allclose(alpha / 255, expected.numpy(), atol=1.5 / 255)


def test_changed_weights_are_another_source(tmp_path):
    manifest = describe("tiny", sizes_wh=SIZES)
    one, two = (module_source(Tiny(seed).eval(), manifest) for seed in (0, 1))
    assert one.sha256 != two.sha256
    assert one.sha256 == module_source(Tiny(0).eval(), manifest).sha256
    export_model(one, tmp_path / "out")
    assert export_model(one, tmp_path / "out")[0].reused
    assert not export_model(two, tmp_path / "out")[0].reused


def test_a_recurrent_module_keeps_its_named_state(tmp_path):
    state = [{"input": "before", "output": "after", "shape": [1, 1, "height/4", "width/4"]}]
    manifest = describe("tiny", sizes_wh=SIZES, multiple_of=4, state=state)
    (made,) = export_model(Recurrent().eval(), tmp_path / "tiny", manifest=manifest)
    assert made.passport.shapes["before"] == [1, 1, "height/4", "width/4"]
    assert made.passport.parity["max_abs"] < 1e-5
    assert [tensor.input for tensor in Manifest.load(tmp_path / "tiny").state] == ["before"]
    white = np.full((32, 64, 3), 255, np.uint8)
    with Session(tmp_path / "tiny", threads=1, refine=False) as session:
        alphas = [int(session.matte(white, foreground=False).alpha.mean()) for _ in range(3)]
    assert alphas[0] < alphas[1] <= alphas[2]


def test_a_module_that_behaves_otherwise_when_traced_is_caught(tmp_path):
    class Branching(Tiny):
        def forward(self, image):
            alpha = super().forward(image)
            return alpha if float(image.mean()) < 0.5 else 1 - alpha  # a branch that tracing cannot see

    manifest = describe("tiny", sizes_wh=SIZES, mean=[0, 0, 0], std=[255, 255, 255])
    with pytest.raises(ParityError, match=r"differs from its source by .* at most \(on '\w+'\)"):
        export_model(Branching().eval(), tmp_path / "tiny", manifest=manifest)
    assert not (tmp_path / "tiny").exists()


def test_modules_that_cannot_be_exported_say_why(tmp_path):
    manifest = describe("tiny", sizes_wh=SIZES)
    with pytest.raises(ModelError, match=r"call module\.eval\(\) first"):
        export_model(Tiny().train(), tmp_path / "out", manifest=manifest)
    with pytest.raises(UsageError, match=r"give livecut\.export\.describe"):
        export_model(Tiny().eval(), tmp_path / "out")
    with pytest.raises(ModelError, match=r"expected a torch\.nn\.Module, got function"):
        export_model(lambda image: image, tmp_path / "out", manifest=manifest)
    wrong = torch.nn.Conv2d(5, 1, 1).eval()
    with pytest.raises(ModelError, match=r"PyTorch cannot export it with 1x3x32x64"):
        export_model(wrong, tmp_path / "out", manifest=manifest)
    assert not (tmp_path / "out").exists()


RECIPE = """
[input]
std = [255.0, 255.0, 255.0]
sizes_wh = [[64, 32]]
[output]
name = 0
activation = "sigmoid"
"""


def test_a_torchscript_file_is_exported_by_its_recipe(tmp_path):
    class Logits(Tiny):
        def forward(self, image):
            return self.head(torch.relu(self.norm(self.convolution(image))))

    module = Logits().eval()
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(module, torch.zeros(1, 3, 32, 64)).save(str(tmp_path / "script.pt"))
    (tmp_path / "r.toml").write_text(RECIPE, encoding="utf-8")
    (made,) = export_model(tmp_path / "script.pt", tmp_path / "out", recipe=tmp_path / "r.toml")
    assert (made.passport.library, made.passport.source) == ("torch", "script.pt")
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    with torch.no_grad():
        logits = module(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    with Session(tmp_path / "out", precision="fp32", threads=1, refine=False) as session:
        alpha = session.matte(image, foreground=False).alpha
    np.testing.assert_allclose(alpha / 255, torch.sigmoid(logits)[0, 0].numpy(), atol=1.5 / 255)
    with pytest.raises(UsageError, match="TorchScript does not say how it is fed: name its --recipe"):
        export_model(tmp_path / "script.pt", tmp_path / "no", options=Options())


def test_weights_alone_are_refused_where_nobody_knows_their_network(tmp_path):
    torch.save(Tiny().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"a PyTorch checkpoint without its network"):
        export_model(tmp_path / "weights.pt", tmp_path / "out")
