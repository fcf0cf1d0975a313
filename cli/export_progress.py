"""What ``livecut export`` shows: a bar for the step at work, and a line for each that is done."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..export.steps import Made


class StepLines:
    """Prints to stderr; the bar is drawn on a terminal only, the lines always unless ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._task: Any = None

    def __enter__(self) -> StepLines:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
            columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
            self._bars = Progress(
                *columns, TextColumn("{task.fields[part]}"), console=self._console, transient=True,
                disable=not sys.stderr.isatty(),
            )  # fmt: skip
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def progress(self, step: str, part: str, share: float) -> None:
        """Move the bar."""
        if self._bars is None:
            return
        if self._task is None:
            self._task = self._bars.add_task(step, total=1.0, part=part)
        self._bars.update(self._task, description=step, completed=share, part=part)

    def done(self, made: Made) -> None:
        """Take the bar away and print the step's line."""
        if self._bars is None:
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        from rich.text import Text

        for note in made.passport.extra.get("notes", ()) if not made.reused else ():
            self._console.print(Text(f"  {note}", "dim"))
        mark = ("==", "cyan") if made.reused else ("ok", "green")
        self._console.print(Text.assemble(mark, " ", (f"{made.name:<22}", "bold"), described(made)))


def described(made: Made) -> str:
    """One line: the file, its size, the precision found and how, parity, and how long it took."""
    passport = made.passport
    parts = [made.artefact.name, size_of(passport.size_bytes)]
    found = f"{passport.precision_found} ({passport.precision_evidence})"
    if len(passport.layers) > 1:
        layers = ", ".join(f"{count} {name}" for name, count in sorted(passport.layers.items()) if count)
        found = f"{passport.precision_found} by {passport.precision_evidence}: {layers}"
    parts.append(found)
    if passport.kept_higher:
        parts.append(f"{len(passport.kept_higher)} kept higher")
    if "max_abs" in passport.parity:
        mad = passport.parity.get("alpha_mad")
        text = f"alpha differs by {passport.parity['max_abs']:.1e} at most"
        parts.append(text if mad is None else f"{text}, {mad:.1e} on average")
    if "mae_growth" in passport.parity:
        growth = (passport.parity[name] for name in ("mae_growth", "dtssd_growth"))
        parts.append("MAE {:+.1%}, dtSSD {:+.1%}".format(*growth))
    parts.append("as it was: still right" if made.reused else f"{passport.build_seconds:.1f} s")
    return "; ".join(parts)


def size_of(count: int) -> str:
    """``2.6 MB``."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
