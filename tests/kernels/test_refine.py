"""refine_and_composite against its specification, for every format in and out, on every instruction set."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from livecut.kernels import RefineScratch, _refine, fit, preprocess, refine_and_composite
from livecut.kernels import reference_refine as reference
from livecut.kernels.refine import EPS, FUSION_RADIUS, RADIUS

FORMATS = ("BGR", "RGB", "RGBA", "BGRA", "I420", "NV12")
OUTPUTS = ("RGB", "BGR", "RGBA", "BGRA", "ALPHA", "I420", "YUVA420")
SIZES = ((97, 61), (1, 1), (33, 2), (2, 35), (160, 50))
SMALL_WH = (48, 32)
# Alpha is held in 11 and 15 bits and the foreground rounded to 8 before it is composited; YUV to RGB has
# 5 bits.
TOLERANCE = 2.0


@pytest.fixture(params=_refine.LEVELS)
def level(request):
    _refine.use_level(request.param)
    yield request.param
    _refine.use_level(_refine.LEVELS[-1])


def half(size_wh):
    return (size_wh[1] + 1) // 2, (size_wh[0] + 1) // 2


def shapes(format, size_wh):
    width, height = size_wh
    channels = {"RGB": 3, "BGR": 3, "RGBA": 4, "BGRA": 4}
    if format in channels:
        return ((height, width, channels[format]),)
    return {
        "ALPHA": ((height, width),),
        "I420": ((height, width), half(size_wh), half(size_wh)),
        "NV12": ((height, width), (*half(size_wh), 2)),
        "YUVA420": ((height, width), half(size_wh), half(size_wh), (height, width)),
    }[format]


def picture(rng, shape):
    """A smooth pattern with some noise: what a frame looks like to a guided filter."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [
        127 + 70 * np.sin(x / (5 + c) + c) * np.cos(y / (7 + c))
        for c in range(shape[2] if len(shape) == 3 else 1)
    ]
    smooth = np.stack(waves, -1) if len(shape) == 3 else waves[0]
    return np.clip(smooth + rng.normal(0, 8, shape), 0, 255).astype(np.uint8)


def alpha_of_a_disc(size_wh):
    width, height = size_wh
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width * 0.45, y - height * 0.55)
    return np.clip((min(size_wh) * 0.3 - distance) / 3 + 0.5, 0, 1).astype(np.float32)


class Scene:
    """A frame in one format with its alpha and guide, and a background for each output."""

    def __init__(self, rng, size_wh, format="RGB"):
        self.planes = tuple(picture(rng, shape) for shape in shapes(format, size_wh))
        self.geometry = fit(size_wh, SMALL_WH)
        self.alpha_small = alpha_of_a_disc(SMALL_WH)
        self.small = np.empty((*SMALL_WH[::-1], 3), np.uint8)
        preprocess(self.planes, format=format, geometry=self.geometry, layout="NHWC", out=self.small[None])
        self.format, self.size_wh = format, size_wh
        self.background = picture(rng, shapes("RGB", size_wh)[0])

    def backdrop(self, output):
        return self.background if output in ("RGB", "BGR", "I420") else None

    def run(self, output, **changes):
        out = tuple(np.zeros(shape, np.uint8) for shape in shapes(output, self.size_wh))
        arguments = {
            "format": self.format, "geometry": self.geometry, "output": output, "small": self.small,
            "background": self.backdrop(output), "out": out if len(out) > 1 else out[0],
        }  # fmt: skip
        planes, alpha_small = changes.pop("planes", self.planes), changes.pop("alpha_small", self.alpha_small)
        return refine_and_composite(planes, alpha_small, **{**arguments, **changes})

    def expected(self, output, **changes):
        background = self.backdrop(output)
        arguments = {
            "format": self.format, "geometry": self.geometry, "output": output, "small": self.small,
            "background": background[..., ::-1] if output == "BGR" else background,
            "radius": RADIUS, "eps": EPS, "fusion_radius": FUSION_RADIUS,
        }  # fmt: skip
        return reference.refine_and_composite(self.planes, self.alpha_small, **{**arguments, **changes})


def assert_close(got, want, tolerance=TOLERANCE, where=None):
    difference = np.abs(got.astype(np.float64) - want)
    if where is not None:
        difference = difference * where[..., None]
    worst = np.unravel_index(difference.argmax(), difference.shape)
    assert difference[worst] <= tolerance, (
        f"differ by {difference[worst]} at {worst}: {got[worst]}, not {want[worst]}"
    )


def assert_matches(output, got, want):
    if output in ("RGBA", "BGRA"):
        assert_close(got[..., 3], want[1])
        assert_close(got[..., :3] if output == "RGBA" else got[..., 2::-1], want[0], where=got[..., 3] > 0)
    elif output in ("RGB", "BGR"):
        assert_close(got if output == "RGB" else got[..., ::-1], want[0])
    elif output == "YUVA420":
        seen = got[3] > 0
        assert_close(got[3], want[3])
        assert_close(got[0] * seen, want[0] * seen)
        whole = reference.quarter(seen.astype(float)) == 1
        for c in (1, 2):
            assert_close(got[c] * whole, want[c] * whole)
    else:
        for plane, expected in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
            assert_close(plane, expected)


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize(("format", "output"), list(product(FORMATS, OUTPUTS)))
def test_refine_and_composite_matches_reference(rng, level, format, output, size_wh):
    scene = Scene(rng, size_wh, format)
    assert_matches(output, scene.run(output), scene.expected(output))


@pytest.mark.parametrize(("refine", "decontaminate"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("format", ["BGR", "I420"])
def test_each_part_alone_matches_reference(rng, level, format, output, refine, decontaminate):
    scene = Scene(rng, (97, 61), format)
    chosen = {"refine": refine, "decontaminate": decontaminate}
    assert_matches(output, scene.run(output, **chosen), scene.expected(output, **chosen))


@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", False), ("bt709", True), ("bt601", True)])
@pytest.mark.parametrize(
    ("format", "output"), [("RGB", "I420"), ("I420", "RGB"), ("NV12", "YUVA420"), ("RGB", "RGB")]
)
def test_matrix_and_range_match_reference(rng, level, format, output, matrix, full_range):
    scene = Scene(rng, (97, 61), format)
    chosen = {"matrix": matrix, "full_range": full_range}
    assert_matches(output, scene.run(output, **chosen), scene.expected(output, **chosen))


@pytest.mark.parametrize("output", OUTPUTS)
def test_input_alpha_is_multiplied_in(rng, level, output):
    scene = Scene(rng, (97, 61))
    input_alpha = rng.integers(0, 256, (61, 97), dtype=np.uint8)
    chosen = {"input_alpha": input_alpha}
    assert_matches(output, scene.run(output, **chosen), scene.expected(output, **chosen))


@pytest.mark.parametrize("output", ["RGB", "BGR", "I420"])
def test_colour_background_matches_reference(rng, level, output):
    scene = Scene(rng, (97, 61))
    want = scene.expected(output, background=(250, 20, 130))
    assert_matches(output, scene.run(output, background=(250, 20, 130)), want)


@pytest.mark.parametrize("format", ["RGB", "I420", "NV12"])
def test_planes_may_be_the_background_of_i420(rng, level, format):
    scene = Scene(rng, (97, 61), format)
    planes = tuple(picture(rng, shape) for shape in shapes("I420", (97, 61)))
    assert_matches("I420", scene.run("I420", background=planes), scene.expected("I420", background=planes))


@pytest.mark.parametrize("size_wh", [(20, 14), (48, 32), (60, 40)])
def test_frame_smaller_than_the_network_matches_reference(rng, level, size_wh):
    scene = Scene(rng, size_wh)
    assert_matches("RGB", scene.run("RGB"), scene.expected("RGB"))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_instruction_set_gives_the_same_bytes(rng, format, output):
    scene = Scene(rng, (161, 75), format)
    results = []
    for name in _refine.LEVELS:
        _refine.use_level(name)
        results.append(scene.run(output))
    for other in results[1:]:
        for a, b in zip(np.atleast_1d(results[0]), np.atleast_1d(other), strict=True) if output not in (
            "I420", "YUVA420"
        ) else zip(results[0], other, strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("output", OUTPUTS)
def test_threads_do_not_change_the_result(rng, output):
    scene = Scene(rng, (197, 161))
    one, five = scene.run(output), scene.run(output, threads=5)
    for a, b in zip(one, five, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("format", ["RGB", "BGR", "RGBA", "BGRA"])
def test_output_may_be_the_frame_itself(rng, level, format):
    scene = Scene(rng, (97, 61), format)
    want = scene.run(format)
    frame = scene.planes[0].copy()
    scene.run(format, planes=frame, out=frame)
    np.testing.assert_array_equal(frame, want)


def test_planar_output_may_be_the_frame_itself(rng, level):
    scene = Scene(rng, (97, 61), "I420")
    want = scene.run("I420")
    planes = tuple(plane.copy() for plane in scene.planes)
    scene.run("I420", planes=planes, out=planes)
    for a, b in zip(planes, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_output_may_be_the_background_itself(rng, level):
    scene = Scene(rng, (97, 61))
    want = scene.run("RGB")
    background = scene.background.copy()
    scene.run("RGB", background=background, out=background)
    np.testing.assert_array_equal(background, want)


def padded(array, fill=0):
    wide = np.full((array.shape[0], array.shape[1] + 5, *array.shape[2:]), fill, array.dtype)
    view = wide[:, 2:-3]
    view[...] = array
    return wide, view


@pytest.mark.parametrize("output", OUTPUTS)
def test_padded_rows_and_read_only_input_are_taken_and_nothing_else_is_written(rng, level, output):
    scene = Scene(rng, (97, 61))
    want = scene.run(output)
    want = want if isinstance(want, tuple) else (want,)
    for array in (scene.planes[0], scene.alpha_small, scene.small, scene.background):
        array.setflags(write=False)
    wides, views = zip(*(padded(np.zeros_like(plane), 77) for plane in want), strict=True)
    inputs = [
        padded(array)[1] for array in (scene.planes[0], scene.alpha_small, scene.small, scene.background)
    ]
    for array in inputs:
        array.setflags(write=False)
    scene.run(output, planes=inputs[0], alpha_small=inputs[1], small=inputs[2],
              background=inputs[3] if scene.backdrop(output) is not None else None,
              out=views if len(views) > 1 else views[0])  # fmt: skip
    for wide, view, expected in zip(wides, views, want, strict=True):
        np.testing.assert_array_equal(view, expected)
        assert (wide[:, :2] == 77).all()
        assert (wide[:, -3:] == 77).all()


@pytest.mark.parametrize("output", ["RGB", "RGBA", "YUVA420"])
def test_nothing_is_allocated_with_out_and_scratch(rng, output):
    scene = Scene(rng, (640, 360))
    out = tuple(np.zeros(shape, np.uint8) for shape in shapes(output, (640, 360)))
    scratch = RefineScratch((640, 360), SMALL_WH)
    arguments = {"out": out if len(out) > 1 else out[0], "scratch": scratch}
    for small in (scene.small, None):
        scene.run(output, small=small, **arguments)
    planes = {"small": None, **arguments}
    tracemalloc.start()
    refine_and_composite(
        scene.planes, scene.alpha_small, format="RGB", geometry=scene.geometry, output=output,
        background=scene.backdrop(output), **planes,
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8192  # objects of the call, no rows of pixels


@pytest.mark.parametrize("refine", [False, True])
def test_not_a_number_is_background(rng, level, refine):
    scene = Scene(rng, (97, 61))
    alpha = scene.alpha_small.copy()
    alpha[:, :24] = np.nan
    clean = np.where(np.isnan(alpha), np.float32(0), alpha)
    got = scene.run("RGBA", alpha_small=alpha, refine=refine)
    np.testing.assert_array_equal(got, scene.run("RGBA", alpha_small=clean, refine=refine))


def test_values_outside_the_range_are_clipped(rng, level):
    scene = Scene(rng, (97, 61))
    alpha = np.where(scene.alpha_small == 0, np.float32(-np.inf), scene.alpha_small)
    alpha = np.where(alpha == 1, np.float32(np.inf), alpha)
    np.testing.assert_array_equal(scene.run("RGBA", alpha_small=alpha), scene.run("RGBA"))


def test_nearly_sure_regions_come_out_sure_whatever_their_texture(rng, level):
    scene = Scene(rng, (192, 128))
    noise = rng.random(scene.alpha_small.shape, dtype=np.float32) * np.float32(0.9 / 255)
    left = np.arange(SMALL_WH[0]) < 20
    alpha = np.where(left, noise, 1 - noise)
    got = scene.run("ALPHA", alpha_small=alpha, planes=rng.integers(0, 256, (128, 192, 3), dtype=np.uint8))
    assert (got[:, : 17 * 4] == 0).all()
    assert (got[:, 23 * 4 :] == 255).all()


def test_refining_finds_an_edge_between_the_cells(rng):
    """An edge in the middle of a cell: bilinear alpha smears it over two cells, the frame shows it."""
    frame = np.full((128, 192, 3), 40, np.uint8)
    frame[:, 98:] = 200
    truth = np.broadcast_to(np.arange(192) >= 98, (128, 192)) * 255.0
    geometry = fit((192, 128), SMALL_WH)
    alpha = np.broadcast_to(truth.reshape(128, 48, 4).mean(-1)[::4] / 255, (32, 48)).astype(np.float32)
    errors = {}
    for refine in (False, True):
        out = np.zeros((128, 192), np.uint8)
        chosen = {"output": "ALPHA", "out": out, "refine": refine}
        refine_and_composite(frame, alpha, format="RGB", geometry=geometry, **chosen)
        errors[refine] = np.abs(out - truth).sum() / 128 / 255
    assert errors[True] < errors[False] / 3


def test_decontamination_removes_the_old_background_from_edges(rng):
    """Red on green, half transparent: the straight colour of the edge is red again."""
    alpha = alpha_of_a_disc(SMALL_WH)
    geometry = fit((192, 128), SMALL_WH)
    full = reference.enlarge(alpha.astype(float), (192, 128))[..., None]
    frame = np.ascontiguousarray(np.rint(full * [220, 30, 30] + (1 - full) * [20, 200, 40]).astype(np.uint8))
    out = np.zeros((128, 192, 4), np.uint8)
    refine_and_composite(frame, alpha, format="RGB", geometry=geometry, output="RGBA", out=out, refine=False)
    edge = (out[..., 3] > 60) & (out[..., 3] < 250)
    assert np.abs(out[edge][:, :3].astype(int) - [220, 30, 30]).max() <= 12
    assert np.abs(frame[edge].astype(int) - [220, 30, 30]).max() > 100


REFUSED = {
    "planes[0]": {"planes": np.zeros((61, 97, 3), np.float32)},
    "alpha_small": {"alpha_small": np.zeros(SMALL_WH[::-1], np.float64)},
    "small": {"small": np.zeros((4, 4, 3), np.uint8)},
    "out": {"out": np.zeros((61, 96, 3), np.uint8)},
    "background": {"background": None},
    "background: expected a colour": {"background": (0, 0, 300)},
    "input_alpha": {"input_alpha": np.zeros((61, 97), bool)},
    "output": {"output": "CMYK"},
    "format": {"format": "CMYK"},
    "matrix": {"matrix": "bt2020"},
    "radius": {"radius": 0},
    "fusion_radius": {"fusion_radius": 99},
    "eps": {"eps": 0.0},
    "threads": {"threads": 0},
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_refused_by_name(rng, name):
    with pytest.raises((TypeError, ValueError), match=name.replace("[", r"\[").replace("]", r"\]")):
        Scene(rng, (97, 61)).run("RGB", **REFUSED[name])


def test_background_of_a_straight_output_is_refused(rng):
    with pytest.raises(ValueError, match="background: expected None"):
        Scene(rng, (97, 61)).run("RGBA", background=(0, 0, 0))


def test_read_only_output_is_refused(rng):
    out = np.zeros((61, 97, 3), np.uint8)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="out: expected a writable"):
        Scene(rng, (97, 61)).run("RGB", out=out)
