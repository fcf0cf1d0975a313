import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_arrays_close, peak_bytes

from livecut.kernels import Geometry, _preprocess, fit, preprocess, reference

PACKED = ("BGR", "RGB", "BGRA", "RGBA")
FORMATS = (*PACKED, "I420", "NV12")
LEVEL_TOLERANCE = {
    "packed": 0.1,
    "planar": 0.3,
}  # of 255: 16 and 14 bit weights; YUV multiplies them by up to 2.2
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (32, 32)),
    ((7, 5), (32, 32)),
    ((2, 3), (1, 1)),
    ((131, 77), (64, 32)),
    ((37, 91), (33, 17)),
    ((64, 64), (64, 64)),
    ((400, 50), (32, 64)),
    ((240, 135), (64, 36)),
    ((321, 181), (32, 32)),
    ((900, 1100), (32, 32)),
]


@pytest.fixture(params=_preprocess.LEVELS)
def level(request):
    _preprocess.use_level(request.param)
    yield request.param
    _preprocess.use_level(_preprocess.LEVELS[-1])


def make_planes(rng, format, size_wh):
    width, height = size_wh
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes = {"I420": [(height, width), half, half], "NV12": [(height, width), (*half, 2)]}
    shapes = shapes.get(format, [(height, width, len(format))])
    return tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)


def run(planes, geometry, *, layout="NCHW", dtype=np.float32, threads=1, **options):
    """``(out, small)`` from buffers that hold rubbish before."""
    width, height = geometry.input_wh
    shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    out, small = np.full(shape, 99, dtype), np.full((height, width, 3), 99, np.uint8)
    result = preprocess(
        planes, geometry=geometry, layout=layout, out=out, small=small, threads=threads, **options
    )
    assert result is out
    return out, small


def expected(planes, geometry, *, layout="NCHW", dtype=np.float64, **options):
    defaults = {
        "mean": (0, 0, 0), "std": (1, 1, 1), "order": "RGB", "pad_value": (114, 114, 114), "matrix": "bt709",
        "full_range": False,
    }  # fmt: skip
    return reference.preprocess(
        planes, geometry=geometry, layout=layout, dtype=dtype, **{**defaults, **options}
    )


def tolerance(format):
    return LEVEL_TOLERANCE["planar" if format in ("I420", "NV12") else "packed"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("frame_wh", "input_wh"), SIZES)
@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
def test_preprocess_matches_reference(rng, level, format, frame_wh, input_wh, mode):
    geometry = fit(frame_wh, input_wh, mode)
    planes = make_planes(rng, format, frame_wh)
    out, small = run(planes, geometry, format=format)
    want, want_small = expected(planes, geometry, format=format)
    assert_arrays_close(out, want, atol=tolerance(format))
    assert_arrays_close(small, want_small, atol=1)  # a value near a half may round either way
    assert_arrays_close(small, np.moveaxis(want[0], 0, -1), atol=0.5 + tolerance(format))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["BGR", "RGBA", "NV12"])
def test_preprocess_matches_reference_from_full_hd(rng, level, format):
    geometry = fit((1920, 1080), (512, 288))
    planes = make_planes(rng, format, (1920, 1080))
    out, _ = run(planes, geometry, format=format)
    assert_arrays_close(out, expected(planes, geometry, format=format)[0], atol=tolerance(format))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
@pytest.mark.parametrize("format", ["BGR", "RGBA", "I420"])
def test_preprocess_writes_every_layout_order_and_dtype(rng, level, format, dtype, order, layout):
    geometry = fit((59, 34), (32, 32))
    planes = make_planes(rng, format, (59, 34))
    integer = dtype == np.uint8
    options = {
        "format": format, "order": order, "layout": layout, "pad_value": (1, 2, 3),
        "mean": (0, 0, 0) if integer else (10, 20, 30), "std": (1, 1, 1) if integer else (2, 4, 8),
    }  # fmt: skip
    out, _ = run(planes, geometry, dtype=dtype, **options)
    want, _ = expected(planes, geometry, **options)
    rounding = {np.float32: 0.0, np.float16: 128 / 2048, np.uint8: 0.5}[dtype]
    assert_arrays_close(out, want, atol=tolerance(format) / (1 if integer else 2) + rounding)


@pytest.mark.parametrize("format", FORMATS)
def test_all_instruction_sets_give_the_same_values(rng, format):
    for frame_wh, input_wh in [((333, 187), (160, 90)), ((240, 135), (64, 36)), ((1920, 90), (512, 24))]:
        geometry = fit(frame_wh, input_wh, "stretch")
        planes = make_planes(rng, format, frame_wh)
        results = []
        for name in _preprocess.LEVELS:
            _preprocess.use_level(name)
            results.append(run(planes, geometry, format=format))
        for out, small in results[1:]:
            assert_arrays_close(out, results[0][0])
            assert_arrays_close(small, results[0][1])


def test_half_precision_is_the_rounded_single_precision(rng, level):
    geometry = fit((64, 64), (64, 64))
    planes = make_planes(rng, "RGB", (64, 64))
    for std in (1e-3, 1.0, 255.0, 1e6, 1e9):  # overflow, normal, subnormal and vanishing halves
        options = {"format": "RGB", "mean": (127.3,) * 3, "std": (std,) * 3}
        with np.errstate(over="ignore"):
            want = run(planes, geometry, **options)[0].astype(np.float16)
        assert np.array_equal(run(planes, geometry, dtype=np.float16, **options)[0], want)


def test_a_picture_of_the_right_size_passes_unchanged(level):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = np.stack([values, values[::-1], values.T], axis=-1)
    geometry = fit((16, 16), (16, 16))
    out, small = run(picture, geometry, format="RGB", dtype=np.uint8, layout="NHWC")
    assert np.array_equal(out[0], picture)
    assert np.array_equal(small, picture)
    assert np.array_equal(run(picture, geometry, format="RGB", layout="NHWC")[0][0], picture)


@pytest.mark.parametrize("size_wh", [(97, 61), (16, 9), (1000, 40)])
def test_every_flat_colour_stays_itself(level, size_wh):
    geometry = fit(size_wh, (32, 24), "stretch")
    for value in range(256):
        picture = np.full((size_wh[1], size_wh[0], 3), value, np.uint8)
        out, small = run(picture, geometry, format="BGR")
        assert_arrays_close(out, np.full(out.shape, value), atol=0.04)
        assert (small == value).all()


@pytest.mark.slow
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("format", ["I420", "NV12"])
def test_every_luma_and_chroma_is_converted_and_clipped(level, format, full_range, matrix):
    luma = np.ascontiguousarray(np.broadcast_to(np.repeat(np.arange(256, dtype=np.uint8), 2), (512, 512)))
    u = np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 256)))
    geometry = fit((512, 512), (256, 256))
    for value in (0, 128, 240):
        v = np.full((256, 256), value, np.uint8)
        planes = (luma, u, v) if format == "I420" else (luma, np.stack([u, v], axis=-1))
        options = {"format": format, "matrix": matrix, "full_range": full_range}
        out, _ = run(planes, geometry, **options)
        assert out.min() >= 0
        assert out.max() <= 255
        assert_arrays_close(out, expected(planes, geometry, **options)[0], atol=0.01)


@pytest.mark.parametrize("format", FORMATS)
def test_rows_may_be_padded_and_read_only(rng, level, format):
    planes = make_planes(rng, format, (50, 31))
    padded = []
    for plane in planes:
        wide = np.full((plane.shape[0], plane.shape[1] + 13, *plane.shape[2:]), 200, np.uint8)
        wide[:, : plane.shape[1]] = plane
        padded.append(wide[:, : plane.shape[1]])
        padded[-1].flags.writeable = False
    geometry = fit((50, 31), (32, 32))
    assert_arrays_close(
        run(tuple(padded), geometry, format=format)[0], run(planes, geometry, format=format)[0]
    )


def test_small_may_have_padded_rows(rng, level):
    (picture,) = make_planes(rng, "RGB", (50, 31))
    geometry = fit((50, 31), (40, 32))
    wide = np.full((32, 48, 3), 7, np.uint8)
    out = np.empty((1, 3, 32, 40), np.float32)
    preprocess(picture, format="RGB", geometry=geometry, out=out, small=wide[:, :40])
    assert np.array_equal(wide[:, :40], run(picture, geometry, format="RGB")[1])
    assert (wide[:, 40:] == 7).all()


def test_padding_is_the_pad_colour_in_the_order_of_out(rng):
    geometry = fit((64, 32), (32, 32))
    picture = make_planes(rng, "BGR", (64, 32))
    out, small = run(picture, geometry, format="BGR", order="BGR", pad_value=(10, 20, 30), mean=(1, 1, 1))
    assert (small[:8] == (10, 20, 30)).all()
    assert (small[24:] == (10, 20, 30)).all()
    assert np.array_equal(out[0, :, 0, 0], [29, 19, 9])


@pytest.mark.parametrize(
    ("frame_wh", "input_wh", "mode", "roi"),
    [
        ((1920, 1080), (512, 288), "letterbox", (0, 0, 512, 288)),
        ((1080, 1920), (512, 288), "letterbox", (175, 0, 162, 288)),
        ((1920, 1080), (384, 384), "letterbox", (0, 84, 384, 216)),
        ((100, 1), (32, 32), "letterbox", (0, 15, 32, 1)),
        ((30000, 1), (32, 32), "letterbox", (0, 15, 32, 1)),
        ((10, 20), (32, 64), "stretch", (0, 0, 32, 64)),
    ],
)
def test_fit_places_the_frame(frame_wh, input_wh, mode, roi):
    assert fit(frame_wh, input_wh, mode) == Geometry(frame_wh, input_wh, roi)


def test_fit_and_geometry_refuse_nonsense():
    with pytest.raises(ValueError, match="mode: expected one of letterbox, stretch, got 'crop'"):
        fit((4, 4), (4, 4), "crop")
    with pytest.raises(ValueError, match="at least 1x1"):
        fit((0, 4), (4, 4))
    with pytest.raises(ValueError, match="expected roi inside input"):
        dataclasses.replace(fit((4, 4), (4, 4)), roi=(1, 0, 4, 4))


GEOMETRY = fit((8, 6), (8, 6))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"planes": [[1]]}, TypeError, "planes.0.: expected a NumPy array, got list"),
        ({"planes": 3}, TypeError, "planes: expected an array or a tuple of arrays, got int"),
        (
            {"planes": np.zeros((6, 8, 3), np.float32)},
            TypeError,
            "planes.0.: expected dtype uint8, got float32",
        ),
        ({"planes": np.zeros((6, 8, 4), np.uint8)}, ValueError, r"planes.0.: expected shape \(6, 8, 3\)"),
        ({"planes": np.zeros((7, 8, 3), np.uint8)}, ValueError, r"planes.0.: expected shape \(6, 8, 3\)"),
        (
            {"planes": np.zeros((6, 8, 3), np.uint8)[::-1]},
            ValueError,
            "planes.0.: expected rows from top to bottom",
        ),
        (
            {"planes": np.zeros((6, 8, 3), np.uint8)[:, ::-1]},
            ValueError,
            "planes.0.: expected contiguous rows",
        ),
        (
            {"planes": np.zeros((6, 8, 3), np.uint8)[..., ::-1]},
            ValueError,
            "planes.0.: expected contiguous rows",
        ),
        ({"format": "YUYV"}, ValueError, "format: expected one of BGR, RGB"),
        ({"format": "I420"}, ValueError, "planes: expected 3 for I420, got 1"),
        (
            {"out": np.zeros((1, 3, 6, 8))},
            TypeError,
            "out: expected a float32, float16 or uint8 array, got float64",
        ),
        ({"out": None}, TypeError, "out: expected a float32, float16 or uint8 array, got NoneType"),
        ({"out": np.zeros((3, 6, 8), np.float32)}, ValueError, r"out: expected shape \(1, 3, 6, 8\)"),
        (
            {"out": np.zeros((1, 3, 6, 16), np.float32)[..., ::2]},
            ValueError,
            "out: expected a C-contiguous array",
        ),
        ({"small": np.zeros((6, 8), np.uint8)}, ValueError, r"small: expected shape \(6, 8, 3\)"),
        ({"small": np.zeros((6, 8, 3), np.float32)}, TypeError, "small: expected dtype uint8"),
        ({"layout": "CHW"}, ValueError, "layout: expected one of NCHW, NHWC, got 'CHW'"),
        ({"order": "GRB"}, ValueError, "order: expected one of RGB, BGR"),
        ({"std": (1, 0, 1)}, ValueError, "std: expected numbers other than 0"),
        ({"mean": (1, 2)}, ValueError, "mean: expected three finite numbers"),
        ({"mean": (1, 2, float("nan"))}, ValueError, "mean: expected three finite numbers"),
        ({"pad_value": (0, 0, 256)}, ValueError, r"pad_value: expected numbers in 0\.\.255"),
        ({"matrix": "bt2020"}, ValueError, "matrix: expected one of bt601, bt709"),
        ({"threads": 0}, ValueError, r"threads: expected 1\.\.1024, got 0"),
        ({"threads": 1.5}, TypeError, "threads: expected an int, got float"),
    ],
)
def test_preprocess_refuses_wrong_input_by_name(changes, error, message):
    arguments = {
        "planes": np.zeros((6, 8, 3), np.uint8), "format": "BGR", "geometry": GEOMETRY,
        "out": np.zeros((1, 3, 6, 8), np.float32),
    }  # fmt: skip
    arguments.update(changes)
    with pytest.raises(error, match=message):
        preprocess(arguments.pop("planes"), **arguments)


def test_preprocess_refuses_a_read_only_or_overlapping_out():
    picture = np.zeros((6, 8, 3), np.uint8)
    out = np.zeros((1, 6, 8, 3), np.uint8)
    options = {"format": "BGR", "geometry": GEOMETRY, "layout": "NHWC"}
    with pytest.raises(
        ValueError, match="out: expected memory of its own, got an array that overlaps a plane"
    ):
        preprocess(out[0], out=out, **options)
    with pytest.raises(ValueError, match="small: expected memory of its own, got an array that overlaps out"):
        preprocess(picture, out=out, small=out[0], **options)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writable array"):
        preprocess(picture, out=out, **options)


def test_planes_of_a_planar_frame_must_match_its_luma():
    luma, half = np.zeros((6, 8), np.uint8), np.zeros((3, 4), np.uint8)
    out = np.zeros((1, 3, 6, 8), np.float32)
    with pytest.raises(ValueError, match=r"planes\[2\]: expected shape \(3, 4\), got \(3, 3\)"):
        preprocess((luma, half, half[:, :3]), format="I420", geometry=GEOMETRY, out=out)
    with pytest.raises(ValueError, match=r"planes\[1\]: expected shape \(3, 4, 2\), got \(3, 4\)"):
        preprocess((luma, half), format="NV12", geometry=GEOMETRY, out=out)


@pytest.mark.parametrize("format", ["BGR", "NV12"])
def test_preprocess_allocates_nothing_in_the_frame_loop(rng, format):
    planes = make_planes(rng, format, (640, 360))
    geometry = fit((640, 360), (160, 96))
    out, small = np.empty((1, 3, 96, 160), np.float32), np.empty((96, 160, 3), np.uint8)
    peak = peak_bytes(
        lambda: preprocess(planes, format=format, geometry=geometry, out=out, small=small, threads=2)
    )
    assert peak < 4096


def test_the_environment_chooses_a_lower_instruction_set():
    code = "from livecut.kernels import _preprocess, _matte; print(_preprocess.LEVELS[-1], _matte.LEVELS[-1])"
    environment = {**os.environ, "LIVECUT_SIMD": "plain"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plain", "plain"]
