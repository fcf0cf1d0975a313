"""The passport of a derived artefact: what it was made of, by what, and what an inspection found.

A passport lies beside its artefact as ``<artefact name>.passport.json``. It guards against accidents (a file
cut short, a driver replaced, a plan of another GPU), not against malice: who can write the artefact can write
its passport. Standard library only, so that exporters and engines meet here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_type_hints

from .atomic import sha256_of, write_text
from .errors import PassportError

FORMAT = 1
SUFFIX = ".passport.json"
SEAL = "passport_sha256"
"""Key in the JSON: the hash of everything else in it, so that a damaged passport is not believed."""
TARGETS = ("onnx", "fp16", "int8", "openvino", "tensorrt")


@dataclass(frozen=True)
class Passport:
    """What an artefact says of itself: ``issue`` one, ``write`` and ``read`` it, ``check`` the artefact.

    Shapes map a tensor's name to its shape, or to ``{"min": [...], "opt": [...], "max": [...]}`` where it has
    an optimisation profile.
    """

    format: int
    artefact: str
    """File name of the artefact; its passport lies beside it."""
    sha256: str
    source: str
    """File name of what it was made from."""
    source_sha256: str
    target: str
    """``onnx``, ``fp16``, ``int8``, ``openvino`` or ``tensorrt``."""
    library: str
    """What made it: ``tensorrt``, ``tensorrt_rtx``, ``openvino``, ``onnxruntime``, ``torch``, ..."""
    library_version: str
    driver: str | None
    """NVIDIA driver that the artefact is bound to; None where it was made without one or needs none."""
    compute_capability: str | None
    """``8.6``; several targets with commas between; None where the artefact is not for a GPU."""
    precision_asked: str
    precision_found: str
    precision_evidence: str
    """How the precision was found: ``graph``, ``parsed network``, ``engine inspector``, ``compiled model``
    (read back from a runtime)."""
    shapes: dict[str, Any]
    parity: dict[str, float]
    """Difference to the source: ``max_abs``, ``mean_abs``, ``alpha_mad``; empty where it could not be run."""
    layers: dict[str, int]
    """Precision -> number of layers that were found to compute in it."""
    kept_higher: list[str]
    """Names of the layers that were kept in a higher precision than asked for."""
    build_seconds: float
    command: str
    created: str
    """UTC, ISO 8601."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What only some targets have. ``parts`` maps further files of the artefact to their hashes."""
    size_bytes: int = 0
    """Size of the artefact: tells one that was cut short from one that was changed."""

    @classmethod
    def issue(
        cls,
        artefact: Path,
        source: Path,
        *,
        target: str,
        library: str,
        library_version: str,
        precision_asked: str,
        precision_found: str,
        precision_evidence: str,
        shapes: Mapping[str, Any],
        driver: str | None = None,
        compute_capability: str | None = None,
        parity: Mapping[str, float] | None = None,
        layers: Mapping[str, int] | None = None,
        kept_higher: tuple[str, ...] | list[str] = (),
        build_seconds: float = 0.0,
        command: str = "",
        extra: Mapping[str, Any] | None = None,
        parts: tuple[Path, ...] | list[Path] = (),
    ) -> Passport:
        """A passport for ``artefact``, which is complete and was made from ``source``: both are hashed now.

        Parameters
        ----------
        artefact, source : Path
            Both must exist.
        parts : sequence of Path
            Further files of the artefact, in its folder, such as the ``.bin`` beside OpenVINO's ``.xml``.
        target, library, ... :
            The fields of the same names.
        """
        if target not in TARGETS:
            raise PassportError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
        more = dict(extra or {})
        if parts:
            more["parts"] = {Path(part).name: sha256_of(part) for part in parts}
        return cls(
            format=FORMAT,
            artefact=Path(artefact).name,
            sha256=sha256_of(artefact),
            source=Path(source).name,
            source_sha256=sha256_of(source),
            target=target,
            library=library,
            library_version=library_version,
            driver=driver,
            compute_capability=compute_capability,
            precision_asked=precision_asked,
            precision_found=precision_found,
            precision_evidence=precision_evidence,
            shapes=_plain(shapes),
            parity={name: float(value) for name, value in (parity or {}).items()},
            layers={name: int(count) for name, count in (layers or {}).items()},
            kept_higher=list(kept_higher),
            build_seconds=round(float(build_seconds), 3),
            command=command,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            extra=_plain(more),
            size_bytes=Path(artefact).stat().st_size,
        )

    # -- on the disk

    @staticmethod
    def path_for(artefact: Path) -> Path:
        """Where the passport of ``artefact`` lies."""
        artefact = Path(artefact)
        return artefact.with_name(artefact.name + SUFFIX)

    def to_json(self) -> dict[str, Any]:
        """All fields, and the seal over them."""
        data = asdict(self)
        return {**data, SEAL: _seal(data)}

    def write(self, artefact: Path) -> Path:
        """Write beside ``artefact``, whole or not at all; return the passport's path. May raise OSError."""
        path = self.path_for(artefact)
        write_text(path, json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def read(cls, artefact: Path) -> Passport:
        """The passport beside ``artefact``; the path of the passport itself will do as well.

        Raises
        ------
        PassportError
            If there is none, or it is damaged, malformed or of another format.
        """
        artefact = Path(artefact)
        path = artefact if artefact.name.endswith(SUFFIX) else cls.path_for(artefact)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PassportError(
                f"{artefact.name}: has no passport ({path.name} is missing); "
                "make it again with livecut export"
            ) from None
        except OSError as error:
            raise PassportError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:  # not UTF-8, or not JSON
            raise PassportError(f"{path.name}: not readable as JSON: {error}") from None
        return cls.from_json(data, path.name)

    @classmethod
    def from_json(cls, data: Any, where: str = "passport") -> Passport:
        """Make a passport of parsed JSON; ``where`` begins the messages. Raises PassportError."""
        if not isinstance(data, dict):
            raise PassportError(f"{where}: expected an object, got {type(data).__name__}")
        if data.get("format") != FORMAT:
            raise PassportError(
                f"{where}: format {data.get('format')!r}; this livecut reads format {FORMAT}. Export again"
            )
        values = {name: value for name, value in data.items() if name != SEAL}
        if data.get(SEAL) != _seal(values):
            raise PassportError(f"{where}: damaged: its own hash does not match what it says; export again")
        hints = get_type_hints(cls)
        for entry in fields(cls):
            if entry.name not in values:
                raise PassportError(f"{where}: {entry.name} is missing")
            if not _is_of(values[entry.name], hints[entry.name]):
                raise PassportError(f"{where}: {entry.name}: got {values[entry.name]!r}")
        return cls(**{entry.name: values[entry.name] for entry in fields(cls)})

    # -- is it usable

    def check(self, artefact: Path, source: Path | None = None) -> list[str]:
        """What keeps ``artefact`` from being what this passport was issued for; empty where nothing does.

        One line each. Nothing is deserialised: the bytes are hashed, also those of ``source``, which it
        should have been made from. Whether it is of use here is ``differences``.
        """
        problems = self.damage(artefact)
        if source is not None:
            try:
                problems += self.differences(source_sha256=sha256_of(source))
            except OSError as error:
                problems.append(f"{source}: cannot be read: {error.strerror}")
        return problems

    def differences(
        self,
        *,
        source_sha256: str | None = None,
        library: str | None = None,
        library_version: str | None = None,
        driver: str | None = None,
        compute_capability: str | None = None,
        precision: str | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> list[str]:
        """How the artefact differs from what is here and wanted, one line each; words alone are compared.

        What is left out is not compared.

        Parameters
        ----------
        source_sha256 : str, optional
            Of what it should have been made from.
        library, library_version, driver, compute_capability : str, optional
            What is here. A passport without a driver is not bound to one.
        precision : str, optional
            What it should have been built at.
        shapes : mapping of str to tuple of int, optional
            Shapes it must take, by the tensor's name: equal to its own, or within its profile.
        """
        problems = []
        if source_sha256 is not None and source_sha256 != self.source_sha256:
            problems.append(
                f"made from another {self.source}: sha256 {self.source_sha256[:12]}..., "
                f"the one here has {source_sha256[:12]}..."
            )
        if library is not None and library != self.library:
            problems.append(f"made by {self.library}, here is {library}")
        elif library_version is not None and library_version != self.library_version:
            problems.append(f"made by {self.library} {self.library_version}, here is {library_version}")
        if driver is not None and self.driver is not None and driver != self.driver:
            problems.append(f"made under NVIDIA driver {self.driver}, here is {driver}")
        if compute_capability is not None and compute_capability not in self.compute_capabilities:
            made_for = self.compute_capability or "none"
            problems.append(f"made for compute capability {made_for}, here is {compute_capability}")
        if precision is not None and precision != self.precision_asked:
            problems.append(f"built at {self.precision_asked}, wanted is {precision}")
        for name, shape in (shapes or {}).items():
            if not _takes(self.shapes.get(name), shape):
                came = _shown(shape)
                problems.append(f"{name}: takes {_shown(self.shapes.get(name))}, wanted is {came}")
        return problems

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """The GPUs it was made for."""
        return tuple(part.strip() for part in (self.compute_capability or "").split(",") if part.strip())

    def verified_bytes(self, artefact: Path) -> bytes:
        """The artefact's contents, read once and hashed: these bytes may be deserialised.

        Raises
        ------
        PassportError
            If they cannot be read, or are not those the passport was issued for.
        """
        try:
            data = Path(artefact).read_bytes()
        except OSError as error:
            raise PassportError(f"{artefact}: cannot be read: {error.strerror}") from None
        if problem := self._difference(Path(artefact).name, len(data), hashlib.sha256(data).hexdigest()):
            raise PassportError(problem)
        return data

    def damage(self, artefact: Path) -> list[str]:
        """What of ``check`` needs the files: whether they are those the passport was issued for."""
        artefact, problems = Path(artefact), []
        wanted = {self.artefact: (self.sha256, self.size_bytes)}
        wanted.update({name: (digest, 0) for name, digest in self.extra.get("parts", {}).items()})
        for name, (digest, size) in wanted.items():
            path = artefact if name == self.artefact else artefact.with_name(name)
            try:
                problem = self._difference(path.name, path.stat().st_size, sha256_of(path), digest, size)
            except FileNotFoundError:
                problem = f"{path.name}: missing"
            except OSError as error:
                problem = f"{path.name}: cannot be read: {error.strerror}"
            if problem:
                problems.append(problem)
        return problems

    def _difference(
        self, name: str, size: int, digest: str, wanted: str | None = None, wanted_size: int | None = None
    ) -> str:
        wanted = self.sha256 if wanted is None else wanted
        wanted_size = self.size_bytes if wanted_size is None else wanted_size
        if digest == wanted:
            return ""
        if size == 0:
            return f"{name}: empty"
        if wanted_size and size < wanted_size:
            return f"{name}: cut short: {size} of {wanted_size} bytes"
        return f"{name}: damaged or replaced: sha256 {digest[:12]}..., the passport has {wanted[:12]}..."


def _seal(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """``value`` as JSON gives it back, so that a passport equals the one read from its file."""
    return json.loads(json.dumps(value))


def _is_of(value: Any, hint: Any) -> bool:
    if hint == (str | None):
        return value is None or isinstance(value, str)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    kind = getattr(hint, "__origin__", hint)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _takes(have: Any, shape: tuple[int, ...]) -> bool:
    if isinstance(have, dict):
        low, high = have.get("min", []), have.get("max", [])
        return len(low) == len(high) == len(shape) and all(
            a <= size <= b for a, size, b in zip(low, shape, high, strict=True)
        )
    return isinstance(have, list) and have == list(shape)


def _shown(shape: Any) -> str:
    if shape is None:
        return "nothing of that name"
    if isinstance(shape, dict):
        low, high = _shown(shape.get("min", [])), _shown(shape.get("max", []))
        return low if low == high else f"{low} to {high}"
    return "x".join(str(size) for size in shape)
