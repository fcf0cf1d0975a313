"""The errors livecut raises, each with the exit code the command line gives it.

Every class is also the builtin a caller would expect, so ``except ValueError`` or ``except OSError`` keep
working.
"""


class LivecutError(Exception):
    """Root of all errors livecut raises on purpose. One line: what was expected, what came, the way out."""

    exit_code = 1


class UsageError(LivecutError, ValueError):
    """An argument does not make sense."""

    exit_code = 2


class PartialFailure(LivecutError):
    """Some items of a batch failed; the others are done."""

    exit_code = 3


class ModelError(LivecutError, ValueError):
    """A model is unknown, damaged or not what it says it is."""

    exit_code = 4


class ManifestError(ModelError):
    """A manifest is malformed, or disagrees with its ONNX file."""


class PassportError(ModelError):
    """A derived artefact has no passport, or not the one it should have."""


class BackendError(LivecutError, RuntimeError):
    """What runs the model failed; the backend is then only good for ``close``."""

    exit_code = 4


class DeviceUnavailable(BackendError):
    """The backend, device or precision that was asked for is not to be had here."""


class DeviceBusy(DeviceUnavailable):
    """Another process has the GPU for itself, or its compute mode closes it; it may be had later."""


class DriverTooOld(DeviceUnavailable):
    """The NVIDIA driver is older than what is installed needs."""


class WrongDevice(DeviceUnavailable):
    """An engine plan was built for another GPU than this one."""


class OutOfDeviceMemory(BackendError, MemoryError):
    """The GPU has not enough free memory; everything taken so far has been given back."""


class DeviceLost(BackendError):
    """The GPU stopped answering, or refuses everything after a fault (the driver logs it as an Xid)."""


class SourceError(LivecutError, OSError):
    """A source cannot be opened or read."""

    exit_code = 5


class PictureError(SourceError):
    """One picture cannot be read; a folder run counts it and goes on."""


class SinkError(LivecutError, OSError):
    """A sink cannot be opened, written or finished."""

    exit_code = 5


class GateMissed(LivecutError):
    """A budget or gate was missed (``bench``)."""

    exit_code = 6
