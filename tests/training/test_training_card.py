"""The model card tells how its network was made: the command, the runs before, curves and samples."""

import dataclasses
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from PIL import Image

from livecut.training import card_pictures, history
from livecut.training.card import Facts, write_card
from livecut.training.config import load_config
from livecut.training.evaluate import Result

LOG = [
    "10:00:00 9 items to train on, 2 held-out pairs, 0 skipped",
    "10:00:00 livecut-s on cpu (2 threads), bfloat16 and float32",
    "10:00:01 starts from first/checkpoint.pt, step 100: 178 of 214 tensors",
    "10:00:09 step 50 0.4 min lr 7.50e-04 34.3 pictures/s total 0.5",
]
EARLIER = [
    {"name": "livecut-s", "step": 1000, "pictures": 16000, "elapsed_s": 3600.0},
    {"name": "livecut-s", "step": 100, "pictures": 800, "elapsed_s": 90.0},
]
COUNTERS = {"step": 500, "pictures": 4000, "elapsed_s": 600.0}


def config_of(file, **changes):
    """A configuration as a checkpoint holds it."""
    config = dataclasses.asdict(load_config(file))
    for key, value in changes.items():
        *path, last = key.split("__")
        place = config
        for step in path:
            place = place[step]
        place[last] = value
    return config


def card(**changes):
    facts = {
        "name": "livecut-s",
        "version": "1.2",
        "licence": "Apache-2.0",
        "gmacs": 0.6,
        "params": 10**6,
        "multiple_of": 32,
        "sizes_wh": [(512, 288)],
        "config": config_of("livecut-s-memory", run__minutes=15.0),
        "counters": COUNTERS,
        "summary": {"all": {"pictures": 2, "mae": 0.1}},
        "parity": "ONNX against torch.",
        "log": LOG,
        "failures": "None.",
        "folders": ["renders"],
        "run": "second",
    }
    return write_card(Facts(**{**facts, **changes}))


def measured(folder, count, rng, size=(60, 80)):
    for number in range(count):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        alpha = rng.random(size).astype(np.float32)
        yield Result(f"{number}.jpg", folder, image, alpha, alpha, {})


def test_the_card_has_the_command_that_was_run_and_the_runs_it_went_on_from():
    text = card(earlier=EARLIER)
    words = "--config livecut-s-memory --init runs/first --data ../shared/data --out runs/second --minutes 15"
    assert f"    livecut train {words}\n" in text
    assert "on cpu (2 threads), bfloat16 and float32: 500 steps in 10 minutes, 4,000 pictures" in text
    assert "Trained in all: 20,800 pictures in 72 minutes, in 3 runs" in text.replace("from\n", "from ")
    assert (
        "1. livecut-s: 1,000 steps in 60 minutes, 16,000 pictures\n2. livecut-s: 100 steps in 2 min" in text
    )
    assert "has changed since" not in text


def test_a_first_run_in_its_own_folder_needs_no_more_words():
    text = card(log=LOG[:2], run="livecut-s", config=config_of("livecut-s", run__minutes=84.0))
    assert "    livecut train --config livecut-s --data ../shared/data --minutes 84\n" in text
    assert "Trained in all" not in text
    assert "![" not in text


def test_settings_that_the_file_has_otherwise_by_now_are_told():
    config = config_of("livecut-s-memory", network__context=9, optimiser__learning_rate=0.5)
    assert history.file_of(config)[0] == "livecut-s-memory"
    told = history.changes(config)
    assert told == (
        "`livecut-s-memory` has changed since; this run had: network.context 9, optimiser.learning_rate 0.5."
    )
    assert told in card(config=config)
    assert history.file_of(config_of("smoke", name="of my own")) == ("of my own", {})


def test_settings_that_came_later_and_the_command_lines_are_no_difference():
    config = config_of("livecut-s", run__minutes=1.0, run__workers=7, initial="runs/other")
    del config["losses"], config["optimiser"]["kind"]
    assert history.file_of(config) == ("livecut-s", {})


def test_of_a_folder_used_again_the_last_run_counts():
    again = [*LOG, *(line.replace("first", "third") for line in LOG)]
    assert "--init runs/third " in history.command(config_of("livecut-s"), "x", again)


def test_curves_and_samples_are_small_and_linked(tmp_path, rng):
    noise = rng.integers(0, 256, (400, 900, 3), dtype=np.uint8)
    Image.fromarray(noise // 64 * 64).save(tmp_path / "curve.png")
    results = [*measured("clothing_cc0", 20, rng), *measured("renders", 20, rng), *measured("others", 9, rng)]
    made = card_pictures.card_pictures(tmp_path, results)
    assert list(made) == ["curve.png", "samples.jpg"]
    assert sum(map(len, made.values())) <= card_pictures.MOST_BYTES
    samples = Image.open(io.BytesIO(made["samples.jpg"]))
    assert (samples.format, samples.width > samples.height / 2) == ("JPEG", True)
    text = card(pictures=list(made))
    assert "![curve.png](curve.png)" in text
    assert "![samples.jpg](samples.jpg)" in text


def test_only_pictures_that_may_be_shown_are(tmp_path, rng):
    assert card_pictures.card_pictures(tmp_path, list(measured("ccp_person", 5, rng))) == {}


def test_noise_in_every_sample_still_fits(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(card_pictures, "MOST_BYTES", 9000)
    made = card_pictures.card_pictures(tmp_path, list(measured("renders", 12, rng)))
    assert len(made["samples.jpg"]) <= 9000
