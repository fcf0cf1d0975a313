"""What the whole-loop benchmarks rest on: times from when a frame was due, gates that catch a mix-up."""

import tracemalloc

import numpy as np
import pytest

from benchmarks import bench_first_cut, bench_open_loop, loops
from benchmarks.bench_loop import interleave_loops
from benchmarks.bench_pipeline import AllocationSink
from benchmarks.loops import MemorySource, SerialLoop, Trace
from livecut.engine.clock import Clock
from livecut.engine.frame import Frame
from livecut.engine.sinks.base import StreamInfo
from livecut.engine.sources.frame_code import encode_index


class SteppedClock(Clock):
    """Stands still, but for waiting and for what a test adds."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def wait_until(self, deadline, stop):
        self.time = max(self.time, deadline)
        return not stop.is_set()


def pictures(count):
    return [np.full((40, 64, 3), index, np.uint8) for index in range(count)]


def camera(fps, count=10):
    source = MemorySource(pictures(3), count, fps=fps)
    source.clock = SteppedClock()
    source.open()
    return source


def test_camera_gives_every_frame_to_a_reader_that_keeps_up():
    source = camera(10)
    seen = []
    while (frame := source.read()) is not None:
        seen.append((frame.index, round(frame.due_seconds - 100, 9), int(frame.image[0, 0, 0])))
    assert seen == [(index, index / 10, index % 3) for index in range(10)]


def test_camera_gives_a_late_reader_the_newest_frame_with_the_time_it_was_due():
    source = camera(10)
    source.read()
    source.clock.time += 0.35
    frame = source.read()
    assert frame.index == 3
    assert frame.due_seconds == pytest.approx(100.3)


def test_camera_ends_and_can_be_interrupted():
    source = camera(10, count=2)
    source.clock.time += 1
    assert source.read() is not None
    source.clock.time += 5
    assert source.read() is None
    source = camera(10)
    source.interrupt()
    assert source.read() is None


def test_source_without_a_rate_never_waits_and_loses_nothing():
    source = camera(None, count=5)
    source.clock.time += 99
    assert [source.read().index for _ in range(5)] == list(range(5))
    assert source.read() is None


def test_trace_counts_latency_from_the_due_time_and_rate_from_the_results():
    trace = Trace(offered=12)
    for index in range(10):
        trace.index.append(index)
        trace.due.append(index * 0.1)
        trace.done.append(index * 0.1 + (0.5 if index == 9 else 0.02))
    assert trace.latency_ms(50) == pytest.approx(20)
    assert trace.latency_ms(100) == pytest.approx(500)
    assert trace.dropped == 2
    assert trace.frame_ms(skip=0) == pytest.approx(1e3 * (9 * 0.1 + 0.48) / 9)


def test_trace_tells_a_frame_that_got_the_wrong_result():
    expected = pictures(3)
    trace = Trace()
    for index in range(6):
        trace.add(index, 0.0, expected[index % 3])
    assert trace.worst_difference(expected) == 0
    trace.add(6, 0.0, expected[1])
    assert trace.worst_difference(expected) == 1


def test_serial_loop_gives_each_frame_to_the_process_in_order():
    trace = SerialLoop(lambda picture: picture + 1, pictures(3)).run(7)
    assert trace.index == list(range(7))
    assert trace.worst_difference([picture + 1 for picture in pictures(3)]) == 0


def test_interleave_loops_takes_the_figure_each_loop_gives_of_itself():
    result = interleave_loops({"a": 6.0, "b": 2.0}, lambda loop: loop, rounds=20)
    assert result.ratio("a", "b").value == pytest.approx(3)


def cut_out(shown, alpha_of, index):
    """An RGBA frame called ``index`` that shows picture ``shown`` under the alpha of picture ``alpha_of``."""
    image = np.zeros((216, 384, 4), np.uint8)
    encode_index(image[..., :3], shown)
    encode_index(image[..., 3], alpha_of)
    if shown != alpha_of:  # show the whole picture, so that only its alpha is wrong
        image[..., 3] |= image[..., 1]
    return Frame((image,), "RGBA", index, 0.0, 0.0)


@pytest.fixture
def gate():
    sink = bench_open_loop.make_gate_sink()
    sink.open(StreamInfo(384, 216, "RGBA"))
    return sink


def test_gate_passes_frames_that_are_what_they_say(gate):
    for index in range(40):
        gate.write(cut_out(index, index, index))
    assert (gate.wrong_picture, gate.wrong_alpha, gate.out_of_order) == (0, 0, 0)
    assert len(gate.latency) == 40


def test_gate_catches_a_picture_under_the_alpha_of_another(gate):
    gate.write(cut_out(7, 6, 7))
    assert gate.wrong_alpha == 1


def test_gate_catches_another_picture_and_a_frame_that_comes_twice(gate):
    gate.write(cut_out(6, 6, 7))
    assert gate.wrong_picture == 1
    gate.write(cut_out(7, 7, 7))
    assert gate.out_of_order == 1


def test_allocation_sink_sees_a_picture_that_was_made_and_dropped():
    sink = AllocationSink(2, 5)
    frame = Frame((np.zeros((40, 64, 3), np.uint8),), "BGR", 0, 0.0, 0.0)
    tracemalloc.start()
    try:
        for index in range(6):
            if index == 3:
                np.zeros(1 << 20, np.uint8)
            sink.write(frame)
    finally:
        tracemalloc.stop()
    assert sink.peak_kib >= 1024
    assert sink.grown_kib < 64


def test_first_cut_takes_only_a_transparent_picture_of_the_right_size(tmp_path):
    from PIL import Image

    path = tmp_path / "cut.png"
    Image.new("RGB", bench_first_cut.SIZE_WH).save(path)
    assert not bench_first_cut.is_cut_out(path)
    opaque = Image.new("RGBA", bench_first_cut.SIZE_WH, (1, 2, 3, 255))
    opaque.save(path)
    assert not bench_first_cut.is_cut_out(path)
    opaque.putpixel((5, 5), (0, 0, 0, 0))
    opaque.save(path)
    assert bench_first_cut.is_cut_out(path)


def test_first_cut_refuses_to_time_a_command_that_fails(tmp_path):
    import sys

    with pytest.raises(bench_first_cut.WrongResult, match="sorry"):
        bench_first_cut.once(
            [sys.executable, "-c", "import sys; print('sorry', file=sys.stderr); sys.exit(3)"], tmp_path
        )


def test_spots_see_every_part_of_a_full_size_picture():
    rows, columns = np.zeros((1080, 1920))[loops.SPOTS].shape
    assert rows >= 16
    assert columns >= 30


def test_open_loop_samples_are_the_p99_of_each_whole_second():
    latencies = np.concatenate([np.full(60, 5.0), np.full(60, 7.0), np.full(30, 99.0)])
    assert bench_open_loop.by_second(latencies).samples == (5.0, 7.0)
