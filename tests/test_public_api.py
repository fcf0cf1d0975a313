"""``import livecut`` is cheap, and every public name is there."""

import subprocess
import sys

import pytest

import livecut

BACKENDS_AND_THE_LIKE = (
    "openvino",
    "onnxruntime",
    "av",
    "cv2",
    "PIL",
    "torch",
    "typer",
    "rich",
    "onnx",
    "psutil",
)


def loaded_after(code, tmp_path):
    """Which heavy packages a fresh process has loaded after ``code``."""
    ask = f"{code}\nimport sys\nprint([m for m in {BACKENDS_AND_THE_LIKE!r} if m in sys.modules])"
    # From another folder: in the checkout's parent, ``livecut`` could be found by accident.
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_backend(tmp_path):
    assert loaded_after("import livecut", tmp_path) == "[]"


def test_the_engines_classes_load_no_backend(tmp_path):
    names = "Compositor, Frame, Pipeline, Session, StreamReport"
    assert loaded_after(f"from livecut import {names}", tmp_path) == "[]"


def test_a_null_session_loads_no_backend(tmp_path):
    code = "import livecut, numpy as np\nlivecut.Session(backend='null').cut(np.zeros((9, 9, 3), np.uint8))"
    assert loaded_after(code, tmp_path) == "[]"


@pytest.mark.parametrize("name", sorted(set(livecut.__all__)))
def test_every_public_name_is_there(name):
    assert getattr(livecut, name) is not None
    assert name in dir(livecut)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'livecut' has no attribute 'cutt'"):
        _ = livecut.cutt


def test_errors_are_also_the_builtin_a_caller_expects():
    assert issubclass(livecut.ModelError, ValueError)
    assert issubclass(livecut.BackendError, RuntimeError)
    assert issubclass(livecut.SourceError, OSError)
    assert issubclass(livecut.SinkError, OSError)
    assert issubclass(livecut.ManifestError, livecut.ModelError)
