"""Pictures put together of cut-outs that nothing was trained on."""

import cv2
import numpy as np
from training_pictures import names

from livecut.training import write_composites


def written(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_photographs_are_laid_over_held_out_backgrounds_and_drawings_are_not(data_folder, tmp_path, rng):
    (name,) = names(1, validation=True, pattern="far_{}.jpg")
    cv2.imwrite(str(data_folder / "backgrounds" / "rooms" / name), np.full((90, 120, 3), 30, np.uint8))
    cutouts = tmp_path / "cutouts"
    cutouts.mkdir()
    photo = rng.integers(150, 256, (200, 160, 4), dtype=np.uint8)
    photo[..., 3] = 255
    cv2.imwrite(str(cutouts / "photo.png"), photo)
    cv2.imwrite(str(cutouts / "drawing.png"), np.full((200, 160, 4), 255, np.uint8))
    cv2.imwrite(str(cutouts / "small.png"), photo[:80, :70])
    cv2.imwrite(str(cutouts / "opaque.png"), photo[..., :3])
    for out in ("one", "other"):
        assert write_composites.main([str(data_folder), str(tmp_path / out), str(cutouts)]) == 0
    made = written(tmp_path / "one")
    assert sorted(made) == ["images/0000_photo.png", "masks/0000_photo.png"]
    assert made == written(tmp_path / "other")
    options = [str(data_folder), str(tmp_path / "heaps"), str(cutouts), "--heaps"]
    assert write_composites.main(options) == 0
    assert sorted(written(tmp_path / "heaps")) == sorted(made)
    assert written(tmp_path / "heaps") != made
    options = [str(data_folder), str(tmp_path / "cloth"), str(cutouts), "--patterned", "--plates"]
    assert write_composites.main(options) == 0
    assert sorted(written(tmp_path / "cloth")) == [*sorted(made), "plates/0000_photo.png"]
    image, plate, mask = (
        cv2.imread(str(tmp_path / "cloth" / kind / "0000_photo.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("images", "plates", "masks")
    )
    # The thing is light and the place is dark: only the picture shows it.
    assert image[mask > 250].mean() > 60
    assert plate[mask > 250].mean() < 60
    mask = cv2.imread(str(tmp_path / "one" / "masks" / "0000_photo.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == write_composites.SIZE_WH[::-1]
    assert 0.02 < (mask > 127).mean() < 0.98


def test_what_cannot_be_used_is_named(data_folder, tmp_path, capsys):
    assert write_composites.main([str(data_folder), str(tmp_path / "out"), str(tmp_path)]) == 2
    assert "held-out pictures under backgrounds" in capsys.readouterr().err
    (name,) = names(1, validation=True, pattern="far_{}.jpg")
    cv2.imwrite(str(data_folder / "backgrounds" / "rooms" / name), np.full((90, 120, 3), 30, np.uint8))
    (tmp_path / "none").mkdir()
    assert write_composites.main([str(data_folder), str(tmp_path / "out"), str(tmp_path / "none")]) == 2
    assert "expected photographs as RGBA PNGs" in capsys.readouterr().err
    assert write_composites.main([str(data_folder), str(tmp_path), str(tmp_path / "none")]) == 2
    assert "exists" in capsys.readouterr().err
