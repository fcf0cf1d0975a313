"""The wheel holds all that is needed and nothing that is not, and works outside the checkout."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parent.parent
NOT_SHIPPED = ("tests", "benchmarks")


def packages():
    """``PACKAGES`` of setup.py, read without running it."""
    block = re.search(r"PACKAGES = \[(.*?)\]", (ROOT / "setup.py").read_text(encoding="utf-8"), re.DOTALL)
    return re.findall(r'"([\w.]+)"', block[1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that the checkout's own build is left alone."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, sources)
    for room in {name.split(".")[1] for name in packages() if "." in name}:
        shutil.copytree(ROOT / room, sources / room, ignore=shutil.ignore_patterns("__pycache__"))
    # nvcc takes minutes, and is tested by itself: tests/kernels/test_cuda_module.py
    environment = {**os.environ, "PIP_NO_INDEX": "1", "LIVECUT_CUDA": "0"}
    command = [
        sys.executable,
        "setup.py",
        "--quiet",
        "build_ext",
        "-j2",
        "bdist_wheel",
        "--dist-dir",
        str(folder),
    ]
    subprocess.run(command, cwd=sources, check=True, env=environment, capture_output=True, timeout=600)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment that holds the wheel, and sees this one's other packages but not its livecut."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    there = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(there)
    # A plain path line, unlike a site folder, runs no .pth file: the editable livecut stays out.
    (there / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def run(python, *arguments, cwd):
    """Run with nothing of ours in the environment variables."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LIVECUT"))}
    done = subprocess.run(
        [python, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_models_and_type_marker_but_no_setup_or_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "livecut/py.typed" in names
    for file in ("model.onnx", "manifest.json", "MODEL_CARD.md", "LEDGER.json"):
        assert f"livecut/models/livecut-s/{file}" in names
    for path in (ROOT / "models").glob("*/*"):  # all of a bundle, with what its card shows
        assert f"livecut/models/{path.parent.name}/{path.name}" in names
    assert "livecut/setup.py" not in names
    folders = {name.split("/")[1] for name in names if name.startswith("livecut/") and name.count("/") > 1}
    assert folders == {name.split(".")[1] for name in packages() if "." in name}
    assert {name.split("/")[0] for name in names} == {"livecut", f"livecut-{version()}.dist-info"}


def version():
    return importlib.metadata.version("livecut")


def test_the_wheel_holds_every_compiled_kernel(wheel):
    wanted = set(re.findall(r'kernel\("(\w+)"', (ROOT / "setup.py").read_text(encoding="utf-8")))
    names = zipfile.ZipFile(wheel).namelist()
    found = {match[1] for name in names if (match := re.match(r"livecut/kernels/_(\w+)\..*(so|pyd)$", name))}
    assert found == wanted


def test_the_wheel_holds_the_sources_of_the_cuda_kernels(wheel):
    folder = ROOT / "kernels" / "cuda"
    wanted = {path.name for pattern in ("*.cu", "*.cuh", "emulate.*") for path in folder.glob(pattern)}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.rsplit("/", 1)[1] for name in names if name.startswith("livecut/kernels/cuda/")} >= wanted


def test_setup_lists_every_package():
    rooms = {path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / name for name in NOT_SHIPPED}
    ours = {path.parent for room in rooms for path in room.rglob("__init__.py")} | {ROOT}
    assert {".".join(["livecut", *folder.relative_to(ROOT).parts]) for folder in ours} == set(packages())


def test_every_package_imports_from_the_wheel(environment, tmp_path):
    code = (
        "import importlib, sys\n"
        f"names = {packages()!r}\n"
        "for name in names: importlib.import_module(name)\n"
        "print(sys.modules['livecut'].__file__)"
    )
    assert str(ROOT) not in run(environment, "-c", code, cwd=tmp_path)


def test_a_picture_is_cut_out_by_the_wheel(environment, tmp_path, rng):
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    run(environment, "-m", "livecut", "cut", "in.png", "out.png", cwd=tmp_path)
    with Image.open(tmp_path / "out.png") as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (64, 48))


def test_the_wheel_names_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read(f"livecut-{version()}.dist-info/entry_points.txt").decode()
    assert "livecut = livecut.cli.main:run" in entry_points
