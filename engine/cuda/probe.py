"""Whether a GPU can really be used here, asked of the driver itself; pycuda is not needed for asking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..errors import BackendError, DeviceUnavailable
from .libcuda import COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR, INTEGRATED, LibCuda


@dataclass(frozen=True)
class GpuInfo:
    """One GPU, as its driver describes it."""

    ordinal: int
    name: str
    compute_capability: str
    """Such as ``8.6``."""
    driver: str
    """Highest CUDA version that the driver knows, such as ``12.4``."""
    integrated: bool
    """Shares its memory with the CPU."""
    total_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.name}, SM {self.compute_capability}, {self.total_bytes / 2**30:.1f} GiB, "
            f"driver for CUDA {self.driver}"
        )


def find_gpu(ordinal: int = 0) -> GpuInfo:
    """Ask the driver for a GPU. The first call initialises CUDA in this process; the answer is kept.

    Raises
    ------
    DeviceUnavailable
        If there is no driver or no such GPU; the message says which.
    """
    answer = _ask(ordinal)
    if isinstance(answer, GpuInfo):
        return answer
    raise DeviceUnavailable(answer)


def bus_ids() -> list[str]:
    """PCI bus ids of the GPUs that this process may see, in CUDA's order; empty where it cannot be asked."""
    try:
        cuda = LibCuda()
        return [cuda.pci_bus_id(ordinal) for ordinal in range(cuda.device_count())]
    except BackendError:
        return []


@cache
def _ask(ordinal: int) -> GpuInfo | str:
    try:
        return describe(LibCuda(), ordinal)
    except Exception as error:
        return str(error)


def describe(cuda: LibCuda, ordinal: int) -> GpuInfo:
    """What ``cuda`` says of a GPU; DeviceUnavailable if there is none of that number."""
    count = cuda.device_count()
    if ordinal >= count:
        raise DeviceUnavailable(
            f"there is no NVIDIA GPU {ordinal} here: the driver shows {count} "
            "(CUDA_VISIBLE_DEVICES limits what it shows)"
        )
    major, minor = cuda.driver_version()
    capability = [
        cuda.attribute(ordinal, which) for which in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR)
    ]
    return GpuInfo(
        ordinal,
        cuda.device_name(ordinal),
        f"{capability[0]}.{capability[1]}",
        f"{major}.{minor}",
        bool(cuda.attribute(ordinal, INTEGRATED)),
        cuda.total_bytes(ordinal),
    )
