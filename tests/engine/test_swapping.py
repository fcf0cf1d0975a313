"""An engine that is missing, stale or damaged: said once, served through ONNX at once, built, swapped in.

Real files, a real ONNX backend, and engines of ``tests/engines.py`` in the place of TensorRT's.
"""

import errno
import logging
import os
import threading

import engines
import numpy as np
import pytest
from engines import ORIN, PLAN, Builder, Opener, put
from fakes import PATIENCE_SECONDS, RedBackend, must

from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.errors import BackendError, DeviceUnavailable
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.session import Session
from livecut.engine.tensorrt import locks
from livecut.engine.tensorrt.cache import EngineCache
from livecut.engine.tensorrt.wanted import Place, find_wanted

SIZE_WH = (64, 32)
IMAGE = np.zeros((32, 64, 3), np.uint8)
IMAGE[..., 0] = 204
ONNX, ENGINE = 204, 51
"""Alpha of ``IMAGE`` by the one and by the other."""


@pytest.fixture
def wanted(tiny_model):
    return find_wanted(Manifest.load(tiny_model), SIZE_WH, "auto", ORIN)


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


class Stream:
    """A session over a swapping backend, and what a test looks at."""

    def __init__(self, model, cache, *, builder=None, opener=None, **options):
        self.builder, self.opener = builder or Builder(), opener or Opener()
        options = {"open_meanwhile": RedBackend, "place": lambda: ORIN, **options}
        self.backend = SwappingBackend(cache=cache, build=self.builder, open_engine=self.opener, **options)
        self.session = Session(
            model, backend=lambda: self.backend, threads=1, refine=False, decontaminate=False, size_wh=SIZE_WH
        )

    def __enter__(self):
        self.session.warm_up(SIZE_WH)
        return self

    def __exit__(self, *error):
        self.session.close()

    def alpha(self, image=IMAGE):
        return int(self.session.matte(image, foreground=False).alpha[16, 32])

    def until_built(self):
        must(self.backend.wait_until_built(PATIENCE_SECONDS), "the build")

    @property
    def name(self):
        return self.session.info.name


@pytest.fixture
def stream(tiny_model, cache):
    """Make streams; they are closed at the end."""
    made = []

    def make(model=tiny_model, cache=cache, **options):
        made.append(Stream(model, cache, **options))
        return made[-1].__enter__()

    yield make
    for each in made:
        each.session.close()


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "livecut")
    return caplog


def warnings_in(log):
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def test_an_engine_that_fits_is_used_from_the_first_frame_and_nothing_is_said(stream, wanted, cache, log):
    put(wanted, cache.folder)
    live = stream()
    assert (live.alpha(), live.name) == (ENGINE, "tensorrt")
    assert live.builder.calls == []
    assert warnings_in(log) == []
    assert live.session.info.details == "an engine"


# -- twelve kinds of damage; of each: nothing damaged is loaded, ONNX serves, the reason is told once


def truncated(path, wanted, cache):
    path.write_bytes(PLAN[:1000])
    return f"cut short: 1000 of {len(PLAN)} bytes"


def bit_flipped(path, wanted, cache):
    flipped = bytearray(PLAN)
    flipped[2000] ^= 1
    path.write_bytes(flipped)
    return "damaged or replaced: sha256"


def other_version(path, wanted, cache):
    path.unlink()
    stale = Place("tensorrt", "8.6.1", ORIN.driver, ORIN.compute_capability)
    put(find_wanted(wanted.manifest, SIZE_WH, "auto", stale), cache.folder)
    return "made by tensorrt 8.6.1, here is 10.3.0"


def other_gpu(path, wanted, cache):
    engines.issue(wanted, path, compute_capability="8.6")
    return "made for compute capability 8.6, here is 8.7"


def other_driver(path, wanted, cache):
    engines.issue(wanted, path, driver="L4T 35.4.1")
    return "made under NVIDIA driver L4T 35.4.1, here is L4T 36.4.3"


def other_onnx(path, wanted, cache):
    other = path.parent / "other.onnx"
    other.write_bytes(b"another network")
    Passport.issue(
        path, other, target="tensorrt", library="tensorrt", library_version="10.3.0", precision_asked="fp32",
        precision_found="fp32", precision_evidence="engine inspector", shapes=wanted.shapes,
        compute_capability="8.7",
    ).write(path)  # fmt: skip
    return "made from another other.onnx"


def wrong_shapes(path, wanted, cache):
    engines.issue(wanted, path, shapes={"image": [1, 3, 64, 64], "alpha": [1, 1, 64, 64]})
    return "image: takes 1x3x64x64, wanted is 1x3x32x64"


def empty(path, wanted, cache):
    path.write_bytes(b"")
    return f"{path.name}: empty"


def unreadable(path, wanted, cache):
    path.unlink()
    path.symlink_to(path)  # for root too, there is no reading this
    return "cannot be read: Too many levels of symbolic links"


def without_passport(path, wanted, cache):
    Passport.path_for(path).unlink()
    return "has no passport"


def damaged_passport(path, wanted, cache):
    passport = Passport.path_for(path)
    passport.write_text(passport.read_text(encoding="utf-8").replace('"fp32"', '"fp16"'), encoding="utf-8")
    return "damaged: its own hash does not match"


DAMAGES = [
    truncated, bit_flipped, other_version, other_gpu, other_driver, other_onnx, wrong_shapes, empty,
    unreadable, without_passport, damaged_passport,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_stale_engine_is_never_loaded_and_soon_replaced(damage, stream, wanted, cache, log):
    reason = damage(put(wanted, cache.folder), wanted, cache)
    may_build = threading.Event()
    live = stream(builder=Builder(may_build))
    assert [live.alpha() for _ in range(3)] == [ONNX] * 3  # at once, while the builder is still at it
    assert live.name == "red"
    assert live.opener.opened == []
    (said,) = warnings_in(log)
    assert said.startswith("no engine for tiny at 64x32, fp32: ")
    assert reason in said
    assert said.endswith("served through red while it is built")
    assert reason in live.session.info.details

    may_build.set()
    live.until_built()
    assert [live.alpha() for _ in range(3)] == [ENGINE] * 3
    assert live.name == "tensorrt"
    assert len(live.opener.opened) == 1
    assert len(warnings_in(log)) == 1
    assert "is built: after 3 frames on red now on tensorrt" in log.messages[-1]
    assert "the first 3 frames were served through red" in live.session.info.details
    assert cache.find(wanted).path is not None


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_rebuilding_it_is_said_and_stays_with_onnx(damage, stream, wanted, cache, log):
    reason = damage(put(wanted, cache.folder), wanted, cache)
    live = stream(rebuild=False)
    assert [live.alpha() for _ in range(2)] == [ONNX] * 2
    assert (live.builder.calls, live.opener.opened) == ([], [])
    (said,) = warnings_in(log)
    assert reason in said
    assert said.endswith("it stays with red, as building is off (--no-rebuild)")


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_require_gpu_the_engine_is_built_before_the_first_frame(damage, stream, wanted, cache, log):
    reason = damage(put(wanted, cache.folder), wanted, cache)
    live = stream(require_gpu=True)
    assert live.alpha() == ENGINE
    assert len(live.builder.calls) == 1
    (said,) = warnings_in(log)
    assert reason in said
    assert said.endswith("building it before the first frame")


def test_require_gpu_without_rebuilding_fails_with_the_reason(stream, wanted, cache):
    bit_flipped(put(wanted, cache.folder), wanted, cache)
    with pytest.raises(
        DeviceUnavailable, match=r"--require-gpu: no engine .*sha256 .*--no-rebuild forbids"
    ) as caught:
        stream(require_gpu=True, rebuild=False)
    assert caught.value.exit_code == 4


def test_require_gpu_fails_where_the_build_does(stream):
    with pytest.raises(DeviceUnavailable, match=r"--require-gpu: no engine for tiny .*: no memory"):
        stream(require_gpu=True, builder=Builder(error=BackendError("no memory")))


def test_a_read_only_cache_keeps_the_engine_for_this_run_alone(stream, tmp_path, log, monkeypatch):
    """The error is made: to root, who runs tests in containers, no folder is read-only."""
    real_open = os.open

    def read_only(path, *rest, **more):
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(path, *rest, **more)

    monkeypatch.setattr(locks.os, "open", read_only)
    live = stream()
    live.until_built()
    assert live.alpha() == ENGINE
    assert "is built, for this run only: " in log.messages[-1]
    assert "cannot be written (Read-only file system)" in log.messages[-1]
    (path,) = live.builder.calls
    live.session.close()
    assert not path.exists()


def test_a_full_disk_leaves_the_stream_on_onnx(stream, log, cache):
    def fill(wanted, path):
        with open("/dev/full", "wb") as full:
            full.write(PLAN)

    live = stream(builder=Builder(write=fill))
    live.until_built()
    assert [live.alpha() for _ in range(2)] == [ONNX] * 2
    assert "could not be built: [Errno 28] No space left on device; it stays with red" in warnings_in(log)[-1]
    assert cache.find(live.backend._wanted).path is None


@pytest.mark.parametrize(
    "error", [BackendError("its process was ended by SIGSEGV"), ZeroDivisionError("a bug")]
)
def test_a_builder_that_fails_leaves_the_stream_on_onnx(error, stream, log):
    live = stream(builder=Builder(error=error))
    live.until_built()
    assert [live.alpha() for _ in range(2)] == [ONNX] * 2
    assert len(warnings_in(log)) == 2
    assert f"could not be built: {error}; it stays with red" in warnings_in(log)[-1]


def test_two_streams_that_want_the_same_engine_build_it_once(stream, cache):
    """With a cache object each, as two processes have."""
    may_build = threading.Event()
    first = stream(builder=Builder(may_build))
    must(first.builder.started.wait(PATIENCE_SECONDS), "the first build")
    second = stream(cache=EngineCache(cache.folder), builder=Builder(may_build))
    assert (first.alpha(), second.alpha()) == (ONNX, ONNX)
    may_build.set()
    first.until_built()
    second.until_built()
    assert (first.alpha(), second.alpha()) == (ENGINE, ENGINE)
    assert (len(first.builder.calls), len(second.builder.calls)) == (1, 0)


def test_an_engine_that_passes_every_check_and_still_does_not_load_is_replaced(stream, wanted, cache, log):
    put(wanted, cache.folder, plan=b"complete, of this version, for this GPU, and refused")

    may_build = threading.Event()
    live = stream(builder=Builder(may_build))
    assert live.alpha() == ONNX
    assert "does not load: this is no engine; served through red" in warnings_in(log)[0]
    may_build.set()
    live.until_built()
    assert live.alpha() == ENGINE


def test_an_engine_that_comes_out_of_the_builder_as_it_was_is_not_tried_for_ever(stream, wanted, cache, log):
    refused = b"complete, and refused"
    put(wanted, cache.folder, plan=refused)
    live = stream(builder=Builder(write=lambda wanted, path: put(wanted, path.parent, plan=refused)))
    live.until_built()
    assert live.alpha() == ONNX
    assert "the engine just built does not fit: does not load: this is no engine" in warnings_in(log)[-1]
    assert len(live.builder.calls) == 1


def test_where_no_engine_can_run_at_all_the_backend_is_unavailable(stream, wanted, cache):
    put(wanted, cache.folder)

    def no_pycuda(*arguments):
        raise DeviceUnavailable("the package pycuda is not installed")

    with pytest.raises(DeviceUnavailable, match="pycuda"):
        stream(opener=no_pycuda)

    def no_gpu():
        raise DeviceUnavailable("there is no NVIDIA GPU")

    with pytest.raises(DeviceUnavailable, match="there is no NVIDIA GPU"):
        stream(place=no_gpu)


# -- between two frames


def test_frames_on_their_way_keep_their_pictures_across_the_swap(tiny_model, cache):
    """Four buffers in use, as in a pipeline: each changes sides when its own frame is next, not before."""
    may_build = threading.Event()
    backend = SwappingBackend(
        cache=cache,
        build=Builder(may_build),
        open_engine=Opener(),
        open_meanwhile=RedBackend,
        place=lambda: ORIN,
    )
    backend.open(Manifest.load(tiny_model), SIZE_WH, precision="auto", threads=1)
    try:
        buffers = [backend.new_buffer() for _ in range(4)]
        for number, buffer in enumerate(buffers):
            buffer.input.fill(number / 10)
        backend.submit(buffers[0], None)
        arrays = [buffer.input for buffer in buffers]
        may_build.set()
        must(backend.wait_until_built(PATIENCE_SECONDS), "the build")
        backend.submit(buffers[1], None)
        assert buffers[2].input is arrays[2]  # a kernel may be writing into it just now
        buffers[2].input.fill(0.25)
        backend.submit(buffers[2], None)
        backend.submit(buffers[3], None)
        for buffer in buffers:
            backend.collect(buffer)
        values = [float(buffer.alpha.mean()) for buffer in buffers]
        assert values == pytest.approx([0.0, 0.9, 0.75, 0.7])
        assert buffers[3].input is not arrays[3]
        assert float(backend.new_buffer().input.sum()) == 0
    finally:
        backend.close()


def test_recurrent_state_starts_anew_with_the_engine_and_that_is_said(tiny_stateful_model, stream, log):
    may_build = threading.Event()
    live = stream(tiny_stateful_model, builder=Builder(may_build), open_meanwhile=_openvino)
    white = np.full_like(IMAGE, 255)
    assert [live.alpha(white) for _ in range(3)] == pytest.approx([128, 191, 223], abs=2)
    may_build.set()
    live.until_built()
    for _ in range(3):
        live.alpha(white)
    (engine,) = live.opener.opened
    assert engine.states == ["fresh", "older", "older"]
    assert log.messages[-1].endswith("its recurrent state starts anew")
    live.session.reset()
    live.alpha(white)
    assert engine.states[-1] == "fresh"


def _openvino():
    from livecut.engine.backends.openvino import OpenVinoBackend

    return OpenVinoBackend()


def test_what_serves_by_default_is_a_backend_for_the_cpu(stream):
    live = stream(open_meanwhile=None, rebuild=False)
    assert live.alpha() == pytest.approx(ONNX, abs=1)
    assert live.session.info.device.startswith("CPU")


# -- an engine that fails while it runs


@pytest.mark.parametrize("fails_in", ["submit", "collect"])
def test_an_engine_that_fails_at_a_frame_loses_none(fails_in, stream, wanted, cache, log):
    put(wanted, cache.folder)
    live = stream(opener=Opener(fails_at=3, fails_in=fails_in))
    alphas = [live.alpha() for _ in range(6)]
    first = alphas.index(ONNX)
    assert alphas == [ENGINE] * first + [ONNX] * (6 - first)
    assert first in (2, 3)
    (said,) = warnings_in(log)
    assert "failed: the GPU fell off the bus; from here on served through red" in said
    assert f"it failed at frame {first + 1}: the GPU fell off the bus" in live.session.info.details
    live.session.close()
    assert [engine.closed for engine in live.opener.opened] == [1]


@pytest.mark.parametrize("fails_in", ["submit", "collect"])
def test_an_engine_that_fails_under_require_gpu_ends_the_stream(fails_in, stream, wanted, cache):
    put(wanted, cache.folder)
    live = stream(opener=Opener(fails_at=2, fails_in=fails_in), require_gpu=True)
    first = 2 if fails_in == "submit" else 1
    assert [live.alpha() for _ in range(first)] == [ENGINE] * first
    with pytest.raises(BackendError, match="fell off the bus"):
        live.alpha()


def test_frames_in_flight_when_the_device_is_lost_are_run_again(tiny_model, wanted, cache):
    put(wanted, cache.folder)
    opener = Opener()
    backend = SwappingBackend(
        cache=cache, build=Builder(), open_engine=opener, open_meanwhile=RedBackend, place=lambda: ORIN
    )
    backend.open(wanted.manifest, SIZE_WH, precision="auto", threads=1)
    try:
        buffers = [backend.new_buffer() for _ in range(3)]
        for number, buffer in enumerate(buffers):
            buffer.input.fill(number / 4)
            backend.submit(buffer, None)
        engine = opener.opened[0]
        engine.fails_at, engine.fails_in = 0, "collect"
        for buffer in buffers:
            backend.collect(buffer)
        assert [float(buffer.alpha.mean()) for buffer in buffers] == pytest.approx([0, 0.25, 0.5])
        assert backend.info.name == "red"
    finally:
        backend.close()


# -- the end


def test_closing_gives_up_a_build_and_leaves_no_thread(stream, log):
    may_build = threading.Event()
    live = stream(builder=Builder(may_build))
    must(live.builder.started.wait(PATIENCE_SECONDS), "the build")
    may_build.set()
    live.session.close()
    assert live.backend.wait_until_built(0)
    assert all(engine.closed for engine in live.opener.opened)
    live.backend.close()
    with pytest.raises(BackendError, match="tensorrt: not open"):
        live.backend.new_buffer()


def test_everything_that_was_opened_is_closed_once(stream, wanted, cache):
    onnx = []

    def meanwhile():
        onnx.append(RedBackend())
        return onnx[-1]

    live = stream(open_meanwhile=meanwhile)
    live.until_built()
    live.alpha()
    live.session.close()
    for thread in threading.enumerate():
        if thread.name == "livecut-onnx-close":
            thread.join(PATIENCE_SECONDS)
    assert [backend.closed for backend in onnx] == [True]
    assert [engine.closed for engine in live.opener.opened] == [1]


def test_a_model_without_a_graph_of_the_precision_is_refused_at_once(tiny_model, cache):
    with Session(tiny_model, backend=lambda: Stream(tiny_model, cache).backend, precision="fp16") as session:
        with pytest.raises(DeviceUnavailable, match=r"precision fp16: tensorrt takes it from the graph"):
            session.warm_up(SIZE_WH)
