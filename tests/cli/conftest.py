"""What the command line's tests share."""

import numpy as np
import pytest
from typer.testing import CliRunner

from livecut.cli.main import app
from livecut.engine.pictures import write_picture


@pytest.fixture
def livecut():
    """Call the command in this process: ``livecut("cut", ...)`` gives exit_code, stdout, stderr."""

    def call(*arguments, input=None):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def photograph(tmp_path, rng):
    """A small picture on disk."""
    path = tmp_path / "photograph.png"
    write_picture(path, rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return path
