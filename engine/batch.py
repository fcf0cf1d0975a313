"""Many pictures: which file goes where, and decoding, cutting and encoding overlapped on a bounded pool."""

from __future__ import annotations

import errno
import glob
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import LivecutError, SinkError, SourceError, UsageError
from .picture_files import FORMATS, write_picture
from .pictures import PICTURE_SUFFIXES, Picture, read_picture

log = logging.getLogger("livecut")
_GLOB_SIGNS = frozenset("*?[")


@dataclass(frozen=True)
class Item:
    """One picture of a batch."""

    source: Path
    target: Path


@dataclass
class Plan:
    """What a batch will do."""

    items: list[Item] = field(default_factory=list)
    renamed: list[Item] = field(default_factory=list)
    """Those that keep their own suffix in the target's name (``a.jpg.png``), as two would share it."""
    skipped: int = 0
    """Files in the folders that are not pictures by their suffix."""


@dataclass
class BatchResult:
    """What a batch did."""

    done: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Source and the one-line reason, in order."""
    existing: int = 0
    """Left alone because the target was there already."""
    stopped: bool = False
    """Whether it was asked to stop before the end."""


def is_many(source: str) -> bool:
    """Whether ``source`` names a folder or a glob rather than one picture."""
    return os.path.isdir(source) or (not _GLOB_SIGNS.isdisjoint(source) and not os.path.exists(source))


def plan_batch(sources: Iterable[str], target: str | os.PathLike[str], *, suffix: str = ".png") -> Plan:
    """Decide which picture is written where: below ``target``, same relative path, new suffix.

    Parameters
    ----------
    sources : iterable of str
        Pictures, folders (searched to the bottom, hidden files left out) and globs (``**`` for any depth;
        paths count from the folder before the first wildcard).
    target : path
        The output folder. It may lie inside an input folder, and is then not searched.
    suffix : str
        A key of ``FORMATS``.

    Raises
    ------
    SourceError
        If a source does not exist, or there is no picture at all.
    UsageError
        If the output folder is an input folder: a cut-out would replace its original.
    """
    if suffix not in FORMATS:
        raise UsageError(f"format: expected one of {', '.join(FORMATS)}, got {suffix!r}")
    target = Path(target)
    plan = Plan()
    found: dict[Path, Path] = {}  # source -> path relative to its root
    sources = list(sources)
    for source in sources:
        for path, relative in _expand(source, target):
            if path.suffix.lower() in PICTURE_SUFFIXES or source == str(path):
                found.setdefault(path, relative)
            else:
                plan.skipped += 1
    if not found:
        raise SourceError(f"{', '.join(sources)}: no pictures there")
    wanted = Counter(relative.with_suffix(suffix) for relative in found.values())
    used = {
        relative.with_suffix(suffix)
        for relative in found.values()
        if wanted[relative.with_suffix(suffix)] == 1
    }
    for path, relative in found.items():
        name = relative.with_suffix(suffix)
        is_shared = wanted[name] > 1
        if is_shared:
            name = relative.with_name(relative.name + suffix)
            count = 2
            while name in used:
                name = relative.with_name(f"{relative.name}-{count}{suffix}")
                count += 1
            used.add(name)
        item = Item(path, target / name)
        plan.items.append(item)
        if is_shared:
            plan.renamed.append(item)
    return plan


def _expand(source: str, target: Path) -> Iterable[tuple[Path, Path]]:
    """Every file that ``source`` names, with its path relative to the root of ``source``."""
    root = Path(source)
    if root.is_dir():
        if root.resolve() == target.resolve():
            raise UsageError(f"{target}: is the input folder too; cut-outs would replace their originals")
        paths = sorted(_below(root))
    elif root.exists():
        return [(root, Path(root.name))]
    elif not _GLOB_SIGNS.isdisjoint(source):
        fixed = []
        for part in root.parts:
            if not _GLOB_SIGNS.isdisjoint(part):
                break
            fixed.append(part)
        paths = sorted(Path(path) for path in glob.glob(source, recursive=True) if os.path.isfile(path))
        root = Path(*fixed) if fixed else Path()
    else:
        raise SourceError(f"{source}: no such file or folder")
    pairs = [(path, path.relative_to(root)) for path in paths]
    apart = target.resolve()
    is_inside = root.resolve() in apart.parents
    return [
        (path, relative)
        for path, relative in pairs
        if not any(part.startswith(".") for part in relative.parts)
        and not (is_inside and path.resolve().is_relative_to(apart))
    ]


def _below(root: Path) -> Iterator[Path]:
    """Every file below ``root``, and links that lead nowhere, to be named like what cannot be read."""

    def refused(error: OSError) -> None:
        log.warning("%s: left out: %s", error.filename, error.strerror)

    for folder, _, names in os.walk(root, onerror=refused):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) or not os.path.exists(path):
                yield Path(path)


def run_batch(
    items: Sequence[Item],
    cut: Callable[[Picture], tuple[np.ndarray, Picture]],
    *,
    workers: int = 2,
    overwrite: bool = True,
    quality: int | None = None,
    stop: threading.Event | None = None,
    on_item: Callable[[Item, str | None], None] | None = None,
) -> BatchResult:
    """Read, cut and write every item; a bad one is noted and the others go on.

    ``cut`` runs in the calling thread, one picture at a time; reading and writing overlap it on ``workers``
    threads. At most ``2 * workers + 1`` pictures are in memory.

    Parameters
    ----------
    items : sequence of Item
    cut : callable
        Picture to the pixels to write and the picture they belong to (the same one, or cropped with it).
    workers : int
        Threads that decode and encode.
    overwrite : bool
        False leaves targets that exist, so that a run can be taken up again.
    quality : int, optional
        See ``write_picture``.
    stop : threading.Event, optional
        Set from outside to end early: what is in work is finished.
    on_item : callable, optional
        Called in the calling thread with each item once done, and its error in one line or None.

    Raises
    ------
    SinkError
        If the disk is full: nothing that follows could be written either.
    BackendError
        If the model fails; it would for the rest.
    """
    result = BatchResult()
    stop = stop or threading.Event()
    reads: deque[tuple[Item, Future[Picture]]] = deque()
    writes: deque[tuple[Item, Future[None]]] = deque()
    waiting = iter(items)

    def finish(item: Item, error: LivecutError | None) -> None:
        if isinstance(error, SinkError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SinkError(f"{error}; {result.done} of {len(items)} pictures are done")
        if error is None:
            result.done += 1
        else:
            result.failed.append((item.source, str(error)))
        if on_item is not None:
            on_item(item, None if error is None else str(error))

    def collect_oldest_write() -> None:
        item, future = writes.popleft()
        error = future.exception()
        if error is not None and not isinstance(error, LivecutError):
            raise error
        finish(item, error)

    with ThreadPoolExecutor(workers, thread_name_prefix="livecut-pictures") as pool:
        try:
            while True:
                while len(reads) <= workers and not stop.is_set():
                    item = next(waiting, None)
                    if item is None:
                        break
                    if not overwrite and item.target.exists():
                        result.existing += 1
                        continue
                    reads.append((item, pool.submit(read_picture, item.source)))
                if not reads or stop.is_set():
                    break
                item, future = reads.popleft()
                try:
                    pixels, like = cut(future.result())
                except (SourceError, ValueError) as error:
                    finish(
                        item,
                        error if isinstance(error, LivecutError) else LivecutError(f"{item.source}: {error}"),
                    )
                    continue
                writes.append((item, pool.submit(_write, item.target, pixels, like, quality)))
                while len(writes) >= workers or (writes and writes[0][1].done()):
                    collect_oldest_write()
            while writes:
                collect_oldest_write()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        for _, unread in reads:
            unread.cancel()
    result.stopped = stop.is_set()
    return result


def _write(target: Path, pixels: np.ndarray, like: Picture, quality: int | None) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{target.parent}: cannot be made: {error.strerror}") from None
    write_picture(target, pixels, like=like, quality=quality)
