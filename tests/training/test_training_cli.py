"""``livecut train``: what it leaves, how it stops, and what it says when it cannot."""

import os
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")


def test_a_run_leaves_its_files_and_says_what_comes_next(livecut, tiny_toml, data_folder, tmp_path):
    out = tmp_path / "run"
    result = livecut("train", "--config", tiny_toml, "--data", data_folder, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert {"checkpoint.pt", "log.txt", "curve.csv", "curve.png"} <= {path.name for path in out.iterdir()}
    assert "livecut eval" in result.stderr
    assert "validation all" in result.stderr
    assert result.stdout == ""


def test_without_a_folder_a_run_is_called_after_its_configuration_s_file(
    livecut, tiny_toml, data_folder, tmp_path, monkeypatch
):
    part = tiny_toml.with_name("second-part.toml")  # whose network is called tiny all the same
    part.write_text(tiny_toml.read_text())
    monkeypatch.chdir(tmp_path)
    result = livecut("train", "--config", part, "--data", data_folder, "-q")
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["second-part"]


def test_a_second_run_does_not_overwrite_the_first_and_resume_goes_on(
    livecut, tiny_toml, data_folder, tmp_path
):
    command = ("train", "--config", tiny_toml, "--data", data_folder, "--out", tmp_path / "run")
    assert livecut(*command).exit_code == 0
    again = livecut(*command)
    assert again.exit_code == 2
    assert "add --resume" in again.stderr
    more = livecut(*command, "--resume", "--minutes", "0.02", "-q")
    assert more.exit_code == 0, more.stderr
    assert more.stderr == ""
    assert "resumed at step" in (tmp_path / "run" / "log.txt").read_text()


def test_mistakes_end_with_one_line_and_the_code_of_their_kind(livecut, tiny_toml, data_folder, tmp_path):
    def ends(*arguments):
        result = livecut("train", "--out", tmp_path / "run", *arguments)
        assert result.stderr.splitlines()[-1].startswith("livecut: error: ")
        return result.exit_code, result.stderr

    code, said = ends("--config", "livecut-xxl", "--data", data_folder)
    assert (code, "Available: " in said) == (2, True)
    code, said = ends("--config", tiny_toml, "--data", tmp_path / "nowhere")
    assert (code, "--data" in said) == (5, True)
    code, said = ends("--config", tiny_toml, "--data", data_folder, "--resume")
    assert (code, "start without --resume" in said) == (4, True)
    code, said = ends("--config", tiny_toml, "--data", data_folder, "--init", tmp_path / "none.pt")
    assert (code, "no such checkpoint" in said) == (4, True)
    code, said = ends("--config", tiny_toml, "--data", data_folder, "--halfway-to", "livecut-s")
    assert (code, "give the first with --init" in said) == (2, True)
    code, said = ends("--config", tiny_toml, "--data", data_folder, "--device", "abacus")
    assert (code, "expected one of auto, cpu, cuda" in said) == (2, True)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"rubbish")
    code, said = ends("--config", tiny_toml, "--data", data_folder, "--resume")
    assert (code, "not a readable checkpoint" in said) == (4, True)


def test_bad_pictures_are_named_and_left_out_and_an_empty_rest_is_refused(
    livecut, tiny_toml, data_folder, tmp_path
):
    pairs = data_folder / "clothing_cc0"
    images = sorted((pairs / "images").iterdir())
    images[0].write_bytes(b"no picture")
    result = livecut("train", "--config", tiny_toml, "--data", data_folder, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert f"skipped {images[0]}: does not decode" in result.stderr
    for path in data_folder.rglob("*.*"):
        if path.suffix in (".jpg", ".png"):
            path.write_bytes(b"")
    result = livecut("train", "--config", tiny_toml, "--data", data_folder, "--out", tmp_path / "other")
    assert result.exit_code == 2
    assert "nothing to train on is left" in result.stderr


def test_without_pytorch_it_says_how_to_get_it(livecut, tiny_toml, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("livecut.training.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = livecut("train", "--config", tiny_toml, "--out", tmp_path / "run")
    assert result.exit_code == 4
    assert "pip install 'livecut[train]'" in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_reaches_every_process_and_the_run_is_saved_all_the_same(tiny_toml, data_folder, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "livecut", "train", "--config", tiny_toml, "--data", data_folder]
    command += ["--out", out, "--minutes", "30", "--workers", "1"]
    environment, said = {**os.environ, "OMP_WAIT_POLICY": "passive"}, []
    with subprocess.Popen(
        [str(part) for part in command],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        for line in process.stderr:
            said.append(line)
            if " step 50 " in line:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the loader's worker gets it too
    assert process.returncode == 130, "".join(said)
    assert "stopped; saved, go on with --resume" in said[-1]
    assert "Traceback" not in "".join(said)
    assert torch.load(out / "checkpoint.pt", weights_only=True)["counters"]["step"] >= 50


def test_sigterm_asks_the_run_to_stop_and_ends_with_143(
    livecut, tiny_toml, data_folder, tmp_path, monkeypatch
):
    from livecut.training import train

    class Terminated(train.Trainer):
        def train_step(self, batch, share):
            super().train_step(batch, share)
            if self.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(train, "Trainer", Terminated)
    out = tmp_path / "run"
    result = livecut(
        "train",
        "--config",
        tiny_toml,
        "--data",
        data_folder,
        "--out",
        out,
        "--minutes",
        "30",
        "--device",
        "cpu",
    )
    assert result.exit_code == 143
    assert torch.load(out / "checkpoint.pt", weights_only=True)["counters"]["step"] == 3
