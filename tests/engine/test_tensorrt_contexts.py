"""Kernels that TensorRT-RTX compiles where an engine runs: before the graph, once, and kept beside it."""

import onnx
import pytest
import versions_of_tensorrt
from engines import ORIN, put
from fake_cuda import FakeDevice
from fake_tensorrt import FakeApi
from frames_in_flight import run_frames

from livecut.engine.backends.plan_opener import open_tensorrt
from livecut.engine.tensorrt import cache as cache_module
from livecut.engine.tensorrt.contexts import Contexts, kernels_path
from livecut.engine.tensorrt.wanted import find_wanted


@pytest.fixture
def plan(wanted, cache):
    """An engine that takes any height and width; on the fake GPU it is an ONNX file."""
    model = onnx.load(str(wanted.source))
    for value in (*model.graph.input, *model.graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
            dim.dim_param = name
    return put(wanted, cache.folder, plan=model.SerializeToString())


@pytest.fixture
def opened(wanted, cache, plan):
    """Opens it with TensorRT-RTX, as a process does; gives the device, the library and the backend."""
    made = []

    def make(**options):
        device = FakeDevice()
        api = FakeApi(device, **{"rtx": True, **options})
        passport = cache.find(wanted).passport
        made.append(open_tensorrt(plan, passport, wanted, 1, api=api, open_device=lambda: device))
        return device, api, made[-1]

    yield make
    for backend in made:
        backend.close()


def test_a_graph_holds_the_kernels_for_its_shapes(opened):
    device, _, backend = opened()
    run_frames(backend, device, [0.5] * 2, 1)
    (graph,) = backend._lanes[0].graphs
    assert [work.label for work in graph.works] == ["copy_in", "engine", "copy_out"]
    assert "engine, slow" not in {work.label for work in device.order.log}


def test_lanes_compile_nothing_again(opened):
    _, api, backend = opened()
    buffers = [backend.new_buffer() for _ in range(3)]
    assert (len(buffers), api.contexts) == (3, 3)
    assert len(api.compiled) == 1


def test_nor_does_the_next_process(opened, plan):
    opened()
    assert kernels_path(plan).is_file()
    assert opened()[1].compiled == []


def test_nothing_is_left_beside_the_engine_but_the_file(opened, plan):
    opened()
    before = kernels_path(plan).stat().st_mtime_ns
    opened()
    assert kernels_path(plan).stat().st_mtime_ns == before, "nothing new to keep"
    assert {path.name for path in plan.parent.iterdir()} == {
        plan.name, f"{plan.name}.passport.json", f"{plan.name}.kernels",
    }  # fmt: skip


@pytest.mark.parametrize("damage", [b"", b"cut", b"\0" * 100], ids=["empty", "short", "zeros"])
def test_a_damaged_file_of_kernels_is_compiled_anew(opened, plan, damage):
    opened()
    whole = kernels_path(plan).read_bytes()
    kernels_path(plan).write_bytes(damage)
    assert len(opened()[1].compiled) == 1
    assert kernels_path(plan).read_bytes() == whole


def test_a_changed_byte_never_reaches_the_library(opened, plan):
    opened()
    content = bytearray(kernels_path(plan).read_bytes())
    content[-1] ^= 1
    kernels_path(plan).write_bytes(content)
    assert len(opened()[1].compiled) == 1


def test_a_folder_that_cannot_be_written_costs_the_kernels_and_nothing_else(opened, plan):
    kernels_path(plan).mkdir()  # which no file replaces
    device, api, backend = opened()
    assert run_frames(backend, device, [0.5], 1) == [(0.5, 0.5)]
    assert len(api.compiled) == 1


def test_where_the_library_says_that_it_cannot_be_captured_it_is_not_tried(opened):
    device, _, backend = opened(capturable=False)
    assert backend._lanes[0].graphs == []
    assert (
        "as no CUDA graph can be captured (TensorRT-RTX says that this engine's work" in backend.info.details
    )
    assert run_frames(backend, device, [0.25], 1) == [(0.25, 0.25)]


def test_tensorrt_for_data_centres_keeps_no_kernels(opened, plan):
    opened(rtx=False)
    assert not kernels_path(plan).exists()


def test_kernels_go_with_their_engine(wanted, cache, plan, monkeypatch):
    kernels_path(plan).write_bytes(b"kernels")
    monkeypatch.setattr(cache_module, "KEPT_FOR_EACH", 0)
    cache._tidy(find_wanted(wanted.manifest, wanted.size_wh, "auto", ORIN))
    assert list(plan.parent.iterdir()) == []


# -- with the names that each release has


@pytest.mark.parametrize("version", ["8.6", "10.3", "10.16", "11.4"])
def test_other_libraries_make_contexts_as_ever(version, tmp_path):
    trt = versions_of_tensorrt.make(version)
    contexts = Contexts(trt, trt.ICudaEngine({}), "8.7", tmp_path / "kernels")
    assert isinstance(contexts.make(), trt.IExecutionContext)
    contexts.keep()
    assert trt.fake.contexts == [()]
    assert list(tmp_path.iterdir()) == []


def test_rtx_is_asked_by_the_names_it_has(tmp_path):
    trt = versions_of_tensorrt.make("rtx")
    contexts = Contexts(trt, trt.ICudaEngine({}), "8.9", tmp_path / "kernels")
    contexts.make()
    contexts.keep()
    ((config,),) = trt.fake.contexts
    assert config._strategy == "EAGER"
    assert config._cache._blob == b"kernels"
    again = Contexts(trt, trt.ICudaEngine({}), "8.9", tmp_path / "kernels")
    assert again._known == b"kernels"
