import logging

import cv2
import media
import numpy as np
import pytest
from fakes import FakeClock

from livecut.engine.errors import SourceError, UsageError
from livecut.engine.sources import open_source
from livecut.engine.sources.decoded import FrameConverter

LOSSY_MEAN = 4.0  # mean absolute error of 8-bit values through x264 or VP9 at their defaults
CONVERTED_MEAN = 2.0  # through a colour conversion and back, losslessly coded


def to_rgb(frame):
    """A frame as RGB, through OpenCV (BT.601 limited range only)."""
    if frame.format == "I420":
        flat = np.concatenate([plane.reshape(-1) for plane in frame.planes])
        return cv2.cvtColor(flat.reshape(-1, frame.width), cv2.COLOR_YUV2RGB_I420)
    if frame.format == "NV12":
        return cv2.cvtColorTwoPlane(*map(np.ascontiguousarray, frame.planes), cv2.COLOR_YUV2RGB_NV12)
    if frame.format == "BGR":
        return frame.image[..., ::-1]
    return frame.image[..., :3]


def mean_error(a, b):
    return np.abs(a.astype(int) - b).mean()


def test_video_gives_every_frame_in_order_at_its_time(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=10, fps=25)
    clock = FakeClock(now=5.0)
    info, frames = media.read_all(open_source(path, clock=clock))
    assert (info.width, info.height, info.fps, info.frames, info.is_live) == (64, 48, 25.0, 10, False)
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([k / 25 for k in range(10)], abs=1e-3)
    assert all(frame.due_seconds == 5.0 for frame in frames)
    for k, frame in enumerate(frames):
        assert mean_error(to_rgb(frame), media.picture(k)) < LOSSY_MEAN


def test_video_keeps_a_variable_frame_rate(tmp_path):
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 1.0]
    path = media.write_clip(tmp_path / "clip.mkv", times=times)
    _, frames = media.read_all(open_source(path))
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "format"),
    [
        ("ffv1", "yuv420p", "I420"),
        ("rawvideo", "nv12", "NV12"),
        ("mjpeg", "yuvj420p", "I420"),
        ("rawvideo", "rgb24", "RGB"),
        ("rawvideo", "bgr24", "BGR"),
        ("ffv1", "yuv444p", "BGR"),
        ("ffv1", "yuv422p10le", "BGR"),
        ("ffv1", "gray", "BGR"),
    ],
)
def test_video_hands_on_the_decoders_planes_or_converts_them(tmp_path, codec, pixel_format, format):
    path = media.write_clip(tmp_path / "clip.nut", frames=2, codec=codec, pixel_format=pixel_format)
    _, frames = media.read_all(open_source(path))
    assert len(frames) == 2
    assert frames[0].format == format
    assert (frames[0].width, frames[0].height) == (64, 48)
    if pixel_format not in ("yuvj420p", "gray"):
        limit = (
            LOSSY_MEAN
            if codec == "mjpeg" or "420" in pixel_format or "nv" in pixel_format
            else CONVERTED_MEAN
        )
        assert mean_error(to_rgb(frames[0]), media.picture(0)) < limit


def test_video_planes_are_read_only_views_with_the_decoders_stride(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=1, size_wh=(50, 34))
    _, (frame,) = media.read_all(open_source(path))
    luma, u, _ = frame.planes
    assert luma.shape == (34, 50)
    assert u.shape == (17, 25)
    assert luma.strides[0] > 50
    assert not luma.flags.writeable


def test_video_of_odd_size_keeps_its_last_row_and_column(tmp_path):
    path = media.write_clip(tmp_path / "clip.mkv", frames=1, size_wh=(51, 35), codec="ffv1")
    _, (frame,) = media.read_all(open_source(path))
    assert [plane.shape for plane in frame.planes] == [(35, 51), (18, 26), (18, 26)]


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_video_is_turned_upright_by_its_rotation(tmp_path, degrees):
    path = media.write_clip(tmp_path / "clip.mov", frames=2, size_wh=(64, 48), rotation=degrees)
    info, frames = media.read_all(open_source(path))
    expected = np.rot90(media.picture(0), degrees // 90)
    assert (info.width, info.height) == (expected.shape[1], expected.shape[0])
    assert frames[0].planes[0].shape == expected.shape[:2]
    assert frames[0].planes[0].flags.c_contiguous
    assert mean_error(to_rgb(frames[0]), expected) < LOSSY_MEAN


@pytest.mark.parametrize(
    ("colorspace", "color_range", "expected"),
    [(1, 1, ("bt709", False)), (6, 1, ("bt601", False)), (5, 2, ("bt601", True)), (1, 2, ("bt709", True))],
)
def test_video_says_its_colour_matrix_and_range(tmp_path, colorspace, color_range, expected):
    path = media.write_clip(tmp_path / "clip.mp4", frames=1, colorspace=colorspace, color_range=color_range)
    info, (frame,) = media.read_all(open_source(path))
    assert (frame.matrix, frame.full_range) == expected == (info.matrix, info.full_range)


@pytest.mark.parametrize(("size_wh", "matrix"), [((320, 240), "bt601"), ((1280, 720), "bt709")])
def test_video_that_does_not_say_its_matrix_is_taken_by_its_size(tmp_path, size_wh, matrix):
    path = media.write_clip(tmp_path / "clip.mp4", frames=1, size_wh=size_wh)
    _, (frame,) = media.read_all(open_source(path))
    assert frame.matrix == matrix


def ramp(index):
    return np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("clip.webm", "libvpx-vp9", "yuva420p"),
        ("clip.mov", "prores_ks", "yuva444p10le"),
        ("clip.mkv", "ffv1", "bgra"),
        ("clip.mov", "png", "rgba"),
    ],
)
def test_video_alpha_comes_along(tmp_path, name, codec, pixel_format):
    options = {"auto-alt-ref": "0"} if "vp9" in codec else None
    path = media.write_clip(
        tmp_path / name, frames=3, codec=codec, pixel_format=pixel_format, alpha=ramp, options=options
    )
    info, frames = media.read_all(open_source(path))
    assert info.has_alpha
    assert len(frames) == 3
    for frame in frames:
        assert frame.alpha.flags.c_contiguous or frame.format == "I420"
        assert mean_error(frame.alpha, ramp(0)) < CONVERTED_MEAN


def test_video_without_alpha_has_none(tmp_path):
    info, frames = media.read_all(open_source(media.write_clip(tmp_path / "clip.webm", codec="libvpx-vp9")))
    assert not info.has_alpha
    assert frames[0].alpha is None


def test_video_names_its_own_file_as_the_one_with_the_sound(tmp_path):
    with_sound = media.write_clip(tmp_path / "sound.mp4", audio="aac")
    without = media.write_clip(tmp_path / "silent.mp4")
    assert media.read_all(open_source(with_sound))[0].audio == str(with_sound)
    assert media.read_all(open_source(without))[0].audio is None


def test_video_with_sound_alone_is_refused(tmp_path):
    import av

    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        for frame in media.tone(0.2):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="has no picture, only sound"):
        open_source(path).open()


def test_lavfi_gives_a_test_picture():
    info, frames = media.read_all(open_source("lavfi:testsrc2=size=128x72:rate=30:duration=0.5"))
    assert (info.width, info.height, info.fps) == (128, 72, 30.0)
    assert len(frames) == 15


def test_lavfi_names_a_graph_that_makes_no_sense():
    with pytest.raises(SourceError, match="lavfi:nosuchfilter: cannot be opened"):
        open_source("lavfi:nosuchfilter").open()


def test_video_read_ends_when_interrupted(tmp_path):
    source = open_source(media.write_clip(tmp_path / "clip.mp4"))
    with source:
        assert source.read() is not None
        source.interrupt()
        assert source.read() is None


def test_open_source_takes_file_urls_and_paths(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=1)
    assert len(media.read_all(open_source(f"file://{path}"))[1]) == 1
    assert len(media.read_all(open_source(str(path)))[1]) == 1


def test_open_source_lists_what_there_is_for_an_unknown_scheme():
    with pytest.raises(UsageError, match=r"no source for ftp://; there are camera, .*synthetic.*, and paths"):
        open_source("ftp://example.test/clip.mp4")


def test_converter_keeps_the_chroma_of_a_camera_that_sends_4_2_2():
    import av

    rgb = media.picture(0)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuvj422p", dst_color_range=2)
    frame = FrameConverter(subsample=True).frame(picture, 0, 0.0, 0.0)
    assert (frame.format, frame.full_range, frame.matrix) == ("I420", True, "bt601")
    luma = np.frombuffer(picture.planes[0], np.uint8).reshape(48, -1)[:, :64]
    assert np.abs(frame.planes[0].astype(int) - luma).max() <= 1


def test_video_steps_over_damage_in_the_middle_and_says_so(tmp_path, caplog):
    path = media.write_clip(tmp_path / "clip.mp4", frames=40, options={"g": "1", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (data.index(b"moov") - data.index(b"mdat")) // 2
    data[middle : middle + 1000] = bytes(1000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="livecut"):
        _, frames = media.read_all(open_source(path))
    assert 30 <= len(frames) < 40
    assert frames[-1].pts_seconds == pytest.approx(39 / 25, abs=1e-3)
    assert "damaged packets were stepped over" in caplog.text
