import media
import numpy as np
import pytest

from livecut.engine.errors import PartialFailure, PictureError, SourceError, UsageError
from livecut.engine.sources import open_source

LARGE_ENOUGH_WH = (160, 96)  # for the pictures to outweigh the headers


def noise(index, size_wh):
    return np.random.default_rng(index).integers(0, 255, (size_wh[1], size_wh[0], 3), dtype=np.uint8)


def failure_of(path):
    """Read ``path`` until it fails: the frames before, and the message, which is one line."""
    frames = []

    def read():
        with open_source(path) as source:
            while (frame := source.read()) is not None:
                frames.append(frame)

    with pytest.raises((SourceError, PartialFailure)) as caught:
        read()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "Errno" not in message
    return frames, message


def test_missing_file_is_named():
    with pytest.raises(SourceError, match=r"nowhere/clip\.mp4: no such file"):
        open_source("nowhere/clip.mp4")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip"])
def test_empty_video_says_that_it_is_empty(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert failure_of(path)[1].endswith("is empty (0 bytes)")


def test_picture_called_video_says_what_it_is(tmp_path):
    from PIL import Image

    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        path = tmp_path / f"{kind}.mp4"
        Image.fromarray(media.picture(0)).save(path, format=kind)
        assert (
            f"holds a {kind} picture, not a video; rename it to end in .{kind.lower()}" in failure_of(path)[1]
        )


def test_text_called_video_is_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("not a video\n" * 100)
    assert "cannot be opened: not a video FFmpeg knows, or damaged" in failure_of(path)[1]


def test_text_called_picture_is_refused(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("not a picture")
    with pytest.raises(PictureError, match=r"picture\.png"):
        open_source(path).open()


def test_video_called_picture_is_refused(tmp_path):
    path = tmp_path / "picture.jpg"
    media.write_clip(tmp_path / "clip.mp4", frames=2).rename(path)
    with pytest.raises(PictureError, match=r"picture\.jpg"):
        open_source(path).open()


def test_zero_byte_picture_is_refused(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"")
    with pytest.raises(PictureError, match=r"picture\.png"):
        open_source(path).open()


def test_folder_where_a_video_is_meant_is_searched_and_said_to_be_empty(tmp_path):
    path = tmp_path / "clip.mp4"
    path.mkdir()
    assert "there is no picture in this folder" in failure_of(path)[1]


def test_pattern_without_a_match_is_named(tmp_path):
    assert "nothing matches" in failure_of(tmp_path / "*.png")[1]


def test_file_without_permission_says_so(tmp_path, monkeypatch):
    path = media.write_clip(tmp_path / "clip.mp4")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("livecut.engine.sources.file_kind.open", refuse, raising=False)
    assert failure_of(path)[1].endswith("cannot be read: Permission denied")


@pytest.mark.parametrize("name", ["clip.mkv", "fragmented.mp4", "front.mp4", "clip.avi"])
def test_video_cut_short_gives_the_frames_it_has_and_then_says_so(tmp_path, name):
    flags = {"fragmented.mp4": "frag_keyframe+empty_moov", "front.mp4": "faststart"}.get(name)
    path = media.write_clip(
        tmp_path / name,
        frames=60,
        size_wh=LARGE_ENOUGH_WH,
        codec="mpeg4" if name.endswith(".avi") else "libx264",
        container_options={"movflags": flags} if flags else None,
        draw=noise,
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames, message = failure_of(path)
    assert 20 < len(frames) < 60
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert "damaged or cut short after" in message
    assert f"the {len(frames)} frames before are kept" in message


def test_video_that_ends_in_rubbish_gives_the_frames_before_it(tmp_path, rng):
    path = media.write_clip(
        tmp_path / "clip.mp4",
        frames=60,
        size_wh=LARGE_ENOUGH_WH,
        draw=noise,
        container_options={"movflags": "faststart"},
    )
    data = path.read_bytes()
    keep = len(data) * 6 // 10
    path.write_bytes(data[:keep] + rng.bytes(len(data) - keep))
    frames, message = failure_of(path)
    assert 20 < len(frames) < 60
    assert f"the {len(frames)} frames before are kept" in message


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_whole_video_with_rubbish_after_it_is_read_whole(tmp_path, rng, name):
    path = media.write_clip(tmp_path / name, frames=30)
    path.write_bytes(path.read_bytes() + rng.bytes(20_000))
    assert len(media.read_all(open_source(path))[1]) == 30


def test_video_cut_off_before_its_index_is_refused(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=60)
    path.write_bytes(path.read_bytes()[:2000])
    assert "cannot be opened: not a video FFmpeg knows, or damaged" in failure_of(path)[1]


def test_video_header_alone_is_refused(tmp_path):
    path = media.write_clip(tmp_path / "clip.mkv", frames=10)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    assert "it ends before its first picture" in failure_of(path)[1]


def test_video_whose_sound_is_longer_than_its_picture_is_not_called_damaged(tmp_path):
    path = media.write_clip(tmp_path / "clip.mkv", frames=10, audio="aac", audio_start=3.0)
    assert len(media.read_all(open_source(path))[1]) == 10


def test_video_that_vanishes_while_it_is_read_goes_on(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=30)
    with open_source(path) as source:
        assert source.read().index == 0
        path.unlink()
        rest = 0
        while source.read() is not None:
            rest += 1
    assert rest == 29


def test_video_that_vanishes_before_it_is_opened_is_named(tmp_path):
    path = media.write_clip(tmp_path / "clip.mp4", frames=3)
    source = open_source(path)
    path.unlink()
    with pytest.raises(SourceError, match="no such file"):
        source.open()


def test_folder_steps_over_bad_pictures_and_counts_them_at_the_end(tmp_path, caplog):
    from PIL import Image

    for k in range(3):
        Image.fromarray(np.full((4, 4, 3), k, np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "x.png").write_text("text")
    frames, message = failure_of(tmp_path)
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 2]
    assert [frame.index for frame in frames] == [0, 2]
    assert "2 of 4 pictures could not be read" in message
    assert "1.png" in caplog.text


def test_folder_of_only_bad_pictures_fails_at_once(tmp_path):
    for k in range(2):
        (tmp_path / f"{k}.png").write_text("text")
    with pytest.raises(SourceError, match="none of 2 can be read"):
        open_source(tmp_path).open()


def test_picture_that_vanishes_from_a_folder_is_stepped_over(tmp_path):
    from PIL import Image

    for k in range(3):
        Image.fromarray(media.picture(k)).save(tmp_path / f"{k}.png")
    source = open_source(tmp_path)
    source.open()
    (tmp_path / "1.png").unlink()
    assert [source.read().index, source.read().index] == [0, 2]
    with pytest.raises(PartialFailure, match="1 of 3 pictures could not be read"):
        source.read()
    assert source.read() is None


def test_camera_that_is_not_there_says_what_to_do():
    for uri in ("97", "camera://97", "/dev/video97", "v4l2:///dev/video97"):
        with pytest.raises(SourceError, match=r"camera .*97: .*; plug one in, or try synthetic"):
            open_source(uri).open()


def test_camera_uri_that_names_none_is_a_usage_error():
    with pytest.raises(UsageError, match="not a camera; write 0, camera://0"):
        open_source("camera://front")
