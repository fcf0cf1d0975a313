"""Frames of another size, fitted into the size a stream began with."""

import numpy as np
import pytest

from livecut.engine.buffers import planes_for
from livecut.engine.fitting import fit_frame
from livecut.engine.frame import Frame


def filled(format, size_wh, value=200):
    frame = Frame(planes_for(format, size_wh), format, 7, 0.5, 9.0, matrix="bt601", full_range=True)
    for plane in frame.planes:
        plane[...] = value
    return frame


@pytest.mark.parametrize("format", ["RGB", "BGR", "RGBA", "I420", "NV12"])
@pytest.mark.parametrize("size_wh", [(20, 80), (100, 30), (401, 399), (1, 1), (64, 48)])
def test_a_frame_stands_in_the_middle_and_its_margins_are_transparent(format, size_wh):
    fitted = fit_frame(filled(format, size_wh), (64, 48))
    assert (fitted.width, fitted.height, fitted.format) == (64, 48, format)
    assert fitted.alpha[24, 32] == 255
    assert np.all(fitted.planes[0][24, 32] == 200)
    rows, columns = np.nonzero(fitted.alpha)
    margins = (rows[0], 47 - rows[-1], columns.min(), 63 - columns.max())
    assert abs(margins[0] - margins[1]) <= 2
    assert abs(margins[2] - margins[3]) <= 2
    aspect = size_wh[0] / size_wh[1]
    inner = (np.ptp(columns) + 1) / (np.ptp(rows) + 1)
    assert inner == pytest.approx(aspect, rel=0.12)


def test_index_times_and_colours_come_along():
    fitted = fit_frame(filled("I420", (20, 80)), (64, 48))
    assert (fitted.index, fitted.pts_seconds, fitted.due_seconds) == (7, 0.5, 9.0)
    assert (fitted.matrix, fitted.full_range) == ("bt601", True)
    assert np.all(fitted.planes[1][:, 0] == 128)  # the margins' chroma is neutral


def test_the_frames_own_alpha_is_kept():
    frame = filled("RGB", (48, 48))
    frame.alpha = np.zeros((48, 48), np.uint8)
    frame.alpha[:24] = 255
    fitted = fit_frame(frame, (64, 48))
    assert fitted.alpha[10, 32] == 255
    assert not fitted.alpha[40].any()


def test_an_earlier_result_is_written_again_and_forgets_its_past():
    first = fit_frame(filled("RGB", (64, 48)), (64, 48))
    again = fit_frame(filled("RGB", (10, 48), 50), (64, 48), first)
    assert again is first
    assert not again.alpha[:, :20].any()
    assert np.all(again.image[24, 32] == 50)
    assert np.all(again.image[:, 0] == 0)


def test_a_result_of_another_format_is_left_alone():
    first = fit_frame(filled("RGB", (64, 48)), (64, 48))
    assert fit_frame(filled("I420", (64, 48)), (64, 48), first) is not first
