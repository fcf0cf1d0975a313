"""The CUDA kernels compiled: for which GPU, by what, from where; and the launches that a frame needs."""

import json
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

from livecut.kernels import fit
from livecut.kernels.cuda import (
    KERNELS,
    Planes,
    cache,
    get_module,
    module,
    nvrtc,
    preprocess_launch,
    refine_launches,
    smooth_launches,
    sources,
    work_bytes,
)
from livecut.kernels.cuda.arguments import COMPOSITE, block_of

GEOMETRY = fit((64, 36), (32, 32))
FRAME = Planes.packed(1 << 20, "BGR", (64, 36))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("capability", ["8.6", "8.7", "8.9", "9.0"])
def test_the_kernels_compile_without_a_warning_for(tmp_path, capability):
    program = shutil.which("nvcc")
    if program is None:
        pytest.skip("nvcc is not on PATH")
    if capability not in sources.supported(program):
        pytest.skip(f"this nvcc does not know {capability}")
    out = tmp_path / "kernels.cubin"
    done = subprocess.run(sources.cubin_command(program, capability, out), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    image = out.read_bytes()
    assert image[:4] == b"\x7fELF"
    assert all(name.encode() in image for name in KERNELS)


def test_a_module_compiled_at_first_use_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_shipped", lambda *_: None)
    stand_in_nvcc(tmp_path, COMPILES)
    first = get_module("8.6", "12.4")
    assert (first.how, first.compute_capability) == ("nvcc 12.4", "8.6")
    (kept,) = (tmp_path / "cache" / "kernels").iterdir()
    kept.write_bytes(b"from the cache")
    assert get_module("8.6", "12.4").image == b"from the cache"
    with pytest.raises(ValueError, match=r"nvcc 12\.4 does not compile for it"):
        get_module("9.0", "12.4")
    with pytest.raises(ValueError, match=r"nvcc 12\.4 is newer than the driver's CUDA 11"):
        get_module("8.6", "11.8")


def test_nvrtc_compiles_them_too(tmp_path):
    try:
        library = nvrtc.Nvrtc()
    except ValueError as error:
        pytest.skip(str(error))
    capability = library.capabilities()[-1]
    assert library.compile(capability)[:4] == b"\x7fELF"
    with pytest.raises(ValueError, match="compute_capability: expected"):
        library.compile("1.0")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder with a fatbin as a build leaves it, in place of the package's."""
    for name in (sources.MAIN, *sources.HEADERS):
        shutil.copy(sources.FOLDER / name, tmp_path)
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    (tmp_path / sources.FATBIN).write_bytes(b"fatbin")
    facts = {
        "sources": sources.source_digest(), "compute_capabilities": ["8.6", "9.0", "12.0"],
        "ptx": ["9.0", "12.0"], "nvcc": "13.0",
    }  # fmt: skip
    (tmp_path / "livecut.json").write_text(json.dumps(facts))
    monkeypatch.setattr(module, "_by_nvcc", lambda *_: (_ for _ in ()).throw(ValueError("no nvcc")))
    monkeypatch.setattr(module, "_by_nvrtc", lambda *_: (_ for _ in ()).throw(ValueError("no NVRTC")))
    return tmp_path


@pytest.mark.parametrize("capability", ["8.6", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1"])
def test_the_shipped_fatbin_serves_what_it_holds_and_what_came_after(shipped, capability):
    found = get_module(capability, "13.0")
    assert (found.image, found.how) == (b"fatbin", "shipped fatbin (nvcc 13.0)")


@pytest.mark.parametrize(
    ("capability", "driver", "changed"),
    [("8.9", "13.0", False), ("8.6", "12.9", False), ("8.6", "13.0", True)],
    ids=["a GPU it does not hold", "a driver that is older", "sources that are newer"],
)
def test_the_shipped_fatbin_is_passed_over_for(shipped, capability, driver, changed):
    if changed:
        (shipped / sources.MAIN).write_text("// changed\n")
    with pytest.raises(ValueError, match=r"expected a compiler, got none: no nvcc; no NVRTC"):
        get_module(capability, driver)


def test_a_driver_compiles_no_ptx_of_a_later_cuda(shipped):
    facts = json.loads((shipped / "livecut.json").read_text()) | {"nvcc": "13.1"}
    (shipped / "livecut.json").write_text(json.dumps(facts))
    assert get_module("9.0", "13.0").image == get_module("10.0", "13.1").image == b"fatbin"
    with pytest.raises(ValueError, match="expected a compiler"):
        get_module("10.0", "13.0")


@pytest.mark.parametrize("content", ["", "[]", '{"sources": 1}'])
def test_a_damaged_description_of_the_fatbin_counts_as_none(shipped, content):
    (shipped / "livecut.json").write_text(content)
    with pytest.raises(ValueError, match="expected a compiler"):
        get_module("8.6")


@pytest.mark.parametrize("capability", ["86", "sm_86", "8.6; rm", ""])
def test_a_compute_capability_of_another_form_is_refused(capability):
    with pytest.raises(ValueError, match=r"compute_capability: expected a form like 8\.6"):
        get_module(capability)


def stand_in_nvcc(folder, body):
    path = folder / "nvcc"
    path.write_text(f"#!{sys.executable}\nimport sys\narguments = sys.argv[1:]\n{body}\n")
    path.chmod(0o755)
    return str(path)


COMPILES = """
if "--version" in arguments:
    print("Cuda compilation tools, release 12.4, V12.4.1")
elif "--list-gpu-arch" in arguments:
    print("compute_75\\ncompute_80\\ncompute_86")
else:
    open(arguments[-1], "w").write(" ".join(a for a in arguments if a.startswith("-gencode")))
"""


def test_nvcc_is_found_beside_the_path(tmp_path, monkeypatch):
    for version in ("12.4", "13.0"):
        (tmp_path / f"cuda-{version}" / "bin").mkdir(parents=True)
        (tmp_path / f"cuda-{version}" / "bin" / "nvcc").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert sources.find_nvcc(tmp_path) == str(tmp_path / "cuda-13.0" / "bin" / "nvcc")
    assert sources.find_nvcc(tmp_path / "none") is None
    program = stand_in_nvcc(tmp_path, COMPILES)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sources.find_nvcc(tmp_path) == str(program)


def test_a_build_compiles_for_the_gpus_that_nvcc_knows_and_once(tmp_path):
    program = stand_in_nvcc(tmp_path, COMPILES)
    assert sources.build_fatbin(tmp_path, program) == "CUDA kernels: compiled for 7.5, 8.0, 8.6"
    made = (tmp_path / sources.FATBIN).read_text()
    assert "arch=compute_86,code=sm_86" in made
    assert "arch=compute_86,code=compute_86" in made
    assert "90" not in made
    facts = json.loads((tmp_path / "livecut.json").read_text())
    assert (facts["nvcc"], facts["ptx"]) == ("12.4", ["8.6"])
    assert sources.build_fatbin(tmp_path, program) == "CUDA kernels: up to date"
    del facts["ptx"]  # as an earlier version left it
    (tmp_path / "livecut.json").write_text(json.dumps(facts))
    assert sources.build_fatbin(tmp_path, program) == "CUDA kernels: compiled for 7.5, 8.0, 8.6"


def test_ptx_is_shipped_for_gpus_between_those_that_are_named(tmp_path):
    command = sources.fatbin_command("nvcc", sources.COMPUTE_CAPABILITIES, tmp_path / "out")
    ptx = {word for word in command if "code=compute" in word}
    assert ptx == {f"-gencode=arch=compute_{code},code=compute_{code}" for code in (90, 120)}
    assert len(command) == len(set(command))
    assert sources.ptx_capabilities(("7.5", "8.0", "9.0")) == ("9.0",)
    assert sources.ptx_capabilities(("7.5", "8.0")) == ("8.0",)


@pytest.mark.parametrize("body", ["sys.exit(3)", "sys.stderr.write('no'); sys.exit('refused')", "1 / 0"])
def test_a_build_without_a_working_nvcc_does_not_fail(tmp_path, body):
    said = sources.build_fatbin(tmp_path, stand_in_nvcc(tmp_path, body))
    assert "compiled at first use" in said
    assert not (tmp_path / sources.FATBIN).exists()
    assert "compiled at first use" in sources.build_fatbin(tmp_path, str(tmp_path / "nowhere"))


def test_no_nvrtc_is_looked_for_that_is_newer_than_the_driver():
    assert not any("so.13" in path for path in nvrtc.candidates(12))
    assert any("so.12" in path for path in nvrtc.candidates(12))


def test_the_cache_builds_once_and_leaves_nothing_half_made(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path))

    def fails(path):
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.cached("thing", fails)
    assert list((tmp_path / "kernels").iterdir()) == []
    calls = []
    for _ in range(2):
        path = cache.cached("thing", lambda at: (calls.append(at), at.write_bytes(b"whole")))
    assert (path.read_bytes(), len(calls)) == (b"whole", 1)


def test_threads_that_want_the_same_kernels_build_them_once(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path))
    builds, found = [], []
    together, meeting = threading.Barrier(4), threading.Barrier(2)

    def build(path):
        builds.append(path)
        path.write_bytes(b"half")
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)  # two that build at the same time meet here
        path.write_bytes(b"whole")

    def want():
        together.wait()
        found.append(cache.cached("thing", build).read_bytes())

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"whole"] * 4
    assert len(builds) == 1


def test_an_empty_file_in_the_cache_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "thing").touch()
    assert cache.cached("thing", lambda at: at.write_bytes(b"whole")).read_bytes() == b"whole"


def test_an_nvcc_that_cannot_be_run_leaves_it_to_nvrtc(monkeypatch):
    def cannot_be_run():
        raise PermissionError("nvcc: permission denied")

    monkeypatch.setattr(module, "find_nvcc", cannot_be_run)
    monkeypatch.setattr(nvrtc, "candidates", lambda most=0: iter(()))
    with pytest.raises(ValueError, match=r"permission denied.*pip install nvidia-cuda-nvrtc-cu12"):
        get_module("8.6", "12.4")


def test_launches_move_at_least_their_floor():
    launch = preprocess_launch(
        Planes.packed(1 << 20, "NV12", (1920, 1080)), format="NV12", geometry=fit((1920, 1080), (512, 288)),
        out=1 << 24, small=1 << 25,
    )  # fmt: skip
    assert launch.floor_bytes == 1920 * 1080 * 3 // 2 + 512 * 288 * (12 + 3)
    assert launch.grid == (4, 288, 1)
    launches = refine_launches(
        FRAME, 1 << 21, format="BGR", geometry=GEOMETRY, output="BGRA", work=1 << 23, small=1 << 24,
        out=Planes.packed(1 << 22, "BGRA", (64, 36)),
    )  # fmt: skip
    assert [each.kernel for each in launches] == ["lc_measure", "lc_solve", "lc_composite_straight"]
    assert launches[-1].floor_bytes == 64 * 36 * (3 + 4)
    assert all(each.shared_bytes <= 48 << 10 for each in launches)
    assert work_bytes((512, 288)) < 16 << 20


def test_a_frame_that_is_not_refined_takes_two_launches():
    launches = refine_launches(
        FRAME, 1 << 21, format="BGR", geometry=GEOMETRY, output="ALPHA", work=1 << 23, refine=False,
        out=Planes((1 << 22,), (64,)),
    )  # fmt: skip
    assert [each.kernel for each in launches] == ["lc_solve", "lc_composite_alpha"]
    assert launches[-1].arguments[0]["in"]["at"].tolist() == [0, 0, 0, 0]


REFINE = {
    "format": "BGR", "geometry": GEOMETRY, "output": "BGR", "out": FRAME, "work": 256, "small": 512,
    "background": (1, 2, 3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "YUYV"}, "format: expected one of"),
        ({"output": "NV12"}, "output: expected one of"),
        ({"matrix": "bt2020"}, "matrix: expected one of"),
        ({"radius": 0}, "radius: expected 1 to 31, got 0"),
        ({"fusion_radius": 32}, "fusion_radius: expected 1 to 31, got 32"),
        ({"eps": 0.0}, "eps: expected"),
        ({"background": None}, "background: expected one for BGR"),
        ({"background": (1, 2, 300)}, "background: expected a colour"),
        ({"background": Planes((1, 2, 3), (4, 4, 4))}, "background: expected one packed picture"),
        ({"small": 0}, "small: expected the guide's address"),
        ({"out": Planes((1, 2), (4, 4))}, r"out: expected 1 plane\(s\) for BGR, got 2"),
        ({"geometry": fit((20000, 4), (32, 32))}, "sides of at most 16384"),
    ],
)
def test_refine_launches_refuse_wrong_input_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        refine_launches(FRAME, 1 << 21, **{**REFINE, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dtype": "int32"}, TypeError, "dtype: expected float32, float16 or uint8"),
        ({"std": (1, 0, 1)}, ValueError, "std none of them 0"),
        ({"order": "GRB"}, ValueError, "order: expected one of"),
        ({"format": "I420"}, ValueError, r"planes: expected 3 plane\(s\) for I420, got 1"),
    ],
)
def test_preprocess_launch_refuses_wrong_input_by_name(changes, error, message):
    with pytest.raises(error, match=message):
        preprocess_launch(FRAME, **{"format": "BGR", "geometry": GEOMETRY, "out": 256, **changes})


@pytest.mark.parametrize("changes", [{"strength": 1.0}, {"noise": 0.0}])
def test_smooth_launches_refuse_wrong_input_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        smooth_launches(256, small_wh=(8, 8), small=512, out=1024, memory=2048, **changes)


def test_a_field_that_a_block_does_not_have_is_refused():
    with pytest.raises(ValueError, match="arguments: expected fields of the block, got heigth"):
        block_of(COMPOSITE, {"heigth": 3})


def test_rows_that_are_not_on_words_are_told_to_the_kernel():
    for planes, words in ((FRAME, 1), (Planes((1 << 20,), (193,)), 0), (Planes((3,), (192,)), 0)):
        launch = preprocess_launch(planes, format="BGR", geometry=GEOMETRY, out=256)
        assert launch.arguments[0]["words"] == words


def test_launches_take_what_the_device_passes_on():
    (block,) = preprocess_launch(FRAME, format="BGR", geometry=GEOMETRY, out=256).arguments
    assert isinstance(block, np.void)
    assert len(block.tobytes()) == KERNELS["lc_preprocess"].itemsize
