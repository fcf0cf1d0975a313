"""What kernels promise of threads: same result, GIL released, several callers at once, alive after a fork."""

import os
import threading

import numpy as np
import pytest
from helpers import lets_other_threads_run

from livecut.kernels import TemporalSmoother, bounds, denoise, fit, preprocess


def picture(rng, format):
    if format == "I420":
        return tuple(
            rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((181, 321), (91, 161), (91, 161))
        )
    return rng.integers(0, 256, (181, 321, len(format)), dtype=np.uint8)


@pytest.mark.parametrize("format", ["BGR", "RGBA", "I420"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_threads_do_not_change_what_preprocess_writes(rng, format, layout):
    geometry = fit((321, 181), (96, 96))
    planes = picture(rng, format)
    shape = (1, 3, 96, 96) if layout == "NCHW" else (1, 96, 96, 3)
    results = []
    for threads in (1, 2, 3, 7, 200):
        out, small = np.empty(shape, np.float32), np.empty((96, 96, 3), np.uint8)
        preprocess(
            planes, format=format, geometry=geometry, layout=layout, out=out, small=small, threads=threads
        )
        results.append((out, small))
    for out, small in results[1:]:
        assert np.array_equal(out, results[0][0])
        assert np.array_equal(small, results[0][1])


def test_threads_do_not_change_what_denoise_writes(rng):
    image = picture(rng, "BGR")
    assert np.array_equal(denoise(image, strength=9), denoise(image, strength=9, threads=5))


def calls(rng):
    image, out = picture(rng, "BGR"), np.empty((1, 3, 96, 96), np.float32)
    geometry, smoother = fit((321, 181), (96, 96)), TemporalSmoother((321, 181))
    matte, alpha = image[..., 0].copy(), np.zeros((181, 321), np.float32)
    cleaned = np.empty_like(image)
    return {
        "preprocess": lambda: preprocess(image, format="BGR", geometry=geometry, out=out),
        "denoise": lambda: denoise(image, strength=9, out=cleaned),
        "smooth": lambda: smoother.smooth(alpha, image),
        "bounds": lambda: bounds(matte),
    }


@pytest.mark.parametrize("kernel", ["preprocess", "denoise", "smooth", "bounds"])
def test_kernels_release_the_gil(rng, kernel):
    assert lets_other_threads_run(calls(rng)[kernel])


def test_the_check_for_the_gil_notices_a_call_that_keeps_it():
    assert not lets_other_threads_run(lambda: sum(range(100)))


def test_several_threads_may_preprocess_at_once(rng):
    geometry = fit((321, 181), (96, 96))
    frames = [picture(rng, "BGR") for _ in range(4)]
    outs = np.zeros((4, 30, 1, 3, 96, 96), np.float32)
    start = threading.Barrier(4)

    def work(index):
        start.wait()
        for out in outs[index]:
            preprocess(frames[index], format="BGR", geometry=geometry, out=out, threads=2)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, frame in enumerate(frames):
        alone = np.empty((1, 3, 96, 96), np.float32)
        preprocess(frame, format="BGR", geometry=geometry, out=alone)
        assert (outs[index] == alone).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_kernels_work_in_a_forked_child(rng):
    image = picture(rng, "BGR")
    expected = denoise(image, strength=9, threads=3)  # the parent's workers exist and are not in the child
    child = os.fork()
    if child == 0:
        same = np.array_equal(denoise(image, strength=9, threads=3), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
