"""What is measured of a model, and how it is summed up: pictures, clips, plates."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs PyTorch")

from red_pairs import RedAsAlpha

from livecut.training import evaluate, metrics, pairs
from livecut.training.pairs import Sample, Samples


def clip_samples(errors, name="clips/a"):
    """Frames of constant alpha 0.5 with a predicted red of 0.5 + error."""
    alpha = np.full((8, 8), 0.5, np.float32)
    for number, error in enumerate(errors):
        image = np.full((8, 8, 3), round(255 * (0.5 + error)), np.uint8)
        yield Sample(f"{number}.png", name, image, alpha, name)


class Given(Samples):
    """Samples made in the test."""

    def __init__(self, samples):
        super().__init__()
        self.given = list(samples)

    def __len__(self):
        return len(self.given)

    def __iter__(self):
        return iter(self.given)


def test_means_are_over_pictures_and_the_worst_comes_first(pairs_folder, tmp_path):
    done = evaluate.evaluate(RedAsAlpha(), pairs.open_samples(pairs_folder, tmp_path / "cache"), worst=2)
    assert [picture["name"] for picture in done.pictures] == ["bad.png", "fair.png", "good.png"]
    assert done.summary["all"]["mae"] == pytest.approx((0.25 + 0.25 + 0) / 3)
    assert done.summary["all"]["iou"] == pytest.approx((0 + 0.5 + 1) / 3)
    assert [result.name for result in done.worst] == ["bad.png", "fair.png"]
    assert set(done.summary["all"]) == {"pictures", *evaluate.METRICS}


def test_a_model_that_begins_with_a_plate_is_shown_each_pictures_own(tmp_path):
    seen = []

    class Begins(RedAsAlpha):
        begins_with_plate = True

        def __call__(self, image):
            seen.append(int(image[0, 0, 0]))
            return super().__call__(image)

    alpha = np.zeros((4, 4), np.float32)
    image, plate = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 20, np.uint8)
    given = Given(Sample(f"{k}.png", "g", image + k, alpha, plate=plate + k) for k in range(2))
    evaluate.evaluate(Begins(), given)
    assert seen == [20, 10, 21, 11]


def test_a_clip_has_a_dtssd_and_is_forgotten_only_at_its_start():
    predict = RedAsAlpha()
    still, jumps = clip_samples([0.1, 0.1, 0.1]), clip_samples([0.0, 0.2, 0.0], "clips/b")
    done = evaluate.evaluate(predict, Given([*still, *jumps]))
    assert predict.resets == 2
    by_name = {clip["name"]: clip["dtssd"] for clip in done.clips}
    assert by_name["clips/a"] == pytest.approx(0, abs=1e-5)
    assert by_name["clips/b"] == pytest.approx(20, abs=0.5)  # grey levels are rounded
    assert done.summary["all"]["dtssd"] == pytest.approx(np.mean(list(by_name.values())))
    assert done.summary["clips/b"]["dtssd"] == by_name["clips/b"]


def test_streamed_dtssd_is_the_metrics(rng):
    alphas = rng.random((4, 8, 8)).astype(np.float32)
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    given = Given(Sample(f"{k}.png", "c", images[k], alphas[k], "c") for k in range(4))
    done = evaluate.evaluate(RedAsAlpha(), given)
    assert done.clips[0]["dtssd"] == pytest.approx(metrics.dtssd(images[..., 0] / 255, alphas), rel=1e-5)


def test_unrelated_pictures_are_each_the_first_of_a_stream(pairs_folder, tmp_path):
    predict = RedAsAlpha()
    evaluate.evaluate(predict, pairs.open_samples(pairs_folder, tmp_path / "cache"))
    assert predict.resets == 3


def test_frames_of_one_clip_that_differ_in_size_are_refused():
    first, second = clip_samples([0, 0])
    second = Sample("1.png", second.group, second.image[:4], second.alpha[:4], second.clip)
    with pytest.raises(ValueError, match=r"clips/a: frames of one clip differ in size, from 1\.png on"):
        evaluate.evaluate(RedAsAlpha(), Given([first, second]))
