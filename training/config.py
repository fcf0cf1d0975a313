"""Training configurations: TOML files in ``configs/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parent / "configs"
CHECKPOINT = "checkpoint.pt"  # in a run's folder; here, for what must not import torch
METHODS = ("matting", "plate", "article")
OPTIMISERS = ("adamw", "adam", "sgd")
# The sizes (width, height) the engine offers; a picture goes to the one whose shape is nearest.
SIZES_WH = ((512, 288), (448, 320), (384, 384), (320, 448), (288, 512))


@dataclass(frozen=True)
class Optimiser:
    """Warm-up and cosine over one of ``OPTIMISERS``. Shares are of ``learning_rate``."""

    learning_rate: float
    encoder_share: float
    weight_decay: float
    warm_up_steps: int
    final_share: float
    gradient_clip: float
    ema_decay: float
    kind: str = "adamw"
    momentum: float = 0.9
    """Of ``sgd`` only."""


@dataclass(frozen=True)
class Run:
    """How long and with what. Minutes are of wall clock."""

    minutes: float
    threads: int
    workers: int
    bfloat16: bool
    checkpoint_minutes: float
    validation_minutes: float


@dataclass(frozen=True)
class Adversarial:
    """A discriminator that learns beside the network.

    Attributes
    ----------
    weight : float
        Of the adversarial term. Method ``matting``: the length of its gradient at alpha, as a share of that
        of all other terms. Method ``article``: a plain factor.
    learning_rate : float
        Of the discriminator's own Adam.
    channels : list of int
        Of its layers, each half the size of the one before.
    """

    weight: float
    learning_rate: float
    channels: list[int]


@dataclass(frozen=True)
class Stage:
    """Batch size and input sizes (width, height) until a share of the run."""

    until: float
    batch: int
    sizes: list[list[int]]


@dataclass(frozen=True)
class Config:
    """One training configuration.

    Attributes
    ----------
    encoder_weights : str
        A file under the data folder, ``package:PACKAGE/PATH`` for one inside an installed package, or empty
        for an encoder that starts at random.
    method : str
        ``matting``; ``plate``: the same with a clean plate as second input; ``article``: the generator and
        discriminator of the article.
    initial : str
        A checkpoint, or a run's folder, whose averaged weights the network starts from; or empty.
    losses : dict
        Weights of loss terms that differ from the method's own.
    input_sizes : list
        The sizes (width, height) to validate at and to offer in the bundle.
    adversarial : Adversarial, optional
        Absent, the network learns alone.
    frames : int
        Of a clip; 0 trains on single pictures. On clips the network needs ``memory``.
    learns : list of str
        What the names of the weights that may change begin with; empty for all.
    """

    name: str
    seed: int
    encoder_weights: str
    network: dict[str, Any]
    optimiser: Optimiser
    run: Run
    stages: list[Stage]
    method: str = "matting"
    initial: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    input_sizes: list[list[int]] = field(default_factory=lambda: [list(size) for size in SIZES_WH])
    adversarial: Adversarial | None = None
    frames: int = 0
    learns: list[str] = field(default_factory=list)


def load_config(name: str | Path) -> Config:
    """Read ``configs/NAME.toml``, or the file itself when ``name`` ends in ``.toml``.

    A file may say ``base = "NAME"``: it then holds only what differs from that configuration.

    Raises
    ------
    ValueError
        If there is no such configuration, or a key is missing or unknown.
    """
    return parse_config(_read(name), str(name))


def adjusted(config: Config, *, minutes: float | None, workers: int | None, threads: int | None) -> Config:
    """``config`` with what is not None in the place of its own."""
    changes = {"minutes": minutes, "workers": workers, "threads": threads}
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(config, run=replace(config.run, **given))  # type: ignore[arg-type]


def parse_config(table: Mapping[str, Any], where: str) -> Config:
    """Build a ``Config`` from a parsed TOML table; ``where`` is named in errors."""
    table = dict(table)
    try:
        stages = [_build(Stage, stage, where) for stage in table.pop("stage")]
        optimiser = _build(Optimiser, table.pop("optimiser"), where)
        run = _build(Run, table.pop("run"), where)
    except KeyError as error:
        raise ValueError(f"{where}: [{error.args[0]}] is missing") from None
    if "adversarial" in table:
        table["adversarial"] = _build(Adversarial, table["adversarial"], where)
    config: Config = _build(Config, {**table, "optimiser": optimiser, "run": run, "stages": stages}, where)
    _check_choice(where, "method", config.method, METHODS)
    _check_choice(where, "optimiser.kind", config.optimiser.kind, OPTIMISERS)
    if config.method == "article" and config.adversarial is None:
        raise ValueError(f"{where}: [adversarial] is missing: method article has a discriminator")
    if config.frames and not (config.frames >= 2 and config.network.get("memory")):
        raise ValueError(f"{where}: frames: expected at least 2, and a network with memory = true")
    return config


def _read(name: str | Path) -> dict[str, Any]:
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise ValueError(f'no configuration "{name}". Available: {known}')
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as TOML: {error}") from None
    base = table.pop("base", None)
    if base is None:
        return table
    if base == path.stem:
        raise ValueError(f'{path}: base = "{base}" is the configuration itself')
    return _merged(_read(base), table)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``: tables are merged key by key, everything else is replaced."""
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = _merged(base[key], value) if both else value
    return base


def _check_choice(where: str, key: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ValueError(f'{where}: {key}: expected one of {", ".join(options)}, got "{value}"')


def _build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    known = {entry.name for entry in fields(kind)}
    needed = {
        entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING
    }
    if wrong := sorted((set(values) - known) | (needed - set(values))):
        raise ValueError(f"{where}: missing or unknown in {kind.__name__.lower()}: {', '.join(wrong)}")
    return kind(**values)
