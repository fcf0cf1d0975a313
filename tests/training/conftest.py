"""A data folder of a few small pictures, made on the spot."""

import dataclasses

import cv2
import numpy as np
import pytest
import red_pairs
from training_pictures import LICENCE, names, picture
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

torch.set_num_threads(1)  # small work: more threads only wait for each other

from livecut.cli.main import app
from livecut.training.config import Adversarial, Config, Optimiser, Run, Stage

TINY = """
base = "article"
name = "tiny"
input_sizes = [[64, 64]]
[network]
channels = [4, 4]
[adversarial]
channels = [4, 4]
[run]
minutes = 0.01
threads = 1
workers = 0
[[stage]]
until = 1.0
batch = 2
sizes = [[64, 64]]
"""


@pytest.fixture
def data_folder(tmp_path, rng):
    """Six training pairs and two held-out ones, one render with plate, one cut-out, one background."""
    root = tmp_path / "data"
    pairs, renders = root / "clothing_cc0", root / "renders"
    cutouts, backgrounds = root / "cutouts_rgba" / "made", root / "backgrounds"
    for folder in (pairs / "images", pairs / "masks", renders, cutouts, backgrounds / "rooms"):
        folder.mkdir(parents=True)
    for folder in (pairs, renders, cutouts, backgrounds):
        (folder / "LICENCE.txt").write_text(LICENCE)
    for name in names(6, validation=False) + names(2, validation=True):
        image, mask = picture(rng)
        cv2.imwrite(str(pairs / "images" / name), image)
        cv2.imwrite(str(pairs / "masks" / name.replace(".jpg", ".png")), mask)
    (name,) = names(1, validation=False, pattern="{:05d}_i.jpg")
    image, mask = picture(rng)
    cv2.imwrite(str(renders / name), image)
    cv2.imwrite(str(renders / name.replace("_i.jpg", "_a.png")), mask)
    cv2.imwrite(
        str(renders / name.replace("_i.jpg", "_p.jpg")), rng.integers(0, 90, image.shape).astype(np.uint8)
    )
    image, mask = picture(rng)
    (name,) = names(1, validation=False, pattern="cut_{}.png")
    cv2.imwrite(str(cutouts / name), np.dstack([image, mask]))
    (name,) = names(1, validation=False, pattern="room_{}.jpg")
    cv2.imwrite(str(backgrounds / "rooms" / name), rng.integers(0, 255, (80, 100, 3)).astype(np.uint8))
    return root


@pytest.fixture
def tiny_config():
    """A configuration that is over in a second or two, with the network as it ships."""
    return Config(
        name="tiny",
        seed=1,
        encoder_weights="",
        network={"c32": 80, "c16": 64, "c8": 48, "c4": 40, "skip2": 24},
        optimiser=Optimiser(
            learning_rate=2e-3,
            encoder_share=0.2,
            weight_decay=0.01,
            warm_up_steps=2,
            final_share=0.01,
            gradient_clip=2.0,
            ema_decay=0.9,
        ),
        run=Run(
            minutes=0.01, threads=1, workers=0, bfloat16=False, checkpoint_minutes=100, validation_minutes=100
        ),
        stages=[Stage(until=1.0, batch=2, sizes=[[64, 64], [96, 64]])],
    )


@pytest.fixture
def article_config(tiny_config):
    """The article's method, with few channels."""
    return dataclasses.replace(
        tiny_config,
        name="tiny-article",
        method="article",
        network={"channels": [4, 6, 8]},
        adversarial=Adversarial(weight=0.01, learning_rate=1e-3, channels=[4, 6, 8]),
        input_sizes=[[64, 64]],
    )


@pytest.fixture
def tiny_toml(tmp_path):
    """The article's method with few channels, as a file: over in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def livecut():
    """Call the command in this process."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def pairs_folder(tmp_path):
    """Three pairs: one that red gives exactly, one half wrong, one all wrong."""
    root = tmp_path / "pairs"
    for name, seen, true in (("good", 0.5, 0.5), ("fair", 0.5, 0.25), ("bad", 0.25, 0.0)):
        red_pairs.write(root / "images" / f"{name}.png", red_pairs.red(seen))
        red_pairs.write(root / "masks" / f"{name}.png", red_pairs.mask(true))
    return root
