"""The CUDA kernels against their specification: the same source, emulated on the host."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # benchmarks are no part of the package

from benchmarks.gpu_check import numerics
from benchmarks.gpu_check.cases import PreprocessCase, RefineCase, preprocess_cases, refine_cases
from benchmarks.gpu_check.machines import HostMachine, WroteOutside
from livecut.kernels.cuda import KERNELS, Launch, emulate

pytestmark = pytest.mark.skipif(emulate.compiler() is None, reason="no C++ compiler to emulate CUDA with")


def case_name(case):
    return case.name


def assert_all_pass(outcomes):
    wrong = [outcome for outcome in outcomes if not outcome.passed]
    assert outcomes
    assert not wrong, "\n".join(map(str, wrong))


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def machine(request):
    """Threads and blocks in order and in reverse: neither may matter."""
    return HostMachine(reverse=request.param)


@pytest.mark.parametrize("case", list(preprocess_cases()), ids=case_name)
def test_preprocess_matches_the_specification(case):
    assert_all_pass(numerics.check_preprocess(HostMachine(), case))


@pytest.mark.parametrize("case", list(refine_cases()), ids=case_name)
def test_refine_and_composite_match_the_specification(case):
    assert_all_pass(numerics.check_refine(HostMachine(), case))


@pytest.mark.parametrize("format", ["BGR", "NV12"])
def test_the_order_of_threads_does_not_matter_to_preprocess(machine, format):
    assert_all_pass(numerics.check_preprocess(machine, PreprocessCase(format, (333, 77), (200, 40))))


@pytest.mark.parametrize("output", ["RGB", "RGBA", "I420", "YUVA420", "ALPHA"])
def test_the_order_of_threads_does_not_matter_to_refine(machine, output):
    options = {"radius": 3, "fusion_radius": 5}
    case = RefineCase("RGB", output, (150, 61), (70, 33), options=options)
    assert_all_pass(numerics.check_refine(machine, case))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("size_wh", [(40, 20), (1, 1), (33, 9), (2, 70)])
def test_smoothing_matches_the_specification(machine, size_wh, dtype):
    assert_all_pass(numerics.check_smooth(machine, size_wh, dtype))


@pytest.mark.parametrize("gap", [0, 1, 4])
@pytest.mark.parametrize("size_wh", [(97, 61), (1, 1), (130, 3)])
def test_composite_over_is_exact(machine, size_wh, gap):
    assert_all_pass(numerics.check_over(machine, size_wh, gap))


def test_an_alpha_that_none_may_be_is_told():
    assert_all_pass(numerics.check_status(HostMachine()))


@pytest.mark.parametrize("format", ["RGB", "BGR", "RGBA", "BGRA", "I420"])
def test_the_output_may_be_the_frame_itself(machine, format):
    assert_all_pass(numerics.check_in_place(machine, format))


def test_half_precision_converts_as_numpy_does(rng):
    """Every half, through a picture of one row that passes preprocess unchanged."""
    values = np.arange(65536, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)]
    assert_all_pass(numerics.check_half(HostMachine(), values[values >= 0]))


def test_argument_blocks_are_laid_out_as_in_the_source():
    loaded = emulate.library()
    for name, block in KERNELS.items():
        assert getattr(loaded, f"sizeof_{name}")() == block.itemsize, name


GUARDED = """
import ctypes, mmap, sys
import numpy as np
sys.path.insert(0, {root!r})
from benchmarks.gpu_check import numerics
from benchmarks.gpu_check.cases import PreprocessCase, RefineCase
from benchmarks.gpu_check.machines import HostMachine
from livecut.kernels.cuda import emulate

libc = ctypes.CDLL(None, use_errno=True)

class GuardedMachine(HostMachine):
    "Every block ends, to the byte where it may, at a page that nobody may touch, and begins behind another."

    def take(self, nbytes):
        page = mmap.PAGESIZE
        pages = -(-nbytes // page)
        memory = mmap.mmap(-1, (pages + 2) * page)
        raw = np.frombuffer(memory, np.uint8)
        base = raw.ctypes.data
        for at in (base, base + (pages + 1) * page):
            assert libc.mprotect(ctypes.c_void_p(at), page, 0) == 0
        address = base + (pages + 1) * page - nbytes
        address -= address % (16 if nbytes % 16 == 0 else 4 if nbytes % 4 == 0 else 1)
        self._blocks[address] = (raw, address - base, nbytes)
        return address

    def run(self, launches):
        emulate.run(launches)

for format in ("BGR", "RGBA", "I420", "NV12"):
    for size in ((64, 36), (67, 35), (5, 3), (200, 120)):
        case = PreprocessCase(format, size, (40, 24))
        assert all(each.passed for each in numerics.check_preprocess(GuardedMachine(), case)), case.name
        for output in ("RGB", "BGRA", "ALPHA", "I420", "YUVA420"):
            case = RefineCase(format, output, size, (40, 24), input_alpha=output == "ALPHA")
            assert all(each.passed for each in numerics.check_refine(GuardedMachine(), case)), case.name
print("nothing read outside")
"""


def test_kernels_read_and_write_nothing_outside_their_blocks():
    """In a process of its own: a touch of a page beside a block would end it."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", GUARDED.format(root=root)], capture_output=True, text=True)
    assert done.stdout.strip() == "nothing read outside", f"{done.returncode}: {done.stderr[-2000:]}"


def test_a_write_outside_a_block_is_found():
    machine = HostMachine()
    address = machine.take(100)
    machine._blocks[address][0][-1] = 0
    with pytest.raises(WroteOutside, match="100 bytes"):
        machine.run([])


def test_a_wrong_result_is_found(monkeypatch):
    """The comparison itself: a kernel that is not the specification's fails its case."""
    case = RefineCase("RGB", "RGB")

    def broken(launches, reverse=False):
        changed = [
            Launch(each.kernel, each.grid, each.block, with_radius(each), each.shared_bytes)
            for each in launches
        ]
        for each in changed:
            emulate.call(each.kernel, each.grid, each.block, each.arguments)

    def with_radius(launch):
        if launch.kernel != "lc_solve":
            return launch.arguments
        block = launch.arguments[0].copy()
        block["radius"] = 1
        return (block,)

    monkeypatch.setattr(emulate, "run", broken)
    assert not all(outcome.passed for outcome in numerics.check_refine(HostMachine(), case))
