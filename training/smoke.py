"""A training run from nothing to a bundle, in a minute or less, on data it makes itself.

``python -m livecut.training.smoke --out out/train-smoke`` is what ``make train-smoke`` runs. It proves that
the chain works, not that the network is good: bright things on dark ground are all it ever sees.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..engine.errors import UsageError
from .config import CHECKPOINT, Config, adjusted, load_config
from .data.holdout import is_validation
from .device import choose_device
from .export_checkpoint import export_checkpoint
from .program import exit_code, parser_of
from .train import Trainer

LICENCE = "Source: made on the spot by livecut.training.smoke\nLicence: CC0-1.0\nCredit: nobody\n"
PICTURE_WH = (96, 72)
MARK = ".made-by-train-smoke"
ENOUGH = 0.8  # of the error of a network that says "nothing" everywhere


def make_picture(
    rng: np.random.Generator, size_wh: tuple[int, int] = PICTURE_WH
) -> tuple[np.ndarray, np.ndarray]:
    """A bright thing on dark textured ground: uint8 (H, W, 3) RGB, and its mask, uint8 (H, W), 0 or 255."""
    width, height = size_wh
    mask = np.zeros((height, width), np.uint8)
    centre = (int(width * rng.uniform(0.35, 0.65)), int(height * rng.uniform(0.35, 0.65)))
    axes = (int(height * rng.uniform(0.18, 0.38)), int(height * rng.uniform(0.18, 0.38)))
    if rng.random() < 0.5:
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1)
    else:
        corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), rng.uniform(0, 90)))
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    image = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    colour = rng.integers(165, 235, 3) + rng.integers(-12, 13, (height, width, 3))
    return np.where(mask[..., None] > 0, np.clip(colour, 0, 255), image).astype(np.uint8), mask


def make_data(folder: Path, rng: np.random.Generator, *, training: int = 40, held_out: int = 6) -> Path:
    """Write a data folder: pairs on both sides of the hold-out rule, a few cut-outs, a few backgrounds."""
    pairs, cutouts, backgrounds = (
        folder / "clothing_cc0",
        folder / "cutouts_rgba" / "made",
        folder / "backgrounds",
    )
    for made in (pairs / "images", pairs / "masks", cutouts, backgrounds / "rooms"):
        made.mkdir(parents=True, exist_ok=True)
    for place in (pairs, cutouts, backgrounds):
        (place / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")
    for name in [*_names(training, False), *_names(held_out, True)]:
        image, mask = make_picture(rng)
        cv2.imwrite(str(pairs / "images" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(pairs / "masks" / f"{name}.png"), mask)
    for name in _names(6, False):
        image, mask = make_picture(rng)
        cv2.imwrite(str(cutouts / f"{name}.png"), np.dstack([image[..., ::-1], mask]))
        ground = cv2.GaussianBlur(rng.integers(0, 120, (90, 120, 3), dtype=np.uint8), (0, 0), 1.0)
        cv2.imwrite(str(backgrounds / "rooms" / f"{name}.png"), ground)
    return folder


def run_smoke(out: Path, config: Config, device: str = "auto") -> tuple[dict[str, float], float]:
    """Make data, train for half of the time, stop, resume, train to the end, and export a bundle.

    Returns
    -------
    measured : dict
        Means of the exported network over the held-out pictures.
    nothing : float
        The mean absolute error of an alpha of 0 on the same pictures.

    Raises
    ------
    UsageError
        If ``out`` holds anything else than an earlier smoke run.
    """
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise UsageError(f"{out}: holds something that is no earlier smoke run; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    data = make_data(out / "data", np.random.default_rng(config.seed))
    cache, where = out / "cache", choose_device(device)
    first = Trainer(config, data, out, cache, device=where)
    half_s = config.run.minutes * 30
    first.on_step = lambda progress: first.stop() if progress.elapsed_s > half_s else None
    first.run()
    second = Trainer(config, data, out, cache, device=where)
    second.resume()
    second.run()
    _, summary = export_checkpoint(
        out / CHECKPOINT, data, out / "bundle", cache=cache, version="0", failures="It has seen toys only."
    )
    held_out = second.validation
    nothing = float(np.mean([held_out[index][..., 3].mean() / 255 for index in range(len(held_out))]))
    return summary["all"], nothing


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("smoke", __doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("out/train-smoke"), help="an earlier run there is replaced"
    )
    parser.add_argument("--minutes", type=float, help="of training (default: those of configs/smoke.toml)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return exit_code(_train, parser.parse_args(arguments))


def _train(options: argparse.Namespace) -> int:
    config = adjusted(load_config("smoke"), minutes=options.minutes, workers=None, threads=None)
    values, nothing = run_smoke(options.out, config, options.device)
    print(f"{options.out / 'bundle'}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()))
    if values["mae"] > ENOUGH * nothing:
        print(
            f"livecut: error: MAE {values['mae']:.3f}: hardly learnt; nothing at all has {nothing:.3f}",
            file=sys.stderr,
        )
        return 1
    return 0


def _names(count: int, validation: bool) -> list[str]:
    """File stems of which ``NAME.png`` lies on one side of the hold-out rule."""
    chosen = (f"thing_{number:04d}" for number in range(100_000))
    kept = (stem for stem in chosen if is_validation(f"{stem}.png") == validation)
    return [next(kept) for _ in range(count)]


if __name__ == "__main__":
    sys.exit(main())
