"""What people do by mistake: odd names, empty ones, closed pipes, files that cannot be written."""

import os
import subprocess
import sys

import numpy as np
import pytest

from livecut.cli.console import check_writable
from livecut.engine.errors import SinkError, SourceError
from livecut.engine.pictures import read_picture, write_picture
from livecut.engine.standard import standard_input, standard_output


def in_a_process(tiny_model, *arguments, closed=()):
    """Run the command in a process of its own, with these descriptors closed before it begins."""
    code = (
        "import os, sys\n"
        f"for number in {tuple(closed)}: os.close(number)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'livecut', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", code, *map(str, arguments), "--model", str(tiny_model), "-q"]
    return subprocess.run(command, input=b"", capture_output=True, timeout=100)


@pytest.mark.parametrize("command", ["cut", "stream"])
@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_name_is_no_name(livecut, photograph, tmp_path, command, empty, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(photograph), "out.webm" if command == "stream" else "out.png"]
    names[empty] = ""
    result = livecut(command, *names)
    assert result.exit_code == 2
    assert "is a variable not set?" in result.stderr
    assert os.listdir(tmp_path) == [photograph.name]


@pytest.mark.parametrize(
    "name", ["with space.png", "\u043a\u0440\u0443\u0436\u043a\u0430 \u2615.png", "a" * 245 + ".png"]
)
def test_any_name_that_a_disk_takes_is_taken(livecut, tiny_model, photograph, tmp_path, name):
    source = photograph.rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    result = livecut("cut", source, tmp_path / "out", "--model", tiny_model)
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_link_that_leads_nowhere_is_named(livecut, tiny_model, photograph, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    photograph.rename(folder / "a.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "round").symlink_to("..")
    result = livecut("cut", folder, tmp_path / "out", "--model", tiny_model)
    assert result.exit_code == 3
    assert "gone.png: no such file" in result.stderr
    assert "1 of 2 pictures cut out" in result.stderr


def test_a_closed_standard_stream_is_named(tiny_model, tmp_path, monkeypatch):
    done = in_a_process(tiny_model, "cut", "-", tmp_path / "out.png", closed=[0])
    assert done.returncode == 5, done.stderr
    assert "standard input" in done.stderr.decode()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"):
        standard_input()
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SinkError, match="standard output is closed"):
        standard_output()


def test_a_stream_of_no_frames_is_an_error(tiny_model, tmp_path):
    out = tmp_path / "out.webm"
    done = in_a_process(tiny_model, "stream", "-", out, "--size", "64x48")
    assert done.returncode == 5
    assert "no frame came out of it" in done.stderr.decode()
    assert not out.exists()


def test_a_size_that_no_memory_holds_is_refused(livecut, photograph, tmp_path):
    result = livecut("cut", photograph, tmp_path / "o.png", "--input-size", "32000x32000")
    assert result.exit_code == 2
    assert "1024 megapixels; a network's input has at most 17" in result.stderr


def test_a_result_that_could_not_be_written_is_refused_before_the_work(livecut, tmp_path, photograph):
    (tmp_path / "file").touch()
    for arguments in (
        ("bench", "--seconds", "9h", "--json", tmp_path / "file" / "x.json"),
        ("bench", "--seconds", "9h", "--html", tmp_path),
        ("stream", photograph, tmp_path / "o.webm", "--json", tmp_path / "file" / "x.json"),
    ):
        result = livecut(*arguments)
        assert result.exit_code == 5
        assert "cannot be written" in result.stderr or "is a folder" in result.stderr
    assert not (tmp_path / "o.webm").exists()


def test_what_can_be_written_is_left_alone(tmp_path):
    (tmp_path / "old.json").write_text("old")
    check_writable(None, "-", str(tmp_path / "old.json"), str(tmp_path / "new" / "x.json"))
    assert (tmp_path / "old.json").read_text() == "old"
    assert not (tmp_path / "new" / "x.json").exists()
    with pytest.raises(SinkError, match="is a folder"):
        check_writable(str(tmp_path))


def test_why_it_runs_as_it_does_is_said_once_for_all_sizes(livecut, tiny_model, tmp_path):
    (tmp_path / "in").mkdir()
    for name, shape in (("wide", (32, 64, 3)), ("tall", (64, 32, 3))):
        write_picture(tmp_path / "in" / f"{name}.png", np.zeros(shape, np.uint8))
    result = livecut("cut", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    lines = [line for line in result.stderr.splitlines() if " at " in line]
    assert ["auto: " in line for line in lines] == [True, False]
    assert read_picture(tmp_path / "out" / "tall.png").size_wh == (32, 64)


def test_nothing_that_is_read_is_written_over(livecut, photograph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = photograph.read_bytes()
    folder, link = tmp_path / "frames", tmp_path / "link.png"
    folder.mkdir()
    link.symlink_to(photograph)
    (folder / "frame_000001.png").write_bytes(before)
    other = tmp_path / "other.png"
    other.write_bytes(before)
    for arguments in (
        ("stream", photograph, photograph),
        ("stream", link, photograph),
        ("stream", folder, f"{folder}/"),
        ("stream", folder, folder / "frame_%06d.png"),
        ("stream", other, photograph, "--background", photograph),
        ("cut", photograph, link),
        ("cut", other, photograph, "--background", photograph),
        ("cut", folder, folder),
    ):
        result = livecut(*arguments)
        assert (result.exit_code, "too; " in result.stderr) == (2, True), arguments
    assert (
        photograph.read_bytes() == other.read_bytes() == (folder / "frame_000001.png").read_bytes() == before
    )


def test_a_background_that_is_no_video_is_named_plainly(livecut, tiny_model, photograph, tmp_path):
    (tmp_path / "empty.mp4").touch()
    result = livecut(
        "stream",
        photograph,
        tmp_path / "o.mp4",
        "--background",
        tmp_path / "empty.mp4",
        "--model",
        tiny_model,
    )
    assert result.exit_code == 5
    assert "empty.mp4: cannot be read as a background: Invalid data found" in result.stderr


@pytest.mark.parametrize(
    ("level", "mark", "said"), [("avx2", "ok", "is the most they may"), ("avx9", "!!", "and does nothing")]
)
def test_the_doctor_sees_a_mistyped_instruction_set(livecut, tiny_model, monkeypatch, level, mark, said):
    monkeypatch.setenv("LIVECUT_SIMD", level)
    result = livecut("doctor", "--model", tiny_model, "--backend", "null")
    (line,) = (line for line in result.stdout.splitlines() if line.split()[1:2] == ["processor"])
    assert line.startswith(mark)
    assert said in line
