"""Whole frames on the GPU: the picture the CPU's kernels make, from emulated kernels on a fake GPU."""

import gc
import logging
from functools import partial

import numpy as np
import pytest
from emulated_kernels import IMAGE
from engines import ORIN, Builder, put
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import RedBackend
from whole_frames import (
    FRAME_WH,
    assert_same,
    emulated,
    fake_device,
    needs_compiler,
    pictures,
    run,
    session_on,
)

from livecut.engine import whole_frame
from livecut.engine.backends import device_backend
from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.bench.marking import marked
from livecut.engine.compositor import Compositor
from livecut.engine.errors import DeviceUnavailable
from livecut.engine.session import Session
from livecut.engine.streams import StreamGroup

__all__ = ["emulated"]
pytestmark = needs_compiler

PICTURE = np.random.default_rng(9).integers(0, 256, (50, 40, 3), np.uint8)
OUTPUTS = [
    ("RGBA", None), ("BGRA", None), ("ALPHA", None), ("YUVA420", None),
    ("BGR", (10, 200, 30)), ("RGB", "blur"), ("BGR", PICTURE), ("I420", (10, 200, 30)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "background"), OUTPUTS, ids=lambda v: "picture" if v is PICTURE else str(v)
)
def test_the_gpu_makes_the_picture_the_cpu_makes(tiny_model, output, background):
    device = fake_device()
    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(4), output, background)
    session = session_on(device, tiny_model)
    assert_same(run(session, pictures(4), output, background), expected)
    session.close()
    assert device.hazards == []


@pytest.mark.parametrize("format", ["BGR", "NV12"])
def test_frames_of_other_formats_go_up_as_they_are(tiny_model, format):
    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(3, format))
    session = session_on(fake_device(), tiny_model)
    assert_same(run(session, pictures(3, format)), expected)
    session.close()


@pytest.mark.parametrize("order", ["late", "random"])
@pytest.mark.parametrize(
    ("model", "temporal"),
    [("tiny_model", True), ("tiny_stateful_model", False), ("tiny_stateful_model", True)],
)
def test_smoothing_and_state_follow_the_frames_in_whatever_order_the_device_works(
    request, model, order, temporal
):
    folder = request.getfixturevalue(model)
    expected = run(session_on(FakeDevice(), folder, "cpu", temporal=temporal), pictures(5))
    device = fake_device(order=order, seed=6)
    session = session_on(device, folder, temporal=temporal)
    assert_same(run(session, pictures(5)), expected)
    session.close()
    assert device.hazards == []


def test_a_second_stream_begins_anew_and_leaves_no_more_behind_than_the_first(tiny_stateful_model):
    device = fake_device()
    expected = run(
        session_on(FakeDevice(), tiny_stateful_model, "cpu", temporal=True), pictures(3), "BGR", PICTURE
    )
    session = session_on(device, tiny_stateful_model, temporal=True)
    held = []
    for _ in range(2):
        assert_same(run(session, pictures(3), "BGR", PICTURE), expected)
        device.order.log.clear()
        gc.collect()
        held.append(device.live()["memory"])
    assert max(held) < 1.5 * min(held), "how many slots a stream needs is up to its threads"
    session.close()
    del session
    device.order.log.clear()
    gc.collect()
    assert (device.live(), device.hazards) == ({}, [])


@pytest.mark.parametrize(("options", "integrated"), [({}, False), ({}, True), ({"no_capture": True}, False)])
def test_with_mapped_memory_and_without_graphs_too(tiny_model, options, integrated):
    expected = run(session_on(FakeDevice(), tiny_model, "cpu"), pictures(4))
    device = fake_device(integrated=integrated, **options)
    session = session_on(device, tiny_model)
    assert_same(run(session, pictures(4)), expected)
    session.close()
    assert device.hazards == []


def test_one_graph_holds_the_copy_in_and_all_the_work(tiny_model):
    device = fake_device()
    session = session_on(device, tiny_model)
    run(session, pictures(2))
    labels = [work.label for work in device.order.log if work.label != "record"]
    frame = ["copy_in", "fill", "lc_preprocess", "engine", "lc_measure", "lc_solve", "lc_composite_straight"]
    assert labels[-9:] == [*frame, "copy_out", "copy_out"]  # the picture and the status
    assert device.graph_launches >= 2
    session.close()


def test_the_pictures_memory_goes_round(tiny_model):
    """The sink is handed the memory that the device wrote, and it comes back: no copy, and no more memory."""
    device = fake_device()
    session = session_on(device, tiny_model)
    seen = set()
    run(session, pictures(24), before_write=lambda frame: seen.add(frame.planes[0].ctypes.data))
    assert len(seen) <= 10
    assert all(device.memory.around(address) for address in seen)
    session.close()


# -- where, and why


def test_auto_takes_what_was_measured_to_be_faster_and_says_both(tiny_model, monkeypatch, caplog):
    for seconds, place in (({True: 0.002, False: 0.003}, "GPU"), ({True: 0.004, False: 0.003}, "CPU")):
        monkeypatch.setattr(
            whole_frame, "_seconds", lambda session, whole, *_, seconds=seconds: seconds[whole is not None]
        )
        device = fake_device()
        session = session_on(device, tiny_model, "auto")
        with caplog.at_level(logging.INFO, "livecut"):
            run(session, pictures(3))
        used = any(work.label == "lc_preprocess" for work in device.order.log)
        assert used == (place == "GPU")
        assert (
            f"full-resolution work on the {place}: {1e3 * seconds[True]:.2f} ms a frame with it on the GPU"
            in (caplog.text)
        )
        session.close()


def test_auto_measures_both_for_real(tiny_model, caplog):
    session = session_on(fake_device(), tiny_model, "auto")
    with caplog.at_level(logging.INFO, "livecut"):
        frames = run(session, pictures(3))
    assert "ms on the CPU" in caplog.text
    assert len(frames) == 3
    session.close()


def test_gpu_is_refused_where_the_model_runs_on_a_cpu(tiny_model):
    with pytest.raises(DeviceUnavailable, match="--post gpu: the model runs on test; take auto or cpu"):
        run(Session(tiny_model, backend=RedBackend, post="gpu"), pictures(1))


def test_a_gpu_that_streams_share_has_no_room_for_whole_frames_and_says_so(tiny_model):
    device, compositor = fake_device(), Compositor("RGBA")
    make = session_on(device, tiny_model)._opened.make
    for post, shared in (("gpu", True), ("auto", True), ("gpu", False)):
        with StreamGroup(make) as group:
            # as a benchmark has it, which wraps what it is given
            backend = marked(group.backend() if shared else make, FRAME_WH)
            with Session(tiny_model, backend=backend, post=post, threads=1) as session:
                if post == "gpu" and shared:
                    with pytest.raises(DeviceUnavailable) as caught:
                        session.warm_up(FRAME_WH, compositor)
                    assert str(caught.value) == (
                        "--post gpu: expected a GPU of the stream's own, and streams share Fake GPU (SM 8.6) "
                        "(--share); take auto or cpu"
                    )
                else:
                    session.warm_up(FRAME_WH, compositor)
                    assert (session._whole is None) == shared


def test_an_engine_that_was_waited_for_does_whole_frames_from_the_first_on(tiny_model, cache):
    """As a benchmark opens a session: it warms up, waits for the build, and then asks."""
    device = fake_device()
    builder = Builder(write=lambda wanted, path: put(wanted, path.parent, plan=wanted.source.read_bytes()))

    def swapping():
        opener = partial(open_tensorrt, api=FakeApi(device), open_device=lambda: device)
        return SwappingBackend(
            cache=cache, build=builder, open_engine=opener, open_meanwhile=RedBackend, place=lambda: ORIN
        )

    with Session(tiny_model, backend=marked(swapping, FRAME_WH), post="gpu", threads=1) as session:
        info = session.warm_up(FRAME_WH, Compositor("RGBA"))
        assert session._whole is not None
        assert info.name == session.info.name == "tensorrt"


def test_a_background_that_changes_stays_with_the_cpu(tiny_model):
    video = [PICTURE, PICTURE[::-1].copy()]
    session = session_on(fake_device(), tiny_model, "auto")
    assert len(run(session, pictures(3), "BGR", iter(video))) == 3
    session.close()
    session = session_on(fake_device(), tiny_model, "gpu")
    with pytest.raises(DeviceUnavailable, match="--post gpu: background: each frame has another"):
        run(session, pictures(3), "BGR", iter(video))
    session.close()


def test_kernels_that_cannot_be_compiled_leave_the_work_to_the_cpu(tiny_model, monkeypatch, caplog):
    def nothing(*_):
        raise ValueError("kernels for 8.6: expected a compiler, got none")

    monkeypatch.setattr(device_backend, "get_module", nothing)
    session = session_on(fake_device(), tiny_model, "auto")
    with caplog.at_level(logging.INFO, "livecut"):
        assert len(run(session, pictures(3))) == 3
    assert "on the GPU it cannot be done (kernels for 8.6: expected a compiler" in caplog.text
    session.close()


def test_single_pictures_and_frames_with_an_alpha_are_done_on_the_cpu(tiny_model):
    device = fake_device()
    session = session_on(device, tiny_model)
    frames = pictures(4)
    frames[2].alpha = np.full(FRAME_WH[::-1], 128, np.uint8)
    got = run(session, frames)
    assert got[2].image[..., 3].max() <= 128
    assert got[3].image[..., 3].max() > 200
    device.order.log.clear()
    session.cut(frames[0].image)
    assert not any(work.label == "lc_preprocess" for work in device.order.log)
    session.close()


def test_the_image_is_loaded_once_and_unloaded(tiny_model):
    device = fake_device()
    loads = []
    load = device.load_module
    device.load_module = lambda image: loads.append(image) or load(image)
    session = session_on(device, tiny_model)
    run(session, pictures(3))
    session.close()
    assert loads == [IMAGE]
    assert "modules" not in device.live()
