"""A derived file and its passport, examined: is it what it was, and can it be used here?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PassportError, UsageError
from .passport import SUFFIX, Passport

if TYPE_CHECKING:
    from .tensorrt.inspect import Layer


@dataclass(frozen=True)
class Examination:
    """What was found of one artefact."""

    path: Path
    passport: Passport
    problems: list[str]
    """What is wrong with the file, or with what it was made from; empty where it is sound."""
    checked: list[str]
    """What was compared, in words."""
    not_here: list[str]
    """Why it cannot be used on this machine; empty where it can, as far as can be told without loading it."""

    def to_json(self) -> dict[str, Any]:
        """The passport and what was found, as a JSON object."""
        return {
            "file": str(self.path),
            "passport": self.passport.to_json(),
            "problems": self.problems,
            "checked": self.checked,
            "usable_here": not self.problems and not self.not_here,
            "not_here": self.not_here,
        }


def find_artefacts(path: Path) -> list[Path]:
    """The artefact ``path`` is or belongs to; of a folder all that have a passport.

    Raises
    ------
    PassportError
        If there is no such file, or the folder has no passport.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(entry.with_name(entry.name.removesuffix(SUFFIX)) for entry in path.glob(f"*{SUFFIX}"))
        if not found:
            raise PassportError(f"{path}: holds nothing with a passport; livecut export makes such files")
        return found
    if path.name.endswith(SUFFIX):
        return [path.with_name(path.name.removesuffix(SUFFIX))]
    if not path.exists() and not Passport.path_for(path).exists():
        raise PassportError(f"{path}: no such file")
    return [path]


def examine_artefact(path: Path, source: Path | None = None) -> Examination:
    """Check ``path`` against its passport, its source and this machine. Loads nothing.

    Parameters
    ----------
    path : Path
        The artefact.
    source : Path, optional
        What it was made from; by default the file of that name beside it, if there is one.

    Raises
    ------
    PassportError
        If it has no passport, or a damaged one.
    UsageError
        If ``source`` is given and not there.
    """
    passport = Passport.read(path)
    problems, checked = passport.damage(path), [_checked(passport)]
    if source is not None and not source.is_file():
        raise UsageError(f"--source: {source}: no such file")
    beside = path.with_name(passport.source)
    if source is None and beside != path and beside.is_file():
        source = beside
    if source is not None:
        from .atomic import sha256_of

        problems += passport.differences(source_sha256=sha256_of(source))
        checked.append(f"its source {source.name}")
    return Examination(path, passport, problems, checked, _not_here(passport))


def layers_of(path: Path, passport: Passport) -> list[Layer]:
    """The layers of an engine as its own inspector tells them: loads it, which needs a GPU that it fits.

    Raises
    ------
    PassportError
        If the file is not the one the passport was issued for.
    BackendError
        If it does not load here; DeviceUnavailable if its library is not installed.
    """
    from .tensorrt.api import load
    from .tensorrt.inspect import engine_layers

    content = passport.verified_bytes(path)
    api = load(passport.library)
    engine, runtime = api.deserialise(content)
    try:
        return engine_layers(api, engine)
    finally:
        del engine, runtime  # in this order


def _checked(passport: Passport) -> str:
    names = [passport.artefact, *passport.extra.get("parts", {})]
    return f"{', '.join(names)} against the passport"


def _not_here(passport: Passport) -> list[str]:
    if passport.target != "tensorrt":
        return []  # ONNX and OpenVINO's format run wherever their runtime does
    from .tensorrt.report import place_or_reason

    place, reason = place_or_reason()
    if place is None:
        return [reason]
    return passport.differences(
        library=place.library,
        library_version=place.library_version,
        driver=place.driver,
        compute_capability=place.compute_capability,
    )
