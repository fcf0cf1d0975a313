"""From what a person asks of a stream to a pipeline."""

import pytest
from fakes import MemorySource, RecordingSink, grey_frame

from livecut import Session
from livecut.engine.errors import PictureError, SourceError, UsageError
from livecut.engine.pictures import write_picture
from livecut.engine.streaming import Limited, make_pipeline


@pytest.fixture
def session():
    with Session(backend="null", threads=1) as session:
        yield session


def clip(count=5):
    return MemorySource([grey_frame(index) for index in range(count)])


def outputs(session, sink=None, **options):
    sink = sink or RecordingSink()
    make_pipeline(clip(), sink, session, **options).run()
    return sink


@pytest.mark.parametrize(
    ("options", "format"),
    [
        ({}, "RGBA"),
        ({"only_mask": True}, "ALPHA"),
        ({"bgcolor": (1, 2, 3, 255)}, "BGR"),
        ({"background": "blur"}, "BGR"),
    ],
)
def test_the_sink_is_given_what_was_asked_for(session, options, format):
    sink = outputs(session, **options)
    assert [frame.format for frame in sink.frames] == [format] * 5
    assert [frame.index for frame in sink.frames] == list(range(5))


def test_a_picture_goes_behind(session, tmp_path, rng):
    write_picture(tmp_path / "wall.png", rng.integers(0, 256, (9, 9, 3), dtype="uint8"))
    assert len(outputs(session, background=str(tmp_path / "wall.png")).frames) == 5


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"bgcolor": (1, 2, 3, 4)}, UsageError, "opaque"),
        ({"background": "gone.png"}, PictureError, "no such file"),
        ({"background": "gone.mp4"}, SourceError, "no such file"),
        ({"policy": "hope"}, UsageError, "policy"),
    ],
)
def test_what_makes_no_sense_is_refused(session, options, error, text):
    with pytest.raises(error, match=text):
        make_pipeline(clip(), RecordingSink(), session, **options)


def test_a_background_that_is_no_video_is_named(session, tmp_path):
    (tmp_path / "wall.mp4").write_text("not a video")
    with pytest.raises(SourceError, match=r"wall\.mp4: cannot be read as a background"):
        outputs(session, background=str(tmp_path / "wall.mp4"))


def test_a_limited_source_ends_by_presentation_time(session):
    sink = RecordingSink()
    make_pipeline(Limited(clip(50), 0.4), sink, session).run()  # 25 frames a second
    assert len(sink.frames) == 10


def test_a_limited_source_expects_fewer_frames_and_passes_the_rest_on():
    source = clip(50)
    limited = Limited(source, 0.4)
    assert limited.open().frames == 10
    limited.interrupt()
    limited.close()
    assert source.interrupted.is_set()
    assert source.closed
