import os

import av
import media
import numpy as np
import pytest
from cutouts import SIZE_WH, frame_of, planes_of, write

from livecut.engine.errors import SinkError, UsageError
from livecut.engine.frame import Frame
from livecut.engine.sinks import open_sink
from livecut.engine.sinks.base import StreamInfo
from livecut.engine.sources import open_source

VP9_MEAN = 3.0  # mean absolute error of 8-bit luma and alpha at the sink's quality
EIGHT_BIT_STEP = 1.5  # through 10-bit or exact coding


def mean_error(a, b):
    return np.abs(a.astype(int) - b).mean()


def test_webm_carries_all_four_planes_to_the_encoder(tmp_path):
    path = write(tmp_path / "out.webm", "YUVA420", frames=8)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "vp9"
        assert stream.metadata["alpha_mode"] == "1"
        # FFmpeg's own VP9 decoder leaves the alpha layer out; libvpx's reads it.
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        pictures = [p for packet in container.demux(stream) if packet.size for p in decoder.decode(packet)]
    assert len(pictures) == 8
    for k, picture in enumerate(pictures):
        assert picture.format.name == "yuva420p"
        assert (picture.colorspace, picture.color_range) == (1, 1)
        for plane, expected in zip(picture.planes, planes_of("YUVA420", k), strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            assert mean_error(rows, expected) < VP9_MEAN


@pytest.mark.parametrize(
    ("name", "format", "codec", "limit"),
    [
        ("out.mov", "RGBA", "prores", EIGHT_BIT_STEP),
        ("out.mov", "BGRA", "prores", EIGHT_BIT_STEP),
        ("out.mkv", "BGRA", "ffv1", 0),
        ("out.mkv", "RGBA", "ffv1", 0),
        ("out.webm", "RGBA", "vp9", 8.0),
    ],
)
def test_packed_cut_outs_keep_colour_and_alpha(tmp_path, name, format, codec, limit):
    path = write(tmp_path / name, format)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec
    pictures, _ = media.decode(path, decoder="libvpx-vp9" if codec == "vp9" else None)
    assert len(pictures) == 6
    for k, picture in enumerate(pictures):
        (expected,) = planes_of("RGBA", k)
        assert mean_error(picture[..., 3], expected[..., 3]) <= min(limit, VP9_MEAN)
        assert mean_error(picture[..., :3], expected[..., :3]) <= limit


def test_ffv1_is_lossless(tmp_path):
    path = write(tmp_path / "out.mkv", "BGRA")
    for k, picture in enumerate(media.decode(path, format="bgra")[0]):
        assert np.array_equal(picture, planes_of("BGRA", k)[0])


@pytest.mark.parametrize(
    ("name", "format"),
    [("out.mp4", "I420"), ("out.mp4", "BGR"), ("out.webm", "I420"), ("out.mkv", "BGR"), ("out.mov", "RGB")],
)
def test_composited_video_has_no_alpha(tmp_path, name, format):
    info, frames = media.read_all(open_source(write(tmp_path / name, format)))
    assert not info.has_alpha
    assert len(frames) == 6


def test_h264_luma_goes_in_as_it_is(tmp_path):
    _, frames = media.read_all(open_source(write(tmp_path / "out.mp4", "I420")))
    for k, frame in enumerate(frames):
        assert frame.matrix == "bt709"
        for plane, expected in zip(frame.planes, planes_of("I420", k), strict=True):
            assert mean_error(plane, expected) < EIGHT_BIT_STEP


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_mask_becomes_a_grey_video(tmp_path, name):
    pictures, _ = media.decode(write(tmp_path / name, "ALPHA"), format="gray")
    assert mean_error(pictures[3], planes_of("ALPHA", 3)[0]) < VP9_MEAN


@pytest.mark.parametrize("name", ["out.webm", "out.mkv", "out.mp4", "out.mov"])
def test_times_are_kept_whatever_the_rate_says(tmp_path, name):
    times = [0.0, 0.04, 0.2, 0.21, 0.5, 1.0]
    format = "I420" if name.endswith(".mp4") else "RGBA"
    _, written = media.decode(write(tmp_path / name, format, times=times))
    assert written == pytest.approx(times, abs=1.1e-3)


def test_stream_that_starts_late_begins_at_zero(tmp_path):
    _, written = media.decode(write(tmp_path / "out.webm", "RGBA", times=[7.0, 7.5]))
    assert written == pytest.approx([0.0, 0.5], abs=1.1e-3)


def test_two_frames_with_the_same_time_are_both_kept(tmp_path):
    pictures, written = media.decode(write(tmp_path / "out.webm", "RGBA", times=[0.0, 0.1, 0.1, 0.05, 0.3]))
    assert len(pictures) == 5
    assert (np.diff(written) > 0).all()


@pytest.mark.parametrize(("name", "format"), [("out.mkv", "BGRA"), ("out.mov", "RGBA"), ("out.mp4", "I420")])
def test_buffers_may_be_overwritten_as_soon_as_write_returns(tmp_path, name, format):
    """Encoders with lookahead or frame threads must have their own copy by then."""
    sink = open_sink(tmp_path / name, threads=4)
    sink.open(StreamInfo(*SIZE_WH, format, fps=25))
    reused = frame_of(format, 0)
    for k in range(10):
        for plane, fresh in zip(reused.planes, planes_of(format, k), strict=True):
            plane[...] = fresh
        reused.index, reused.pts_seconds = k, k / 25
        sink.write(reused)
        for plane in reused.planes:
            plane[...] = 0
    sink.close()
    decoder_format = "yuv420p" if format == "I420" else "rgba"
    pictures, _ = media.decode(tmp_path / name, format=decoder_format)
    assert len(pictures) == 10
    for k, picture in enumerate(pictures):
        if format == "I420":
            assert mean_error(picture[: SIZE_WH[1]], planes_of("I420", k)[0]) < EIGHT_BIT_STEP
        else:
            assert mean_error(picture[..., 3], planes_of("ALPHA", k)[0]) < EIGHT_BIT_STEP


def test_strided_planes_are_written_right(tmp_path):
    sink = open_sink(tmp_path / "out.mkv")
    sink.open(StreamInfo(*SIZE_WH, "BGRA", fps=25))
    wide = np.zeros((SIZE_WH[1], SIZE_WH[0] + 13, 4), np.uint8)
    (expected,) = planes_of("BGRA", 2)
    wide[:, : SIZE_WH[0]] = expected
    sink.write(Frame((wide[:, : SIZE_WH[0]],), "BGRA", 0, 0.0, 0.0))
    sink.close()
    assert np.array_equal(media.decode(tmp_path / "out.mkv", format="bgra")[0][0], expected)


@pytest.mark.parametrize(("name", "format"), [("out.webm", "YUVA420"), ("out.mkv", "BGRA")])
def test_odd_sizes_are_written_whole(tmp_path, name, format):
    path = write(tmp_path / name, format, frames=2, size_wh=(51, 35))
    info, frames = media.read_all(open_source(path))
    assert (info.width, info.height, len(frames)) == (51, 35, 2)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_codec_that_needs_an_even_size_says_what_to_do(tmp_path, name):
    sink = open_sink(tmp_path / name)
    with pytest.raises(SinkError, match=r"even width and height, got 51x36; write \.webm or \.mkv"):
        sink.open(StreamInfo(51, 36, sink.accepts[0], fps=25))
    assert os.listdir(tmp_path) == []


def test_suffix_without_an_encoder_lists_those_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"no video format for \.xyz; with alpha there are \.webm"):
        open_sink(tmp_path / "out.xyz")


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("out.webm", {"preset": "fast"}, "preset"),
        ("out.mp4", {"preset": "warp"}, "preset"),
        ("out.mkv", {"quality": 10}, "fixed quality"),
        ("out.webm", {"quality": 64}, "expected 0..63 for .webm"),
        ("out.mp4", {"quality": 52}, "expected 0..51 for .mp4"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path, name, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        open_sink(tmp_path / name, **options)
