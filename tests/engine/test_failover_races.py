"""An engine fails on one thread while another is in it: no stream dies of that, no memory is used after."""

import threading

import pytest
from fakes import PATIENCE_SECONDS, RedBackend, must

from livecut.engine.backends.failover import GpuOrCpu
from livecut.engine.errors import BackendError
from livecut.engine.manifest import Manifest

SIZE_WH = (64, 32)


class Engine(RedBackend):
    """Fails where it is told to, and everywhere once it is closed."""

    def __init__(self):
        super().__init__()
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.slow = ""
        self.fails = False

    def _pass(self, name):
        if self.slow == name:
            self.inside.set()
            must(self.go_on.wait(PATIENCE_SECONDS), "leave to go on")
        if self.closed:
            raise BackendError("engine: not open")

    def new_state(self):
        self._pass("new_state")
        return ()

    def new_buffer(self):
        self._pass("new_buffer")
        return super().new_buffer()

    def infer(self, buffer, state):
        if self.fails:
            raise BackendError("engine: out of order")
        super().infer(buffer, state)
        return state


class OnGpu(GpuOrCpu):
    name = "gpu"


@pytest.fixture
def running(tiny_stateful_model):
    engine = Engine()
    backend = OnGpu(lambda: engine, open_meanwhile=RedBackend)
    backend.open(Manifest.load(tiny_stateful_model), SIZE_WH, precision="auto", threads=1)
    yield engine, backend
    backend.close()
    assert engine.closed


def started(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def wait_for(thread):
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def fail(engine, backend, buffer, state):
    engine.fails = True
    buffer.input.fill(0.5)
    backend.infer(buffer, state)
    assert buffer.alpha.mean() == 0.5


def test_a_stream_that_begins_while_the_engine_is_closed_begins_on_the_cpu(running):
    engine, backend = running
    buffer, state = backend.new_buffer(), backend.new_state()
    engine.slow, states = "new_state", []
    beginning = started(lambda: states.append(backend.new_state()))
    must(engine.inside.wait(PATIENCE_SECONDS), "the other stream to begin")
    fail(engine, backend, buffer, state)
    for thread in threading.enumerate():
        if thread.name == "livecut-engine-close":
            wait_for(thread)
    assert engine.closed, "no frame is in it"
    engine.go_on.set()
    wait_for(beginning)
    assert states, "it has not died of an engine that failed another"
    assert states[0].of is not engine
    backend.infer(buffer, states[0])


def test_an_engine_is_not_closed_while_a_buffer_of_it_is_made(running):
    """The buffer would be memory that is the driver's again."""
    engine, backend = running
    buffer, state = backend.new_buffer(), backend.new_state()
    engine.slow, made = "new_buffer", []
    making = started(lambda: made.append(backend.new_buffer()))
    must(engine.inside.wait(PATIENCE_SECONDS), "the buffer to be begun")
    failing = started(lambda: fail(engine, backend, buffer, state))
    failing.join(0.2)  # long enough to close an engine that nothing keeps
    assert not engine.closed
    engine.go_on.set()
    wait_for(making)
    wait_for(failing)
    assert made[0].owner is engine
    assert not engine.closed, "as long as there is such a buffer"
    made[0].input.fill(0.25)
    backend.infer(made[0], backend.new_state())
    assert made[0].alpha.mean() == 0.25
