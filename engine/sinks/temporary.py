"""A file that takes its final name only once it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets

from ..atomic import hidden_name
from ..errors import SinkError


class TemporaryFile:
    """A writable, seekable binary file beside ``path`` under a temporary name.

    The first error of any write is kept in ``error``: a library that calls ``write`` from C may lose it.

    Raises
    ------
    SinkError
        If the folder does not exist or cannot be written to, or ``path`` is a folder.
    """

    def __init__(self, path: str):
        folder, name = os.path.split(path)
        if os.path.isdir(path):
            raise SinkError(f"{path}: is a folder, a file name was expected")
        if not os.path.isdir(folder or "."):
            raise SinkError(f"{path}: there is no folder {folder}; make it first")
        self.path = path
        self.error: OSError | None = None
        self.temporary_path = os.path.join(folder, f"{hidden_name(name)}.{secrets.token_hex(4)}.part")
        try:
            self._file = open(self.temporary_path, "xb", buffering=1 << 20)  # noqa: SIM115  closed by commit, discard
        except OSError as error:
            raise SinkError(write_failure(path, error)) from error

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # seeking flushes
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def commit(self) -> None:
        """Close and rename to the final name, replacing what was there, or raise SinkError."""
        try:
            if self.error is not None:
                raise self.error
            self._file.flush()
            self._file.close()
            os.replace(self.temporary_path, self.path)
        except OSError as error:
            self.discard()
            raise SinkError(write_failure(self.path, error)) from error

    def discard(self) -> None:
        """Close and remove; never raises, safe to call twice."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self.temporary_path)


def write_failure(path: str, error: OSError) -> str:
    """One line on why ``path`` cannot be written, with the way out."""
    if error.errno == errno.ENOSPC:
        return f"{path}: the disk is full; make room or write elsewhere"
    if error.errno == errno.EDQUOT:
        return f"{path}: the disk quota is used up; make room or write elsewhere"
    if error.errno == errno.EFBIG:
        return f"{path}: reached the largest size a file may have here"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: not allowed to write here ({error.strerror}); choose another place"
    return f"{path}: cannot be written: {error.strerror or error}"
