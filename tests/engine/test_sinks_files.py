import errno
import io
import os
import sys
import types

import numpy as np
import pytest
from cutouts import SIZE_WH, frame_of, planes_of
from PIL import Image

from livecut.engine.errors import SinkError, UsageError
from livecut.engine.sinks import open_sink
from livecut.engine.sinks.base import StreamInfo
from livecut.engine.sinks.folder import FolderSink
from livecut.engine.sinks.null import NullSink
from livecut.engine.sinks.raw import PIXEL_FORMATS, RawSink


def stream(format):
    return StreamInfo(*SIZE_WH, format, fps=25)


def run(sink, format, frames=1):
    sink.open(stream(format))
    for k in range(frames):
        sink.write(frame_of(format, k))
    sink.close()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff"])
def test_picture_keeps_straight_colour_and_alpha(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    run(open_sink(path), "RGBA")
    (expected,) = planes_of("RGBA", 0)
    with Image.open(path) as picture:
        got = np.asarray(picture.convert("RGBA"))
    assert np.array_equal(got[..., 3], expected[..., 3])
    seen = expected[..., 3] > 0
    assert np.array_equal(got[seen], expected[seen])


def test_jpeg_is_composited(tmp_path):
    sink = open_sink(tmp_path / "out.jpg")
    assert "RGBA" not in sink.accepts
    run(sink, "RGB")
    with Image.open(tmp_path / "out.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", SIZE_WH)


def test_picture_appears_when_it_is_closed_and_not_when_aborted(tmp_path):
    sink = open_sink(tmp_path / "out.png")
    sink.open(stream("RGBA"))
    sink.write(frame_of("RGBA", 0))
    assert os.listdir(tmp_path) == []
    sink.abort()
    sink.close()
    assert os.listdir(tmp_path) == []


def test_picture_refuses_a_second_frame_and_says_where_to_write(tmp_path):
    sink = open_sink(tmp_path / "out.png")
    sink.open(stream("RGBA"))
    sink.write(frame_of("RGBA", 0))
    with pytest.raises(SinkError, match=r"holds one picture .* write .*out_%06d\.png or a video"):
        sink.write(frame_of("RGBA", 1))


@pytest.mark.parametrize("name", ["nowhere/out.png", "nowhere/out.jpg"])
def test_picture_in_a_missing_folder_is_refused_before_the_stream(tmp_path, name):
    with pytest.raises(SinkError, match="there is no folder"):
        open_sink(tmp_path / name).open(stream("RGB"))


def test_folder_is_made_and_gets_numbered_pictures(tmp_path):
    sink = open_sink(f"{tmp_path}/deep/out/")
    run(sink, "RGBA", frames=3)
    assert sorted(os.listdir(tmp_path / "deep" / "out")) == [f"frame_{k:06d}.png" for k in (1, 2, 3)]


def test_folder_takes_the_format_that_is_asked_for(tmp_path):
    run(open_sink(f"{tmp_path}/out", format="jpg"), "RGB", frames=2)
    assert sorted(os.listdir(tmp_path / "out")) == ["frame_000001.jpg", "frame_000002.jpg"]


def test_pattern_numbers_frames_in_the_order_of_writing(tmp_path):
    sink = open_sink(tmp_path / "frames_%04d.png")
    sink.open(stream("RGBA"))
    for index in (5, 9, 12):
        sink.write(frame_of("RGBA", index))
    sink.close()
    assert sorted(os.listdir(tmp_path)) == [f"frames_{k:04d}.png" for k in (1, 2, 3)]


def test_folder_can_keep_relative_paths(tmp_path):
    names = ["a/one.jpg", "b/one.jpg"]
    run(FolderSink(str(tmp_path / "out"), names=names.__getitem__), "RGBA", frames=2)
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert found == [os.path.join("a", "one.png"), os.path.join("b", "one.png")]


def test_pictures_that_are_whole_stay_when_a_folder_is_aborted(tmp_path):
    sink = open_sink(f"{tmp_path}/out/")
    sink.open(stream("RGBA"))
    sink.write(frame_of("RGBA", 0))
    sink.abort()
    assert os.listdir(tmp_path / "out") == ["frame_000001.png"]


def test_folder_where_a_file_lies_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SinkError, match="is a file, a folder was expected"):
        open_sink(f"{tmp_path}/out").open(stream("RGBA"))


@pytest.mark.parametrize("pattern", ["a_%06d_%d.png", "a_%s.png", "a_%.png"])
def test_pattern_without_one_number_is_refused(tmp_path, pattern):
    with pytest.raises(UsageError, match="expected one number such as %06d"):
        open_sink(tmp_path / pattern)


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_raw_frames_go_out_plane_by_plane(pixel_format):
    format, out = PIXEL_FORMATS[pixel_format], io.BytesIO()
    sink = RawSink(pixel_format=pixel_format, stream=out)
    assert sink.accepts == (format,)
    run(sink, format, frames=2)
    expected = b"".join(plane.tobytes() for k in range(2) for plane in planes_of(format, k))
    assert out.getvalue() == expected


class Broken(io.BytesIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, data):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "complaint"),
    [(errno.EPIPE, "whoever was reading has closed it"), (errno.ENOSPC, "the disk is full; make room")],
)
def test_raw_output_that_breaks_is_one_line(number, complaint):
    sink = RawSink(stream=Broken(number))
    sink.open(stream("RGBA"))
    with pytest.raises(SinkError, match=complaint):
        sink.write(frame_of("RGBA", 0))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_raw_output_to_a_full_device_is_one_line():
    with open("/dev/full", "wb", buffering=0) as full:
        sink = RawSink(stream=full)
        sink.open(stream("RGBA"))
        with pytest.raises(SinkError, match="standard output: the disk is full"):
            sink.write(frame_of("RGBA", 0))


def test_raw_pixel_format_that_is_unknown_is_refused():
    with pytest.raises(UsageError, match="expected one of rgba, rgb24"):
        open_sink("-", pixel_format="yuv444p")


def test_null_counts_and_hashes():
    a, b, c = (NullSink("null://?hash=1") for _ in range(3))
    run(a, "RGBA", frames=3)
    run(b, "RGBA", frames=3)
    run(c, "RGBA", frames=2)
    assert (a.frames, a.last_index) == (3, 2)
    assert a.digest == b.digest != c.digest
    assert NullSink().digest is None


def test_null_takes_the_format_that_is_asked_for():
    assert open_sink("null://?format=yuva420").accepts == ("YUVA420",)
    with pytest.raises(UsageError, match="write null://"):
        open_sink("null://?speed=1")


def test_window_without_a_display_says_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has DISPLAY")
    with pytest.raises(SinkError, match="there is no display"):
        open_sink("window://").open(stream("BGR"))


@pytest.fixture
def shown(monkeypatch):
    """What a fake screen shows; ``shown.key`` is what is being pressed."""
    import cv2

    screen = types.SimpleNamespace(pictures=[], key=-1, is_visible=1.0)
    fakes = {
        "namedWindow": lambda *_: None,
        "resizeWindow": lambda *_: None,
        "imshow": lambda _, picture: screen.pictures.append(picture.copy()),
        "waitKey": lambda _: screen.key,
        "getWindowProperty": lambda *_: screen.is_visible,
        "destroyWindow": lambda _: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(cv2, name, fake)
    monkeypatch.setenv("DISPLAY", ":99")
    return screen


def test_window_shows_straight_frames_over_checkers(shown):
    run(open_sink("window://"), "BGRA")
    (expected,) = planes_of("BGRA", 0)
    opaque, clear = expected[..., 3] == 255, expected[..., 3] == 0
    assert np.array_equal(shown.pictures[0][opaque], expected[..., :3][opaque])
    assert set(np.unique(shown.pictures[0][clear])) == {160, 210}


@pytest.mark.parametrize(("key", "is_visible"), [(27, 1.0), (ord("q"), 1.0), (-1, 0.0)])
def test_window_that_is_closed_stops_the_stream_once(shown, key, is_visible):
    sink, stopped = open_sink("window://"), []
    sink.on_closed = lambda: stopped.append(True)
    sink.open(stream("BGR"))
    sink.write(frame_of("BGR", 0))
    assert stopped == []
    shown.key, shown.is_visible = key, is_visible
    for k in range(3):
        sink.write(frame_of("BGR", k))
    sink.close()
    assert stopped == [True]
    assert len(shown.pictures) == 2


def test_window_that_is_closed_with_nobody_to_tell_is_an_error(shown):
    sink = open_sink("window://")
    sink.open(stream("BGR"))
    shown.key = 27
    with pytest.raises(SinkError, match="window: closed"):
        sink.write(frame_of("BGR", 0))


def test_virtual_camera_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SinkError, match=r"pip install 'livecut\[vcam\]'"):
        open_sink("vcam://").open(stream("RGB"))


def fake_virtual_camera(camera):
    return types.SimpleNamespace(
        PixelFormat=types.SimpleNamespace(RGB="rgb", BGR="bgr"),
        Camera=camera,
    )


def test_virtual_camera_is_given_each_frame_and_closed(monkeypatch):
    log = []

    class Camera:
        def __init__(self, width, height, fps, *, fmt, device):
            log.append((width, height, fps, fmt, device))

        def send(self, image):
            log.append(image.shape)

        def close(self):
            log.append("closed")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake_virtual_camera(Camera))
    run(open_sink("vcam://", device="/dev/video9"), "RGB", frames=2)
    assert log == [(*SIZE_WH, 25, "rgb", "/dev/video9"), (64, 96, 3), (64, 96, 3), "closed"]


def test_virtual_camera_without_a_device_says_what_to_do(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("no device found")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake_virtual_camera(refuse))
    with pytest.raises(SinkError, match="no device found; on Linux: sudo modprobe v4l2loopback"):
        open_sink("vcam://").open(stream("RGB"))


def test_open_sink_lists_what_there_is_for_an_unknown_scheme():
    with pytest.raises(UsageError, match="no sink for ndi://; there are null, window, display, vcam"):
        open_sink("ndi://stage")


@pytest.mark.parametrize(
    ("options", "complaint"), [({"format": "bmp"}, "got 'bmp'"), ({"quality": 0}, "1..100")]
)
def test_a_folder_names_what_it_cannot_do(tmp_path, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        open_sink(f"{tmp_path}/out/", **options)
