"""Engines that were built here, kept: never used unless their passport and their bytes say that they fit.

Engines lie in the user's cache folder (or ``$LIVECUT_CACHE``), one file and its passport for each combination
of library, version, driver, compute capability, ONNX file, precision and shapes. Engines that ``livecut
export`` put into a bundle are found there. Everything that does not fit is passed over, with the reason.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackendError, LivecutError, PassportError
from ..passport import Passport
from .contexts import kernels_path
from .locks import Cancelled, locked
from .progress import Progress
from .wanted import SUFFIX, Wanted

KEPT_FOR_EACH = 8
"""Engines kept of one model, size and precision: some drivers and versions back, not all there ever were."""
_LEFTOVER_SECONDS = 24 * 3600

Build = Callable[[Wanted, Path, Progress, threading.Event], None]
"""``(wanted, path, progress, stop)``: writes the engine and its passport, each whole or not at all."""


@dataclass(frozen=True)
class Found:
    """An engine that fits, or why there is none."""

    path: Path | None
    passport: Passport | None
    reasons: tuple[str, ...]
    """Why each engine that was looked at does not fit; empty where there was none to look at."""

    @property
    def reason(self) -> str:
        """In one line why there is none."""
        return "; ".join(self.reasons) or "none has been built yet"


def default_folder() -> Path:
    """``$LIVECUT_CACHE/engines``, or ``engines`` in the user's cache folder."""
    if folder := os.environ.get("LIVECUT_CACHE"):
        return Path(folder).expanduser() / "engines"
    from platformdirs import user_cache_path

    return user_cache_path("livecut", appauthor=False) / "engines"


class EngineCache:
    """A folder of engines. Several processes may use one.

    Parameters
    ----------
    folder : Path, optional
        By default the user's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._refused: dict[str, str] = {}
        self.not_kept = ""
        """Why an engine built here lasts only as long as this object; empty where it is kept."""

    def find(self, wanted: Wanted) -> Found:
        """The engine that is wanted, if one fits. Reads and hashes; loads nothing."""
        reasons = []
        for path in self._candidates(wanted):
            problems = self._problems(wanted, path)
            if not problems:
                return Found(path, Passport.read(path), ())
            text = ", ".join(problems)
            reasons.append(text if text.startswith(path.name) else f"{path.name}: {text}")
        return Found(None, None, tuple(reasons))

    def refuse(self, found: Found, reason: str) -> None:
        """An engine that fits by all that can be read, and does not load: it is given out no more."""
        if found.passport is not None:
            self._refused[found.passport.sha256] = reason

    def _problems(self, wanted: Wanted, path: Path) -> list[str]:
        try:
            passport = Passport.read(path)
        except PassportError as error:
            return [str(error)]
        # Words first: an engine for another machine need not be read to be passed over.
        if problems := wanted.differences(passport) or passport.damage(path):
            return problems
        return [self._refused[passport.sha256]] if passport.sha256 in self._refused else []

    def _candidates(self, wanted: Wanted) -> Iterator[Path]:
        """The one of the right name, its like for other machines and versions, and those in the bundle."""
        exact = self.folder / wanted.file_name
        if os.path.lexists(exact):
            yield exact
        places = [(self.folder, f"{wanted.stem}*{SUFFIX}"), (wanted.manifest.folder, f"*{SUFFIX}")]
        if self._temporary is not None:
            places.append((Path(self._temporary.name), wanted.file_name))
        for folder, pattern in places:
            try:
                paths = sorted(folder.glob(pattern))
            except OSError:
                continue  # no such folder, or not for us to read
            yield from (path for path in paths if path != exact and not path.name.startswith("."))

    def build(
        self,
        wanted: Wanted,
        build: Build,
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Found:
        """Build the engine that is wanted, unless another process has done so by then.

        Where the cache cannot be written the engine is built into a temporary folder and lasts as long as
        this object; ``not_kept`` then says why.

        Raises
        ------
        Cancelled
            If ``stop`` was set.
        LivecutError
            If the builder fails, or what it built does not fit.
        OSError
            If neither folder can take it (a full disk).
        """
        say, stop = progress or (lambda step, share: None), stop or threading.Event()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self.folder / f".{wanted.file_name}.lock"
            with locked(lock, stop, lambda: say("wait for another process", 0.0)):
                found = self.find(wanted)
                if found.path is None:
                    found = self._build_at(self.folder / wanted.file_name, wanted, build, say, stop)
                    self._tidy(wanted)
                return found
        except OSError as error:
            if isinstance(error, LivecutError):
                raise
            self.not_kept = f"{self.folder} cannot be written ({error.strerror or error})"
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="livecut-engines-", ignore_cleanup_errors=True
            )
        path = Path(self._temporary.name) / wanted.file_name
        return self._build_at(path, wanted, build, say, stop)

    def _build_at(
        self, path: Path, wanted: Wanted, build: Build, say: Progress, stop: threading.Event
    ) -> Found:
        build(wanted, path, say, stop)
        if stop.is_set():
            raise Cancelled
        if problems := self._problems(wanted, path):
            raise BackendError(f"the engine just built does not fit: {', '.join(problems)}")
        return Found(path, Passport.read(path), ())

    def _tidy(self, wanted: Wanted) -> None:
        """Remove what builders that were killed left, and all but the newest engines of this kind."""
        now = time.time()
        for path in self.folder.glob(f".*{SUFFIX}"):
            with suppress(OSError):
                if now - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()
        plans = []
        for path in self.folder.glob(f"{wanted.stem}*{SUFFIX}"):
            with suppress(OSError):
                plans.append((path.stat().st_mtime, path))
        for _, path in sorted(plans, reverse=True)[KEPT_FOR_EACH:]:
            with suppress(OSError):
                for beside in (Passport.path_for(path), kernels_path(path)):
                    beside.unlink(missing_ok=True)
                path.unlink()

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
