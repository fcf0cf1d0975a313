"""``python -m benchmarks.engines``: TensorRT engines of the shipped models, and the passports they get.

Builds with ``livecut export`` for every GPU that the library here builds for, into a temporary folder, and
keeps the passports as JSON: what was built, of what, and which precision was found by which evidence. The
engines themselves are thrown away; nobody else could run them. Needs the extra ``livecut[rtx]``, and no GPU.

``--table`` prints the table of the README from the newest of these files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PATTERN = "engines-*.json"
PRECISIONS = ("fp16", "fp32")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models; all shipped when none")
    parser.add_argument("--table", action="store_true", help="print the README's table, build nothing")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        print("\n".join(table(newest()["engines"])))
        return 0
    from livecut.engine.registry import SHIPPED
    from livecut.engine.tensorrt import load

    api = load("tensorrt_rtx")
    models = chosen.models or sorted(path.parent.name for path in SHIPPED.glob("*/manifest.json"))
    devices = ",".join("sm_" + target.replace(".", "") for target in api.targets())
    engines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="livecut-engines-") as folder:
        for model in models:
            for precision in PRECISIONS:
                # Relative, so that the command in the passport can be typed anywhere.
                command = ["export", model, "--to", "tensorrt", "--precision", precision]
                command += ["--device", devices, "-o", f"exported/{model}-{precision}"]
                print("livecut", *command, flush=True)
                subprocess.run([sys.executable, "-m", "livecut", *command], cwd=folder, check=True)
                plans = sorted(Path(folder, command[-1]).glob("*.plan"))
                engines += [{"model": model, **_passport(plan)} for plan in plans]
    path = RESULTS / f"engines-{api.library}-{api.version}.json"
    path.write_text(json.dumps({"library": str(api), "engines": engines}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(engines)} passports in {path}")
    print("\n".join(table(engines)))
    return 0


def _passport(plan: Path) -> dict[str, Any]:
    from livecut.engine.passport import Passport

    passport = Passport.read(plan)
    if problems := passport.check(plan, plan.with_name(passport.source)):
        raise SystemExit(f"{plan.name}: {'; '.join(problems)}")
    return passport.to_json()


def newest() -> dict[str, Any]:
    """The results that are kept, of the newest version if there are several."""
    path = max(RESULTS.glob(PATTERN), key=lambda path: [int(n) for n in path.stem.split("-")[-1].split(".")])
    return json.loads(path.read_text(encoding="utf-8"))


def table(engines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The README's table: a line for each model and precision, its GPUs together."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for engine in engines:
        groups.setdefault((engine["model"], engine["precision_asked"]), []).append(engine)
    lines = [
        "| model | asked | found | evidence | layers | built for SM | MB each | kept higher |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (model, asked), group in groups.items():
        sizes = [engine["size_bytes"] / 1e6 for engine in group]
        targets = sorted((engine["compute_capability"] for engine in group), key=float)
        layers = ", ".join(f"{count} {name}" for name, count in group[0]["layers"].items())
        found = sorted({engine["precision_found"] for engine in group})
        evidence = sorted({engine["precision_evidence"] for engine in group})
        kept = len(group[0]["kept_higher"])
        lines.append(
            f"| `{model}` | {asked} | {', '.join(found)} | {', '.join(evidence)} | {layers} | "
            f"{', '.join(targets)} | {min(sizes):.1f} to {max(sizes):.1f} | {kept or 'none'} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
