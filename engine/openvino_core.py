"""The process's one OpenVINO runtime."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

_lock = threading.Lock()


def openvino_core() -> openvino.Core:
    """The same ``openvino.Core`` for all, never destroyed while the process lives.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and frees that memory when the
    plugin goes, on whatever thread that is. A Core that is opened on the main thread and dropped on another
    leaves the main thread with a stack that is gone: the next SIGTERM or Ctrl-C then ends the process with
    SIGSEGV, because Python's handlers run on that stack.
    """
    with _lock:
        return _made()


@lru_cache(maxsize=1)
def _made() -> openvino.Core:
    import openvino

    return openvino.Core()
