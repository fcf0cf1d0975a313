"""Everything a measurement can complain of, and the limits above which it does."""

from __future__ import annotations

import enum

ENOUGH_ROUNDS = 20
NOISY_SPREAD = 0.15
DRIFT = 0.07
CLOCK_CHANGE = 0.05
OTHER_LOAD_CORES = 0.10
STOLEN_SHARE = 0.01
CLOCK_DROP = 0.10
GROWTH_MB = 4.0
GROWTH_MB_PER_HOUR = 8.0


class Warn(str, enum.Enum):
    """What can be wrong with a figure; the list is closed, so that a reader can look each of them up."""

    FEW_SAMPLES = "few-samples"
    NOISY = "noisy"
    DRIFT = "drift"
    CLOCK = "clock-changed"
    OTHER_LOAD = "other-load"
    STOLEN = "stolen-time"
    QUOTA = "quota-throttled"
    THROTTLED = "throttled"
    CLOCKS_DOWN = "clocks-down"
    MEMORY_GROWS = "memory-grows"
    BACKEND_CHANGED = "backend-changed"
    WRONG_OUTPUT = "wrong-output"
    DIRTY = "dirty-checkout"
    QUICK = "quick"

    @property
    def meaning(self) -> str:
        """What it says, and how to get rid of it."""
        return _MEANINGS[self]


_MEANINGS = {
    Warn.FEW_SAMPLES: "too few samples for what is claimed of them: the intervals are wide; run longer",
    Warn.NOISY: f"the middle half of a contender's samples, or of a run's seconds, spans more than "
    f"{NOISY_SPREAD:.0%} of the median",
    Warn.DRIFT: f"the last third differs from the first third by more than {DRIFT:.0%}",
    Warn.CLOCK: f"a fixed computation took more than {CLOCK_CHANGE:.0%} longer or shorter after than before",
    Warn.OTHER_LOAD: f"other processes used more than {OTHER_LOAD_CORES:.2f} of a core: close them",
    Warn.STOLEN: "the hypervisor took CPU time away",
    Warn.QUOTA: "the CPU quota of the control group stopped the process for part of the run: raise it, or "
    "use fewer threads",
    Warn.THROTTLED: "the processor or GPU said that it slowed down for heat or power: cool it, or publish "
    "this as its steady state",
    Warn.CLOCKS_DOWN: f"clocks ended more than {CLOCK_DROP:.0%} below where they started",
    Warn.MEMORY_GROWS: f"resident memory, or the GPU's, rose by more than {GROWTH_MB:g} MB, at more than "
    f"{GROWTH_MB_PER_HOUR:g} MB an hour, once warm",
    Warn.BACKEND_CHANGED: "another backend took over during the run: the figures are of both",
    Warn.WRONG_OUTPUT: "outputs differ from the offline reference of the same frames, or none came out: work "
    "was skipped or mixed up, and the speed means nothing",
    Warn.DIRTY: "tracked files differ from the commit: the figures belong to no commit",
    Warn.QUICK: "a quick run: proves that the benchmark works, not a result",
}
