"""How a network came to its weights, from what its run left: the command, the device, the runs before it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .config import CONFIGS, load_config

DATA = "../shared/data"
NOT_COMPARED = {"run", "initial"}  # what the command line may change


def command(config: Mapping[str, Any], run: str, log: Sequence[str]) -> str:
    """The command line of a run.

    Parameters
    ----------
    config : mapping
        The checkpoint's configuration.
    run : str
        Name of the run's folder.
    log : sequence of str
        The run's log, which names the run it started from.
    """
    words = ["livecut train", f"--config {file_of(config)[0]}"]
    if bundle := shipped_start(log)[0]:
        words.append(f"--init {bundle}")
    elif initial := _last(r" starts from ([^/]+)/", log):
        words.append(f"--init runs/{initial}")
    if other := halfway_to(log)[0]:
        words.append(f"--halfway-to {other}")
    words.append(f"--data {DATA}")
    if run != config["name"]:
        words.append(f"--out runs/{run}")
    return " ".join([*words, f"--minutes {config['run']['minutes']:g}"])


def file_of(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The configuration file that a checkpoint's is of, and in which settings it differs from it by now.

    Several configurations train one network, the parts of its training: the one that differs in the fewest
    settings is taken; the network's own name where none is for a network of that name.
    """
    ours = _settings(config)
    best: tuple[str, dict[str, Any]] | None = None
    for path in sorted(CONFIGS.glob("*.toml"), key=lambda path: (path.stem != config["name"], path.stem)):
        theirs = _settings(dataclasses.asdict(load_config(path.stem)))
        if theirs["name"] != config["name"]:
            continue
        different = {key: value for key, value in ours.items() if theirs.get(key) != value}
        if best is None or len(different) < len(best[1]):
            best = path.stem, different
    return best or (str(config["name"]), {})


def _settings(config: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Every single setting of a configuration by its path, but for what the command line says."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if not within and key in NOT_COMPARED:
            continue
        if isinstance(value, Mapping):
            found |= _settings(value, f"{within}{key}.")
        else:
            found[within + key] = value
    return found


def changes(config: Mapping[str, Any]) -> str:
    """A sentence on what a run's configuration has otherwise than its file has by now, if anything."""
    file, different = file_of(config)
    if not different:
        return ""
    listed = ", ".join(f"{key} {value}" for key, value in different.items())
    return f"`{file}` has changed since; this run had: {listed}."


def amount(counters: Mapping[str, float]) -> str:
    """Steps, minutes and pictures of a run, in words."""
    minutes = max(counters["elapsed_s"], 1) / 60
    return f"{counters['step']:,} steps in {minutes:.0f} minutes, {counters['pictures']:,} pictures"


def began_with(log: Sequence[str]) -> str:
    """A sentence on the models that a run went on from, if they ship: they may be others by now."""
    (bundle, version), (other, other_version) = shipped_start(log), halfway_to(log)
    if other:
        first = f"`{bundle}` {version}" if bundle else "that run"
        return f"It began halfway between {first} and `{other}` {other_version}: the mean, weight by weight."
    return f"It began with `{bundle}` {version}, as that shipped." if bundle else ""


def shipped_start(log: Sequence[str]) -> tuple[str, str]:
    """The bundle that a run went on from, and its version; both empty if it was none."""
    return _bundle_after(" starts from", log)


def halfway_to(log: Sequence[str]) -> tuple[str, str]:
    """The bundle whose weights a run began with half of, and its version; both empty if there was none."""
    return _bundle_after(", halfway to", log)


def device_of(log: Sequence[str]) -> str:
    """What the run computed on and in, as its log says; empty where it does not."""
    return _last(r" on ((?:cpu|cuda) \(.*)", log)


def earlier_runs(earlier: Sequence[Mapping[str, Any]], counters: Mapping[str, float]) -> str:
    """Markdown on the runs whose weights a run went on from, oldest first, and on all of them together."""
    if not earlier:
        return ""
    runs = [*earlier, counters]
    pictures = sum(int(run["pictures"]) for run in runs)
    minutes = sum(run["elapsed_s"] for run in runs) / 60
    lines = [f"{place}. {run['name']}: {amount(run)}" for place, run in enumerate(earlier, 1)]
    return (
        f"Trained in all: {pictures:,} pictures in {minutes:.0f} minutes, in {len(runs)} runs, each from\n"
        "the weights of the one before, where name and shape agree. Before the run above:\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _bundle_after(words: str, log: Sequence[str]) -> tuple[str, str]:
    bundle, _, version = _last(rf"{words} (\S+, version [^:,]+)[:,]", log).partition(", version ")
    return bundle, version


def _last(pattern: str, log: Sequence[str]) -> str:
    """The first group of the last line that has ``pattern``: a log goes on where a folder is used again."""
    found = (re.search(pattern, line) for line in reversed(log))
    return next((match[1] for match in found if match), "")
