"""``livecut stream`` and ``demo``: what they write, and how they end."""

import json

import numpy as np
import pytest

from livecut.engine.pictures import write_picture

CAMERA = "synthetic://64x48@30?seconds=1&pace=0"
NULL = ("--backend", "null")
REPORT = [
    "frames_in",
    "frames_out",
    "dropped",
    "late",
    "fps",
    "latency_ms",
    "jitter_ms",
    "stages",
    "backend",
    "cpu_seconds_per_frame",
    "rss_mb",
]


def test_the_report_goes_to_stdout_alone(livecut):
    result = livecut("stream", CAMERA, "null://", "--json", "-", *NULL)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert list(report) == REPORT
    assert (report["frames_in"], report["frames_out"], report["dropped"]) == (30, 30, 0)
    assert "30 of 30 frames" in result.stderr


def test_the_report_goes_to_a_file(livecut, tmp_path):
    result = livecut("stream", CAMERA, "null://", "--json", tmp_path / "r.json", "-q", *NULL)
    assert (result.stdout, result.stderr) == ("", "")
    assert json.loads((tmp_path / "r.json").read_text())["frames_out"] == 30


def test_seconds_end_the_stream(livecut):
    result = livecut("stream", CAMERA, "null://", "--seconds", 0.5, "--json", "-", *NULL)
    assert json.loads(result.stdout)["frames_out"] == 15


def test_a_video_with_alpha_is_written_and_decodes_with_it(livecut, tmp_path):
    from livecut import open_source

    result = livecut("stream", CAMERA, tmp_path / "out.webm", "--seconds", 0.2, *NULL)
    assert result.exit_code == 0, result.stderr
    with open_source(str(tmp_path / "out.webm")) as source:
        frame = source.read()
    assert frame.alpha.shape == (48, 64)
    assert frame.alpha.min() >= 250


def test_raw_frames_go_through_pipes(livecut):
    frames = np.full((3, 48, 64, 3), 77, np.uint8)
    options = ("--size", "64x48", "--fps", 25, "--quiet")
    result = livecut("stream", "-", "-", *options, *NULL, input=frames.tobytes())
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout_bytes) == 3 * 48 * 64 * 4


def test_a_background_makes_composited_video(livecut, tmp_path):
    write_picture(tmp_path / "wall.png", np.zeros((4, 4, 3), np.uint8))
    for background in (tmp_path / "wall.png", "blur"):
        result = livecut(
            "stream", CAMERA, tmp_path / "o.mp4", "--background", background, "--seconds", 0.2, *NULL
        )
        assert result.exit_code == 0, result.stderr
    assert livecut("stream", CAMERA, tmp_path / "p.mp4", "-bgc", 1, 2, 3, 255, *NULL).exit_code == 0


def test_a_video_goes_behind(livecut, tmp_path):
    livecut("stream", CAMERA, tmp_path / "wall.mp4", "--background", "blur", "--seconds", 0.2, *NULL)
    result = livecut("stream", CAMERA, tmp_path / "o.mp4", "--background", tmp_path / "wall.mp4", *NULL)
    assert result.exit_code == 0, result.stderr
    assert "30 of 30" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["gone.mp4", "null://"], 5, "gone.mp4: no such file"),
        ([CAMERA, "out.mp4"], 2, "cannot carry transparency"),
        ([CAMERA, "gone/out.webm"], 5, "gone/out.webm"),
        ([CAMERA, "out.xyz"], 2, "out.xyz"),
        (["synthetic://64", "null://"], 2, "synthetic://64"),
        ([CAMERA, "-", "--json", "-"], 2, "--json -"),
        ([CAMERA, "null://", "--policy", "hope"], 2, "policy"),
        ([CAMERA, "null://", "--size", "64"], 2, "--size: expected WIDTHxHEIGHT"),
        ([CAMERA, "null://", "--require-gpu"], 4, "--require-gpu"),
        ([CAMERA, "null://", "-bgc", "1", "2", "3", "4"], 2, "a stream's colour is opaque"),
        ([CAMERA, "null://", "--background", "gone.mp4"], 5, "gone.mp4: no such file"),
        ([CAMERA, "null://", "--model", "gone"], 4, "no model 'gone'"),
        (["nonesuch://x", "null://"], 2, "no source for nonesuch://"),
    ],
)
def test_errors_are_one_line_with_the_right_exit_code(
    livecut, tmp_path, monkeypatch, arguments, exit_code, text
):
    monkeypatch.chdir(tmp_path)
    result = livecut("stream", *arguments, *NULL)
    assert result.exit_code == exit_code, result.stderr
    complaints = [line for line in result.stderr.splitlines() if line.startswith("livecut: error: ")]
    assert len(complaints) == 1
    assert text in complaints[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_demo_of_a_picture_and_of_a_video(livecut, photograph, tmp_path):
    result = livecut("demo", photograph, "--out", tmp_path / "out", *NULL)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "photograph.png").is_file()
    assert (tmp_path / "out" / "contact-sheet.png").is_file()
    result = livecut("demo", CAMERA, "--out", tmp_path / "stream", *NULL)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "stream").iterdir()} == {
        "stream.webm",
        "report.json",
        "contact-sheet.png",
    }
    assert "frames per second" in result.stdout


def test_demo_of_a_folder_counts_what_failed(livecut, photograph, tmp_path):
    (tmp_path / "bad.png").touch()
    result = livecut("demo", tmp_path, "--out", tmp_path / "out", *NULL)
    assert result.exit_code == 3
    assert "bad.png: the file is empty" in result.stderr
    assert (tmp_path / "out" / "contact-sheet.png").is_file()
