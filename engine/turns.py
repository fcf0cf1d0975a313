"""Who takes the next frame on a shared device, and which frames go together: plain state, no threads."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from .errors import UsageError

POLICIES = ("fair", "priority")
BATCHING = ("auto", "always", "never")
_WEIGHT = 0.1
"""Of the newest frame in the mean time of one: some ten frames to believe a change."""


@dataclass(eq=False)
class Member:
    """One stream of a group."""

    name: str
    priority: int = 0
    """With the policy ``priority``: the higher goes first."""
    frames: int = 0
    """Frames it was given a turn for."""
    waits: int = 0
    """How often it had to wait for its turn."""


class Turns:
    """Frames under way are limited, so that none waits longer on the device than ``bound_seconds``.

    A stream asks before it takes a frame from its camera, and while it waits the camera's frames replace each
    other: so a full device lowers the rate of its streams, by the policy, and never adds delay.

    Parameters
    ----------
    most : int
        Frames under way at most, however fast the device.
    bound_seconds : float
        How long a frame may take from its turn to its result. The limit follows from the measured time of one
        frame; a single frame that takes longer is let through alone.
    policy : str
        ``fair``: in the order of asking, so every stream gets the same rate. ``priority``: the stream with
        the highest priority first, so that those below it lose their frames first.
    """

    def __init__(self, most: int, bound_seconds: float, policy: str = "fair") -> None:
        if most < 1:
            raise UsageError(f"most frames under way: expected at least 1, got {most}")
        if not bound_seconds > 0:
            raise UsageError(f"latency bound: expected more than 0, got {bound_seconds}")
        if policy not in POLICIES:
            raise UsageError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
        self.most, self.bound_seconds, self.policy = most, bound_seconds, policy
        self.frame_seconds = 0.0
        """Mean time that the device needs for one frame; 0 before any is known."""
        self.under_way: Counter[Member] = Counter()
        self._waiting: list[Member] = []

    @property
    def limit(self) -> int:
        """Frames that may be under way now."""
        if not self.frame_seconds:
            return self.most
        return max(1, min(self.most, int(self.bound_seconds / self.frame_seconds)))

    def ask(self, member: Member) -> bool:
        """Ask for a turn; True if it is given at once, else it comes from ``give``."""
        self._waiting.append(member)
        if self.give() is member:
            return True
        member.waits += 1
        return False

    def give(self) -> Member | None:
        """Give the next turn, if there is room and somebody waits."""
        if not self._waiting or self.under_way.total() >= self.limit:
            return None
        chosen = self._waiting[0]
        if self.policy == "priority":
            chosen = max(self._waiting, key=lambda member: member.priority)  # the first of equals
        self._waiting.remove(chosen)
        self.under_way[chosen] += 1
        chosen.frames += 1
        return chosen

    def done(self, member: Member, device_seconds: float | None = None) -> None:
        """A frame's result is there, or it was given up; with the time the device took for it, if known."""
        if self.under_way[member] > 0:
            self.under_way[member] -= 1
        if device_seconds is not None and device_seconds > 0:
            known = self.frame_seconds
            self.frame_seconds = known + _WEIGHT * (device_seconds - known) if known else device_seconds

    def leave(self, member: Member) -> None:
        """A stream ends: its turns are free again, and it waits no more."""
        del self.under_way[member]
        self._waiting = [other for other in self._waiting if other is not member]


@dataclass(eq=False)
class _Waiting:
    """A frame that is ready for its engine."""

    frame: Any
    since: float
    engine: Any
    most: int
    alone: Any


@dataclass
class Batches:
    """Gathers frames that go through an engine in one inference.

    Parameters
    ----------
    most : int
        Frames in a batch at most.
    wait_seconds : float
        How long the first of a batch may wait for others. It does not wait for frames that cannot come.
    """

    most: int
    wait_seconds: float
    sizes: Counter[int] = field(default_factory=Counter)
    """How many inferences there were of how many frames."""
    _pending: deque[_Waiting] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise UsageError(f"batch: expected at least 1 frame, got {self.most}")
        if not self.wait_seconds >= 0:
            raise UsageError(f"batch: expected to wait at least 0 s, got {self.wait_seconds}")

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, frame: Any, now: float, *, engine: Any = None, most: int = 1, alone: Any = None) -> None:
        """A frame is ready.

        Parameters
        ----------
        engine : object
            What it goes through; only frames for the same go together.
        most : int
            How many frames that takes at once.
        alone : object, optional
            Frames with the same follow on each other, and never go together: those of a stream with state.
        """
        self._pending.append(_Waiting(frame, now, engine, most, alone))

    def take(
        self, now: float, to_come: Collection[tuple[Any, Any]] = (), busy: Collection[Any] = ()
    ) -> list[Any]:
        """The frames of the next inference; none if it is better to wait until ``due``.

        The engine whose frame has waited longest comes first.

        Parameters
        ----------
        to_come : collection
            ``engine`` and ``alone`` of the frames that have had their turn and are still being prepared.
        busy : collection
            Engines that have enough to do: their frames wait, and more may join them.
        """
        for first in self._oldest(busy):
            batch = self._together(first)
            full = len(batch) == self._limit(first)
            if full or now >= first.since + self.wait_seconds or not self._grows(batch, to_come):
                chosen = set(map(id, batch))
                self._pending = deque(each for each in self._pending if id(each) not in chosen)
                self.sizes[len(batch)] += 1
                return [each.frame for each in batch]
        return []

    def due(self, busy: Collection[Any] = ()) -> float:
        """When the next frame, of an engine that is not ``busy``, has waited long enough; else infinity."""
        return min((each.since for each in self._oldest(busy)), default=float("inf")) + self.wait_seconds

    def _oldest(self, busy: Collection[Any]) -> list[_Waiting]:
        """Of each engine that is not busy the frame that has waited longest, in that order."""
        found: dict[Any, _Waiting] = {}
        for each in self._pending:
            if each.engine not in busy:
                found.setdefault(each.engine, each)
        return list(found.values())

    def _limit(self, first: _Waiting) -> int:
        return max(1, min(self.most, first.most))

    def _together(self, first: _Waiting) -> list[_Waiting]:
        """``first``, and those that go with it, in the order in which they came."""
        batch: list[_Waiting] = []
        streams: set[Any] = set()
        for each in self._pending:
            if len(batch) == self._limit(first):
                break
            if each.engine is first.engine and (each.alone is None or each.alone not in streams):
                batch.append(each)
                streams.add(each.alone)
        return batch

    @staticmethod
    def _grows(batch: list[_Waiting], to_come: Collection[tuple[Any, Any]]) -> bool:
        """Whether one of those to come could go with ``batch``."""
        streams = {each.alone for each in batch}
        return any(
            engine is batch[0].engine and (alone is None or alone not in streams) for engine, alone in to_come
        )
