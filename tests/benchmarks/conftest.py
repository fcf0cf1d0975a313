"""The benchmarks are no part of the package: they are found from the checkout's root.

Here are also the fixtures of the GPU check's stages: a GPU made of software, and settings that use it.
"""

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """The library of a GPU made of software."""
    import software_gpu

    return software_gpu.build(tmp_path_factory.mktemp("gpu"))


@pytest.fixture
def settings(driver, tiny_model):
    """A stage's settings: the tiny model on that GPU."""
    from software_checks import settings_for

    return settings_for(driver, tiny_model)


@pytest.fixture
def stateful(driver, tiny_stateful_model):
    """The same with a model that has state."""
    from software_checks import settings_for

    return settings_for(driver, tiny_stateful_model)


@pytest.fixture(params=["settings", "stateful"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def device_settings(driver):
    """What a stage that needs no engine is given."""
    from software_checks import MODULE

    from benchmarks.gpu_check.ctypes_device import CtypesDevice

    return {"device": CtypesDevice(path=str(driver)), "module": MODULE, "small": True, "quick": True,
            "size_wh": (64, 32)}  # fmt: skip
