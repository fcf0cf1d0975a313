"""The arrows between rooms, and what must not be imported where."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# room -> what else in the project it may import
MAY_IMPORT = {
    "kernels": set(),
    "engine": {"kernels"},
    # What runs a model must be able to rebuild its engine, so what builds engines lives in engine/ and export
    # calls it: docs/decisions/0005-engines-are-rebuilt-where-they-run.md.
    "export": {
        "engine.manifest",
        "engine.passport",
        "engine.atomic",
        "engine.tensorrt",
        "engine.errors",
        "engine.openvino_core",
        "engine.processor",
        "engine.scenes",
    },
    "training": {
        "export",
        "kernels",
        "engine.manifest",
        "engine.passport",
        "engine.errors",
        "engine.openvino_core",
        "engine.processor",
        "engine.registry",
    },
    "cli": {"engine", "export", "training", "__version__"},
}
ROOMS = {*MAY_IMPORT, "models"}

# A room's heavy packages come inside the module that needs them, never when the room is imported.
HEAVY = {
    *{"openvino", "onnxruntime", "av", "cv2", "PIL", "torch", "onnx"},
    *{"tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "pycuda"},
}
MAY_BE_HEAVY = {
    "engine/backends/openvino.py": {"openvino"},
    "engine/backends/ort.py": {"onnxruntime"},
    "engine/backends/ort_cuda.py": {"onnxruntime"},
    # What paints the synthetic camera's pictures: imported when one is switched on.
    "engine/sources/backdrop.py": {"cv2"},
    "engine/sources/product.py": {"cv2"},
    "engine/sources/scene.py": {"cv2"},
}
MOST_LINES = 400


def files(room):
    return sorted(path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def project_imports(path):
    """Every project module ``path`` imports from outside its own room, as ``room.module``."""
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level == depth:  # ``from ..kernels import x`` or ``from .. import kernels``
                yield from [node.module] if node.module else [alias.name for alias in node.names]
            elif node.level == 0:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_ours(module):
    return module.split(".")[0] in {"livecut", *ROOMS}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    for path in files(room):
        for module in filter(is_ours, project_imports(path)):
            name = module.removeprefix("livecut.")
            allowed = MAY_IMPORT[room] | {room}
            fine = any(name == m or name.startswith(m + ".") for m in allowed)
            assert fine, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_inside_the_package_imports_are_relative(room):
    """``import engine`` works by accident where the root is on the path, and loads everything twice."""
    for path in files(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                top = name.split(".")[0]
                assert top not in ROOMS, f"{path.relative_to(ROOT)} imports {name}: say livecut.{name} or .."


def top_level_imports(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


@pytest.mark.parametrize("room", ["kernels", "engine", "cli"])
def test_heavy_packages_are_imported_where_they_are_used(room):
    for path in files(room):
        name = path.relative_to(ROOT).as_posix()
        heavy = set(top_level_imports(path)) & HEAVY - MAY_BE_HEAVY.get(name, set())
        assert not heavy, f"{name} imports {', '.join(sorted(heavy))} at the top: import it in the function"


def test_kernels_raise_only_type_and_value_errors():
    for path in files("kernels"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = getattr(node.exc.func, "id", "")
                assert name in ("TypeError", "ValueError"), f"{path.relative_to(ROOT)} raises {name}"


def test_every_package_is_listed_for_the_wheel():
    """``find_packages`` cannot see the rooms through the package mapping: setup.py lists them."""
    listed = set(re.findall(r'"(livecut(?:\.\w+)*)",', (ROOT / "setup.py").read_text(encoding="utf-8")))
    found = {"livecut"}
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            found.add("livecut." + ".".join(init.parent.relative_to(ROOT).parts))
    assert found <= listed, f"setup.py does not list {sorted(found - listed)}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_files_stay_small(room):
    for path in files(room):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines: split it"
