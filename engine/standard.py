"""Standard input and output as bytes, where the process has them."""

from __future__ import annotations

import sys
from typing import BinaryIO

from .errors import SinkError, SourceError


def standard_input() -> BinaryIO:
    """Raises SourceError where it was closed before the process began."""
    if sys.stdin is None:
        raise SourceError("standard input is closed; pipe something into it, or name a file")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Raises SinkError where it was closed before the process began."""
    if sys.stdout is None:
        raise SinkError("standard output is closed; pipe it somewhere, or name a file")
    return sys.stdout.buffer
