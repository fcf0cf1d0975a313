"""RTSP against GStreamer's own server, where it is installed."""

import threading

import pytest

from livecut.engine.sources import open_source

gi = pytest.importorskip("gi", reason="GStreamer's Python bindings are not installed")
try:
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ValueError, ImportError) as error:
    pytest.skip(f"GStreamer's RTSP server is not installed: {error}", allow_module_level=True)

pytestmark = pytest.mark.slow


class RtspServer:
    """A test picture over RTSP on loopback; ``kill`` drops its clients and frees the port."""

    def __init__(self):
        Gst.init(None)
        self.port = "0"
        self._context = GLib.MainContext()
        self._loop = GLib.MainLoop.new(self._context, False)
        threading.Thread(target=self._loop.run, daemon=True).start()

    def start(self, width, height):
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address("127.0.0.1")
        self._server.set_service(self.port)
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            f"( videotestsrc is-live=true ! video/x-raw,width={width},height={height},framerate=25/1 "
            "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
        )
        factory.set_shared(True)
        self._server.get_mount_points().add_factory("/test", factory)
        self._source = self._server.create_source(None)
        self._source.attach(self._context)
        self.port = str(self._server.get_bound_port())
        return f"rtsp://127.0.0.1:{self.port}/test"

    def kill(self):
        self._source.destroy()
        self._server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        self._server = None

    def stop(self):
        self._loop.quit()


def read_until(source, wanted):
    for _ in range(3000):
        frame = source.read()
        assert frame is not None
        if wanted(frame):
            return frame
    raise AssertionError("it never came")


def test_rtsp_survives_a_server_that_dies_and_comes_back_with_another_size():
    server = RtspServer()
    url = server.start(160, 120)
    try:
        with open_source(url) as source:
            assert source.info.is_live
            frame = read_until(source, lambda frame: not frame.repeated)
            assert (frame.width, frame.height) == (160, 120)
            server.kill()
            read_until(source, lambda frame: frame.repeated)
            server.start(320, 240)
            frame = read_until(source, lambda frame: not frame.repeated)
            assert (frame.width, frame.height) == (320, 240)
    finally:
        server.stop()
