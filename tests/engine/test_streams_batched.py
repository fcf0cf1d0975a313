"""Frames of several streams in one inference: as each stream alone, whoever comes, leaves or dies."""

import gc
import random
import threading
from functools import partial

import bundles
import numpy as np
import pytest
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import PATIENCE_SECONDS, FakeClock, MemorySource, RecordingSink, RedBackend, grey_frame, must

from livecut.engine.backends.openvino import OpenVinoBackend
from livecut.engine.backends.tensorrt import Plan, TensorRtBackend
from livecut.engine.compositor import Compositor
from livecut.engine.errors import DeviceLost, SourceError
from livecut.engine.manifest import Manifest
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session
from livecut.engine.stats import StreamReport
from livecut.engine.streams import StreamGroup, run_together

SIZE_WH = (64, 32)
TOLERANCE = 1e-2
"""Of alpha: a chip that computes in bf16 rounds to that."""


def free_batch(folder, graph, **changes):
    return bundles.write_bundle(folder, bundles.with_free_batch(graph), batch=4, free_batch=True, **changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batched")
    return {
        "plain": free_batch(folder / "plain", bundles.sigmoid_of_sum()),
        "stateful": free_batch(folder / "stateful", bundles.half_of_before(), state=bundles.HALF_STATE),
    }


def on_openvino(folder, device):
    return OpenVinoBackend()


def on_onnxruntime(folder, device):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from livecut.engine.backends.ort import OnnxRuntimeBackend

    return OnnxRuntimeBackend()


def on_tensorrt(folder, device):
    plan = (folder / "model.onnx").read_bytes()
    return TensorRtBackend(lambda *_: Plan(FakeApi(device), plan, "fp32", "graph"), lambda: device)


def on_onnxruntime_cuda(folder, device):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from fake_onnxruntime import FakeRuntime

    from livecut.engine.backends.ort_cuda import OrtCudaBackend

    return OrtCudaBackend(lambda: device, FakeRuntime(device))


BACKENDS = [on_openvino, on_onnxruntime, on_tensorrt, on_onnxruntime_cuda]


class Stream:
    """One stream of a group, driven by hand: submits pictures of noise and keeps what comes out."""

    def __init__(self, group, folder, seed):
        self.backend = group.backend()()
        self.backend.open(Manifest.load(folder), SIZE_WH, precision="auto", threads=1)
        self.buffers = [self.backend.new_buffer() for _ in range(3)]
        self.state = self.backend.begin()
        self.rng = np.random.default_rng(seed)
        self.flying, self.pictures, self.alphas = [], [], []

    def submit(self):
        buffer = self.buffers[len(self.pictures) % len(self.buffers)]
        self.pictures.append(self.rng.uniform(0, 1, buffer.input.shape).astype(np.float32))
        np.copyto(buffer.input, self.pictures[-1])
        self.state = self.backend.submit(buffer, self.state)
        self.flying.append(buffer)

    def collect(self):
        buffer = self.flying.pop(0)
        self.backend.collect(buffer)
        self.alphas.append(buffer.alpha.copy())

    def leave(self):
        while self.flying:
            self.collect()
        self.backend.close()

    def assert_as_alone(self, folder):
        """Its alphas are those of its pictures on an engine of its own."""
        alone = OpenVinoBackend()
        alone.open(Manifest.load(folder), SIZE_WH, precision="fp32", threads=1)
        buffer, state = alone.new_buffer(), alone.new_state()
        assert len(self.alphas) == len(self.pictures)
        for number, (picture, alpha) in enumerate(zip(self.pictures, self.alphas, strict=True)):
            np.copyto(buffer.input, picture)
            state = alone.infer(buffer, state)
            assert np.abs(alpha - buffer.alpha).max() <= TOLERANCE, f"frame {number}"
        alone.close()


@pytest.mark.parametrize(
    ("make", "kind", "order"),
    [
        (on_openvino, "plain", "late"),
        (on_openvino, "stateful", "late"),
        (on_onnxruntime, "stateful", "late"),
        (on_tensorrt, "plain", "random"),
        (on_tensorrt, "stateful", "late"),
        (on_tensorrt, "stateful", "random"),
        (on_onnxruntime_cuda, "stateful", "random"),
    ],
)
def test_each_stream_gets_what_it_would_get_alone(make, kind, order, folders):
    """In random order, with frames of one stream behind each other, while streams join and leave."""
    folder, device, dice = folders[kind], FakeDevice(order=order, seed=5), random.Random(7)
    made = []
    group = StreamGroup(
        lambda: made.append(make(folder, device)) or made[-1],
        batching="always", wait_ms=1e6, bound_ms=1e9, clock=FakeClock(),
    )  # fmt: skip
    streams, gone = [Stream(group, folder, seed) for seed in range(5)], []
    for turn in range(14):
        if turn % 4 == 3:
            streams.append(Stream(group, folder, 100 + turn))
            gone.append(streams.pop(dice.randrange(len(streams) - 1)))
            gone[-1].leave()
        together = dice.sample(streams, dice.randint(1, len(streams)))
        for stream in together:
            stream.backend.admit()  # those to come are waited for
        for stream in together:
            if len(stream.flying) == len(stream.buffers):
                stream.collect()
            stream.submit()
        for stream in dice.sample(streams, 3):
            if stream.flying:
                stream.collect()
    for stream in streams:
        stream.leave()
    for stream in (*streams, *gone):
        stream.assert_as_alone(folder)
    sizes = group.batches.sizes
    assert max(sizes) == 4, sizes
    assert sum(size * count for size, count in sizes.items()) == sum(
        len(s.pictures) for s in (*streams, *gone)
    )
    assert len(made) == 1, "one engine for all"
    assert "up to 4 frames in one inference" in group.describe(made[0])
    group.close()
    del streams, gone, stream, together
    device.order.log.clear()
    gc.collect()
    assert (device.live(), device.hazards) == ({}, [])


class Pipelines:
    """Whole streams in a group: grey pictures whose level says which frame of which stream they are."""

    def __init__(self, folder, make, count, *, broken=(), frames=30, **options):
        self.group = StreamGroup(make, batching="always", **options)
        self.sessions, self.sinks, self.pipelines = [], [], []
        for index in range(count):
            pictures = [grey_frame(i, value=(index * 50 + 7 * i) % 256) for i in range(frames)]
            if index in broken:
                pictures[9] = SourceError("the cable was pulled")
            session = Session(folder, backend=self.group.backend(), refine=False, decontaminate=False)
            self.sessions.append(session)
            self.sinks.append(RecordingSink(("RGBA",)))
            self.pipelines.append(
                Pipeline(
                    MemorySource(pictures), session, Compositor("RGBA"), self.sinks[-1], clock=FakeClock()
                )
            )

    def close(self):
        for session in self.sessions:
            session.close()
        self.group.close()


def assert_remembers_itself_alone(sink):
    """Alpha is half of red and half of the alpha before."""
    expected = 0.0
    for frame in sink.frames:
        expected = (expected + frame.image[0, 0, 0] / 255) / 2
        assert abs(frame.image[0, 0, 3] - 255 * expected) <= 2, f"frame {frame.index}"


@pytest.mark.parametrize("make", [on_openvino, on_tensorrt])
def test_a_source_that_dies_ends_its_own_stream_alone(make, folders):
    device = FakeDevice(order="random", seed=3)
    streams = Pipelines(folders["stateful"], partial(make, folders["stateful"], device), 4, broken=(1,))
    results = run_together(streams.pipelines)
    assert isinstance(results[1], SourceError)
    for index in (0, 2, 3):
        assert isinstance(results[index], StreamReport)
        assert streams.sinks[index].indices == list(range(30))
    for sink in streams.sinks:
        assert_remembers_itself_alone(sink)
    assert streams.group.turns.under_way.total() == 0
    streams.close()
    assert device.hazards == []


def test_a_lost_device_is_every_streams_error(folders):
    device = FakeDevice()
    streams = Pipelines(folders["stateful"], partial(on_tensorrt, folders["stateful"], device), 2)
    streams.sinks[0].before_write = lambda frame: frame.index == 5 and device.lose()
    results = run_together(streams.pipelines)
    assert isinstance(results[0], DeviceLost)
    assert isinstance(results[1], (DeviceLost, StreamReport))  # it may have come to its end before
    streams.close()


# -- what can be batched, and what cannot


def opened(make, folder, batch=4):
    backend = make(folder, FakeDevice())
    backend.batch = batch
    backend.open(Manifest.load(folder), SIZE_WH, precision="auto", threads=1)
    return backend


@pytest.mark.parametrize("make", BACKENDS)
def test_a_graph_for_one_picture_is_only_reshaped_where_the_backend_can(make, tiny_stateful_model):
    backend = opened(make, tiny_stateful_model)
    if make is on_openvino:
        assert backend.at_once == 4
    else:
        assert backend.at_once == 1
        assert backend.why_single.startswith("the ONNX file takes one picture at a time; livecut export")
    backend.close()


@pytest.mark.parametrize("make", [on_openvino, on_onnxruntime])
def test_a_graph_that_mixes_its_pictures_is_found_out(make, tmp_path):
    backend = opened(make, free_batch(tmp_path / "mixes", bundles.red_beside_the_others()))
    assert (backend.at_once, backend.why_single) == (1, "its graph mixes the pictures of a batch")
    backend.close()


def test_a_state_that_cannot_follow_is_said(tmp_path):
    """``known_kept`` of the plate network is one number, however many pictures there are."""
    folder = bundles.write_bundle(
        tmp_path / "plate", bundles.red_beside_the_plate(), state=bundles.PLATE_STATE, begins_with="plate"
    )
    backend = opened(on_onnxruntime, folder)
    assert backend.at_once == 1
    backend.close()


def test_an_engine_takes_as_many_as_its_profile_says(folders):
    device = FakeDevice()
    plan = (folders["plain"] / "model.onnx").read_bytes()
    backend = TensorRtBackend(lambda *_: Plan(FakeApi(device, most=2), plan, "fp32", "graph"), lambda: device)
    backend.batch = 8
    backend.open(Manifest.load(folders["plain"]), SIZE_WH, precision="auto", threads=1)
    assert (backend.at_once, backend.why_single) == (2, "the engine takes 2 pictures at once at most")
    assert "up to 2 frames in one CUDA graph (1 nodes)" in backend.info.details
    backend.close()


def four_batches_of_two(backend):
    buffers, states = [backend.new_buffer() for _ in range(8)], [backend.new_state() for _ in range(2)]
    taken = backend._device.used
    backend._device.order.log.clear()
    with backend.thread_context():
        for first in range(0, 8, 2):
            states = backend.submit_together(buffers[first : first + 2], states)
        for buffer in buffers:
            backend.collect(buffer)
    assert backend._device.used == taken, "frames take no memory"


def test_a_batch_is_copied_beside_the_work_of_the_one_before(folders):
    backend = opened(on_tensorrt, folders["plain"])
    four_batches_of_two(backend)
    in_a_row = 4 * (2 + 2 + 2)
    spent = backend._device.order.makespan({"copy-in": 1, "compute": 2, "copy-out": 1})
    assert spent <= in_a_row - 6
    backend.close()


def test_state_takes_no_memory_while_frames_run(folders):
    backend = opened(on_tensorrt, folders["stateful"])
    four_batches_of_two(backend)
    assert backend._device.hazards == []
    backend.close()


def test_a_frame_that_is_given_up_frees_its_buffer_for_another(folders):
    backend = opened(on_tensorrt, folders["stateful"])
    with backend.thread_context():
        backend.submit(backend.new_buffer(), backend.new_state())
    slots = len(backend._batches._slots)
    gc.collect()
    buffer = backend.new_buffer()
    assert len(backend._batches._slots) == slots
    assert not buffer.binding.in_flight
    backend.close()


class Patient(RedBackend):
    """A device that works by itself: takes up to ``batch`` frames at once, and is done when it is told."""

    batch_pays = True

    def __init__(self):
        super().__init__()
        self.started, self.release = threading.Semaphore(0), threading.Semaphore(0)

    def open(self, manifest, size_wh, **options):
        super().open(manifest, size_wh, **options)
        self.at_once = self.batch

    def submit_together(self, buffers, states):
        self.started.release()
        return list(states)

    def collect(self, buffer):
        must(self.release.acquire(timeout=PATIENCE_SECONDS), "release")
        np.copyto(buffer.alpha, buffer.input[0, 0])


def test_frames_for_a_busy_device_gather_into_one_batch(tiny_model):
    device = Patient()
    group = StreamGroup(lambda: device, bound_ms=1e9)
    streams = [Stream(group, tiny_model, seed) for seed in range(5)]
    assert device.batch == 4, "by itself, as it pays there"
    for stream in streams[:2]:
        stream.submit()
        must(device.started.acquire(timeout=PATIENCE_SECONDS), "a batch of its own")
    for stream in streams[2:]:
        stream.submit()
    assert len(group.batches) == 3, "two are under way: the others wait"
    for _ in streams:
        device.release.release()
    for stream in streams:
        stream.collect()
    assert group.batches.sizes == {1: 2, 3: 1}
    for stream in streams:
        assert np.array_equal(stream.alphas[0], stream.pictures[0][0, 0])
        stream.leave()
    group.close()


def test_a_full_device_gives_no_turn_until_a_batch_is_done(tiny_model):
    """Three frames may be under way: the fourth stream's camera drops frames until one of them is."""
    device = Patient()
    group = StreamGroup(lambda: device, bound_ms=1e9, wait_ms=1e6, most_under_way=3)
    streams = [Stream(group, tiny_model, seed) for seed in range(4)]
    for stream in streams[:3]:
        stream.backend.admit()
    for stream in streams[:3]:
        stream.submit()
    admitted = threading.Event()
    waiting = threading.Thread(target=lambda: (streams[3].backend.admit(), admitted.set()), daemon=True)
    waiting.start()
    must(device.started.acquire(timeout=PATIENCE_SECONDS), "the batch")
    assert group.batches.sizes == {3: 1}
    assert not admitted.is_set()
    for _ in range(3):
        device.release.release()
    must(admitted.wait(PATIENCE_SECONDS), "the turn")
    device.release.release()
    streams[3].submit()
    for stream in streams:
        stream.leave()
    group.close()
