"""``livecut eval --sheets``: cut-outs of pictures whose true alpha nobody knows, for looking."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.errors import LivecutError, PartialFailure, SourceError, UsageError
from .judged import open_judged
from .outcome import StopSignals

log = logging.getLogger("livecut")


def draw_sheets(
    model: str,
    data: str,
    out: Path,
    *,
    through: str,
    device: str,
    options: Mapping[str, Any],
    quiet: bool,
) -> None:
    """Write ``sheet-NNN.png`` into ``out``: every picture of ``data``, cut out by ``model``.

    Parameters
    ----------
    model, through, device, options :
        As ``judged.open_judged`` takes them.
    data : str
        A folder with all below it, but masks beside pictures; a picture; or a glob.
    out : Path
        Made where missing; sheets already there are replaced one by one. Each appears whole.

    Raises
    ------
    PartialFailure
        If pictures could not be read; each is named in the log.
    SourceError
        If there is none to cut out, or none can be read.
    UsageError
        If the model begins with a clean plate.
    """
    import threading

    from ..engine.batch import plan_batch
    from ..engine.contact_sheet import ACROSS, DOWN, Cell, Row, make_cell, make_cutout_sheet
    from ..engine.picture_files import write_picture
    from ..engine.pictures import read_picture
    from ..training.data.find import holds_no_pictures
    from .console import progress

    paths = [item.source for item in plan_batch([data], out).items]
    of_masks = {folder: holds_no_pictures(folder) for folder in {path.parent for path in paths}}
    paths = [path for path in paths if not of_masks[path.parent]]
    if not paths:
        raise SourceError(f"{data}: no pictures there but masks and plates")
    place = ACROSS * DOWN
    sheets = -(-len(paths) // place)
    cells: list[Cell] = []
    left_out, written = 0, 0
    stop = threading.Event()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}; --sheets takes a folder") from None
    with (
        open_judged(model, through, device, options) as judged,
        StopSignals(stop.set) as signals,
        progress("cutting", quiet=quiet) as advance,
    ):
        if judged.predict.begins_with_plate:
            raise UsageError(
                f"--sheets: {judged.facts['name']} begins with a clean plate, and these pictures have none"
            )
        told = [judged.facts[key] for key in ("name", "version", "through", "runs_on") if key in judged.facts]
        heading = " \u00b7 ".join([*map(str, told), f"{data}, {len(paths)} pictures"])
        for count, path in enumerate(paths, 1):
            if stop.is_set():
                break
            try:
                picture = read_picture(path)
                cells.append(make_cell(Row(path.name, picture.image, judged.cut(picture))))
            except (SourceError, ValueError) as error:
                left_out += 1
                log.error("left out: %s", error if isinstance(error, LivecutError) else f"{path}: {error}")
            advance(count, path.name, len(paths))
            if cells and (len(cells) == place or count == len(paths)):
                written += 1
                pixels = make_cutout_sheet(cells, f"sheet {written} of {sheets} \u00b7 {heading}")
                write_picture(out / f"sheet-{written:03d}.png", pixels)
                cells.clear()
    signals.exit_if_stopped()
    if not written:
        raise SourceError(f"{data}: none of {len(paths)} pictures can be read")
    if not quiet:
        drawn, sheets_said = len(paths) - left_out, "1 sheet" if written == 1 else f"{written} sheets"
        log.info("%d of %d pictures on %s in %s", drawn, len(paths), sheets_said, out)
    if left_out:
        raise PartialFailure(f"{data}: {left_out} of {len(paths)} pictures left out")
