"""Compiled code kept between processes, in the user's cache folder, by what it was made of."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

_building = threading.Lock()
"""Several streams start at once, each on a thread of its own: one builds, the others wait for it."""


def folder() -> Path:
    """``$LIVECUT_CACHE/kernels``, or the platform's place for caches."""
    chosen = os.environ.get("LIVECUT_CACHE")
    if chosen:
        return Path(chosen) / "kernels"
    try:
        import platformdirs
    except ImportError:  # the kernels need nothing but a driver and a compiler
        return Path.home() / ".cache" / "livecut" / "kernels"
    return Path(platformdirs.user_cache_dir("livecut")) / "kernels"


def digest_of(*paths: Path, words: Iterable[str] = ()) -> str:
    """Of the files' contents and of the words: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() + b"\0")
    digest.update("\0".join(words).encode())
    return digest.hexdigest()[:16]


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The file ``name`` of the cache; ``build`` writes it where it is missing, under a name of its own first.

    Where the cache cannot be written, the file lies in a temporary folder of this user.
    """
    home = folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        home = Path(tempfile.mkdtemp(prefix="livecut-kernels-"))
    path = home / name
    with _building:
        if path.is_file() and path.stat().st_size:  # empty: the machine went down while it was written
            return path
        partial = home / f".{os.getpid()}-{name}"
        try:
            build(partial)
            with partial.open("r+b") as written:
                os.fsync(written.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path
