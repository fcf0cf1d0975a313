"""What a figure was measured on: the description that ``livecut bench`` gives too."""

from __future__ import annotations

from livecut.engine.bench.machine import commit, describe, dirty, short_name

__all__ = ["commit", "describe", "dirty", "short_name"]
