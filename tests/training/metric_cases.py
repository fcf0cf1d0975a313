"""Alphas and predictions made of arithmetic alone, so that they are the same everywhere and for ever."""

import numpy as np

SHAPES = ((41, 58), (64, 37), (30, 30), (53, 80))


def cases():
    """Four pairs ``(predicted, alpha)``, float64 (H, W): soft discs and bars, moved, weakened, with strays.

    Both reach 0 and 1, and none has a value at a multiple of 0.1: there rounding decides.
    """
    for number, (height, width) in enumerate(SHAPES):
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        centre_x, centre_y, radius = width * (0.4 + 0.05 * number), height * 0.5, 0.3 * min(height, width)
        distance = np.hypot(x - centre_x, y - centre_y)
        alpha = np.clip((radius + 1.51 - distance) / 3.03, 0, 1)
        alpha[2:5, 3 : width // 3] = 1.0
        moved = np.hypot(x - centre_x - 1.7, y - centre_y + 0.9)
        predicted = np.clip((radius + 2.03 - moved) / 5.01, 0, 1)
        texture = 0.5 + 0.5 * np.sin(x * 0.71 + number) * np.cos(y * 0.37)
        predicted = np.clip(predicted * (1 - 0.313 * texture) + 0.047 * texture**2, 0, 1)
        predicted[height - 6 : height - 2, 1:9] = 0.871
        predicted[0, 0], predicted[int(centre_y), int(centre_x)] = 0.0, 1.0
        yield predicted, alpha
