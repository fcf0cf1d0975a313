"""A model to make other precisions of, and pictures to do it on."""

import bundles
import precision_nets as nets
import pytest


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose three convolutions find what is bright."""
    made = nets.cutter(channels=16)
    changes = {"input__mean": [127.5] * 3, "input__std": [127.5] * 3}
    return bundles.write_bundle(tmp_path / "models" / "cutter", made.graph, **changes)


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures with masks."""
    return nets.write_pictures(tmp_path / "pictures")
