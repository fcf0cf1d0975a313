"""Network sources against real servers on loopback, killed and started again in mid-stream."""

import functools
import http.server
import io
import threading

import media
import numpy as np
import pytest
from PIL import Image
from servers import PATIENCE_SECONDS, StreamServer, mjpeg_part

from livecut.engine.errors import SourceError
from livecut.engine.sources import open_source
from livecut.engine.sources.url import UrlSource, without_credentials

pytestmark = pytest.mark.slow


def jpeg(value, size_wh=(64, 48)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((size_wh[1], size_wh[0], 3), value, np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def mjpeg(*values, size_wh=(64, 48)):
    return b"".join(mjpeg_part(jpeg(value, size_wh)) for value in values)


def transport_stream(tmp_path, size_wh, frames=60):
    path = media.write_clip(
        tmp_path / f"{size_wh[0]}.ts",
        frames=frames,
        size_wh=size_wh,
        options={"g": "5", "bf": "0", "tune": "zerolatency"},
    )
    return path.read_bytes()


def read_until(source, wanted):
    """Read until ``wanted(frame)``; fails after a few hundred frames."""
    seen = []
    for _ in range(3000):
        frame = source.read()
        assert frame is not None, "the stream ended"
        seen.append(frame)
        if wanted(frame):
            return seen
    raise AssertionError(f"not among {len(seen)} frames; the last was {seen[-1]}")


def shows(value):
    return lambda frame: not frame.repeated and abs(int(frame.planes[0].mean()) - value) < 6


def test_mjpeg_over_http_survives_a_server_that_dies_and_comes_back_with_another_size():
    with StreamServer("multipart/x-mixed-replace; boundary=frame", mjpeg(*[40] * 30)) as server:
        with open_source(server.url) as source:
            assert source.info.is_live
            assert (source.info.width, source.info.height) == (64, 48)
            before = read_until(source, shows(40))[-1]
            server.kill()
            down = read_until(source, lambda frame: frame.repeated)
            down += [source.read() for _ in range(3)]
            assert all(frame.repeated for frame in down[-3:])
            server.start(mjpeg(*[200] * 30, size_wh=(96, 64)))
            after = read_until(source, shows(200))
            assert (after[-1].width, after[-1].height) == (96, 64)
            order = [before, *down, *after]
            assert (np.diff([frame.index for frame in order]) > 0).all()
            assert (np.diff([frame.pts_seconds for frame in order]) > 0).all()
            assert (np.diff([frame.due_seconds for frame in order]) >= 0).all()
            assert source.reconnections == 1


def test_mpeg_ts_over_http_survives_a_server_that_dies_and_comes_back_with_another_size(tmp_path):
    with StreamServer("video/mp2t", transport_stream(tmp_path, (64, 48))) as server:
        with open_source(server.url) as source:
            assert source.info.is_live
            read_until(source, lambda frame: not frame.repeated)
            server.kill()
            read_until(source, lambda frame: frame.repeated)
            server.start(transport_stream(tmp_path, (128, 96)))
            after = read_until(source, lambda frame: not frame.repeated and frame.width == 128)
            assert after[-1].format == "I420"


def test_stream_that_changes_its_size_without_breaking_gives_frames_of_the_new_size():
    body = mjpeg(*[40] * 10) + mjpeg(*[200] * 10, size_wh=(96, 64))
    with StreamServer("multipart/x-mixed-replace; boundary=frame", body) as server:
        with open_source(server.url) as source:
            frames = read_until(source, shows(200))
            assert (frames[-1].width, frames[-1].height) == (96, 64)


def test_stream_that_stalls_is_repeated_and_goes_on():
    with StreamServer("multipart/x-mixed-replace; boundary=frame", mjpeg(*[40] * 30)) as server:
        with open_source(server.url) as source:
            read_until(source, lambda frame: frame.repeated)
            server.send(mjpeg(*[200] * 10))
            read_until(source, shows(200))
            assert source.reconnections == 0


def test_rubbish_in_a_stream_does_not_stop_it(rng):
    body = mjpeg(*[40] * 10) + mjpeg_part(rng.bytes(3000)) + mjpeg(*[200] * 10)
    with StreamServer("multipart/x-mixed-replace; boundary=frame", body) as server:
        with open_source(server.url) as source:
            read_until(source, shows(200))


def test_interrupt_ends_a_stream_that_is_down():
    with StreamServer("multipart/x-mixed-replace; boundary=frame", mjpeg(*[40] * 30)) as server:
        with open_source(server.url) as source:
            read_until(source, shows(40))
            server.kill()
            read_until(source, lambda frame: frame.repeated)
            done = threading.Event()

            def drain():
                while source.read() is not None:
                    pass
                done.set()

            threading.Thread(target=drain, daemon=True).start()
            source.interrupt()
            assert done.wait(PATIENCE_SECONDS)


def test_file_on_a_web_server_gives_every_frame_and_ends(tmp_path):
    media.write_clip(tmp_path / "clip.mp4", frames=40, container_options={"movflags": "faststart"})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            """Nothing: the test's own output is enough."""

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        info, frames = media.read_all(open_source(f"http://127.0.0.1:{server.server_port}/clip.mp4"))
        server.shutdown()
    assert not info.is_live
    assert [frame.index for frame in frames] == list(range(40))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([k / 25 for k in range(40)], abs=2e-3)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_address_where_nobody_listens_is_an_error_at_once(scheme):
    server = StreamServer("video/mp2t", b"").start()
    port = server.port
    server.kill()
    with pytest.raises(SourceError, match="cannot be opened: Connection refused"):
        open_source(f"{scheme}://127.0.0.1:{port}/x").open()


def test_server_that_sends_no_video_is_an_error():
    with StreamServer("text/html", b"<html>not a video</html>" * 100) as server:
        threading.Thread(
            target=lambda: (server.connected.acquire(timeout=PATIENCE_SECONDS), server.kill())
        ).start()
        with pytest.raises(SourceError, match="cannot be opened"):
            open_source(server.url).open()


def test_credentials_stay_out_of_messages():
    assert without_credentials("rtsp://user:secret@camera.test:554/a?b=c") == "rtsp://camera.test:554/a?b=c"
    assert without_credentials("http://camera.test/a@b") == "http://camera.test/a@b"
    server = StreamServer("video/mp2t", b"").start()
    server.kill()
    with pytest.raises(SourceError) as caught:
        UrlSource(f"http://user:secret@127.0.0.1:{server.port}/x").open()
    assert "secret" not in str(caught.value)
