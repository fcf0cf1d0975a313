"""An engine that is missing, stale or damaged: said once, served through ONNX at once, built, swapped in.

Real files, a real ONNX backend, and engines of ``tests/engines.py`` in the place of TensorRT's.
"""

import errno
import logging
import os
import threading

import engines
import pytest
from engines import BY_ENGINE, BY_ONNX, ORIN, PLAN, SIZE_WH, Builder, Opener, put, warnings_in
from fakes import PATIENCE_SECONDS, RedBackend, must

from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.errors import BackendError, DeviceLost, DeviceUnavailable, DriverTooOld, OutOfDeviceMemory
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.tensorrt import locks
from livecut.engine.tensorrt.cache import EngineCache
from livecut.engine.tensorrt.wanted import Place, find_wanted


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "livecut")
    return caplog


def test_an_engine_that_fits_is_used_from_the_first_frame_and_nothing_is_said(stream, wanted, cache, log):
    put(wanted, cache.folder)
    live = stream()
    assert (live.alpha(), live.name) == (BY_ENGINE, "tensorrt")
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
    assert [live.alpha() for _ in range(3)] == [BY_ONNX] * 3  # at once, while the builder is still at it
    assert live.name == "red"
    assert live.opener.opened == []
    (said,) = warnings_in(log)
    assert said.startswith("no engine for tiny at 64x32, fp32: ")
    assert reason in said
    assert said.endswith("served through red while it is built")
    assert reason in live.session.info.details

    may_build.set()
    live.until_built()
    assert [live.alpha() for _ in range(3)] == [BY_ENGINE] * 3
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
    assert [live.alpha() for _ in range(2)] == [BY_ONNX] * 2
    assert (live.builder.calls, live.opener.opened) == ([], [])
    (said,) = warnings_in(log)
    assert reason in said
    assert said.endswith("it stays with red, as building is off (--no-rebuild)")


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_require_gpu_the_engine_is_built_before_the_first_frame(damage, stream, wanted, cache, log):
    reason = damage(put(wanted, cache.folder), wanted, cache)
    live = stream(require_gpu=True)
    assert live.alpha() == BY_ENGINE
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
    assert live.alpha() == BY_ENGINE
    # By its words, not by its place: closing the other backend goes on beside, and may say something later.
    (said,) = (message for message in log.messages if "is built, for this run only: " in message)
    assert "cannot be written (Read-only file system)" in said
    (path,) = live.builder.calls
    live.session.close()
    assert not path.exists()


def test_a_full_disk_leaves_the_stream_on_onnx(stream, log, cache):
    def fill(wanted, path):
        with open("/dev/full", "wb") as full:
            full.write(PLAN)

    live = stream(builder=Builder(write=fill))
    live.until_built()
    assert [live.alpha() for _ in range(2)] == [BY_ONNX] * 2
    assert "could not be built: [Errno 28] No space left on device; it stays with red" in warnings_in(log)[-1]
    assert cache.find(live.backend._wanted).path is None


@pytest.mark.parametrize(
    "error", [BackendError("its process was ended by SIGSEGV"), ZeroDivisionError("a bug")]
)
def test_a_builder_that_fails_leaves_the_stream_on_onnx(error, stream, log):
    live = stream(builder=Builder(error=error))
    live.until_built()
    assert [live.alpha() for _ in range(2)] == [BY_ONNX] * 2
    assert len(warnings_in(log)) == 2
    assert f"could not be built: {error}; it stays with red" in warnings_in(log)[-1]


def test_two_streams_that_want_the_same_engine_build_it_once(stream, cache):
    """With a cache object each, as two processes have."""
    may_build = threading.Event()
    first = stream(builder=Builder(may_build))
    must(first.builder.started.wait(PATIENCE_SECONDS), "the first build")
    second = stream(cache=EngineCache(cache.folder), builder=Builder(may_build))
    assert (first.alpha(), second.alpha()) == (BY_ONNX, BY_ONNX)
    may_build.set()
    first.until_built()
    second.until_built()
    assert (first.alpha(), second.alpha()) == (BY_ENGINE, BY_ENGINE)
    assert (len(first.builder.calls), len(second.builder.calls)) == (1, 0)


def test_an_engine_that_passes_every_check_and_still_does_not_load_is_replaced(stream, wanted, cache, log):
    put(wanted, cache.folder, plan=b"complete, of this version, for this GPU, and refused")

    may_build = threading.Event()
    live = stream(builder=Builder(may_build))
    assert live.alpha() == BY_ONNX
    assert "does not load: this is no engine; served through red" in warnings_in(log)[0]
    may_build.set()
    live.until_built()
    assert live.alpha() == BY_ENGINE


def test_an_engine_that_comes_out_of_the_builder_as_it_was_is_not_tried_for_ever(stream, wanted, cache, log):
    refused = b"complete, and refused"
    put(wanted, cache.folder, plan=refused)
    live = stream(builder=Builder(write=lambda wanted, path: put(wanted, path.parent, plan=refused)))
    live.until_built()
    assert live.alpha() == BY_ONNX
    assert "the engine just built does not fit: does not load: this is no engine" in warnings_in(log)[-1]
    assert len(live.builder.calls) == 1


@pytest.mark.parametrize(
    "error",
    [OutOfDeviceMemory("the GPU is out of memory"), DeviceLost("an Xid"), DriverTooOld("an old driver")],
)
def test_an_engine_for_which_the_gpu_has_no_room_is_not_built_again(error, stream, wanted, cache, log):
    put(wanted, cache.folder)

    def fail(*arguments):
        raise error

    live = stream(opener=fail)
    assert live.alpha() == BY_ONNX
    assert live.builder.calls == []
    assert warnings_in(log) == [
        f"the engine for tiny at 64x32, fp32 cannot be opened: {error}; served through red"
    ]
    with pytest.raises(type(error)):
        stream(opener=fail, require_gpu=True)


def test_an_engine_that_is_built_and_cannot_be_opened_leaves_the_stream_on_onnx(stream, log):
    def fail(*arguments):
        raise DeviceUnavailable("the package pycuda is not installed")

    live = stream(opener=fail)
    live.until_built()
    assert live.alpha() == BY_ONNX
    assert "is built, and cannot be opened: the package pycuda is not installed" in warnings_in(log)[-1]


def test_onnx_serves_in_fp32_where_that_was_asked_for(tiny_model, cache):
    asked = []

    class Noting(RedBackend):
        def open(self, manifest, size_wh, *, precision, threads):
            asked.append(precision)
            super().open(manifest, size_wh, precision=precision, threads=threads)

    for precision in ("fp32", "auto"):
        backend = SwappingBackend(
            cache=cache, rebuild=False, open_meanwhile=Noting, place=lambda: ORIN, open_engine=Opener()
        )
        backend.open(Manifest.load(tiny_model), SIZE_WH, precision=precision, threads=1)
        backend.close()
    assert asked == ["fp32", "auto"]


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
