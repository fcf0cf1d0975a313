"""The backends a session has opened: one for each input size of the network, compiled when first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .backends import Backend
from .errors import UsageError
from .manifest import Manifest

log = logging.getLogger("livecut")
Size = tuple[int, int]


class Opened:
    """Makes, opens and keeps them. Safe to use from several threads.

    Parameters
    ----------
    manifest : Manifest
    make : callable
        Makes a backend that is not open.
    reason : str
        Why it is this one, for the log.
    precision : str
    threads : int
    prime : callable, optional
        A backend's ``prime``: the first state of a model that begins with a plate.
    """

    def __init__(
        self,
        manifest: Manifest,
        make: Callable[[], Backend],
        reason: str,
        *,
        precision: str,
        threads: int,
        prime: Callable[..., Any] | None = None,
    ) -> None:
        self.manifest, self.make, self.reason = manifest, make, reason
        self.precision, self.threads, self.prime = precision, threads, prime
        self._by_size: dict[Size, Backend] = {}
        self._told: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def at(self, input_wh: Size) -> Backend:
        """The backend for the network's input size, opened where it is not yet.

        Raises
        ------
        UsageError
            After ``close``.
        """
        with self._lock:
            if self._closed:
                raise UsageError("session: already closed; make another")
            backend = self._by_size.get(input_wh)
            if backend is None:
                backend = self._by_size[input_wh] = self._open(input_wh)
            return backend

    def first(self) -> Backend | None:
        """The one opened first, if any is."""
        return next(iter(self._by_size.values()), None)

    def __contains__(self, backend: object) -> bool:
        return backend in self._by_size.values()

    def close(self) -> None:
        """Close all of them; safe to call twice."""
        with self._lock:
            self._closed = True
            opened, self._by_size = list(self._by_size.values()), {}
        for backend in opened:
            backend.close()

    def _open(self, input_wh: Size) -> Backend:
        backend = self.make()
        if self.prime is not None:
            backend.prime = self.prime
        try:
            backend.open(self.manifest, input_wh, precision=self.precision, threads=self.threads)
        except BaseException:
            backend.close()
            raise
        why = f"{self.reason}; {backend.info.details}"
        if (told := (str(backend.info), why)) != self._told:
            self._told, why = told, f" ({why})"
        else:
            why = ""  # many sizes in a folder: why once is enough
        width, height = input_wh
        name, version = self.manifest.name, self.manifest.version
        log.info("%s %s at %dx%d: %s%s", name, version, width, height, backend.info, why)
        return backend


def for_stills(manifest: Manifest) -> tuple[Manifest, str]:
    """A model without its int8 variant, and words on that for ``reason``; as it is where it has none.

    Compiling livecut-s in int8 takes 0.4 s longer for every input size, and saves a millisecond or two a
    picture: a stream has that back after some seconds, a picture never, and a folder hardly sees it beside
    decoding and encoding.
    """
    if "int8" not in manifest.variants:
        return manifest, ""
    floats = {name: file for name, file in manifest.variants.items() if name != "int8"}
    return replace(manifest, variants=floats), "; not the model's int8, which pays in streams"
