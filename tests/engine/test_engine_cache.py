"""The cache of engines: it finds what fits, says why the rest does not, and builds once."""

import os
import subprocess
import sys
import threading

import bundles
import engines
import pytest
from engines import ORIN, PLAN, SIZE_WH, Builder, put
from fakes import PATIENCE_SECONDS, must

from livecut.engine.errors import BackendError, DeviceUnavailable, UsageError
from livecut.engine.manifest import Manifest
from livecut.engine.passport import Passport
from livecut.engine.tensorrt import cache as cache_module
from livecut.engine.tensorrt.cache import EngineCache, default_folder
from livecut.engine.tensorrt.locks import Cancelled, locked
from livecut.engine.tensorrt.wanted import Place, find_wanted, this_place

# -- what is wanted


def test_an_engine_has_another_key_for_everything_that_makes_another_engine_of_it(tiny_model, tmp_path):
    manifest = Manifest.load(tiny_model)
    others = [
        Place("tensorrt_rtx", "10.3.0", "L4T 36.4.3", "8.7"),
        Place("tensorrt", "10.7.0", "L4T 36.4.3", "8.7"),
        Place("tensorrt", "10.3.0", "L4T 36.4.4", "8.7"),
        Place("tensorrt", "10.3.0", "L4T 36.4.3", "8.9"),
    ]
    names = [find_wanted(manifest, SIZE_WH, "fp32", place).file_name for place in (ORIN, *others)]
    names.append(find_wanted(manifest, (32, 32), "fp32", ORIN).file_name)
    halves = bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha_unclipped())
    names.append(find_wanted(Manifest.load(halves), SIZE_WH, "fp32", ORIN).file_name)
    assert len(set(names)) == 7
    assert names[0].startswith("tiny-64x32-fp32-sm_87-")
    assert find_wanted(manifest, SIZE_WH, "fp32", ORIN).file_name == names[0]


def test_auto_takes_the_lowest_precision_there_is_a_graph_for(tiny_model, tmp_path):
    manifest = Manifest.load(tiny_model)
    assert find_wanted(manifest, SIZE_WH, "auto", ORIN).precision == "fp32"
    with pytest.raises(DeviceUnavailable, match=r"precision fp16: .* tiny has fp32; make one .*--to fp16"):
        find_wanted(manifest, SIZE_WH, "fp16", ORIN)
    variants = {
        "fp16": {"file": "model-fp16.onnx", "sha256": "ab"},
        "int8": {"file": "cpu.onnx", "sha256": "cd"},
    }
    folder = bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha(), variants=variants)
    wanted = find_wanted(Manifest.load(folder), SIZE_WH, "auto", ORIN)
    assert (wanted.precision, wanted.source, wanted.source_sha256) == (
        "fp16",
        folder / "model-fp16.onnx",
        "ab",
    )
    with pytest.raises(DeviceUnavailable, match=r"precision int8: .* has fp32, fp16, int8; make one"):
        find_wanted(Manifest.load(folder), SIZE_WH, "int8", ORIN)  # that one is for the CPU
    variants["int8-tensorrt"] = {"file": "gpu.onnx", "sha256": "ef"}
    folder = bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha(), variants=variants)
    assert find_wanted(Manifest.load(folder), SIZE_WH, "int8", ORIN).source_sha256 == "ef"


def test_an_engine_for_several_pictures_is_another_and_takes_one_as_well(tiny_model, tmp_path, cache):
    wide = bundles.with_free_batch(bundles.red_as_alpha())
    folder = bundles.write_bundle(tmp_path / "wide", wide, batch=4, free_batch=True)
    wanted = find_wanted(Manifest.load(folder), SIZE_WH, "fp32", ORIN, 3)
    assert wanted.profiles["image"] == ((1, 3, 32, 64), (3, 3, 32, 64), (3, 3, 32, 64))
    assert find_wanted(Manifest.load(folder), SIZE_WH, "fp32", ORIN, 9).batch == 4, "no more than it takes"
    assert find_wanted(Manifest.load(tiny_model), SIZE_WH, "fp32", ORIN, 3).batch == 1
    put(wanted, cache.folder)
    assert "image: takes 3x3x32x64, wanted is 1x3x32x64" in cache.find(wanted).reason
    shapes = {"image": {"min": [1, 3, 32, 64], "opt": [3, 3, 32, 64], "max": [3, 3, 32, 64]}}
    path = put(wanted, cache.folder, shapes=shapes)
    assert cache.find(wanted).path == path
    assert cache.find(find_wanted(Manifest.load(folder), SIZE_WH, "fp32", ORIN)).path is None


def test_a_machine_without_a_gpu_is_no_place_for_engines(monkeypatch):
    from livecut.engine.tensorrt import wanted as module

    monkeypatch.setattr(module, "present_gpu", lambda: None)
    monkeypatch.setattr(module, "load", lambda: "TensorRT 10.3.0")
    with pytest.raises(DeviceUnavailable, match=r"TensorRT 10.3.0 is installed, and there is no NVIDIA GPU"):
        this_place()


# -- what is found


def test_an_engine_that_fits_is_found(wanted, cache):
    path = put(wanted, cache.folder)
    found = cache.find(wanted)
    assert (found.path, found.reasons) == (path, ())
    assert found.passport == Passport.read(path)


def test_an_empty_cache_has_none(wanted, cache):
    assert cache.find(wanted).reason == "none has been built yet"


def test_an_engine_for_another_place_is_passed_over_with_the_reason(wanted, cache):
    older = Place("tensorrt", "10.1.0", "L4T 36.2.0", "8.7")
    put(find_wanted(wanted.manifest, SIZE_WH, "auto", older), cache.folder)
    found = cache.find(wanted)
    assert found.path is None
    assert "made by tensorrt 10.1.0, here is 10.3.0" in found.reason
    assert "made under NVIDIA driver L4T 36.2.0, here is L4T 36.4.3" in found.reason


def test_an_engine_that_was_exported_into_the_bundle_is_found(cache, tmp_path):
    folder = bundles.write_bundle(tmp_path / "tiny", bundles.red_as_alpha())
    wanted = find_wanted(Manifest.load(folder), SIZE_WH, "auto", ORIN)
    path = folder / "model-fp32-sm_87.plan"
    path.write_bytes(PLAN)
    range_of_sizes = {"image": {"min": [1, 3, 32, 32], "opt": [1, 3, 32, 64], "max": [1, 3, 64, 64]}}
    engines.issue(wanted, path, driver=None, shapes=range_of_sizes)
    assert cache.find(wanted).path == path
    assert cache.find(find_wanted(wanted.manifest, (128, 32), "auto", ORIN)).path is None


def test_the_bytes_of_an_engine_for_another_gpu_are_not_even_read(wanted, cache):
    path = put(wanted, cache.folder, compute_capability="8.6")
    path.unlink()
    path.mkdir()
    assert cache.find(wanted).reason == f"{path.name}: made for compute capability 8.6, here is 8.7"


def test_the_folder_is_the_users_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LIVECUT_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "engines"
    monkeypatch.delenv("LIVECUT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder().parts[-2:] == ("livecut", "engines")


# -- what is built


def test_an_engine_is_built_and_then_found(wanted, cache):
    builder, seen = Builder(), []
    built = cache.build(wanted, builder, progress=lambda step, share: seen.append((step, share)))
    assert built.path == cache.folder / wanted.file_name
    assert seen == [("build", 0.5)]
    assert cache.find(wanted).path == built.path
    assert cache.build(wanted, builder).path == built.path
    assert len(builder.calls) == 1
    assert cache.not_kept == ""


def test_of_two_that_want_the_same_engine_one_builds(wanted, cache):
    """Two caches are to each other what two processes are: the lock is the kernel's, on the file."""
    may_build, waits, found = threading.Event(), threading.Event(), []
    first, second = Builder(may_build), Builder()
    one = threading.Thread(target=lambda: found.append(cache.build(wanted, first)))
    one.start()
    must(first.started.wait(PATIENCE_SECONDS), "the first build")
    other = EngineCache(cache.folder)
    said = []

    def note(step, share):
        said.append(step)
        waits.set()

    two = threading.Thread(target=lambda: found.append(other.build(wanted, second, progress=note)))
    two.start()
    must(waits.wait(PATIENCE_SECONDS), "the second one's wait")
    may_build.set()
    one.join(PATIENCE_SECONDS)
    two.join(PATIENCE_SECONDS)
    assert [entry.path for entry in found] == [cache.folder / wanted.file_name] * 2
    assert (len(first.calls), len(second.calls)) == (1, 0)
    assert said == ["wait for another process"]


HOLD = """
import sys
from pathlib import Path
from livecut.engine.tensorrt.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_process_that_dies_frees_its_lock(wanted, cache):
    cache.folder.mkdir(parents=True)
    lock = cache.folder / f".{wanted.file_name}.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        waits = threading.Event()
        builder = Builder()
        thread = threading.Thread(
            target=lambda: cache.build(wanted, builder, progress=lambda step, share: waits.set())
        )
        thread.start()
        must(waits.wait(PATIENCE_SECONDS), "the wait for the other process")
        assert builder.calls == []
        holder.kill()
        thread.join(PATIENCE_SECONDS)
    assert len(builder.calls) == 1


def test_waiting_for_another_ends_when_asked_to(tmp_path):
    stop = threading.Event()
    with locked(tmp_path / "lock"):
        with pytest.raises(Cancelled):
            with locked(tmp_path / "lock", stop, stop.set):
                pytest.fail("the lock is held")
    with locked(tmp_path / "lock", stop):
        pass


def test_a_builder_that_fails_leaves_nothing_and_the_next_may_try(wanted, cache):
    with pytest.raises(BackendError, match="no memory"):
        cache.build(wanted, Builder(error=BackendError("no memory")))
    assert cache.find(wanted).path is None
    assert cache.build(wanted, Builder()).path is not None


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda wanted, path: path.write_bytes(PLAN), "does not fit: .*has no passport"),
        (
            lambda wanted, path: put(wanted, path.parent, compute_capability="8.6"),
            "for compute capability 8.6",
        ),
    ],
)
def test_an_engine_that_does_not_fit_is_not_given_out_because_it_is_new(write, message, wanted, cache):
    with pytest.raises(BackendError, match=message):
        cache.build(wanted, Builder(write=write))


def test_a_cache_that_cannot_be_written_is_made_up_for_by_a_temporary_folder(wanted, tmp_path):
    (tmp_path / "file").write_text("a file where the folder should be")
    cache = EngineCache(tmp_path / "file" / "engines")
    built = cache.build(wanted, Builder())
    assert built.path.is_file()
    assert cache.not_kept == f"{cache.folder} cannot be written (Not a directory)"
    assert cache.find(wanted).path == built.path
    cache.close()
    assert not built.path.exists()


def test_a_full_disk_is_told_once_the_temporary_folder_is_full_too(wanted, cache):
    def fill(wanted, path):
        with open("/dev/full", "wb") as stream:
            stream.write(PLAN)

    builder = Builder(write=fill)
    with pytest.raises(OSError, match="No space left on device"):
        cache.build(wanted, builder)
    assert len(builder.calls) == 2
    assert "No space left on device" in cache.not_kept
    assert [path for path in cache.folder.iterdir() if not path.name.endswith(".lock")] == []


def test_a_build_that_is_asked_to_stop_gives_nothing_out(wanted, cache):
    stop = threading.Event()

    def write(wanted, path):
        stop.set()
        put(wanted, path.parent)

    with pytest.raises(Cancelled):
        cache.build(wanted, Builder(write=write), stop=stop)


def test_the_newest_engines_are_kept_and_leftovers_are_removed(wanted, cache, monkeypatch):
    cache.folder.mkdir(parents=True)
    for index in range(cache_module.KEPT_FOR_EACH + 3):
        place = Place("tensorrt", f"10.{index}", None, "8.7")
        path = put(find_wanted(wanted.manifest, SIZE_WH, "auto", place), cache.folder)
        os.utime(path, (index, index))
    old, fresh = cache.folder / ".half-old.plan", cache.folder / ".half-new.plan"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    other = cache.folder / "another-64x32-fp32-x.plan"
    other.write_bytes(b"of another model")
    os.utime(other, (0, 0))
    built = cache.build(wanted, Builder())
    kept = sorted(path.name for path in cache.folder.glob(f"{wanted.stem}*.plan"))
    assert len(kept) == cache_module.KEPT_FOR_EACH
    assert built.path.name in kept
    assert len(list(cache.folder.glob("*.passport.json"))) == len(kept)
    assert (old.exists(), fresh.exists(), other.exists()) == (False, True, True)


def test_library_names_are_checked_before_anything_is_imported():
    from livecut.engine.tensorrt import load

    with pytest.raises(UsageError, match="library"):
        load("tensorrt8")
