"""A small copy of a data folder, in archives of limited size, to train on another machine.

    python -m livecut.training.shrink ../shared/data out/small --side 448 --piece-mb 60

writes ``out/small-00.tar``, ``out/small-01.tar`` and so on. Unpacked into one folder they are a data folder
for ``livecut train --data``: the same names, so the same hold-out; the licences; no picture larger than
``--side``. Pictures without labels, videos, 3D models and weights stay behind, so a run there needs
``--init`` with a checkpoint of a run here, or an encoder that starts at random.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from .data.catalogue import Item, read_catalogue
from .program import exit_code, parser_of

JPEG_QUALITY = 92


def shrink(data: Path, out: Path, *, side: int, piece_bytes: int) -> tuple[list[Path], list[str]]:
    """Write the archives ``OUT-NN.tar``; return them and, for each file that was passed over, why.

    Parameters
    ----------
    side : int
        The longest side of a picture, pixels; smaller ones keep their size.
    piece_bytes : int
        The most bytes of one archive, unless a single file is larger.

    Raises
    ------
    ValueError, OSError
        If ``data`` holds nothing to train on, or an archive cannot be written.
    """
    catalogue = read_catalogue(data)
    skipped = list(catalogue.skipped)
    pieces: list[Path] = []
    room = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as archives:
        for name, content in _files(data, catalogue.items, side, skipped):
            if not pieces or len(content) > room:
                archives.close()  # the one before is complete
                pieces.append(out.with_name(f"{out.name}-{len(pieces):02d}.tar"))
                archive, room = archives.enter_context(tarfile.open(pieces[-1], "w")), piece_bytes
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            room -= len(content) + 1024  # header and padding
    return pieces, skipped


def _files(data: Path, items: Sequence[Item], side: int, skipped: list[str]) -> Iterator[tuple[str, bytes]]:
    for folder in sorted({item.image.relative_to(data).parts[0] for item in items}):
        for licence in sorted((data / folder).rglob("LICENCE.txt")):
            yield licence.relative_to(data).as_posix(), licence.read_bytes()
    for item in items:
        # An outline comes with livecut, not with the data.
        for path in (path for path in (item.image, item.mask) if path and path.is_relative_to(data)):
            try:
                yield path.relative_to(data).as_posix(), _small(path, side)
            except ValueError as error:
                skipped.append(str(error))
                break


def _small(path: Path, side: int) -> bytes:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"{path}: not readable as a picture")
    shrink_by = side / max(picture.shape[:2])
    if shrink_by < 1:
        picture = cv2.resize(picture, None, fx=shrink_by, fy=shrink_by, interpolation=cv2.INTER_AREA)
    elif path.suffix.lower() != ".png":
        return path.read_bytes()
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix.lower() != ".png" else []
    return cv2.imencode(path.suffix, picture, settings)[1].tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = parser_of("shrink", __doc__)
    parser.add_argument("data", type=Path, help="the data folder")
    parser.add_argument("out", type=Path, help="what the archives' names begin with")
    parser.add_argument("--side", type=int, default=448, help="longest side of a picture, pixels")
    parser.add_argument("--piece-mb", type=float, default=60.0, help="most megabytes of one archive")
    return exit_code(_shrink, parser.parse_args(arguments))


def _shrink(options: argparse.Namespace) -> None:
    piece_bytes = int(options.piece_mb * 1e6)
    pieces, skipped = shrink(options.data, options.out, side=options.side, piece_bytes=piece_bytes)
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    for piece in pieces:
        print(f"{piece}  {piece.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
