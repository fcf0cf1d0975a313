"""The contact sheet shows what it says."""

import numpy as np

from livecut.engine.contact_sheet import LOUD, Row, make_contact_sheet


def test_each_column_shows_its_thing():
    image = np.full((40, 80, 3), (10, 20, 30), np.uint8)
    cutout = np.dstack([image, np.zeros((40, 80, 1), np.uint8)])
    cutout[:, 40:, 3] = 255
    sheet = make_contact_sheet([Row("half", image, cutout)], cell_wh=(80, 40))
    y = 32 + 20
    x = [8 + column * 88 for column in range(4)]
    assert sheet[y, x[0] + 20].tolist() == [10, 20, 30]
    assert [sheet[y, x[1] + 20, 0], sheet[y, x[1] + 60, 0]] == [0, 255]
    assert {204, 255} >= set(np.unique(sheet[32:72, x[2] : x[2] + 30]))
    assert sheet[y, x[2] + 60].tolist() == [10, 20, 30]
    assert sheet[y, x[3] + 20].tolist() == list(LOUD)
    assert sheet[y, x[3] + 60].tolist() == [10, 20, 30]


def test_pictures_of_any_shape_fit(rng):
    rows = []
    for height, width in ((1, 1), (500, 3), (3, 500), (90, 90)):
        cutout = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        rows.append(Row(f"{width}x{height}", cutout[:, :, :3], cutout))
    sheet = make_contact_sheet(rows, cell_wh=(60, 50))
    assert sheet.shape[1] == 4 * 68 + 8
    assert sheet.dtype == np.uint8
