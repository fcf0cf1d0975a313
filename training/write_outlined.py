"""Writes pictures that livecut has outlines of as pairs, to measure a model on or to look at the outlines.

    python -m livecut.training.write_outlined ../shared/data out/outlined
    livecut eval livecut-s out/outlined

Of folders without masks of their own, and held-out pictures only: nothing was trained on them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from .data.catalogue import OUTLINED, outlined_pairs
from .data.find import read_picture
from .data.outlines import outlined_mask
from .program import exit_code, parser_of


def write_outlined(data: Path, out: Path, *, held_out: bool = True) -> int:
    """Write ``out/FOLDER/images/*`` and ``masks/*.png``; return how many pictures.

    Parameters
    ----------
    held_out : bool
        Those that are never trained on; else those that are.

    Raises
    ------
    ValueError, OSError
        If ``data`` holds no such picture, ``out`` holds some already, or one does not decode.
    """
    count = 0
    for folder in OUTLINED:
        place = out / folder
        if place.exists():
            raise ValueError(f"{place}: exists; choose another folder, or delete it")
        pairs = [pair for pair in outlined_pairs(data / folder) if pair.validation == held_out]
        for pair in pairs:
            image = pair.image
            assert pair.mask is not None
            mask = outlined_mask(pair.mask, image.name, read_picture(image).shape[1::-1])
            for name in ("images", "masks"):
                (place / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, place / "images" / image.name)
            cv2.imwrite(str(place / "masks" / f"{image.stem}.png"), mask)
        count += len(pairs)
    if not count:
        raise ValueError(f"{data}: none of the outlined pictures is in it ({', '.join(OUTLINED)}/images)")
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("write_outlined", __doc__)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--trained-on", action="store_true", help="the others: those that are trained on")
    return exit_code(_write, parser.parse_args(arguments))


def _write(options: argparse.Namespace) -> None:
    count = write_outlined(options.data, options.out, held_out=not options.trained_on)
    print(f"{options.out}: {count} pictures with masks")


if __name__ == "__main__":
    sys.exit(main())
