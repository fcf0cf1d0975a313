"""Pictures that are red where their product is, with masks that agree or do not."""

import cv2
import numpy as np

SIZE_WH = (64, 32)


class RedAsAlpha:
    """A predictor; counts how often it was told to forget."""

    begins_with_plate = False

    def __init__(self):
        self.resets = 0

    def __call__(self, image):
        return image[..., 0].astype(np.float32) / 255

    def reset(self):
        self.resets += 1


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def red(share, size_wh=SIZE_WH):
    """A picture (BGR) whose left ``share`` is red."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    image[:, : round(size_wh[0] * share), 2] = 255
    return image


def mask(share, size_wh=SIZE_WH):
    return np.ascontiguousarray(red(share, size_wh)[..., 2])
