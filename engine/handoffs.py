"""Frames on their way between a pipeline's threads: bounded queues of reused slots, and how they drain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from .buffers import Slot
from .pipeline_stages import Output
from .session import Session

log = logging.getLogger("livecut")
DRAIN_SECONDS = 4.0
"""After ``stop``, frames in flight have this long to reach the sink; closing it comes on top."""
_WAKE = object()


class Handoffs:
    """C queues between the threads of a stream; how much can wait is bounded by how many slots there are.

    ``None`` in a queue is the end of what comes through it.

    Parameters
    ----------
    session : Session
        Gives up slots that are discarded.
    fail : callable
        Called with an error and the stage that it came from; sets ``failed_stage``.
    """

    def __init__(self, session: Session, fail: Callable[[BaseException, int], None]) -> None:
        self._session, self._fail = session, fail
        self.free: SimpleQueue[Any] = SimpleQueue()
        """Slots that nobody uses."""
        self.captured: SimpleQueue[Any] = SimpleQueue()
        self.to_caller: SimpleQueue[Any] = SimpleQueue()
        """What the caller's thread takes next."""
        self.outputs: SimpleQueue[Any] = SimpleQueue()
        """Outputs that nobody uses."""
        self.gate: Any = None
        """A lock, where the network waits with its next frame until it is let through."""
        self.failed_stage = -1
        self.deadline: float | None = None

    def fill(self, slots: int, outputs: int) -> tuple[list[Slot], list[Output]]:
        """Make as many slots and outputs, all free."""
        made = [Slot() for _ in range(slots)], [Output() for _ in range(outputs)]
        for slot in made[0]:
            self.free.put(slot)
        for output in made[1]:
            self.outputs.put(output)
        return made

    def work(
        self,
        stage: int,
        do: Callable[[Any], Any],
        inbox: SimpleQueue[Any],
        outbox: SimpleQueue[Any],
        gate: Any = None,
    ) -> None:
        """The loop of a thread between two queues: ``do`` with each item, until the end or an error."""
        item = None
        try:
            while True:
                if gate is not None:
                    gate.acquire()
                item = inbox.get()
                if item is None:
                    break
                if item is _WAKE:  # meant for the caller, before this thread took its inbox over
                    outbox.put(item)
                elif self.failed_stage > stage:  # nobody will take what this would make
                    self.discard(item)
                else:
                    outbox.put(do(item))
        except BaseException as error:
            self._fail(error, stage)
            while item is not None:
                if item is not _WAKE:
                    self.discard(item)
                item = inbox.get()
        outbox.put(None)

    def replace_waiting(self, slot: Slot) -> bool:
        """Pass a slot on in the place of the one that still waits; whether one did."""
        try:
            waiting = self.captured.get_nowait()
        except Empty:
            self.captured.put(slot)
            return False
        if slot.frame.repeated and not waiting.frame.repeated:
            waiting, slot = slot, waiting  # a repeat shows nothing new: it never displaces a picture
        self.discard(waiting)
        self.captured.put(slot)
        return True

    def discard(self, item: Slot | Output) -> None:
        """Give back what will not be used, so that whoever waits for it goes on and sees the end."""
        if isinstance(item, Slot):
            self._session.give_up(item)
            self.free.put(item)
        else:
            self.outputs.put(item)
        if self.gate is not None and self.failed_stage >= 0 and self.gate.locked():
            self.gate.release()

    def next_for_caller(self) -> Any:
        """What comes next for the caller's thread; None at the end, or when draining takes too long."""
        while True:
            try:
                wait = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
                item = self.to_caller.get(timeout=wait)
            except Empty:
                log.warning("frames in flight did not finish within %g s", DRAIN_SECONDS)
                return None
            if item is not _WAKE:
                return item
            self.begin_draining()

    def wake_caller(self) -> None:
        """The stream is to end: the caller's thread begins to count. Safe in a signal handler."""
        self.to_caller.put(_WAKE)

    def begin_draining(self) -> float:
        """When draining ends, on the monotonic clock; it begins now where it has not begun."""
        self.deadline = self.deadline or time.monotonic() + DRAIN_SECONDS
        return self.deadline

    def join(self, threads: list[threading.Thread]) -> None:
        """Wait for threads as long as draining takes; name those that do not end."""
        deadline = self.begin_draining()
        for thread in threads:
            thread.join(max(0.1, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("thread %s does not end and is left behind", thread.name)
