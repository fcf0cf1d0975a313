"""The result file of ``livecut bench``: one JSON object; docs/bench-format.md says what each key means."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..errors import UsageError
from .figures import Figures

FORMAT = "livecut-bench"
VERSION = 1
"""Rises when a key changes its meaning or goes; new keys alone do not raise it."""


def report(
    runs: Iterable[Figures],
    machine: dict[str, Any],
    *,
    not_readable: dict[str, str],
    idle: dict[str, Any] | None = None,
    cold_start: dict[str, Any] | None = None,
    search: dict[str, Any] | None = None,
    not_run: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The whole file as an object.

    Parameters
    ----------
    runs : iterable of Figures
    machine : dict
        From ``machine.describe``.
    not_readable : dict
        Sensors that cannot be read here, with the reason.
    idle : dict, optional
        Power before anything ran.
    cold_start : dict, optional
        From ``cold.measure``.
    search : dict, optional
        Of ``--find-streams``.
    not_run : dict, optional
        Combinations of a sweep that could not run, with the reason.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine,
        "sensors_not_readable": not_readable,
        "idle": idle,
        "cold_start": cold_start,
        "runs": [run.to_json() for run in runs],
        "search": search,
        "not_run": not_run or {},
    }


def to_text(data: Any, indent: int = 0) -> str:
    """JSON in which lists of numbers stay on one line: a file of samples can then be read, and diffed."""
    inner, outer = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(data, dict) and data:
        items = [f"{json.dumps(str(key))}: {to_text(value, indent + 1)}" for key, value in data.items()]
        return "{" + inner + ("," + inner).join(items) + outer + "}"
    if isinstance(data, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in data):
        return "[" + inner + ("," + inner).join(to_text(item, indent + 1) for item in data) + outer + "]"
    return json.dumps(data, allow_nan=False)


def write(path: str | Path, data: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    with replacing(Path(path)) as partial:
        partial.write_text(to_text(data) + "\n", encoding="utf-8")


def read(path: str | Path) -> dict[str, Any]:
    """A result file.

    Raises
    ------
    UsageError
        If it cannot be read, is no result file, or of a version this one does not know.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: not readable as a result of livecut bench: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path}: not a result of livecut bench; make one with livecut bench --json FILE")
    if data.get("version") != VERSION:
        raise UsageError(
            f"{path}: version {data.get('version')}, this livecut reads version {VERSION}; measure again"
        )
    return data
