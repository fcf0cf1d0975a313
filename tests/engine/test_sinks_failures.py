import os
import subprocess
import sys

import pytest
from cutouts import SIZE_WH, frame_of

from livecut.engine.errors import SinkError
from livecut.engine.sinks import open_sink
from livecut.engine.sinks.base import StreamInfo


def test_nothing_is_under_the_final_name_until_close(tmp_path):
    path = tmp_path / "out.webm"
    path.write_bytes(b"an older one")
    sink = open_sink(path)
    sink.open(StreamInfo(*SIZE_WH, "YUVA420", fps=25))
    sink.write(frame_of("YUVA420", 0))
    assert path.read_bytes() == b"an older one"
    sink.close()
    assert path.read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert os.listdir(tmp_path) == ["out.webm"]


def test_abort_leaves_nothing_and_the_older_file_alone(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an older one")
    sink = open_sink(path)
    sink.open(StreamInfo(*SIZE_WH, "I420", fps=25))
    sink.write(frame_of("I420", 0))
    sink.abort()
    sink.abort()
    assert path.read_bytes() == b"an older one"
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_abort_before_open_does_nothing(tmp_path):
    open_sink(tmp_path / "out.mp4").abort()
    assert os.listdir(tmp_path) == []


def test_stream_without_a_frame_leaves_a_file_or_an_error_but_no_remains(tmp_path):
    sink = open_sink(tmp_path / "out.webm")
    sink.open(StreamInfo(*SIZE_WH, "YUVA420", fps=25))
    try:
        sink.close()
    except SinkError:
        sink.abort()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize("name", ["out.webm", "out.mp4", "out.mkv", "out.mov"])
def test_missing_folder_is_named(tmp_path, name):
    sink = open_sink(tmp_path / "nowhere" / name)
    with pytest.raises(SinkError, match=r"there is no folder .*nowhere; make it first"):
        sink.open(StreamInfo(*SIZE_WH, sink.accepts[0], fps=25))


def test_unwritable_folder_is_named(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("livecut.engine.sinks.temporary.open", refuse, raising=False)
    sink = open_sink(tmp_path / "out.webm")
    with pytest.raises(SinkError, match=r"out\.webm: not allowed to write here"):
        sink.open(StreamInfo(*SIZE_WH, "YUVA420", fps=25))


FULL_DISK = """
import errno, resource, signal, sys
import numpy as np
from livecut.engine.errors import SinkError
from livecut.engine.frame import Frame
from livecut.engine.sinks import open_sink
from livecut.engine.sinks.base import StreamInfo

path, limit = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sink = open_sink(path)
format = sink.accepts[0]
sink.open(StreamInfo(320, 240, format, fps=25))
rng = np.random.default_rng(0)
shapes = {"I420": [(240, 320), (120, 160), (120, 160)]}.get(format, [(240, 320, 4)])
if format == "YUVA420":
    shapes = [(240, 320), (120, 160), (120, 160), (240, 320)]
raised = []
try:
    for k in range(40):
        planes = tuple(rng.integers(0, 255, shape, dtype=np.uint8) for shape in shapes)
        sink.write(Frame(planes, format, k, k / 25, 0.0))
except SinkError as error:
    raised.append(str(error))
try:
    sink.close()
except SinkError as error:
    raised.append(str(error))
    sink.abort()
print("\\n".join(raised))
"""


@pytest.mark.parametrize("name", ["out.webm", "out.mp4", "out.mkv", "out.mov"])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, name):
    """A file size limit stands in for a full disk: the kernel refuses the write in the same place."""
    path = tmp_path / name
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), "100000"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert lines
    assert set(lines) == {f"{path}: reached the largest size a file may have here"}
    assert os.listdir(tmp_path) == []


def test_write_after_a_failure_raises_the_same_line(tmp_path):
    sink = open_sink(tmp_path / "out.mkv")
    sink.open(StreamInfo(*SIZE_WH, "BGRA", fps=25))
    sink._file.error = OSError(28, "No space left on device")
    for attempt in (
        lambda: sink.write(frame_of("BGRA", 0)),
        lambda: sink.write(frame_of("BGRA", 1)),
        sink.close,
    ):
        with pytest.raises(SinkError, match=r"out\.mkv: the disk is full; make room or write elsewhere"):
            attempt()
    assert os.listdir(tmp_path) == []
