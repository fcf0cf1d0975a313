"""The model card: what a weight is, how it was made, how good it is, where it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import card_pictures, history
from .evaluate import table


@dataclass(frozen=True)
class Facts:
    """What the card tells.

    Attributes
    ----------
    name, version, licence : str
    gmacs : float
        At the first input size.
    params : int
    multiple_of : int
        Of height and width.
    sizes_wh : sequence of (int, int)
    config : mapping
        The training configuration, as in the checkpoint.
    counters : mapping
        ``step``, ``pictures``, ``elapsed_s`` of the run.
    summary : mapping
        Validation, from ``evaluate.summarise``.
    parity : str
        One line on ONNX against torch.
    log : sequence of str
        The run's log.
    failures : str
        Known failures, Markdown.
    folders : sequence of str
        The data folders trained on.
    run : str
        Name of the run's folder.
    earlier : sequence of mapping
        ``name`` and counters of the runs whose weights it went on from, oldest first.
    pictures : sequence of str
        Names of the pictures beside the card, of ``card_pictures``.
    """

    name: str
    version: str
    licence: str
    gmacs: float
    params: int
    multiple_of: int
    sizes_wh: Sequence[Sequence[int]]
    config: Mapping[str, Any]
    counters: Mapping[str, float]
    summary: dict[str, dict[str, float]]
    parity: str
    log: Sequence[str]
    failures: str
    folders: Sequence[str]
    run: str
    earlier: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[str] = ()


def write_card(facts: Facts) -> str:
    """The card as Markdown."""
    name, config, counters = facts.name, facts.config, facts.counters
    sizes = ", ".join(f"{width}x{height}" for width, height in facts.sizes_wh)
    seconds = max(counters["elapsed_s"], 1)
    device = history.device_of(facts.log)
    parts = [
        f"Seed {config['seed']}{device and ', on '}{device}: {history.amount(counters)}\n"
        f"({counters['pictures'] / seconds:.1f} a second). The learning rate follows the clock, so a faster "
        "machine sees more\npictures.",
        history.began_with(facts.log),
        history.changes(config),
        history.earlier_runs(facts.earlier, counters).rstrip(),
    ]
    log = "\n".join(["```", *excerpt(facts.log), "```"])
    return f"""# {name} {facts.version}

Alpha of the product, person, animal or garment that a picture shows. {facts.params / 1e6:.2f} M
parameters, {facts.gmacs:.2f} GMAC at {facts.sizes_wh[0][0]}x{facts.sizes_wh[0][1]}. Licence
{facts.licence}; `LEDGER.json` names everything it was made from.

Input `image`: float32 (1, 3, height, width), RGB, `(value - 127.5) / 127.5`, both sides
multiples of {facts.multiple_of}, letterboxed with 114. Made for {sizes}.
Output `alpha`: float32 (1, 1, height, width), 0 background, 1 subject.

## Validation

Pictures never trained on (SHA-1 of the file name, modulo 10, is 0), at their own size, network alone
without refinement. Boundary F has a tolerance of 0.8 % of the diagonal; SAD, Grad and Conn are in
thousands per picture.

{table(facts.summary)}

{facts.parity}

## Known failures

{facts.failures.strip()}

## Training

    {history.command(config, facts.run, facts.log)}

{paragraphs(parts)}

- Network: {_listed(config["network"])}
- Optimiser: {_listed(config["optimiser"])}
- Data: {", ".join(facts.folders)}

{paragraphs([card_pictures.links(facts.pictures), log])}
"""


def paragraphs(parts: Sequence[str]) -> str:
    """Markdown parts with an empty line between; what is empty is left out."""
    return "\n\n".join(part for part in parts if part)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def excerpt(log: Sequence[str], lines: int = 12) -> list[str]:
    """A few evenly spaced step lines, and every line of overall validation."""
    steps = [line for line in log if re.search(r" step \d+ .* min ", line)]
    chosen = set(steps[:: max(1, len(steps) // lines)] + steps[-1:])
    return [line for line in log if line in chosen or "validation all" in line]
