"""What people see: progress on a terminal only, tables, all of it on stderr unless asked for by
``--json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..engine.errors import SinkError, UsageError
from ..engine.pictures import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table


class Advance(Protocol):
    """Moves a progress bar to ``done`` items of ``total``, with a short ``text`` beside it."""

    def __call__(self, done: int, text: str = "", total: int | None = None) -> None: ...


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Advance]:
    """A progress bar on stderr where that is a terminal; else nothing at all."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, text="", total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True), transient=True
    ) as bars:
        task = bars.add_task(title, total=None, text="")
        yield lambda done, text="", total=None: bars.update(task, completed=done, text=text, total=total)


def new_table(*columns: str, title: str | None = None) -> Table:
    """A plain table; every column but the first is right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    return table


def show(table: Table, *, stderr: bool = False) -> None:
    """Print a table; plain text where the output is no terminal or ``NO_COLOR`` is set."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console = Console(stderr=stderr, width=110)
    console.print(table)


def check_writable(*targets: str | None) -> None:
    """SinkError if one of these files could not be written; before long work, so that its result is not lost.

    None and ``-`` are left alone. Folders are made where missing. UsageError if two are the same file.
    """
    from ..engine.originals import is_same

    named = [target for target in targets if target is not None and target != "-"]
    for number, target in enumerate(named):
        if any(is_same(target, other) for other in named[:number]):
            raise UsageError(f"{target}: is named twice; each report needs a file of its own")
        path = Path(str(target))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise SinkError(f"{target}: cannot be written: {error.strerror}") from None
        if path.is_dir():
            raise SinkError(f"{target}: is a folder, expected a file")


def write_json(data: Any, target: str) -> None:
    """Write ``data`` to the file ``target``, or to stdout for ``-``."""
    text = json.dumps(data, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_atomically(Path(target), text.encode())
