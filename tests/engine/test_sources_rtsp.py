"""RTSP against GStreamer's own server, where it is installed."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from livecut.engine.errors import SourceError
from livecut.engine.sources import open_source

pytestmark = pytest.mark.slow
SERVER = pathlib.Path(__file__).parents[1] / "rtsp_server.py"
HAS_BINDINGS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)


def python_with_gstreamer():
    """A Python that has GStreamer's RTSP server, or None: a virtual environment rarely has."""
    for python in dict.fromkeys((sys.executable, "/usr/bin/python3", shutil.which("python3"))):
        if python and pathlib.Path(python).exists():
            done = subprocess.run([python, "-c", HAS_BINDINGS], capture_output=True, timeout=60)
            if done.returncode == 0:
                return python
    return None


class RtspServer:
    """The server process; killing it is how a camera loses its power."""

    def __init__(self, python):
        self._python, self._process, self.port = python, None, "0"

    def start(self, width, height):
        self._process = subprocess.Popen(
            [self._python, str(SERVER), str(width), str(height), self.port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self._process.stdout.readline().strip()
        if not line:
            pytest.skip(f"GStreamer's RTSP server does not start: {self._process.communicate()[1].strip()}")
        self.port = line
        return f"rtsp://127.0.0.1:{self.port}/test"

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def server():
    python = python_with_gstreamer()
    if python is None:
        pytest.skip("no Python here has GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0, python3-gi)")
    server = RtspServer(python)
    yield server
    server.kill()


def read_until(source, wanted):
    frames = []
    for _ in range(3000):
        frames.append(source.read())
        assert frames[-1] is not None, "the stream ended"
        if wanted(frames[-1]):
            return frames
    raise AssertionError("it never came")


def test_rtsp_survives_a_server_that_dies_and_comes_back_with_another_size(server):
    with open_source(server.start(160, 120)) as source:
        assert source.info.is_live
        frames = read_until(source, lambda frame: not frame.repeated)
        assert (frames[-1].width, frames[-1].height) == (160, 120)
        server.kill()
        frames += read_until(source, lambda frame: frame.repeated)
        server.start(320, 240)
        frames += read_until(source, lambda frame: not frame.repeated and frame.width == 320)
        assert frames[-1].height == 240
        assert frames[-1].planes[0].std() > 20  # the test picture, not an empty one
        assert (np.diff([frame.index for frame in frames]) > 0).all()
        assert (np.diff([frame.pts_seconds for frame in frames]) > 0).all()


def test_rtsp_path_that_the_server_does_not_have_is_an_error(server):
    with pytest.raises(SourceError, match="/nothing: cannot be opened"):
        open_source(server.start(160, 120).replace("/test", "/nothing")).open()
