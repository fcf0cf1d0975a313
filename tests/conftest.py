"""Fixtures, and what makes the root-is-the-package layout work under pytest."""

import os

import numpy as np
import pytest


class _RootIsNotATestPackage:
    """The repository root is the package ``livecut``; pytest must not also import it as ``<checkout>``."""

    def __init__(self, root):
        self.root = root

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path, parent):
        if path == self.root:
            return pytest.Dir.from_parent(parent, path=path)
        return None


def pytest_configure(config):
    config.pluginmanager.register(_RootIsNotATestPackage(config.rootpath))


def gpu_is_present():
    return os.path.exists("/proc/driver/nvidia/version")


def pytest_collection_modifyitems(items):
    if gpu_is_present() or os.environ.get("LIVECUT_REQUIRE_GPU") == "1":
        return  # on the GPU job a missing GPU is a failure, not a skip
    for item in items:
        if item.get_closest_marker("needs_gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))


@pytest.fixture
def rng():
    """Seeded per test, so a failure reproduces from the test name alone."""
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a bundle of a few kilobytes: alpha is the red channel."""
    import bundles

    return bundles.write_bundle(tmp_path_factory.mktemp("models") / "tiny", bundles.red_as_alpha())


@pytest.fixture(scope="session")
def tiny_stateful_model(tmp_path_factory):
    """A bundle with a recurrent state: alpha is half of red and half of the alpha before."""
    import bundles

    folder = tmp_path_factory.mktemp("models") / "tiny-stateful"
    return bundles.write_bundle(folder, bundles.half_of_before(), state=bundles.HALF_STATE)
