"""Lays cut-outs that nothing was trained on over held-out backgrounds, to measure a model on new things.

    python -m livecut.training.write_composites ../shared/data out/composites CUTOUTS ...
    livecut eval livecut-s out/composites

Alpha is exact. The same arguments write the same pictures. With ``--heaps`` two to nine of each, strewn or in
a row, before drawn backgrounds; with ``--patterned`` before printed cloth; with ``--plates`` the place
without the thing is written, too, as another moment shows it, for a model that begins with a clean plate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from .data.augment import photometric
from .data.backgrounds import backdrop, patterned
from .data.catalogue import read_catalogue
from .data.compose import compose, cut_out, heap
from .data.find import read_picture
from .data.plates import disturb
from .program import exit_code, parser_of

SIZE_WH = (512, 384)
SMALLEST_PX, NARROWEST_PX = 150, 60
"""A cut-out's longer and shorter side are at least this."""
COLOURS = 350
"""A photograph has at least so many, at five bits a channel; what has fewer is a drawing."""
DRAWN = 0.25
"""Share of pictures whose background is drawn."""
LEAST_COVER = 0.02


def photographs(folders: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """The RGBA PNGs below ``folders`` that are large enough and no drawings, uint8 (h, w, 4)."""
    for path in (path for folder in folders for path in sorted(folder.rglob("*.png"))):
        bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4 or bgra.dtype != np.uint8:
            continue
        sides = sorted(bgra.shape[:2])
        opaque = bgra[bgra[..., 3] > 200][:, :3] // 8
        colours = np.unique(opaque.astype(np.int32) @ (1, 32, 1024)).size
        if sides[0] >= NARROWEST_PX and sides[1] >= SMALLEST_PX and colours >= COLOURS:
            yield path, cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)


def write_composites(
    data: Path,
    out: Path,
    cutouts: Sequence[Path],
    *,
    heaps: bool = False,
    patterns: bool = False,
    plates: bool = False,
    seed: int = 5,
) -> int:
    """Write ``out/images/*.png`` and ``masks/*.png``, and ``plates/*.png`` if asked to; return how many.

    Raises
    ------
    ValueError, OSError
        If ``data`` has no held-out background, ``cutouts`` no photograph, or ``out`` exists already.
    """
    if out.exists():
        raise ValueError(f"{out}: exists; choose another folder, or delete it")
    behind = read_catalogue(data).select("background", validation=True)
    if not behind:
        raise ValueError(f"{data}: expected held-out pictures under backgrounds/")
    rng = np.random.default_rng(seed)
    count = 0
    for path, rgba in photographs(cutouts):
        photo = behind[int(rng.integers(len(behind)))].image
        if patterns:
            ground = patterned(read_picture(photo), SIZE_WH, rng)
        else:
            drawn = heaps or rng.random() < DRAWN
            ground = backdrop(None if drawn else read_picture(photo), SIZE_WH, rng)
        subject = cut_out(rgba, tighten=False)
        if heaps:
            subject = heap([subject] * int(rng.integers(2, 10)), rng)
        image, alpha = compose(ground, [subject], rng)
        if (alpha > 127).mean() < LEAST_COVER:
            continue
        if plates:
            image, plate, alpha = disturb(image, ground, alpha, rng)
            pictures = {"images": image[..., ::-1], "masks": alpha, "plates": plate[..., ::-1]}
        else:
            pictures = {"images": photometric(image, rng)[..., ::-1], "masks": alpha}
        for name, picture in pictures.items():
            (out / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(out / name / f"{count:04d}_{path.stem}.png"), picture)
        count += 1
    if not count:
        raise ValueError(f"{', '.join(map(str, cutouts))}: expected photographs as RGBA PNGs, with alpha")
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("write_composites", __doc__)
    parser.add_argument("data", type=Path, help="the data folder: its held-out backgrounds are used")
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("cutouts", type=Path, nargs="+", help="folders with cut-outs in them")
    parser.add_argument("--heaps", action="store_true", help="several of each, before drawn backgrounds")
    parser.add_argument("--patterned", action="store_true", help="before printed cloth")
    parser.add_argument("--plates", action="store_true", help="write the empty places, too")
    return exit_code(_write, parser.parse_args(arguments))


def _write(options: argparse.Namespace) -> None:
    kinds = {"heaps": options.heaps, "patterns": options.patterned, "plates": options.plates}
    count = write_composites(options.data, options.out, options.cutouts, **kinds)
    print(f"{options.out}: {count} pictures with masks")


if __name__ == "__main__":
    sys.exit(main())
