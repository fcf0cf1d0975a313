"""livecut cuts the background out of live product pictures, every frame, in real time, on the edge.

``import livecut`` is cheap: every public name is loaded on first use,
and no backend before a session opens.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# public name -> the module that defines it
_HOME = {
    "BackendError": "engine.errors",
    "Compositor": "engine.compositor",
    "Frame": "engine.frame",
    "LivecutError": "engine.errors",
    "ManifestError": "engine.errors",
    "Matte": "engine.matte",
    "ModelError": "engine.errors",
    "Pipeline": "engine.pipeline",
    "Session": "engine.session",
    "SinkError": "engine.errors",
    "SourceError": "engine.errors",
    "StreamReport": "engine.stats",
    "new_session": "engine.remove",
    "open_sink": "engine.sinks",
    "open_source": "engine.sources",
    "remove": "engine.remove",
}
__all__ = [
    "BackendError",
    "Compositor",
    "Frame",
    "LivecutError",
    "ManifestError",
    "Matte",
    "ModelError",
    "Pipeline",
    "Session",
    "SinkError",
    "SourceError",
    "StreamReport",
    "new_session",
    "open_sink",
    "open_source",
    "remove",
    "__version__",
]

if TYPE_CHECKING:
    from .engine.compositor import Compositor
    from .engine.errors import BackendError, LivecutError, ManifestError, ModelError, SinkError, SourceError
    from .engine.frame import Frame
    from .engine.matte import Matte
    from .engine.pipeline import Pipeline
    from .engine.remove import new_session, remove
    from .engine.session import Session
    from .engine.sinks import open_sink
    from .engine.sources import open_source
    from .engine.stats import StreamReport


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'livecut' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
