"""Where the CUDA sources lie, and how nvcc compiles them.

Standard library only, and no relative import: setup.py runs this file by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MAIN = "livecut.cu"
HEADERS = ("composite.cuh", "pixels.cuh", "planar.cuh", "preprocess.cuh", "small.cuh", "types.cuh")
HOST_SOURCES = ("emulate.cpp", "emulate.h", MAIN, *HEADERS)
FATBIN = "livecut.fatbin"
COMPUTE_CAPABILITIES = ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "12.0")
"""Turing, A100, GeForce 30, Orin, GeForce 40, Hopper, GeForce 50."""
PTX_OF = "9.0"
"""Whose PTX is shipped beside that of the last above: the driver compiles it for B200 and Thor (10.x, 11)."""
FLAGS = ("-std=c++17", "-O3")


def find_nvcc(root: Path = Path("/usr/local")) -> str | None:
    """nvcc on PATH, or where CUDA's installer puts it; the newest of several."""
    found = sorted(root.glob("cuda*/bin/nvcc"), key=lambda path: path.resolve())
    return shutil.which("nvcc") or (str(found[-1]) if found else None)


def supported(nvcc: str) -> tuple[str, ...]:
    """Compute capabilities that this nvcc compiles for, ascending."""
    done = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, timeout=60)
    codes = sorted({int(code) for code in re.findall(r"compute_(\d+)\b", done.stdout)})
    return tuple(f"{code // 10}.{code % 10}" for code in codes)


def nvcc_version(nvcc: str) -> str:
    """Such as ``13.0``."""
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=60)
    found = re.search(r"release (\d+\.\d+)", done.stdout)
    return found[1] if found else "0.0"


def source_digest() -> str:
    """Of the sources on the device's side."""
    digest = hashlib.sha256()
    for name in (MAIN, *HEADERS):
        digest.update((FOLDER / name).read_bytes() + b"\0")
    return digest.hexdigest()


def ptx_capabilities(capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``capabilities``, ascending, whose PTX is shipped: it serves what comes after them."""
    return tuple(each for each in capabilities if each in (PTX_OF, capabilities[-1]))


def fatbin_command(nvcc: str, capabilities: tuple[str, ...], out: Path) -> list[str]:
    """The command that compiles for all ``capabilities`` into one file."""
    targets = []
    for form, made_for in (("sm", capabilities), ("compute", ptx_capabilities(capabilities))):
        codes = [each.replace(".", "") for each in made_for]
        targets += [f"-gencode=arch=compute_{code},code={form}_{code}" for code in codes]
    return [nvcc, "-fatbin", *FLAGS, *targets, str(FOLDER / MAIN), "-o", str(out)]


def cubin_command(nvcc: str, capability: str, out: Path) -> list[str]:
    """The command that compiles for one GPU."""
    target = f"-arch=sm_{capability.replace('.', '')}"
    return [nvcc, "-cubin", *FLAGS, target, str(FOLDER / MAIN), "-o", str(out)]


def build_fatbin(folder: Path, nvcc: str | None = None) -> str:
    """Compile the fatbin into ``folder``, unless the one there is of these sources. Returns what was done.

    Never fails: without nvcc, or if it refuses, the kernels are compiled at first use; the answer says so.
    """
    nvcc = nvcc or find_nvcc()
    out = folder / FATBIN
    said = out.with_suffix(".json")
    try:
        digest = source_digest()
        if out.is_file():
            made = json.loads(said.read_text(encoding="utf-8"))
            if made["sources"] == digest and "ptx" in made:
                return "CUDA kernels: up to date"
        out.unlink(missing_ok=True)
        if nvcc is None:
            return "CUDA kernels: no nvcc here, so they are compiled at first use"
        known = supported(nvcc)
        capabilities = tuple(each for each in COMPUTE_CAPABILITIES if each in known)
        partial = folder / f".{FATBIN}.partial"
        command = fatbin_command(nvcc, capabilities, partial)
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode:
            return (
                f"CUDA kernels: nvcc refuses them, so they are compiled at first use: {done.stderr.strip()}"
            )
        partial.replace(out)
        facts = {
            "sources": digest,
            "compute_capabilities": capabilities,
            "ptx": ptx_capabilities(capabilities),
            "nvcc": nvcc_version(nvcc),
        }
        said.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    except (OSError, ValueError, TypeError, LookupError, subprocess.SubprocessError) as error:
        return f"CUDA kernels: not compiled, so they are compiled at first use: {error}"
    return f"CUDA kernels: compiled for {', '.join(capabilities)}"
