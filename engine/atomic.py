"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def hidden_name(name: str) -> str:
    """The beginning of a temporary name for a file: hidden, told by its name, and never too long for a disk.

    A name may have 255 bytes, and the temporary one has something behind it.
    """
    return "." + os.fsdecode(os.fsencode(name)[:200])


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it becomes ``path`` when the block ends well.

    On an error the temporary file is removed and what was at ``path`` stays as it was. The contents are on
    the disk before the name changes, so that a power cut leaves the old file or the new one. The folder is
    made where it is missing.

    Parameters
    ----------
    path : Path
        The file to make or to replace.

    Yields
    ------
    Path
        An empty file of the same suffix in the same folder, hidden by a leading dot.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{hidden_name(path.stem)}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    fresh = Path(name)
    try:
        yield fresh
        with open(fresh, "rb") as stream:
            os.fsync(stream.fileno())
        fresh.chmod(0o644)  # mkstemp makes files for the owner alone
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")
