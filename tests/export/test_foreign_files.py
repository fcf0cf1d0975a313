"""Real third-party files, where the data folder is beside the checkout: imported, run on a photograph."""

from pathlib import Path

import numpy as np
import pytest

from livecut.engine.session import Session
from livecut.export.foreign import import_foreign

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
FILES = {
    "mediapipe-selfie": "selfie_segmentation_onnx/selfie_segmentation.onnx",
    "sinet": "sinet_portrait_onnx/SINet_Softmax_simple.onnx",
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FILES)
def test_a_published_portrait_network_cuts_out_a_portrait(tmp_path, recipe):
    path = WEIGHTS / FILES[recipe]
    if not path.is_file():
        pytest.skip(f"needs the third-party file {FILES[recipe]}")
    data = pytest.importorskip("skimage.data", reason="the photograph is scikit-image's")
    report = import_foreign(path, None, tmp_path / recipe)
    assert report.recipe.name == recipe
    with Session(tmp_path / recipe, precision="fp32", threads=2) as session:
        alpha = session.matte(data.astronaut(), foreground=False).alpha.astype(np.float64) / 255
    # The woman's head and chest against the wall beside her head, above the shuttle and in the flag's corner.
    inside = [alpha[60:180, 170:270], alpha[330:440, 120:300]]
    outside = [alpha[20:200, 300:380], alpha[20:120, 470:510], alpha[10:180, 90:135]]
    assert min(part.mean() for part in inside) > 0.9
    assert max(part.mean() for part in outside) < 0.1
