"""What the engine makes of a picture with a model from elsewhere, and what it should."""

import numpy as np

from livecut.engine.session import Session

ATOL = 1.5 / 255  # the session gives whole bytes


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scene(size_wh):
    """A picture in which every channel and place differs: uint8 (h, w, 3) RGB."""
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = np.where((x // 8 + y // 8) % 2, 220, 30)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def alpha_of(folder, image, **options):
    """What the engine makes of ``image`` at the network's own size, 0..1, without refinement."""
    with Session(folder, precision="fp32", threads=1, refine=False, **options) as session:
        return session.matte(image, foreground=False).alpha / 255


def normalised(image, recipe):
    """(3, h, w) as the recipe feeds it, in its channel order."""
    values = image.astype(np.float64).transpose(2, 0, 1)
    values = values[::-1] if recipe.color == "BGR" else values
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (recipe.mean, recipe.std))
    return (values - mean) / std
