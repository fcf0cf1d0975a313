"""Engines for tests, of a runtime that anyone has: a plan is a few bytes, and its alpha is red turned around.

What the model's own ONNX file gives is red, so a frame tells which of the two it went through.
"""

import logging
import threading

import numpy as np
from fakes import PATIENCE_SECONDS, RedBackend, must

from livecut.engine.atomic import replacing
from livecut.engine.backends.base import Backend, BackendInfo
from livecut.engine.backends.swapping import SwappingBackend
from livecut.engine.buffers import HostBuffer
from livecut.engine.errors import BackendError
from livecut.engine.passport import Passport
from livecut.engine.session import Session
from livecut.engine.tensorrt.wanted import Place

ORIN = Place("tensorrt", "10.3.0", "L4T 36.4.3", "8.7")
PLAN = b"engine: " + bytes(range(256)) * 16


def issue(wanted, path, **changes):
    """Write the passport of a plan that is at ``path``."""
    place = wanted.place
    values = {
        "target": "tensorrt",
        "library": place.library,
        "library_version": place.library_version,
        "driver": place.driver,
        "compute_capability": place.compute_capability,
        "precision_asked": wanted.precision,
        "precision_found": wanted.precision,
        "precision_evidence": "engine inspector",
        "shapes": {name: {"min": shape, "opt": shape, "max": shape} for name, shape in wanted.shapes.items()},
        **changes,
    }
    Passport.issue(path, wanted.source, **values).write(path)


def put(wanted, folder, plan=PLAN, **changes):
    """Write a plan and its passport where the cache in ``folder`` looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wanted.file_name
    with replacing(path) as fresh:
        fresh.write_bytes(plan)
    issue(wanted, path, **changes)
    return path


class Builder:
    """A ``Build`` that counts, waits for ``may_build`` if there is one, and then fails or writes a plan."""

    def __init__(self, may_build=None, error=None, write=None):
        self.may_build, self.error, self.write = may_build, error, write
        self.calls = []
        self.started = threading.Event()

    def __call__(self, wanted, path, progress, stop):
        self.calls.append(path)
        self.started.set()
        if self.may_build is not None:
            must(self.may_build.wait(PATIENCE_SECONDS), "leave to build")
        progress("build", 0.5)
        if self.error is not None:
            raise self.error
        if self.write is not None:
            self.write(wanted, path)
            return
        put(wanted, path.parent)


class Engine(Backend):
    """Runs a plan. ``fails_at`` is the frame at which the device is lost, on ``submit`` or on ``collect``."""

    name = "engine"

    def __init__(self, content, wanted, *, fails_at=None, fails_in="submit"):
        if content != PLAN:
            raise BackendError("this is no engine")  # a crash, with the real one
        self.size_wh, self.has_state = wanted.size_wh, bool(wanted.manifest.state)
        self.fails_at, self.fails_in = fails_at, fails_in
        self.frames = self.closed = 0
        self.states = []

    def open(self, manifest, size_wh, *, precision, threads):
        raise AssertionError("engines are opened by whoever read the plan")

    @property
    def info(self):
        return BackendInfo("tensorrt", "Orin (SM 8.7)", "fp32", 0, "an engine")

    def new_buffer(self):
        return HostBuffer(self.size_wh, self.allocate)

    def new_state(self):
        return "fresh" if self.has_state else None

    def infer(self, buffer, state):
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def submit(self, buffer, state):
        self.states.append(state)
        self._maybe_fail("submit")
        self.frames += 1
        return "older" if self.has_state else None

    def collect(self, buffer):
        self._maybe_fail("collect")
        np.copyto(buffer.alpha, 1 - buffer.input[0, 0])

    def _maybe_fail(self, where):
        if self.fails_in == where and self.fails_at is not None and self.frames >= self.fails_at:
            raise BackendError("the GPU fell off the bus")

    def warm_up(self):
        """Nothing: tests count frames."""

    def close(self):
        self.closed += 1


class Opener:
    """An ``open_engine`` that keeps what it opened."""

    def __init__(self, **options):
        self.options, self.opened = options, []

    def __call__(self, path, passport, wanted, threads):
        engine = Engine(passport.verified_bytes(path), wanted, **self.options)
        self.opened.append(engine)
        return engine


SIZE_WH = (64, 32)
IMAGE = np.zeros((32, 64, 3), np.uint8)
IMAGE[..., 0] = 204
BY_ONNX, BY_ENGINE = 204, 51
"""Alpha of ``IMAGE`` by the one and by the other."""


class Stream:
    """A session over a swapping backend, and what a test looks at."""

    def __init__(self, model, cache, *, builder=None, opener=None, **options):
        self.builder, self.opener = builder or Builder(), opener or Opener()
        options = {"open_meanwhile": RedBackend, "place": lambda: ORIN, **options}
        self.backend = SwappingBackend(cache=cache, build=self.builder, open_engine=self.opener, **options)
        self.session = Session(
            model, backend=lambda: self.backend, threads=1, refine=False, decontaminate=False, size_wh=SIZE_WH
        )

    def warmed_up(self):
        self.session.warm_up(SIZE_WH)
        return self

    def alpha(self, image=IMAGE):
        return int(self.session.matte(image, foreground=False).alpha[16, 32])

    def until_built(self):
        must(self.backend.wait_until_built(PATIENCE_SECONDS), "the build")

    @property
    def name(self):
        return self.session.info.name


def warnings_in(log):
    """What was said at the level of a warning."""
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
