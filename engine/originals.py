"""What is read is never written over: the check that is made before anything is written."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable

from .errors import UsageError

Name = str | os.PathLike[str]


def is_same(one: Name, other: Name) -> bool:
    """Whether both name one file, which need not exist yet."""
    return _identity(one) == _identity(other)


def keep_originals(targets: Iterable[Name], originals: Iterable[tuple[str, Name | None]]) -> None:
    """UsageError if a target is an original: a pair of what it is (``input``) and its name, or None."""
    known = {_identity(name): what for what, name in originals if name is not None}
    for target in targets:
        if (what := known.get(_identity(target))) is not None:
            raise replaced(target, what)


def replaced(target: Name, what: str) -> UsageError:
    """The error where ``target`` is the input, the background, or whatever ``what`` says."""
    return UsageError(f"{os.fspath(target)}: is the {what} too; the output would replace its original")


def _identity(name: Name) -> Hashable:
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return os.path.realpath(name)
    return found.st_dev, found.st_ino
