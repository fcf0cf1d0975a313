"""Who in this process uses a GPU's primary context: it may be reset only when nobody does."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, DeviceLost
from .libcuda import LibCuda

if TYPE_CHECKING:
    from .primary import PrimaryDevice

log = logging.getLogger("livecut")


class SharedContext:
    """The primary context of one GPU, as all devices that are open on it share it.

    After a fault every call fails until the context is reset, and a reset takes everything from everybody:
    from other sessions their memory and streams, from whoever still reads an array its pages. So it waits for
    the last device to be closed and for the last page-locked block to go.
    """

    def __init__(self, cuda: LibCuda, ordinal: int) -> None:
        self._cuda, self._ordinal = cuda, ordinal
        self._devices: weakref.WeakSet[PrimaryDevice] = weakref.WeakSet()  # one that was dropped uses nothing
        self._handles: dict[type[PrimaryDevice], Any] = {}
        self._blocks = 0
        self._is_lost = False
        self._lock = threading.RLock()  # garbage collection may give a block back while this thread holds it

    def join(self, device: PrimaryDevice) -> Any:
        """The context's handle for a device that is being opened.

        Raises
        ------
        DeviceLost
            If it is lost, and still in use.
        """
        if self._is_lost:
            gc.collect()  # sessions that are closed may still lie in cycles, with their arrays
        with self._lock:
            self._reset_if_unused()
            if self._is_lost:
                sessions, arrays = _count(len(self._devices), "open session"), _count(self._blocks, "array")
                raise DeviceLost(
                    "the GPU stopped working for this process, and can be opened again when all that used it "
                    f"is closed and let go: {sessions} and {arrays} are left"
                )
            kind = type(device)
            if kind not in self._handles:
                self._handles[kind] = device.retain()
            self._devices.add(device)
            return self._handles[kind]

    def leave(self, device: PrimaryDevice) -> None:
        """A device was closed."""
        with self._lock:
            self._devices.discard(device)
            self._reset_if_unused()

    def lose(self) -> None:
        """From here on every call fails."""
        self._is_lost = True

    def take_block(self) -> None:
        """Somebody has one more page-locked block."""
        with self._lock:
            self._blocks += 1

    def drop_block(self) -> None:
        """Nobody reads it any more."""
        with self._lock:
            self._blocks -= 1
            self._reset_if_unused()

    def _reset_if_unused(self) -> None:
        if not self._is_lost or self._devices or self._blocks:
            return
        for kind, handle in self._handles.items():
            kind.forget(handle)
        self._handles.clear()
        self._is_lost = False
        try:
            self._cuda.reset_primary_context(self._ordinal)
        except BackendError as error:  # the next one to open it is told by its own calls
            log.warning("the GPU could not be reset: %s", error)


_contexts: dict[tuple[str, int], SharedContext] = {}


def shared_context(cuda: LibCuda, ordinal: int) -> SharedContext:
    """That of a GPU, by its driver and number."""
    return _contexts.setdefault((cuda.path, ordinal), SharedContext(cuda, ordinal))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
