"""Which files ``livecut eval`` takes for pictures with known alpha, and how they are read."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from red_pairs import mask, red, write

from livecut.engine.errors import SourceError
from livecut.training import pairs, smoke
from livecut.training.data.holdout import is_validation


def names_of(samples):
    return [(sample.group, sample.name) for sample in samples]


def test_pictures_beside_masks_are_pairs_by_name_in_any_usual_folders(tmp_path):
    for images, masks in (("images", "masks"), ("im", "gt"), ("RGB", "Alpha")):
        root = tmp_path / images
        write(root / "set" / images / "b.png", red(0.5))
        write(root / "set" / images / "a10.png", red(0.5))
        write(root / "set" / images / "a9.png", red(0.5))
        for name in ("a9", "a10", "b"):
            write(root / "set" / masks / f"{name}.png", mask(0.5))
        samples = pairs.open_samples(root, tmp_path / "cache")
        assert names_of(samples) == [("set", "a9.png"), ("set", "a10.png"), ("set", "b.png")]


@pytest.mark.parametrize(
    ("picture", "alpha"),
    [
        ("x.jpg", "x_mask.png"),
        ("x.png", "x-alpha.png"),
        ("x_i.jpg", "x_a.png"),
        ("x.webp", "x_matte.png"),
        ("x.jpg", "x.png"),
    ],
)
def test_endings_and_formats_make_pairs(picture, alpha, tmp_path):
    write(tmp_path / "flat" / picture, red(0.5))
    write(tmp_path / "flat" / alpha, mask(0.25))
    (sample,) = pairs.open_samples(tmp_path / "flat", tmp_path / "cache")
    assert sample.name == picture
    assert sample.alpha.mean() == pytest.approx(0.25)


def test_an_alpha_is_read_in_8_and_16_bits_and_from_an_alpha_channel(tmp_path):
    value = np.full((4, 6), 51, np.uint8)
    for number, pixels in enumerate(
        (value, value.astype(np.uint16) * 257, np.dstack([value * 0] * 3 + [value]))
    ):
        write(tmp_path / "set" / f"{number}.jpg", red(0.5, (6, 4)))
        write(tmp_path / "set" / f"{number}_mask.png", pixels)
    samples = list(pairs.open_samples(tmp_path / "set", tmp_path / "cache"))
    assert [float(sample.alpha.max()) for sample in samples] == pytest.approx([0.2, 0.2, 0.2])


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(pairs_folder, tmp_path):
    write(pairs_folder / "images" / "alone.png", red(0.5))
    write(pairs_folder / "masks" / "fair.png", mask(0.25, (20, 20)))
    (pairs_folder / "images" / "bad.png").write_bytes(b"no picture")
    samples = pairs.open_samples(pairs_folder, tmp_path / "cache")
    assert [sample.name for sample in samples] == ["good.png"]
    said = "\n".join(samples.skipped)
    assert "alone.png: no alpha of that name" in said
    assert "fair.png: alpha is 20x20, the picture 64x32" in said
    assert "bad.png: does not decode" in said
    assert len(samples.skipped) == 3


def test_plates_are_found_beside_the_pictures_and_by_ending(tmp_path):
    for place in ("images", "masks", "plates"):
        write(tmp_path / "set" / place / "x.png", red(0.5))
    write(tmp_path / "set" / "images" / "y.png", red(0.5))
    write(tmp_path / "set" / "masks" / "y.png", mask(0.5))
    for ending in ("i", "p", "a"):
        write(tmp_path / "set" / "flat" / f"z_{ending}.png", red(0.5))
    every = pairs.open_samples(tmp_path / "set", tmp_path / "cache")
    assert [(sample.name, sample.plate is None) for sample in every] == [
        ("z_i.png", False), ("x.png", False), ("y.png", True),
    ]  # fmt: skip
    with_plates = pairs.open_samples(tmp_path / "set", tmp_path / "cache", plates=True)
    assert [sample.name for sample in with_plates] == ["z_i.png", "x.png"]
    (tmp_path / "set" / "flat" / "z_p.png").unlink()
    (tmp_path / "set" / "plates" / "x.png").unlink()
    with pytest.raises(SourceError, match="no picture with a clean plate"):
        pairs.open_samples(tmp_path / "set", tmp_path / "cache", plates=True)


def test_a_plate_of_another_size_is_named_and_left_out(pairs_folder, tmp_path):
    write(pairs_folder / "plates" / "good.png", red(0.5, (20, 20)))
    samples = pairs.open_samples(pairs_folder, tmp_path / "cache")
    assert [sample.name for sample in samples] == ["bad.png", "fair.png"]
    assert samples.skipped == [f"{pairs_folder / 'plates' / 'good.png'}: plate and picture differ in size"]


def test_of_a_training_folder_the_renders_have_plates(data_folder, tmp_path):
    with pytest.raises(SourceError, match="without a single held-out pair with a clean plate"):
        pairs.open_samples(data_folder, tmp_path / "cache", plates=True)
    number = next(number for number in range(10_000) if is_validation(f"{number:05d}_i.jpg"))
    for ending in ("i.jpg", "a.png", "p.jpg"):
        write(
            data_folder / "renders" / f"{number:05d}_{ending}", red(0.5) if ending != "a.png" else mask(0.5)
        )
    (sample,) = pairs.open_samples(data_folder, tmp_path / "cache", plates=True)
    assert sample.name == f"{number:05d}_i.jpg"
    assert sample.plate.shape == sample.image.shape
    assert len(pairs.open_samples(data_folder, tmp_path / "cache")) == 3


def test_a_folder_without_pairs_is_refused_with_the_names_it_should_have(tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        pairs.open_samples(tmp_path / "nowhere", tmp_path)
    write(tmp_path / "set" / "images" / "alone.png", red(0.5))
    with pytest.raises(SourceError, match=r"expected images/NAME\.\*|Expected images/NAME\.\*"):
        pairs.open_samples(tmp_path / "set", tmp_path / "cache")


def test_of_a_training_folder_only_the_held_out_pairs_count(tmp_path):
    data = smoke.make_data(tmp_path / "data", np.random.default_rng(1), training=9, held_out=3)
    samples = pairs.open_samples(data, tmp_path / "cache")
    assert len(samples) == len(list(samples)) == 3
    assert {sample.group for sample in samples} == {"clothing_cc0"}
