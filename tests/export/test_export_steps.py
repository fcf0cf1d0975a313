"""An export resumes where it stopped, makes anew what no longer fits, and never leaves half a file."""

import json

import bundles
import export_nets as nets
import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime", reason="an export is proved by running it")

from livecut.engine.errors import ModelError, SinkError, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.session import Session
from livecut.export import Options, export_model
from livecut.export.steps import Step, folder_for, run


@pytest.fixture
def source(tmp_path):
    return bundles.write_bundle(tmp_path / "source", bundles.sigmoid_of_sum())


def frames(manifest, size_wh):
    """Three pictures of noise."""
    rng = np.random.default_rng(3)
    for index in range(3):
        yield f"noise {index}", rng.uniform(0, 1, (1, 3, size_wh[1], size_wh[0])).astype(np.float32)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_becomes_a_bundle_with_a_passport(tmp_path, source):
    (made,) = export_model(source, tmp_path / "out", frames=frames, command="livecut export source")
    assert names(tmp_path / "out") == [
        "LEDGER.json",
        "MODEL_CARD.md",
        "manifest.json",
        "model.onnx",
        "model.onnx.passport.json",
    ]
    passport = Passport.read(tmp_path / "out" / "model.onnx")
    assert passport == made.passport
    assert passport.check(made.artefact, source / "model.onnx") == []
    assert passport.target == "onnx"
    assert passport.command == "livecut export source"
    assert passport.shapes == {"image": [1, 3, "height", "width"], "alpha": [1, 1, "height", "width"]}
    assert passport.parity["max_abs"] < 1e-6
    assert passport.parity["real_frames"] == 3
    assert (
        passport.parity["inputs"] == 3 + 2 * 8
    )  # the edge cases at the first size and at the most different
    with Session(tmp_path / "out", threads=1) as session:
        alpha = session.matte(np.full((32, 64, 3), 255, np.uint8), foreground=False).alpha
    assert alpha.min() > 235  # sigmoid(3) of white


def test_what_an_exported_file_is_stands_inside_it(tmp_path, source):
    export_model(source, tmp_path / "out")
    model = onnx.load(str(tmp_path / "out" / "model.onnx"))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["livecut.name"] == "source"
    assert facts["livecut.licence"] == "Apache-2.0"
    assert json.loads(facts["livecut.input"])["sizes_wh"] == [[64, 32], [32, 32], [32, 64]]
    assert facts["livecut.source_sha256"] == Manifest.load(source).sha256
    # and so the file alone is enough to export again
    (made,) = export_model(tmp_path / "out" / "model.onnx", tmp_path / "again")
    assert made.passport.library == "onnx"
    assert Manifest.load(tmp_path / "again").sizes_wh == ((64, 32), (32, 32), (32, 64))


def test_the_same_export_gives_the_same_bytes(tmp_path, source):
    one, two = (export_model(source, tmp_path / name)[0].passport for name in ("one", "two"))
    assert one.sha256 == two.sha256


def test_a_second_run_uses_what_is_there(tmp_path, source):
    out = tmp_path / "out"
    first = export_model(source, out, options=Options("fp16"), frames=frames)
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = export_model(source, out, options=Options("fp16"), frames=frames)
    assert [made.reused for made in first] == [False, False]
    assert [made.reused for made in again] == [True, True]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == times
    assert Manifest.load(out).extra.get(
        "variants", json.loads((out / "manifest.json").read_text())["variants"]
    )


def test_an_interrupted_export_goes_on_where_it_stopped(tmp_path, source, monkeypatch):
    import livecut.export.fp16 as fp16

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(fp16, "convert_fp16", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_model(source, out, options=Options("fp16"), frames=frames)
    assert "model-fp16.onnx" not in names(out)
    assert not [name for name in names(out) if name.startswith(".")]
    made = export_model(source, out, options=Options("fp16"), frames=frames)
    assert [(step.name, step.reused) for step in made] == [("onnx", True), ("fp16", False)]


CHANGES = {
    "another source": lambda out, source: bundles.write_bundle(source, bundles.red_as_alpha()),
    "a damaged artefact": lambda out, source: (out / "model.onnx").write_bytes(b"damaged"),
    "a missing passport": lambda out, source: (out / "model.onnx.passport.json").unlink(),
    "a damaged passport": lambda out, source: (out / "model.onnx.passport.json").write_text("{"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_no_longer_fits_is_made_again(tmp_path, source, change):
    out = tmp_path / "out"
    export_model(source, out)
    CHANGES[change](out, source)
    (made,) = export_model(source, out)
    assert not made.reused
    assert Manifest.load(out).sha256 == made.passport.sha256
    assert made.passport.check(out / "model.onnx", source / "model.onnx") == []


def test_other_options_make_it_again_and_no_resume_always_does(tmp_path, source):
    out = tmp_path / "out"
    export_model(source, out)
    (fixed,) = export_model(source, out, options=Options(size_wh=(32, 32)))
    assert not fixed.reused
    assert fixed.passport.shapes["image"] == [1, 3, 32, 32]
    assert Manifest.load(out).sizes_wh == ((32, 32),)
    (again,) = export_model(source, out, options=Options(size_wh=(32, 32), resume=False))
    assert not again.reused


def test_an_export_that_fails_leaves_the_old_one(tmp_path, source):
    out = tmp_path / "out"
    export_model(source, out)
    before = {name: (out / name).read_bytes() for name in names(out)}
    broken = bundles.write_bundle(tmp_path / "broken", bundles.red_as_alpha_unclipped())
    with pytest.raises(ModelError, match=r"alpha is .*outside 0\.\.1"):
        export_model(broken, out)
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_an_export_that_fails_at_first_leaves_no_folder(tmp_path):
    broken = bundles.write_bundle(tmp_path / "broken", bundles.red_as_alpha_unclipped())
    with pytest.raises(ModelError):
        export_model(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_written_over(tmp_path, source):
    with pytest.raises(UsageError, match="where the weights themselves lie"):
        export_model(source, source)


def test_a_disk_that_takes_nothing_is_one_line(tmp_path, source, monkeypatch):
    import livecut.export.bundle as bundle

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle.os, "replace", full)
    with pytest.raises(
        SinkError, match=r"model\.onnx: cannot be written: No space left on device; give another"
    ):
        export_model(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_folders_place_is_refused(tmp_path, source):
    (tmp_path / "out").touch()
    with pytest.raises(SinkError, match="expected a folder for the export, found a file"):
        export_model(source, tmp_path / "out")


def test_a_recurrent_model_is_proved_as_a_stream(tmp_path):
    source = bundles.write_bundle(
        tmp_path / "stateful", bundles.half_of_before(), state=list(bundles.HALF_STATE)
    )
    (made,) = export_model(source, tmp_path / "out", options=Options(size_wh=(64, 32)), frames=frames)
    assert made.passport.shapes["memory"] == [1, 1, 32, 64]
    assert made.passport.parity["inputs"] == 3 + 8 * 2
    with Session(tmp_path / "out", threads=1) as session:
        white = np.full((32, 64, 3), 255, np.uint8)
        alphas = [int(session.matte(white, foreground=False).alpha.mean()) for _ in range(3)]
    assert alphas[0] < alphas[1] < alphas[2]


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_batch_gives_each_picture_its_own_alpha(tmp_path, source, dynamic):
    options = Options(size_wh=None if dynamic else (64, 32), batch=3, dynamic=dynamic)
    (made,) = export_model(source, tmp_path / "out", options=options, frames=frames)
    assert made.passport.shapes["image"][0] == ("batch" if dynamic else 3)
    assert made.passport.parity["max_abs"] < 1e-6


def test_steps_before_the_one_that_fails_stay_done(tmp_path, source):
    (made,) = export_model(source, tmp_path / "out")

    def fail(progress):
        raise ModelError("no")

    done = []
    later = Step("later", tmp_path / "out" / "later.bin", lambda: "x", {}, fail)
    first = Step("first", made.artefact, lambda: "x", {}, lambda progress: made.passport)
    with pytest.raises(ModelError, match="no"):
        run([first, later], resume=False, done=done.append)
    assert [step.name for step in done] == ["first"]


def test_a_folder_that_was_there_is_left_there(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ModelError), folder_for(tmp_path / "mine"):
        raise ModelError("no")
    assert (tmp_path / "mine").is_dir()


def test_int8_wants_pictures(tmp_path, source):
    with pytest.raises(UsageError, match=r"--calibrate FOLDER"):
        export_model(source, tmp_path / "out", options=Options("int8"), frames=frames)
    assert not (tmp_path / "out").exists()


def test_openvino_files_are_read_back_and_compared(tmp_path, source):
    pytest.importorskip("openvino", reason="writes OpenVINO's format")
    made = export_model(source, tmp_path / "out", options=Options("openvino"), frames=frames)
    passport = made[-1].passport
    assert passport.artefact == "model-fp32.xml"
    assert list(passport.extra["parts"]) == ["model-fp32.bin"]
    assert passport.parity["max_abs"] < 1e-5
    (tmp_path / "out" / "model-fp32.bin").write_bytes(b"")
    again = export_model(source, tmp_path / "out", options=Options("openvino"), frames=frames)
    assert [step.reused for step in again] == [True, False]


def test_a_graph_of_strangers_needs_a_recipe(tmp_path, rng):
    path = nets.write(tmp_path / "net.onnx", nets.foldable(rng))
    with pytest.raises(UsageError, match="--recipe"):
        export_model(path, tmp_path / "out")


def test_a_precision_that_costs_too_much_is_not_written(tmp_path, source, monkeypatch):
    import livecut.export.fp16 as fp16

    out = tmp_path / "out"
    first = export_model(source, out, options=Options("fp16"), frames=frames)[-1].passport
    before = {name: (out / name).read_bytes() for name in names(out)}
    convert = fp16.convert_fp16

    def ruined(source, out, **how):
        report = convert(source, out, **how)
        model = onnx.load(str(out))
        for tensor in model.graph.initializer:
            halved = onnx.numpy_helper.to_array(tensor) / 2
            tensor.CopyFrom(onnx.numpy_helper.from_array(halved.astype(np.float16), tensor.name))
        onnx.save(model, str(out))
        return report

    monkeypatch.setattr(fp16, "convert_fp16", ruined)
    with pytest.raises(ModelError, match=r"model-fp16\.onnx differs from its source by .* on average"):
        export_model(source, out, options=Options("fp16", resume=False), frames=frames)
    assert {name: (out / name).read_bytes() for name in names(out) if "fp16" in name} == {
        name: data for name, data in before.items() if "fp16" in name
    }
    assert first.check(out / "model-fp16.onnx", out / "model.onnx") == []
