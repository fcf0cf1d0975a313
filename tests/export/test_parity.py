"""Parity: what was exported is held against its source, and refused where it computes something else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exports PyTorch modules")
pytest.importorskip("onnxruntime", reason="runs what is exported")

from livecut.export import describe, export_model
from livecut.export.parity import ParityError, compare, edge_streams
from livecut.export.runners import module_runner, onnx_runner, open_session

MANIFEST = describe("tiny", sizes_wh=[(64, 32), (32, 64)])


class Tiny(torch.nn.Module):
    """One convolution and a sigmoid: alpha of the input's size."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image):
        return torch.sigmoid(self.convolution(image))


def runner_of(module):
    return module_runner(module.eval(), ["image"], ["alpha"])


def edge_cases():
    return [case for size in MANIFEST["input"]["sizes_wh"] for case in edge_streams(MANIFEST, size)]


@pytest.fixture
def exported(tmp_path):
    (made,) = export_model(Tiny().eval(), tmp_path / "tiny", manifest=MANIFEST)
    return made


def test_the_file_has_the_agreed_names_and_runs_at_other_sizes(exported):
    session = open_session(exported.artefact)
    (image,), (alpha,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", [1, 3, "height", "width"])
    assert (alpha.name, alpha.shape) == ("alpha", [1, 1, "height", "width"])
    for height, width in ((32, 32), (96, 64)):
        (out,) = session.run(None, {"image": np.zeros((1, 3, height, width), np.float32)})
        assert out.shape == (1, 1, height, width)


def test_parity_holds_for_what_was_exported_at_each_shape(exported):
    parity = exported.passport.parity
    assert parity["inputs"] == len(edge_cases()) == 16
    assert parity["max_abs"] < 1e-5
    again = compare(runner_of(Tiny()), onnx_runner(exported.artefact), edge_cases(), MANIFEST, name="tiny")
    assert again.max_abs < 1e-5


def test_parity_refuses_a_file_that_differs_from_its_source(exported):
    other = runner_of(Tiny(seed=1))
    with pytest.raises(ParityError, match="differs from its source"):
        compare(other, onnx_runner(exported.artefact), edge_cases(), MANIFEST, name="tiny")


def test_parity_refuses_to_agree_on_nothing(exported):
    runner = onnx_runner(exported.artefact)
    with pytest.raises(ParityError, match="no inputs"):
        compare(runner, runner, [], MANIFEST, name="tiny")


def test_parity_refuses_values_outside_0_1(tmp_path):
    class Doubled(Tiny):
        def forward(self, image):
            return 2 * super().forward(image)

    with pytest.raises(ParityError, match=r"outside 0\.\.1"):
        export_model(Doubled().eval(), tmp_path / "doubled", manifest=MANIFEST)
    assert not (tmp_path / "doubled").exists()


def test_edge_cases_are_in_range_and_of_the_shapes_the_network_takes():
    frames = [frame for case in edge_cases() for frame in case.frames]
    assert {frame.shape for frame in frames} == {(1, 3, 32, 64), (1, 3, 64, 32)}
    assert all(frame.dtype == np.float32 and np.abs(frame).max() <= 1 for frame in frames)
