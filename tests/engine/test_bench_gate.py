"""The gate lets an honest run through and catches one that skips work, whoever skips it."""

import dataclasses

import numpy as np
import pytest
from fakes import RedBackend

from livecut.engine.bench.gate import GateSink, Offline, differences, judge
from livecut.engine.bench.marking import IndexReader, MarkedBackend, marked
from livecut.engine.bench.run import Run, scene_of
from livecut.engine.bench.settings import Settings
from livecut.engine.bench.warn import Warn
from livecut.engine.frame import Frame
from livecut.engine.session import Session
from livecut.engine.sinks.base import StreamInfo
from livecut.engine.sources.frame_code import encode_index

WH = (256, 128)
SETTINGS = Settings(
    size_wh=WH, fps=30.0, seconds=1.0, warm_up_seconds=0.2, paced=False, input_size_wh=WH, threads=1
)


class IdleEveryThird(RedBackend):
    """Computes two frames and leaves the third's alpha as it is."""

    def infer(self, buffer, state):
        self.inferred += 1
        if self.inferred % 3:
            np.copyto(buffer.alpha, buffer.input[0, 0])


class RepeatsAlphas(Session):
    """A session that reuses the alpha of the frame before for every other frame."""

    before = None
    frames = 0

    def submit(self, slot):
        self.frames += 1
        if self.frames % 2 and self.before is not None:
            np.copyto(slot.buffer.alpha, self.before)
        else:
            super().submit(slot)
            self.collect(slot)
            self.before = slot.buffer.alpha.copy()


@pytest.fixture
def session_of(tiny_model):
    def make(kind=Session, backend=RedBackend):
        return lambda settings, number, group: kind(
            tiny_model, backend=marked(backend, WH), size_wh=WH, threads=1, temporal=settings.temporal
        )

    return make


def measure(make_session, make_reference, settings=SETTINGS):
    return Run(settings, make_session=make_session, make_reference=make_reference).measure()


def test_an_honest_run_passes_and_every_index_is_read(session_of):
    figures = measure(session_of(), session_of())
    gate = figures.data["gate"]
    assert gate == {
        "passed": True, "checked": gate["checked"], "failed": 0, "worst_mean": 0.0, "worst_far_share": 0.0,
        "first_failed": None, "wrong_index": 0, "out_of_order": 0,
    }  # fmt: skip
    assert gate["checked"] >= 10
    assert Warn.WRONG_OUTPUT not in figures.warnings


def test_a_backend_that_skips_frames_differs_from_the_offline_run(session_of):
    figures = measure(session_of(backend=IdleEveryThird), session_of())
    assert not figures.gate_passed
    assert figures.data["gate"]["failed"] > 0
    assert figures.data["gate"]["first_failed"] is not None
    assert Warn.WRONG_OUTPUT in figures.warnings


def test_a_session_that_reuses_alphas_shows_the_index_of_another_picture(session_of):
    figures = measure(session_of(RepeatsAlphas), session_of())
    assert not figures.gate_passed
    assert figures.data["gate"]["wrong_index"] >= 10


class DarkCorner(RedBackend):
    """The red channel would show the code by itself; this one shows none."""

    def infer(self, buffer, state):
        super().infer(buffer, state)
        buffer.alpha[:16, :64] = 0


def test_alphas_without_an_index_are_judged_by_the_offline_run_alone(tiny_model):
    """As those of whole frames on a GPU, which never come to the host by themselves."""

    def timed(settings, number, group):
        return Session(tiny_model, backend=DarkCorner, size_wh=WH, threads=1)

    def reference(settings, number, group):
        backend = marked(DarkCorner, WH) if settings.marked else DarkCorner
        return Session(tiny_model, backend=backend, size_wh=WH, threads=1)

    figures = measure(timed, reference)
    assert figures.gate_passed
    assert figures.data["gate"]["wrong_index"] is None


def test_a_lazy_backend_without_an_index_is_caught_all_the_same(tiny_model):
    class LazyInTheDark(DarkCorner):
        def infer(self, buffer, state):
            if self.inferred % 3 == 2:
                self.inferred += 1
            else:
                super().infer(buffer, state)

    def timed(settings, number, group):
        return Session(tiny_model, backend=LazyInTheDark, size_wh=WH, threads=1)

    def reference(settings, number, group):
        backend = marked(DarkCorner, WH) if settings.marked else DarkCorner
        return Session(tiny_model, backend=backend, size_wh=WH, threads=1)

    assert not measure(timed, reference).gate_passed


def test_several_streams_are_each_judged_against_their_own_camera(session_of):
    settings = dataclasses.replace(SETTINGS, streams=3, seconds=0.5)
    figures = measure(session_of(), session_of(), settings)
    assert figures.gate_passed
    assert figures.data["frames"]["written"] == 3 * 15
    assert [stream["frames"]["written"] for stream in figures.data["streams"]] == [15, 15, 15]


def test_a_reference_that_begins_in_the_middle_agrees_once_it_has_run_in(session_of):
    sink = GateSink("RGBA", 200, every=70)
    offline = session_of()(SETTINGS, 0, None)
    sink.open(StreamInfo(*WH, "RGBA"))
    with offline, session_of()(SETTINGS, 0, None) as timed:
        through = Offline(timed, scene_of(SETTINGS, 0), "RGBA", 30.0)
        for index in range(0, 200, 2):  # every other frame was dropped
            sink.write(through.run(index))
        report = judge(sink, Offline(offline, scene_of(SETTINGS, 0), "RGBA", 30.0))
    assert report.passed
    assert report.checked >= 2
    assert report.worst_mean < 0.05


def test_frames_out_of_order_do_not_pass(session_of):
    sink = GateSink("RGBA", 10, every=1)
    sink.open(StreamInfo(*WH, "RGBA"))
    with session_of()(SETTINGS, 0, None) as timed, session_of()(SETTINGS, 0, None) as reference:
        through = Offline(timed, scene_of(SETTINGS, 0), "RGBA", 30.0)
        for index in (0, 1, 3, 2):
            sink.write(through.run(index))
        report = judge(sink, Offline(reference, scene_of(SETTINGS, 0), "RGBA", 30.0))
    assert report.out_of_order == 1
    assert not report.passed


def test_a_gate_that_checked_nothing_has_not_passed(session_of):
    sink = GateSink("RGBA", 10, every=1)
    with session_of()(SETTINGS, 0, None) as reference:
        assert not judge(sink, Offline(reference, scene_of(SETTINGS, 0), "RGBA", 30.0)).passed


def test_checks_come_at_moments_that_no_period_can_avoid():
    sink = GateSink("ALPHA", 3000, every=10, seed=4)
    sink.open(StreamInfo(64, 32, "ALPHA"))
    plane = np.zeros((32, 64), np.uint8)
    for index in range(3000):
        sink.write(Frame((plane,), "ALPHA", index, 0.0, 0.0))
    positions = [check.position for check in sink.checks]
    assert 200 < len(positions) < 400
    for period in range(2, 10):
        assert {position % period for position in positions} == set(range(period))


@pytest.mark.parametrize("format", ["RGBA", "BGRA", "YUVA420", "ALPHA"])
def test_the_index_is_read_where_picture_and_alpha_agree(format, rng):
    frame = coded(format, 77, 77, rng)
    assert IndexReader((256, 128)).read(frame) == (77, True)
    if format != "ALPHA":
        assert IndexReader((256, 128)).read(coded(format, 78, 77, rng)) == (77, False)


def coded(format, picture, alpha, rng):
    """An output whose picture and alpha carry an index each."""
    shapes = {"RGBA": [(128, 256, 4)], "BGRA": [(128, 256, 4)], "ALPHA": [(128, 256)]}
    planes = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes.get(format, [(128, 256)] * 4)]
    if format == "YUVA420":
        encode_index(planes[0], picture, black=16, white=235)
        encode_index(planes[3], alpha)
    elif format == "ALPHA":
        encode_index(planes[0], alpha)
    else:
        encode_index(planes[0][..., :3], picture)
        encode_index(planes[0][..., 3], alpha)
    return Frame(tuple(planes), format, alpha, 0.0, 0.0)


def test_a_straight_colour_under_alpha_0_is_anybodys():
    here, there = np.full((4, 4, 4), 200, np.uint8), np.full((4, 4, 4), 10, np.uint8)
    here[..., 3] = there[..., 3] = 0
    assert differences([here], [there], "RGBA") == (0.0, 0.0)
    here[..., 3] = there[..., 3] = 255
    mean, far = differences([here], [there], "RGBA")
    assert mean == pytest.approx(190 * 3 / 4)
    assert far == 0.75


def test_an_input_too_small_for_the_code_is_left_unmarked(tiny_model):
    backend = MarkedBackend(RedBackend(), (64, 32))
    with Session(tiny_model, backend=lambda: backend, threads=1) as session:
        image = np.zeros((32, 64, 3), np.uint8)
        image[:, :, 0] = 200
        assert (session.matte(image).alpha == 200).all()
