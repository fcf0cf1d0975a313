"""The demo's parts: which input is what, samples of a stream, and rows that match the written video."""

import numpy as np
import pytest
from fakes import MemorySource, RecordingSink, grey_frame

from livecut import Pipeline, Session, open_sink, open_source
from livecut.engine.demo import SampledCompositor, is_stream, photographs, stream_rows


@pytest.mark.parametrize("uri", ["clip.mp4", "0", "camera://0", "rtsp://shop/1", "synthetic://8x8?seconds=1"])
def test_videos_and_cameras_are_streams(uri):
    assert is_stream(uri)


def test_pictures_folders_and_globs_are_not_streams(tmp_path):
    assert not any(is_stream(uri) for uri in ("a.jpg", str(tmp_path), "photographs/*", "**/*.png"))


def test_the_photographs_need_no_download():
    pytest.importorskip("skimage")
    assert list(photographs()) == ["coffee", "cat", "astronaut"]
    assert all(path.is_file() for path in photographs().values())


@pytest.mark.parametrize("count", [1, 5, 40, 300])
def test_few_samples_are_kept_and_spread_over_the_stream(count):
    source = MemorySource([grey_frame(index, value=index % 256) for index in range(count)])
    compositor = SampledCompositor("RGBA")
    with Session(backend="null", threads=1) as session:
        Pipeline(source, session, compositor, RecordingSink()).run()
    indices = [frame.index for frame in compositor.samples]
    assert 1 <= len(indices) <= SampledCompositor.MOST
    assert indices[0] == 0
    assert indices == sorted(indices)
    assert indices[-1] >= count * 0.6 - 3
    assert all(frame.image[0, 0, 0] == frame.index % 256 for frame in compositor.samples)


@pytest.mark.slow
def test_rows_hold_the_sampled_picture_beside_its_own_cutout(tmp_path):
    """The camera codes the index of each frame in its pixels: picture and cut-out must show the same."""
    video = tmp_path / "stream.webm"
    compositor = SampledCompositor("YUVA420")
    with Session(backend="null", threads=1) as session:
        source = open_source("synthetic://320x180@30?seconds=1&pace=0")
        Pipeline(source, session, compositor, open_sink(str(video))).run()
    rows = stream_rows(compositor.samples, video)
    assert len(rows) == 3
    for row in rows:
        difference = np.abs(row.image.astype(int) - row.cutout[:, :, :3])
        assert (
            difference.mean() < 8
        )  # what VP9 costs; another frame of the moving product differs more in places
        assert np.percentile(difference.max(axis=2), 99.5) < 60
        assert row.cutout[:, :, 3].min() >= 250
