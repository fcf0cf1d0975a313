"""An export as a plan of steps, each of which leaves a complete artefact with a passport, or nothing.

    source -> onnx -> (fp16 | int8) -> (openvino | tensorrt)

A step whose artefact is there, undamaged, made of the same source with the same options and versions, is not
made again: so an export that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..engine.atomic import sha256_of
from ..engine.errors import LivecutError, ModelError, PassportError, SinkError
from ..engine.passport import Passport

log = logging.getLogger("livecut")
Progress = Callable[[str, float], None]
"""Told the name of a part and the share of it that is done, 0..1."""
OPTIONS, LIVECUT = "options", "livecut"


@dataclass(frozen=True)
class Step:
    """One artefact of a plan: what it is made of, what it depends on, and how to make it."""

    name: str
    """``onnx``, ``fp16``, ``int8``, ``openvino fp32``, ``tensorrt fp16 sm_86``."""
    artefact: Path
    source_sha256: Callable[[], str]
    """Of what it is made of; asked when its turn comes, as that may be the step before."""
    options: Mapping[str, Any]
    """What the result depends on beside its source."""
    make: Callable[[Progress], Passport]
    """Makes the artefact under its name, whole or not at all, and issues its passport."""
    library: tuple[str, str] | None = None
    """Name and version of what would make it here; None where any will do."""
    enter: Callable[[], None] = lambda: None
    """Enters the artefact into the bundle; done whether it was made or used again."""


@dataclass(frozen=True)
class Made:
    """A step that is done."""

    name: str
    artefact: Path
    passport: Passport
    reused: bool


def run(
    steps: list[Step],
    *,
    resume: bool = True,
    progress: Callable[[str, str, float], None] | None = None,
    done: Callable[[Made], None] | None = None,
) -> list[Made]:
    """Do ``steps`` in order; ``progress`` is told (step, part, share), ``done`` each step as it ends.

    Raises
    ------
    LivecutError
        What a step raises. Steps before it stay done; its own artefact is as it was.
    """
    made = []
    for step in steps:
        passport = reusable(step) if resume else None
        reused = passport is not None
        if passport is None:
            with _disk_errors(step.artefact):
                passport = step.make(_reporter(step.name, progress))
                passport = replace(passport, extra={**passport.extra, **_facts(step)})
                passport.write(step.artefact)
        step.enter()
        result = Made(step.name, step.artefact, passport, reused)
        made.append(result)
        if done is not None:
            done(result)
    return made


def reusable(step: Step) -> Passport | None:
    """The passport of what is there already, if that is what ``step`` would make."""
    try:
        passport = Passport.read(step.artefact)
        library, version = step.library or (None, None)
        problems = passport.differences(
            source_sha256=step.source_sha256(), library=library, library_version=version
        )
        problems = problems or passport.damage(step.artefact)
    except PassportError as error:
        log.debug("%s: to be made: %s", step.name, error)
        return None
    if not problems and {key: passport.extra.get(key) for key in _facts(step)} != _facts(step):
        problems = ["made with other options, or by another livecut"]
    for problem in problems:
        log.debug("%s: to be made again: %s", step.name, problem)
    return None if problems else passport


def _facts(step: Step) -> dict[str, Any]:
    from .. import __version__

    return {OPTIONS: json.loads(json.dumps(dict(step.options))), LIVECUT: __version__}


def _reporter(name: str, progress: Callable[[str, str, float], None] | None) -> Progress:
    if progress is None:
        return lambda part, share: None
    return lambda part, share: progress(name, part, share)


@contextmanager
def _disk_errors(artefact: Path) -> Iterator[None]:
    """A full or read-only disk is one line, too."""
    try:
        yield
    except LivecutError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise SinkError(
            f"{artefact}: cannot be written: {reason}; give another folder with -o, or make room"
        ) from error


@contextmanager
def folder_for(out: Path) -> Iterator[None]:
    """Make the folder ``out``; take it away again where the block fails and leaves nothing in it.

    Raises
    ------
    SinkError
        If it cannot be made, or is a file.
    """
    out = Path(out)
    there = out.exists()
    if there and not out.is_dir():
        raise SinkError(f"{out}: expected a folder for the export, found a file; give another with -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{out}: cannot be made: {error.strerror}; give another folder with -o") from None
    try:
        yield
    except BaseException:
        if not there and not any(out.iterdir()):
            out.rmdir()
        raise


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in ``folder`` as JSON. Raises ModelError if it is not readable."""
    path = folder / "manifest.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable: {error}; export again with --no-resume") from None


def hash_later(path: Path) -> Callable[[], str]:
    """The SHA-256 of a file that an earlier step makes."""
    return lambda: sha256_of(path)
