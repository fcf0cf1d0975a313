"""How a command ends: one line on stderr and a documented exit code; and how it is stopped from outside."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

import typer

from ..engine.errors import LivecutError

P = ParamSpec("P")
R = TypeVar("R")
INTERNAL_ERROR, INTERRUPTED, TERMINATED = 1, 130, 143
GRACE_SECONDS = 5.0


def ends_with_exit_code(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a command raises into one line on stderr and its exit code; set up its logging first.

    A LivecutError gives its own code, anything else 1. A traceback is shown with ``-vv`` or
    ``LIVECUT_TRACEBACK=1``.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        verbose = int(kwargs.get("verbose") or 0)  # type: ignore[call-overload]
        configure_logging(verbose=verbose, quiet=bool(kwargs.get("quiet")))
        wants_traceback = verbose >= 2 or os.environ.get("LIVECUT_TRACEBACK") == "1"
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except LivecutError as error:
            _complain(str(error), wants_traceback)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our stdout went away, as with `| head`: nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except MemoryError:
            _complain("not enough memory", wants_traceback)
            raise typer.Exit(INTERNAL_ERROR) from None
        except Exception as error:
            reason = " ".join(str(error).split())
            _complain(
                f"internal: {type(error).__name__}: {reason} (LIVECUT_TRACEBACK=1 shows where)",
                wants_traceback,
            )
            raise typer.Exit(INTERNAL_ERROR) from None

    return run


def _complain(text: str, wants_traceback: bool) -> None:
    if wants_traceback:
        import traceback

        traceback.print_exc()
    print(f"livecut: error: {' '.join(text.split())}", file=sys.stderr)


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the stderr of the moment; a progress bar or a test may have replaced it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"livecut: {level}{super().format(record)}"


def configure_logging(*, verbose: int = 0, quiet: bool = False) -> None:
    """Log to stderr: errors alone with ``quiet``, debugging with ``verbose``, else what matters."""
    logger = logging.getLogger("livecut")
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(_Formatter())
        logger.addHandler(handler)
        logger.propagate = False


@contextmanager
def said_once() -> Iterator[None]:
    """While this context is open, what has been logged is not logged again: many streams run the same thing.

    Warnings and errors are always shown.
    """
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = record.levelno > logging.INFO or text not in said
        said.add(text)
        return new

    logger = logging.getLogger("livecut")
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


class StopSignals:
    """While this context is open, Ctrl-C and SIGTERM ask ``stop`` to finish instead of ending the process.

    What is being done has ``GRACE_SECONDS`` to finish; after that, or on a second signal, the process
    ends at once. ``exit_if_stopped`` then ends the command with 130 or 143.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._code: int | None = None
        self._finished = threading.Event()

    @property
    def was_stopped(self) -> bool:
        """Whether a signal came."""
        return self._code is not None

    def exit_if_stopped(self) -> None:
        """End the command with the signal's exit code, if one came."""
        if self._code is not None:
            raise typer.Exit(self._code)

    def __enter__(self) -> StopSignals:
        # ``stop`` takes locks, and a handler interrupts the main thread anywhere, also while it holds
        # them: so
        # the handler only writes a byte, and a thread that waits for it calls ``stop``.
        self._read_end, self._write_end = os.pipe()
        self._thread = threading.Thread(target=self._wait_for_signal, name="livecut-signals", daemon=True)
        self._thread.start()
        self._previous = {
            number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._code is not None:
            os._exit(self._code)
        self._code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        os.write(self._write_end, b"!")

    def _wait_for_signal(self) -> None:
        if os.read(self._read_end, 1):
            logging.getLogger("livecut").info("stopping; once more to stop at once")
            self._stop()
            if not self._finished.wait(GRACE_SECONDS):
                os._exit(self._code or TERMINATED)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._finished.set()
        os.close(self._write_end)
        self._thread.join()
        os.close(self._read_end)
