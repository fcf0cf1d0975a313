"""The engine that is wanted: of which model, at which size and precision, for which machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ..errors import DeviceUnavailable
from ..manifest import Manifest
from ..passport import Passport
from .api import Api, load
from .profiles import Profile, fixed_profiles
from .targets import Gpu, present_gpu

SUFFIX = ".plan"
AUTO = ("fp16", "fp32")
"""What ``auto`` takes: the first of these that the bundle has a graph for."""


@dataclass(frozen=True)
class Place:
    """What engines are bound to on this machine."""

    library: str
    library_version: str
    driver: str | None
    compute_capability: str

    def __str__(self) -> str:
        driver = f", driver {self.driver}" if self.driver else ""
        return f"{self.library} {self.library_version}, compute capability {self.compute_capability}{driver}"


def this_place(api: Api | None = None, gpu: Gpu | None = None) -> Place:
    """This machine, as far as engines care; DeviceUnavailable if there is no TensorRT or no GPU."""
    api, gpu = api or load(), gpu or present_gpu()
    if gpu is None:
        raise DeviceUnavailable(f"{api} is installed, and there is no NVIDIA GPU, or no driver for it")
    return Place(api.library, api.version, gpu.driver, gpu.compute_capability)


@dataclass(frozen=True)
class Wanted:
    """An engine that is wanted. ``find_wanted`` makes one."""

    manifest: Manifest
    size_wh: tuple[int, int]
    precision: str
    source: Path
    source_sha256: str
    place: Place
    batch: int = 1
    """It must take 1 to so many pictures at once."""

    def __str__(self) -> str:
        width, height = self.size_wh
        several = f", 1 to {self.batch} pictures at once" if self.batch > 1 else ""
        return f"{self.manifest.name} at {width}x{height}, {self.precision}{several}"

    @property
    def profiles(self) -> dict[str, Profile]:
        """One size for each input: an engine of its own for each size."""
        one = fixed_profiles(self.manifest, self.size_wh)
        most = fixed_profiles(self.manifest, self.size_wh, self.batch)
        return {name: (one[name][0], shape, shape) for name, (shape, _, _) in most.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The largest shapes it must take."""
        return {name: tuple(profile[2]) for name, profile in self.profiles.items()}

    @cached_property
    def key(self) -> str:
        """Hash of everything that makes another engine of it."""
        parts = {
            "place": asdict(self.place),
            "source": self.source_sha256,
            "precision": self.precision,
            "shapes": self.shapes,
            **({"batch": self.batch} if self.batch > 1 else {}),
            **({"captured": True} if self.place.library == "tensorrt_rtx" else {}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def stem(self) -> str:
        """How the file names begin of all engines for this model, size and precision, fitting or not."""
        width, height = self.size_wh
        several = f"x{self.batch}" if self.batch > 1 else ""
        return f"{self.manifest.name}-{width}x{height}{several}-{self.precision}-"

    @property
    def file_name(self) -> str:
        """Its own name in the cache: readable in front, sure at the end."""
        return f"{self.stem}sm_{self.place.compute_capability.replace('.', '')}-{self.key[:16]}{SUFFIX}"

    def differences(self, passport: Passport) -> list[str]:
        """What keeps the engine of ``passport`` from being this one, as far as its words go."""
        place = self.place
        problems = passport.differences(
            source_sha256=self.source_sha256,
            library=place.library,
            library_version=place.library_version,
            driver=place.driver,
            compute_capability=place.compute_capability,
            precision=self.precision,
            shapes=self.shapes,
        )
        if self.batch > 1 and not problems:
            least = {name: tuple(profile[0]) for name, profile in self.profiles.items()}
            problems = passport.differences(shapes=least)
        return problems


def find_wanted(
    manifest: Manifest, size_wh: tuple[int, int], precision: str, place: Place, batch: int = 1
) -> Wanted:
    """Choose the ONNX file that an engine of ``precision`` is made from.

    The bundle's own file where its graph is ``fp32``; for others the variant of that name in the manifest.

    Parameters
    ----------
    precision : str
        ``auto``, ``fp32``, ``fp16`` or ``int8``.
    batch : int
        How many pictures it should take at once; it is asked for no more than the graph takes.

    Raises
    ------
    DeviceUnavailable
        If the bundle has no graph of that precision.
    """
    if precision == "auto":
        precision = next(name for name in AUTO if name in manifest.variants or name == "fp32")
    batch = min(batch, manifest.batch)
    if precision == "fp32":
        return Wanted(manifest, size_wh, precision, manifest.model_path, manifest.sha256, place, batch)
    # TensorRT's int8 graphs have no zero points: they are others than those for the CPU.
    variant = manifest.variants.get("int8-tensorrt" if precision == "int8" else precision)
    if variant is None:
        there = ", ".join(["fp32", *manifest.variants])
        raise DeviceUnavailable(
            f"precision {precision}: tensorrt takes it from the graph, and {manifest.name} has {there}; "
            f"make one with livecut export --to {precision}, or leave --precision at auto"
        )
    return Wanted(manifest, size_wh, precision, manifest.folder / variant.file, variant.sha256, place, batch)
