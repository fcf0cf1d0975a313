"""The loop that rembg's users run: Pillow for pixels, NumPy to normalise, ONNX Runtime for the network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import u2netp

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RembgLoop:
    """Picture in, picture over ``background`` out; u2netp with random weights on ``threads`` threads."""

    def __init__(self, background_rgb: np.ndarray, *, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = u2netp.build().SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.background = Image.fromarray(background_rgb)

    def __call__(self, frame_rgb: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(frame_rgb)
        outputs = self.session.run(None, {self.input: self.prepare(picture)})
        mask = self.mask(outputs[0], picture.size)
        return np.asarray(Image.composite(picture, self.background, mask))

    @staticmethod
    def prepare(picture: Image.Image) -> np.ndarray:
        """Lanczos to 320x320, over the brightest value, ImageNet's mean and deviation; float64 to the end."""
        small = np.array(picture.convert("RGB").resize(u2netp.SIZE_WH, Image.Resampling.LANCZOS))
        scaled = small / max(small.max(), 1e-6)
        normalised = np.zeros((*small.shape[:2], 3))
        for channel in range(3):
            normalised[:, :, channel] = (scaled[:, :, channel] - MEAN[channel]) / STD[channel]
        return normalised.transpose(2, 0, 1)[None].astype(np.float32)

    @staticmethod
    def mask(output: np.ndarray, size_wh: tuple[int, int]) -> Image.Image:
        """The first output stretched to 0..255, enlarged by Lanczos."""
        prediction = output[:, 0]
        low, high = prediction.min(), prediction.max()
        prediction = np.squeeze((prediction - low) / max(high - low, 1e-12))
        mask = Image.fromarray((prediction.clip(0, 1) * 255).astype(np.uint8))
        return mask.resize(size_wh, Image.Resampling.LANCZOS)
