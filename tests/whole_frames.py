"""Streams whose frames are done on a fake GPU as a whole, with emulated kernels."""

import numpy as np
import pytest
from emulated_kernels import MODULE, load_kernels
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from fakes import FakeClock, MemorySource, RecordingSink

from livecut.engine import whole_frame
from livecut.engine.backends import device_backend
from livecut.engine.backends.tensorrt import Plan, TensorRtBackend
from livecut.engine.compositor import Compositor
from livecut.engine.frame import Frame
from livecut.engine.pipeline import Pipeline
from livecut.engine.session import Session
from livecut.kernels.cuda import emulate

FRAME_WH = (48, 26)
KERNELS_ATOL = 2  # of 255: the CPU's resize rounds its weights, and each side rounds its result
needs_compiler = pytest.mark.skipif(emulate.compiler() is None, reason="no C++ compiler to emulate CUDA with")


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    """For every test of a module that imports it."""
    monkeypatch.setattr(device_backend, "get_module", lambda *_: MODULE)
    monkeypatch.setattr(whole_frame, "_ROUNDS", 3)


def pictures(count, format="BGR", rng=None):
    """Frames with something to cut: a bright disc that moves over dim noise."""
    rng = rng or np.random.default_rng(4)
    width, height = FRAME_WH
    y, x = np.mgrid[:height, :width]
    frames = []
    for index in range(count):
        image = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
        image[(x - 10 - 3 * index) ** 2 + (y - 13) ** 2 < 70] = (180, 220, 250)
        planes = (image,)
        if format == "NV12":
            planes = (image[..., 1].copy(), image[: height // 2, : width // 2, :2].copy())
        frames.append(Frame(planes, format, index, index / 25, 100 + index / 25))
    return frames


def fake_device(**options):
    device = FakeDevice(memory=1 << 32, **options)
    load_kernels(device)
    return device


def session_on(device, folder, post="gpu", **options):
    def make():
        return TensorRtBackend(
            lambda manifest, *_: Plan(FakeApi(device), manifest.model_path.read_bytes(), "fp16", "graph"),
            lambda: device,
        )

    return Session(folder, backend=make, post=post, threads=1, **options)


def run(session, frames, output="RGBA", background=None, **options):
    sink = RecordingSink((output,), before_write=options.pop("before_write", None))
    source = MemorySource(frames, size_wh=FRAME_WH, **options)
    compositor = Compositor(output, background)
    Pipeline(source, session, compositor, sink, clock=FakeClock(), warm_up_rounds=1).run()
    return sink.frames


def assert_same(got, expected, atol=KERNELS_ATOL):
    assert [frame.index for frame in got] == [frame.index for frame in expected]
    for mine, theirs in zip(got, expected, strict=True):
        assert (mine.format, mine.pts_seconds) == (theirs.format, theirs.pts_seconds)
        for number, (plane, other) in enumerate(zip(mine.planes, theirs.planes, strict=True)):
            difference = np.abs(plane.astype(float) - other)
            if mine.format in ("RGBA", "BGRA"):  # where little shows, straight colour is little sure of
                difference[..., :3] *= other[..., 3:] / 255
            elif mine.format == "YUVA420" and number == 0:
                difference *= theirs.planes[3] / 255
            assert difference.max() <= atol, f"frame {mine.index}: {difference.max()} levels apart"
