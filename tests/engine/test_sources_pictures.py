import io
import os
import threading

import media
import numpy as np
import pytest
from PIL import Image

from livecut.engine.errors import SourceError, UsageError
from livecut.engine.sources import open_source
from livecut.engine.sources.raw import PIXEL_FORMATS, RawSource, plane_shapes


def save(path, value, size_wh=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size_wh, value).save(path)


def test_folder_is_read_with_its_sub_folders_in_the_order_people_count(tmp_path):
    for value, name in enumerate(["a/x2.png", "a/x10.png", "b/1.jpg", "x1.png", "x3.webp"]):
        save(tmp_path / name, (value * 10,) * 3)
    (tmp_path / "notes.txt").write_text("not a picture")
    save(tmp_path / ".hidden.png", (99, 99, 99))
    source = open_source(tmp_path)
    info, frames = media.read_all(source)
    assert [source.relative_path(frame.index) for frame in frames] == [
        os.path.join("a", "x2.png"),
        os.path.join("a", "x10.png"),
        os.path.join("b", "1.jpg"),
        "x1.png",
        "x3.webp",
    ]
    assert (info.frames, info.is_live, info.fps) == (5, False, None)
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [0, 10, 20, 30, 40]


def test_hidden_folders_and_the_one_left_out_are_not_searched(tmp_path):
    for name in ("a.png", "out/b.png", "outer/c.png", ".cache/d.png"):
        save(tmp_path / name, (1, 2, 3))
    for pattern in (str(tmp_path), f"{tmp_path}/**/*.png"):
        source = open_source(pattern, leave_out=str(tmp_path / "out"))
        found = [source.relative_path(frame.index) for frame in media.read_all(source)[1]]
        assert found == ["a.png", os.path.join("outer", "c.png")]
    everything = open_source(tmp_path / "out", leave_out=str(tmp_path))  # not inside: searched all the same
    assert len(media.read_all(everything)[1]) == 1


def test_pattern_takes_what_it_matches(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png", "deep/a3.png"):
        save(tmp_path / name, (1, 2, 3))
    assert len(media.read_all(open_source(f"{tmp_path}/a*.png"))[1]) == 2
    source = open_source(f"{tmp_path}/**/a*.png")
    _, frames = media.read_all(source)
    assert [source.relative_path(frame.index) for frame in frames] == ["a1.png", "a2.png", "deep/a3.png"]


def test_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    save(tmp_path / "a[1].png", (5, 6, 7))
    _, (frame,) = media.read_all(open_source(tmp_path / "a[1].png"))
    assert frame.image[0, 0].tolist() == [5, 6, 7]


def test_pictures_keep_their_own_sizes_and_times(tmp_path):
    save(tmp_path / "1.png", (1, 1, 1), (6, 4))
    save(tmp_path / "2.png", (2, 2, 2), (8, 10))
    _, frames = media.read_all(open_source(tmp_path, fps=10))
    assert [(frame.width, frame.height) for frame in frames] == [(6, 4), (8, 10)]
    assert [frame.pts_seconds for frame in frames] == [0.0, 0.1]


def test_picture_alpha_comes_along(tmp_path):
    save(tmp_path / "1.png", (10, 20, 30, 128), mode="RGBA")
    info, (frame,) = media.read_all(open_source(tmp_path / "1.png"))
    assert info.has_alpha
    assert (frame.alpha == 128).all()


def raw_bytes(format, size_wh, frames):
    rng = np.random.default_rng(1)
    return [
        tuple(rng.integers(0, 255, shape, dtype=np.uint8) for shape in plane_shapes(format, *size_wh))
        for _ in range(frames)
    ]


@pytest.mark.parametrize("size_wh", [(8, 6), (7, 5)])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_raw_frames_are_read_from_a_pipe(pixel_format, size_wh):
    format = PIXEL_FORMATS[pixel_format]
    expected = raw_bytes(format, size_wh, 4)
    reading, writing = os.pipe()

    def feed():
        with os.fdopen(writing, "wb") as pipe:
            for planes in expected:
                for plane in planes:
                    pipe.write(plane.tobytes())

    writer = threading.Thread(target=feed)
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        _, frames = media.read_all(
            RawSource(size_wh=size_wh, pixel_format=pixel_format, fps=10, stream=stream)
        )
    writer.join(timeout=10)
    assert [frame.pts_seconds for frame in frames] == [0.0, 0.1, 0.2, 0.3]
    for frame, planes in zip(frames, expected, strict=True):
        assert frame.format == format
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, planes, strict=True))
        if format == "RGBA":
            assert np.array_equal(frame.alpha, planes[0][..., 3])


def test_raw_frames_reuse_the_frame_that_was_handed_back():
    data = b"".join(plane.tobytes() for planes in raw_bytes("RGB", (4, 2), 3) for plane in planes)
    source = RawSource(size_wh=(4, 2), stream=io.BufferedReader(io.BytesIO(data)))
    with source:
        first = source.read()
        pixels = first.image
        assert source.read(first) is first
        assert first.image is pixels
        assert first.index == 1


def test_raw_frames_that_end_inside_a_frame_say_so():
    source = RawSource(size_wh=(4, 2), stream=io.BytesIO(bytes(30)))
    with source:
        source.read()
        with pytest.raises(SourceError, match=r"ended inside frame 1: 6 of 24 bytes; are --size"):
            source.read()


def test_raw_frames_need_a_size_and_a_known_format():
    with pytest.raises(UsageError, match="need their size"):
        open_source("-")
    with pytest.raises(UsageError, match="expected one of rgb24, bgr24"):
        open_source("-", size_wh=(4, 2), pixel_format="yuyv422")


def test_raw_read_returns_when_interrupted():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb"):
        source = RawSource(size_wh=(4, 2), stream=stream)
        source.open()
        result = []
        reader = threading.Thread(target=lambda: result.append(source.read()))
        reader.start()
        source.interrupt()
        reader.join(timeout=10)
        assert result == [None]
