"""What can be said of engines without loading one: does this file fit here, is there one for this model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import DeviceUnavailable, LivecutError, PassportError
from ..manifest import Manifest
from ..passport import Passport
from .api import is_installed
from .cache import EngineCache
from .wanted import SUFFIX, Place, find_wanted, this_place


@dataclass(frozen=True)
class EngineState:
    """Of one model and size, or of one file: usable or not, and why."""

    what: str
    is_usable: bool
    text: str


def place_or_reason() -> tuple[Place | None, str]:
    """This machine as engines see it, or why no engine runs here."""
    if not is_installed():
        return None, "TensorRT is not installed"
    try:
        return this_place(), ""
    except DeviceUnavailable as error:
        return None, str(error)


def engine_states(
    manifest: Manifest, precision: str = "auto", *, cache: EngineCache | None = None
) -> list[EngineState]:
    """For each size of a model whether a cached engine is usable here, and why not.

    Where no engine can run at all, the engines that lie in the bundle and in the cache are listed instead,
    each with what it was made for.
    """
    cache = cache or EngineCache()
    place, _ = place_or_reason()
    if place is None:
        return [EngineState(path.name, False, made_for(path)) for path in _engines_of(manifest, cache)]
    states = []
    for size_wh in manifest.sizes_wh:
        try:
            wanted = find_wanted(manifest, size_wh, precision, place)
        except LivecutError as error:
            return [EngineState(manifest.name, False, str(error))]
        found = cache.find(wanted)
        if found.path is not None:
            states.append(EngineState(str(wanted), True, f"{found.path}, fits"))
        else:
            states.append(EngineState(str(wanted), False, found.reason))
    return states


def made_for(path: Path) -> str:
    """In a few words what an engine was made for, by its passport."""
    try:
        passport = Passport.read(path)
    except PassportError as error:
        return str(error)
    problems = passport.damage(path)
    place = f"{passport.library} {passport.library_version}, compute capability {passport.compute_capability}"
    if passport.driver:
        place += f", driver {passport.driver}"
    return "; ".join([f"{passport.precision_found} for {place}", *problems])


def _engines_of(manifest: Manifest, cache: EngineCache) -> list[Path]:
    found = []
    for folder, pattern in ((manifest.folder, f"*{SUFFIX}"), (cache.folder, f"{manifest.name}-*{SUFFIX}")):
        try:
            found += sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        except OSError:
            continue  # not for us to read
    return found
