"""One stream's view of a device that it shares with others, see ``streams``."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .backends.base import Backend, BackendInfo, State
from .buffers import HostBuffer
from .errors import BackendError
from .manifest import Manifest
from .turns import Member

if TYPE_CHECKING:
    from .streams import StreamGroup


@dataclass(eq=False)
class Request:
    """One frame on its way through the shared device."""

    of: StreamBackend
    engine: Backend
    buffer: HostBuffer
    error: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class StreamBackend(Backend):
    """What a stream's ``Session`` has for a backend; it and its ``Pipeline`` notice nothing of the others.

    Parameters
    ----------
    group : StreamGroup
        Whose engines it uses.
    member : Member
        The stream.
    """

    name = "shared"

    def __init__(self, group: StreamGroup, member: Member) -> None:
        self._group, self.member = group, member
        self._engine: Backend | None = None
        self._requests: dict[HostBuffer, Request] = {}
        self._has_turn = False
        self.state: State = None
        """Before the next frame; the group's, from ``submit`` until the frame is finished."""

    @property
    def kind(self) -> tuple[Backend | None, StreamBackend | None]:
        """What its frames go through, and, with state, whose they are: of those one goes at a time."""
        return self._engine, self if self.state is not None else None

    def open(self, manifest: Manifest, size_wh: tuple[int, int], *, precision: str, threads: int) -> None:
        options = {"precision": precision, "threads": threads}
        self._engine = self._group.engine(self, manifest, size_wh, options)

    def _opened(self) -> Backend:
        if self._engine is None:
            raise BackendError("shared backend: not open")
        return self._engine

    @property
    def info(self) -> BackendInfo:
        engine = self._opened()
        info = engine.info
        details = "; ".join(part for part in (info.details, self._group.describe(engine)) if part)
        return replace(info, details=details, is_shared=True)

    def new_buffer(self) -> HostBuffer:
        return self._opened().new_buffer()

    def new_state(self) -> State:
        self.state = self._opened().new_state()
        return self if self.state is not None else None

    def admit(self) -> bool:
        if not self._has_turn:
            self._group.admit(self)
            self._has_turn = True
        return True

    def withdraw(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._group.give_up(self)

    def submit(self, buffer: HostBuffer, state: State) -> State:
        request = Request(self, self._opened(), buffer)
        self.admit()
        self._has_turn = False
        self._group.queue(request)
        self._requests[buffer] = request
        return state

    def collect(self, buffer: HostBuffer) -> None:
        request = self._requests.pop(buffer, None)
        if request is None:
            return
        request.finished.wait()
        if request.error is not None:
            raise request.error

    def infer(self, buffer: HostBuffer, state: State) -> State:
        following = self.submit(buffer, state)
        self.collect(buffer)
        return following

    def wait_until_built(self, timeout: float | None = None) -> bool:
        """Where the engine is still being built: wait for that; whether it has ended."""
        wait = getattr(self._opened(), "wait_until_built", None)
        return True if wait is None else wait(timeout)

    def close(self) -> None:
        """End the stream; an engine that others can use stays, the group's."""
        if self._engine is None:
            return
        self.withdraw()
        for request in list(self._requests.values()):
            request.finished.wait()
        self._requests.clear()
        self._engine = self.state = None
        self._group.leave(self)
