"""Small pictures with masks, as training data of one side of the hold-out rule."""

import numpy as np

from livecut.training.data.holdout import is_validation

LICENCE = "Source: made for a test\nLicence: CC0-1.0\nCredit: nobody\n"


def picture(rng, width=72, height=56):
    """A bright disc on a dark textured ground, and its mask."""
    y, x = np.mgrid[0:height, 0:width]
    radius = rng.uniform(0.2, 0.35) * height
    mask = (x - width * rng.uniform(0.4, 0.6)) ** 2 + (y - height * rng.uniform(0.4, 0.6)) ** 2 < radius**2
    image = rng.integers(0, 90, (height, width, 3))
    image[mask] = rng.integers(170, 255, 3)
    return image.astype(np.uint8), (mask * 255).astype(np.uint8)


def names(count, *, validation, pattern="thing_{:03d}.jpg"):
    """File names on one side of the hold-out rule."""
    every = (pattern.format(number) for number in range(10_000))
    chosen = (name for name in every if is_validation(name) == validation)
    return [next(chosen) for _ in range(count)]
