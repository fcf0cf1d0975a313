"""The fake GPU itself: right answers for code that waits, a name for every mistake of code that does not."""

import gc

import numpy as np
import pytest
from fake_cuda import FakeDevice, FakeKernel, Hazard

from livecut.engine.errors import BackendError, DeviceLost, OutOfDeviceMemory

ORDERS = ("late", "eager", "random")


def doubled(device, grid, block, arguments):
    source, target, count = arguments
    device.array(int(target), (int(count),), np.float32)[...] = 2 * device.array(
        int(source), (int(count),), np.float32
    )


DOUBLE = FakeKernel("double", doubled, lambda a: ([(int(a[0]), 4 * int(a[2]))], [(int(a[1]), 4 * int(a[2]))]))


class Rig:
    """A device with a buffer in, a buffer out, and memory for both."""

    def __init__(self, **options):
        self.device = FakeDevice(**options)
        with self.device.activate():
            self.input = self.device.page_locked((4,), np.float32)
            self.output = self.device.page_locked((4,), np.float32)
            self.source, self.target = self.device.malloc(16), self.device.malloc(16)
            self.stream, self.other, self.event = (
                self.device.stream(),
                self.device.stream(),
                self.device.event(),
            )

    def launch(self, stream=None):
        arguments = (np.uint64(self.source.pointer), np.uint64(self.target.pointer), np.int32(4))
        (stream or self.stream).launch(DOUBLE, (1, 1, 1), (32, 1, 1), arguments)


@pytest.fixture(params=ORDERS)
def rig(request):
    rig = Rig(order=request.param)
    with rig.device.activate():
        yield rig


@pytest.fixture
def late():
    rig = Rig(order="late")
    with rig.device.activate():
        yield rig


def test_copy_launch_and_copy_back_give_the_answer_once_waited_for(rig):
    rig.input[...] = (1, 2, 3, 4)
    rig.stream.copy_in(rig.source.pointer, rig.input)
    rig.launch()
    rig.stream.copy_out(rig.output, rig.target.pointer)
    rig.stream.record(rig.event)
    rig.event.synchronize()
    rig.device.reading(rig.output)
    assert rig.output.tolist() == [2, 4, 6, 8]


def test_two_streams_ordered_by_an_event_give_the_answer(rig):
    rig.input[...] = (1, 2, 3, 4)
    rig.stream.copy_in(rig.source.pointer, rig.input)
    rig.stream.record(rig.event)
    rig.other.wait(rig.event)
    rig.launch(rig.other)
    rig.other.copy_out(rig.output, rig.target.pointer)
    rig.other.synchronize()
    assert rig.output.tolist() == [2, 4, 6, 8]


def test_a_graph_replays_what_was_captured_and_nothing_ran_meanwhile(rig):
    rig.stream.begin_capture()
    rig.stream.copy_in(rig.source.pointer, rig.input)
    rig.launch()
    rig.stream.copy_out(rig.output, rig.target.pointer)
    graph = rig.stream.end_capture()
    assert graph.nodes == 3
    assert not rig.device.order.log
    for value in (1, 5):
        rig.input.fill(value)
        graph.launch(rig.stream)
        rig.stream.synchronize()
        assert rig.output.tolist() == [2 * value] * 4
    assert (rig.device.graph_launches, rig.device.stream_calls) == (2, 0)


def test_polling_an_event_ends(late):
    late.stream.copy_in(late.source.pointer, late.input)
    late.stream.record(late.event)
    polls = 0
    while not late.event.query():
        polls += 1
    assert polls >= 1


# -- every mistake, named


def test_a_host_buffer_read_before_its_event_is_poison_and_a_hazard(late):
    late.stream.fill(late.target.pointer, 0, 16)
    late.stream.copy_out(late.output, late.target.pointer)
    assert np.isnan(late.output).all()
    with pytest.raises(Hazard, match="read before copy_out was known to be done"):
        late.device.reading(late.output)


def test_work_that_happens_to_be_done_but_was_not_waited_for_is_still_a_hazard():
    rig = Rig(order="eager")
    with rig.device.activate():
        rig.stream.fill(rig.target.pointer, 0, 16)
        rig.stream.copy_out(rig.output, rig.target.pointer)
        with pytest.raises(Hazard, match="read before"):
            rig.device.reading(rig.output)


def test_a_host_buffer_changed_before_its_copy_has_run_is_a_hazard(late):
    late.stream.copy_in(late.source.pointer, late.input)
    late.input[0] = 7
    with pytest.raises(Hazard, match="changed before its copy to the device had run"):
        late.stream.synchronize()


def test_writing_a_host_buffer_that_a_copy_still_reads_is_a_hazard(late):
    late.stream.copy_in(late.source.pointer, late.input)
    with pytest.raises(Hazard, match="written before copy_in"):
        late.device.writing(late.input)


def test_freeing_memory_in_use_is_a_hazard(late):
    late.stream.copy_in(late.source.pointer, late.input)
    with pytest.raises(Hazard, match="freed while copy_in is queued"):
        late.source.free()


def test_using_memory_that_was_freed_is_a_hazard(rig):
    rig.source.free()
    with pytest.raises(Hazard, match="uses memory that is not there"):
        rig.stream.copy_in(rig.source.pointer, rig.input)


def test_running_past_the_end_of_a_block_is_a_hazard(rig):
    with pytest.raises(Hazard, match="uses memory that is not there"):
        rig.stream.fill(rig.source.pointer, 0, 17)


def test_a_buffer_used_twice_in_flight_is_a_hazard(rig):
    rig.stream.fill(rig.target.pointer, 0, 16)
    rig.stream.copy_out(rig.output, rig.target.pointer)
    with pytest.raises(Hazard, match="used twice in flight"):
        rig.stream.copy_out(rig.output, rig.target.pointer)


def test_two_streams_on_the_same_memory_without_an_event_race(rig):
    rig.stream.copy_in(rig.source.pointer, rig.input)
    with pytest.raises(Hazard, match="double races with copy_in of another stream"):
        rig.launch(rig.other)


@pytest.mark.parametrize("call", ["malloc", "stream", "launch", "synchronize", "record", "page_locked"])
def test_calling_outside_the_context_is_a_hazard(call):
    rig = Rig()
    calls = {
        "malloc": lambda: rig.device.malloc(1),
        "stream": rig.device.stream,
        "launch": rig.launch,
        "synchronize": rig.stream.synchronize,
        "record": lambda: rig.stream.record(rig.event),
        "page_locked": lambda: rig.device.page_locked((1,), np.uint8),
    }
    with pytest.raises(Hazard, match="outside activate"):
        calls[call]()


def test_memory_that_is_not_page_locked_is_a_hazard(rig):
    with pytest.raises(Hazard, match="not page-locked"):
        rig.stream.copy_in(rig.source.pointer, np.zeros(4, np.float32))


def test_closing_a_device_that_a_thread_is_inside_of_is_a_hazard(late):
    with pytest.raises(Hazard, match="inside it"):
        late.device.close()


def test_a_mapped_array_is_the_same_memory_under_both_its_names():
    rig = Rig(integrated=True)
    device = rig.device
    with device.activate():
        source, target = device.mapped_pointer(rig.input), device.mapped_pointer(rig.output)
        rig.input[...] = (1, 2, 3, 4)
        rig.stream.launch(DOUBLE, (1, 1, 1), (32, 1, 1), (np.uint64(source), np.uint64(target), np.int32(4)))
        with pytest.raises(Hazard, match="read before double"):
            device.reading(rig.output)
        rig.stream.synchronize()
        device.reading(rig.output)
        assert rig.output.tolist() == [2, 4, 6, 8]


# -- faults and accounts


def test_a_full_device_refuses_and_counts_what_was_returned():
    device = FakeDevice(memory=100)
    with device.activate():
        block = device.malloc(64)
        with pytest.raises(OutOfDeviceMemory, match="64 bytes were asked for, 36 are free"):
            device.malloc(64)
        assert device.live() == {"memory": 1}
        block.free()
        block.free()
        array = device.page_locked((64,), np.uint8)
        assert device.live() == {"page_locked": 1}
        view = array[3:]
        del array
        gc.collect()
        assert device.live() == {"page_locked": 1}, "a view keeps the memory"
        del view
        gc.collect()
        assert device.live() == {}
        assert device.memory_info() == (100, 100)


def test_a_lost_device_fails_every_call_with_its_reason(late):
    late.stream.copy_in(late.source.pointer, late.input)
    late.device.lose()
    with pytest.raises(DeviceLost, match="illegal memory access"):
        late.stream.synchronize()
    with pytest.raises(DeviceLost):
        late.device.malloc(1)


def test_a_capture_that_is_not_possible_says_so_and_leaves_the_stream_usable():
    rig = Rig(no_capture=True)
    with rig.device.activate():
        rig.stream.begin_capture()
        rig.stream.copy_in(rig.source.pointer, rig.input)
        with pytest.raises(BackendError, match="capturing"):
            rig.stream.end_capture()
        rig.stream.copy_in(rig.source.pointer, rig.input)
        rig.stream.synchronize()


def test_makespan_tells_overlapping_work_from_work_in_a_row(late):
    late.stream.copy_in(late.source.pointer, late.input)
    late.other.fill(late.target.pointer, 0, 16)
    assert late.device.order.makespan({"copy-in": 3, "compute": 2, "copy-out": 1}) == 3
    late.other.copy_out(late.output, late.target.pointer)
    late.other.synchronize()
    assert late.device.order.makespan({"copy-in": 3, "compute": 2, "copy-out": 1}) == 3
    late.launch()  # on the stream of the copy-in, and after the host saw the copy-out
    assert late.device.order.makespan({"copy-in": 3, "compute": 2, "copy-out": 1}) == 5
