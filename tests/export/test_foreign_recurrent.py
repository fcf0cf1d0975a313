"""Recurrent networks from elsewhere: the file itself with its states fed back by hand says what is right."""

import foreign_nets as nets
import numpy as np
import pytest
from foreign_answers import ATOL, alpha_of, normalised, scene

from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.export import foreign_runs
from livecut.export.foreign import import_foreign


def rvm_by_hand(path, recipe, frames, size_wh):
    """The file itself, its states fed back, frame by frame."""
    run, _ = foreign_runs.open_runner(path)
    states = {f"r{n}i": np.zeros((1, 1, 1, 1), np.float32) for n in range(1, 5)}
    answers = []
    for frame in frames:
        src = normalised(frame, recipe)[None].astype(np.float32)
        ratio = np.array([min(1, 512 / max(size_wh))], np.float32)
        outputs = run({"src": src, "downsample_ratio": ratio, **states})
        states = {f"r{n}i": outputs[f"r{n}o"] for n in range(1, 5)}
        answers.append(outputs["pha"][0, 0])
    return answers


@pytest.mark.slow
def test_rvm_becomes_a_model_with_named_states_that_the_session_carries(tmp_path):
    path = nets.rvm(tmp_path / "rvm.onnx")
    report = import_foreign(path, None, tmp_path / "rvm")
    manifest = Manifest.load(tmp_path / "rvm")
    manifest.validate_against_onnx()
    assert [tensor.input for tensor in manifest.state] == ["r1i", "r2i", "r3i", "r4i"]
    assert manifest.state[0].shape == (1, 2, "height/2", "width/2")
    assert manifest.state[3].shape_for((512, 288)) == (1, 4, 18, 32)
    size = (64, 32)
    frames = [np.roll(scene(size), 5 * step, axis=1) for step in range(4)]
    expected = rvm_by_hand(path, report.recipe, frames, size)
    with Session(tmp_path / "rvm", precision="fp32", threads=1, refine=False, size_wh=size) as session:
        for frame, alpha in zip(frames, expected, strict=True):
            got = session.matte(frame, foreground=False).alpha / 255
            np.testing.assert_allclose(got, alpha, atol=ATOL)
        assert np.abs(expected[0] - expected[3]).max() > 10 / 255  # the memory matters
        session.reset()
        got = session.matte(frames[0], foreground=False).alpha / 255
        np.testing.assert_allclose(got, expected[0], atol=ATOL)


@pytest.mark.slow
def test_rvm_at_a_large_size_has_its_ratio_inside_and_odd_states(tmp_path):
    path = nets.rvm(tmp_path / "rvm.onnx")
    report = import_foreign(path, "rvm", tmp_path / "rvm", size=(600, 360))
    manifest = Manifest.load(tmp_path / "rvm")
    assert manifest.state[2].shape == (1, 3, 39, 64)  # 360 * 512 / 600 = 307, halved thrice and rounded up
    image = scene((600, 360))
    expected = rvm_by_hand(path, report.recipe, [image], (600, 360))[0]
    np.testing.assert_allclose(alpha_of(tmp_path / "rvm", image), expected, atol=ATOL)


@pytest.mark.slow
def test_rvm_in_fp16_has_float32_states_outside(tmp_path):
    import_foreign(nets.rvm(tmp_path / "h.onnx", dtype=nets.HALF), None, tmp_path / "h", size=(64, 32))
    Manifest.load(tmp_path / "h").validate_against_onnx()  # every state float32
    assert alpha_of(tmp_path / "h", scene((64, 32))).shape == (32, 64)


@pytest.mark.slow
def test_both_backends_give_the_same_alpha(tmp_path):
    pytest.importorskip("onnxruntime", reason="the second backend")
    import_foreign(nets.rvm(tmp_path / "rvm.onnx"), None, tmp_path / "rvm")
    image = scene((64, 32))
    one, two = (
        alpha_of(tmp_path / "rvm", image, backend=name, size_wh=(64, 32))
        for name in ("openvino", "onnxruntime")
    )
    np.testing.assert_allclose(one, two, atol=ATOL)


def test_states_of_a_recipe_with_one_size_make_a_model_of_one_size(tmp_path):
    (tmp_path / "one.toml").write_text('extends = "rvm"\n[input]\nsizes_wh = [[64, 32]]\n')
    report = import_foreign(nets.rvm(tmp_path / "rvm.onnx"), tmp_path / "one.toml", tmp_path / "rvm")
    assert report.fixed
    assert Manifest.load(tmp_path / "rvm").state[0].shape == (1, 2, 16, 32)
