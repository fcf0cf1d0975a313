"""Training configurations: TOML files in ``configs/``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Optimiser:
    """AdamW with warm-up and cosine. Shares are of ``learning_rate``."""

    learning_rate: float
    encoder_share: float
    weight_decay: float
    warm_up_steps: int
    final_share: float
    gradient_clip: float
    ema_decay: float


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
class Stage:
    """Batch size and input sizes (width, height) until a share of the run."""

    until: float
    batch: int
    sizes: list[list[int]]


@dataclass(frozen=True)
class Config:
    """One training configuration.

    ``encoder_weights`` is a file under the data folder, or empty for an encoder that starts at random.
    """

    name: str
    seed: int
    encoder_weights: str
    network: dict[str, int]
    optimiser: Optimiser
    run: Run
    stages: list[Stage]


def load_config(name: str | Path) -> Config:
    """Read ``configs/NAME.toml``, or the file itself when ``name`` ends in ``.toml``.

    Raises
    ------
    ValueError
        If there is no such configuration, or a key is missing or unknown.
    """
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise ValueError(f'no configuration "{name}". Available: {known}')
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    return parse_config(tomllib.loads(path.read_text(encoding="utf-8")), str(path))


def parse_config(table: dict[str, Any], where: str) -> Config:
    """Build a ``Config`` from a parsed TOML table; ``where`` is named in errors."""
    table = dict(table)
    try:
        stages = [_build(Stage, stage, where) for stage in table.pop("stage")]
        optimiser = _build(Optimiser, table.pop("optimiser"), where)
        run = _build(Run, table.pop("run"), where)
        return _build(Config, {**table, "optimiser": optimiser, "run": run, "stages": stages}, where)
    except KeyError as error:
        raise ValueError(f"{where}: [{error.args[0]}] is missing") from None


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        wrong = ", ".join(sorted(set(values) ^ names))
        raise ValueError(f"{where}: missing or unknown in {kind.__name__.lower()}: {wrong}")
    return kind(**values)
