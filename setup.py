"""Build of livecut: the compiled kernels, and the repository root as the package ``livecut``."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# The root is the package, so ``find_packages`` cannot see the rooms: list each one. A test imports them
# from a wheel.
PACKAGES = [
    "livecut",
    "livecut.cli",
    "livecut.engine",
    "livecut.engine.backends",
    "livecut.engine.bench",
    "livecut.engine.bench.sensors",
    "livecut.engine.cuda",
    "livecut.engine.sinks",
    "livecut.engine.sources",
    "livecut.engine.tensorrt",
    "livecut.export",
    "livecut.kernels",
    "livecut.kernels.cuda",
    "livecut.models",
    "livecut.training",
    "livecut.training.data",
    "livecut.training.model",
]
CHECKED = os.environ.get("LIVECUT_CHECKED") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": CHECKED,
    "initializedcheck": CHECKED,
    "cdivision": not CHECKED,
    "freethreading_compatible": False,
}
# Python compiles with -fwrapv, under which a loop over `2 * i` of int is not known to be contiguous:
# no vectors.
CFLAGS = (
    []
    if sys.platform == "win32"
    else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-wrapv", "-pthread", "-std=c11"]
)
CSRC = "kernels/csrc"


def kernel(name, *sources):
    """One extension ``livecut.kernels._name`` over its .pyx and C files."""
    return Extension(
        f"livecut.kernels._{name}",
        [f"kernels/_{name}.pyx", *(f"{CSRC}/{source}" for source in sources)],
        include_dirs=[CSRC, numpy.get_include()],
        depends=[f"{CSRC}/{header}" for header in sorted(os.listdir(CSRC)) if header.endswith(".h")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=CFLAGS,
        extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
    )


class BuildPyWithoutSetup(build_py):
    """The root folder is a package, so setuptools would ship setup.py as ``livecut.setup``."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        return [entry for entry in modules if entry[:2] != ("livecut", "setup")]


class BuildExtAndCuda(build_ext):
    """Compiles the CUDA kernels too, if nvcc is there; a build without them is whole.

    ``LIVECUT_CUDA=0`` leaves them out. A build in place has them only with ``LIVECUT_CUDA=1``: a checkout
    compiles for its own GPU alone, at first use.
    """

    def run(self):
        super().run()
        if os.environ.get("LIVECUT_CUDA", "0" if self.inplace else "1") == "0":
            return
        root = Path(__file__).resolve().parent / "kernels" / "cuda"
        spec = importlib.util.spec_from_file_location("livecut_cuda_sources", root / "sources.py")
        sources = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sources)
        folder = root if self.inplace else Path(self.build_lib) / "livecut" / "kernels" / "cuda"
        folder.mkdir(parents=True, exist_ok=True)
        print(sources.build_fatbin(folder))


setup(
    packages=PACKAGES,
    package_dir={"livecut": "."},
    # what ships is named below; by default setuptools warns of each folder of data
    include_package_data=False,
    package_data={
        "livecut": ["py.typed"],
        "livecut.engine.bench": ["*.css"],
        "livecut.kernels.cuda": ["*.cu", "*.cuh", "emulate.cpp", "emulate.h", "*.fatbin", "livecut.json"],
        "livecut.export": ["recipes/*.toml"],
        "livecut.models": ["*/*.onnx", "*/*.json", "*/*.md", "*/*.png", "*/*.jpg"],
        "livecut.training": ["configs/*.toml"],
        "livecut.training.data": ["outlines/*.json", "outlines/second/*.json"],
    },
    # LIVECUT_KERNELS=0 installs without compiling: `make dev` does, as `make build` follows and keeps its
    # objects.
    ext_modules=[]
    if os.environ.get("LIVECUT_KERNELS") == "0"
    else cythonize(
        [
            kernel("matte", "matte.c"),
            kernel("preprocess", "preprocess.c"),
            kernel("refine", "refine.c"),
            kernel("threads", "threads.c"),
        ],
        compiler_directives=DIRECTIVES,
        force=CHECKED,
    ),
    cmdclass={"build_ext": BuildExtAndCuda, "build_py": BuildPyWithoutSetup},
)
