"""Writes held-out clips with exact alpha, for the temporal figures of ``livecut eval``.

    python -m livecut.training.write_clips ../shared/data out/clips --clips 24 --frames 24

Subjects, backgrounds and labelled pictures are held-out ones only. The same arguments write the same clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .data.cache import pack
from .data.catalogue import read_catalogue
from .data.clips import ClipMaker
from .data.dataset import SceneMaker
from .program import exit_code, parser_of

SIZES_WH = ((512, 288), (384, 384), (288, 512))


def write_clips(data: Path, out: Path, cache: Path, *, clips: int, frames: int, seed: int = 99) -> int:
    """Write ``out/clips/NNN/images/*.png`` and ``masks/*.png``; return how many frames.

    Raises
    ------
    ValueError, OSError
        If ``data`` holds no held-out picture with a subject, or ``out`` holds clips already.
    """
    folder = out / "clips"
    if folder.exists():
        raise ValueError(f"{folder}: exists; choose another folder, or delete it")
    items = [item for item in read_catalogue(data).items if item.validation]
    maker = ClipMaker(SceneMaker(pack(items, cache)))
    for clip in range(clips):
        size_wh = SIZES_WH[clip % len(SIZES_WH)]
        images, alphas = maker.draw(size_wh, frames, np.random.default_rng([seed, clip]))
        for name, pictures in (("images", images[..., ::-1]), ("masks", alphas)):
            place = folder / f"{clip:03d}" / name
            place.mkdir(parents=True)
            for number, picture in enumerate(pictures):
                cv2.imwrite(str(place / f"{number:04d}.png"), picture)
    return clips * frames


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("write_clips", __doc__)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("out", type=Path, help="the folder to make clips/ in")
    parser.add_argument("--clips", type=int, default=24, help="how many")
    parser.add_argument("--frames", type=int, default=24, help="frames of each")
    parser.add_argument("--cache", type=Path, help="where decoded pictures are kept (default: OUT/cache)")
    return exit_code(_write, parser.parse_args(arguments))


def _write(options: argparse.Namespace) -> None:
    cache = options.cache or options.out / "cache"
    count = write_clips(options.data, options.out, cache, clips=options.clips, frames=options.frames)
    print(f"{options.out / 'clips'}: {options.clips} clips, {count} frames")


if __name__ == "__main__":
    sys.exit(main())
