"""How the programs of this package begin and end: ``python -m livecut.training.NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..engine.errors import LivecutError


def parser_of(name: str, documentation: str) -> argparse.ArgumentParser:
    """A parser for ``python -m livecut.training.NAME``, described by the first line of its module."""
    return argparse.ArgumentParser(
        prog=f"python -m livecut.training.{name}", description=documentation.splitlines()[0]
    )


def exit_code(work: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Do ``work``; what its user can mend becomes one line on standard error.

    Returns
    -------
    int
        What ``work`` returns, 0 for None; after a ``LivecutError`` its own code, after a ``ValueError`` 2,
        after an ``OSError`` 5.
    """
    try:
        return work(options) or 0
    except (LivecutError, ValueError, OSError) as error:
        print(f"livecut: error: {error}", file=sys.stderr)
        if isinstance(error, LivecutError):
            return error.exit_code
        return 5 if isinstance(error, OSError) else 2
