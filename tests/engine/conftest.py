"""Pipelines of fakes: a session on a tiny model, a source in memory, a sink that records."""

import pytest
from engines import ORIN, SIZE_WH, Stream
from fakes import FakeClock, RecordingSink, RedBackend

from livecut.engine import pipeline
from livecut.engine.compositor import Compositor
from livecut.engine.manifest import Manifest
from livecut.engine.session import Session
from livecut.engine.tensorrt.cache import EngineCache
from livecut.engine.tensorrt.wanted import find_wanted


class PartsAtOnce:
    """Stands in for ``Sharing``: both pairs of stages part after the third frame."""

    def __init__(self, now):
        self.frames = 0

    def part(self, first, second, now):
        self.frames += 1
        return self.frames == 3


@pytest.fixture
def make(tiny_model, monkeypatch):
    """Make a pipeline of fakes; sessions are closed at the end. ``wait-parted`` waits, on five threads."""
    sessions = []

    def make(source, sink=None, *, backend=RedBackend, output="RGBA", background=None, **options):
        session = Session(tiny_model, backend=backend, threads=1, refine=False, decontaminate=False)
        sessions.append(session)
        sink = sink or RecordingSink()
        options.setdefault("clock", FakeClock())
        options.setdefault("warm_up_rounds", 0)  # scripted backends count their calls
        if options.get("policy") == "wait-parted":
            monkeypatch.setattr(pipeline, "Sharing", PartsAtOnce)
            options["policy"] = "wait"
        return pipeline.Pipeline(source, session, Compositor(output, background), sink, **options)

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def cache(tmp_path):
    """An empty cache of engines."""
    cache = EngineCache(tmp_path / "engines")
    yield cache
    cache.close()


@pytest.fixture
def wanted(tiny_model):
    """The engine that a stream of the tiny model wants on an Orin."""
    return find_wanted(Manifest.load(tiny_model), SIZE_WH, "auto", ORIN)


@pytest.fixture
def stream(tiny_model, cache):
    """Make streams over a swapping backend; they are closed at the end."""
    made = []

    def make(model=tiny_model, cache=cache, **options):
        made.append(Stream(model, cache, **options))
        return made[-1].warmed_up()

    yield make
    for each in made:
        each.session.close()
