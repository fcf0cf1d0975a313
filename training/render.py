"""Renders product scenes for training: picture, the same without the product, and the product's exact alpha.

    python -m livecut.training.render OUT --data DATA --first 0 --count 100

With ``--cutouts`` a product alone, as ``NNNNN.png`` with alpha, to be put into composites: in the light of
its scene, in a fraction of the time.

Scene N of a seed is always the same one, so a run that was interrupted goes on where it stopped, and
several machines can share a range. Files: ``NNNNN_i.jpg`` with the product, ``NNNNN_p.jpg`` without,
``NNNNN_a.png`` its alpha, and ``NNNNN.json``, what the scene is made of. Needs Blender's module (the extra
``render``), which is for Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import DeviceUnavailable, LivecutError, UsageError
from .ledger import LICENCE_FILE
from .program import exit_code, parser_of
from .render_layout import Assets, Scene, layout, picture_name

if TYPE_CHECKING:
    from .render_blender import Settings

DEVICES = ("auto", "cpu", "gpu")
MOST_FAILURES = 5
"""So many scenes in a row that fail are no accident."""


@dataclass
class Done:
    """What a run did."""

    rendered: int = 0
    kept: int = 0
    """Scenes that were there already."""
    failed: list[str] = field(default_factory=list)
    """One line each."""


def names(number: int) -> dict[str, str]:
    """The files of one scene, the picture last: it is there only when all are."""
    return {
        "plate": f"{number:05d}_p.jpg",
        "alpha": f"{number:05d}_a.png",
        "scene": f"{number:05d}.json",
        "image": picture_name(number),
    }


def cutout_names(number: int) -> dict[str, str]:
    """The files of a product alone."""
    return {"scene": f"{number:05d}.json", "image": f"{number:05d}.png"}


def run(
    out: Path,
    numbers: Sequence[int],
    *,
    assets: Assets,
    seed: int,
    make: Callable[[Scene, Path], dict[str, Path]],
    names: Callable[[int], dict[str, str]] = names,
    told: Callable[[str], None] = lambda line: None,
) -> Done:
    """Render the scenes that are not there yet.

    Parameters
    ----------
    out : Path
        Made where missing. Each file appears whole; the picture last.
    make : callable
        Renders a scene into a folder and returns ``image``, ``plate`` (JPEG) and ``alpha`` (RGBA PNG); or
        ``image`` alone.
    names : callable
        ``names``, or ``cutout_names``: which files a number has.
    told : callable
        Gets a line for each scene.

    Raises
    ------
    LivecutError
        If ``MOST_FAILURES`` scenes in a row fail.
    """
    out.mkdir(parents=True, exist_ok=True)
    done, in_a_row = Done(), 0
    for number in numbers:
        files = names(number)
        if all((out / name).is_file() for name in files.values()):
            done.kept += 1
            continue
        scene = layout(number, seed, assets, files["image"])
        try:
            with tempfile.TemporaryDirectory(prefix=".render-", dir=out) as work:
                _keep(scene, make(scene, Path(work)), Path(work), out, files)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            line = f"{number:05d}: {_line(error)} ({', '.join(thing.model for thing in scene.products)})"
            done.failed.append(line)
            told(f"failed {line}")
            in_a_row += 1
            if in_a_row == MOST_FAILURES:
                raise LivecutError(f"{MOST_FAILURES} scenes in a row failed; the last: {line}") from error
            continue
        in_a_row = 0
        done.rendered += 1
        products = ", ".join(Path(thing.model).stem for thing in scene.products)
        told(f"{number:05d} {scene.stage}, {scene.rig}: {products}")
    return done


def _keep(scene: Scene, made: dict[str, Path], work: Path, out: Path, files: dict[str, str]) -> None:
    """Move a scene's files under their names."""
    (work / "scene.json").write_text(json.dumps(scene.to_json(), indent=1) + "\n", encoding="utf-8")
    ready = {**made, "scene": work / "scene.json"}
    if "alpha" in made:
        from PIL import Image

        with Image.open(made["alpha"]) as picture:
            alpha = picture.getchannel("A")
        ready["alpha"] = work / "alpha-only.png"
        alpha.save(ready["alpha"])
    for part, name in files.items():
        os.replace(ready[part], out / name)


def state(out: Path, data: Path, folders: Sequence[str]) -> None:
    """Say in ``LICENCE.txt`` what the pictures of ``out`` are made of, where nothing says so yet.

    Licences and credits of ``folders`` of ``data`` go with the pictures: the ledger of a weight repeats them.
    """
    out.mkdir(parents=True, exist_ok=True)
    if (out / LICENCE_FILE).exists():
        return
    made_of = [folder for folder in folders if (data / folder).is_dir()]
    lines = [f"source: rendered by livecut.training.render of {', '.join(made_of) or 'its own shapes'}"]
    for path in (path for folder in made_of for path in sorted((data / folder).rglob(LICENCE_FILE))):
        lines += ["", f"of {path.parent.relative_to(data).as_posix()}:", path.read_text("utf-8").strip()]
    (out / LICENCE_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def settings_for(device: str, size: int, samples: int, threads: int) -> Settings:
    """What to render with and on.

    Raises
    ------
    DeviceUnavailable
        If Blender's module is missing, or a GPU was asked for and there is none.
    """
    try:
        from .render_blender import Settings, gpu_kind
    except ImportError as error:
        raise DeviceUnavailable(
            f"rendering needs Blender's module: pip install livecut[render], on Python 3.11 ({error})"
        ) from None
    kind = gpu_kind() if device != "cpu" else None
    if device == "gpu" and kind is None:
        raise DeviceUnavailable("--device gpu: Blender finds no GPU here; leave it at auto, or take cpu")
    return Settings(size, samples, threads, kind is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = parser_of("render", __doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="models, envmaps, backgrounds"
    )
    parser.add_argument("--models", default="models3d", help="folder of 3D models in it")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--count", type=int, default=1, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the series")
    parser.add_argument("--cutouts", action="store_true", help="products alone, with alpha")
    parser.add_argument("--size", type=int, default=384, help="side of the pictures, pixels")
    parser.add_argument("--samples", type=int, default=32, help="light paths a pixel, before denoising")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0 takes all cores")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder of work is taken away
    return exit_code(_render, parser.parse_args(arguments))


def _render(chosen: argparse.Namespace) -> int:
    if min(chosen.size, chosen.samples, chosen.count) < 1 or chosen.first < 0:
        raise UsageError("--size, --samples and --count: expected at least 1; --first: at least 0")
    settings = settings_for(chosen.device, chosen.size, chosen.samples, chosen.threads)
    from .render_blender import render, render_cutout

    draw = render_cutout if chosen.cutouts else render
    behind = [chosen.models, "envmaps", *([] if chosen.cutouts else ["backgrounds"])]
    state(chosen.out, chosen.data, behind)
    print(f"on the {'GPU' if settings.gpu else 'CPU'}", file=sys.stderr)
    done = run(
        chosen.out,
        range(chosen.first, chosen.first + chosen.count),
        assets=Assets.find(chosen.data, chosen.models),
        seed=chosen.seed,
        make=lambda scene, folder: draw(scene, chosen.data, folder, settings),
        names=cutout_names if chosen.cutouts else names,
        told=lambda line: print(line, file=sys.stderr),
    )
    print(f"{done.rendered} rendered, {done.kept} there already, {len(done.failed)} failed", file=sys.stderr)
    return 3 if done.failed else 0


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main())
