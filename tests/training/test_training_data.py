"""What training is fed with: held-out pictures stay out, bad files are named, scenes are what they claim."""

import pickle

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livecut.training.data import backgrounds, cache, compose, dataset, geometry
from livecut.training.data.augment import photometric
from livecut.training.data.cartons import LONGEST_PX, carton
from livecut.training.data.catalogue import Item, read_catalogue
from livecut.training.data.dataset import SceneMaker, to_alpha, to_network
from livecut.training.data.holdout import is_validation


def test_the_hold_out_rule_is_the_sha1_of_the_name_modulo_ten():
    # sha1("a") ends in ...2f8 hex; as an integer modulo 10 it is 4.
    assert not is_validation("a")
    held = [name for name in map(str, range(2000)) if is_validation(name)]
    assert 150 < len(held) < 250


def test_a_plate_follows_its_picture(data_folder):
    for item in read_catalogue(data_folder).items:
        if item.kind == "plate":
            assert item.validation == is_validation(item.image.name.replace("_p.jpg", "_i.jpg"))


def test_every_kind_is_found_and_the_two_sides_do_not_meet(data_folder):
    catalogue = read_catalogue(data_folder)
    assert [len(catalogue.select(kind)) for kind in ("pair", "cutout", "plate", "background")] == [7, 1, 1, 1]
    held = catalogue.select("pair", validation=True)
    assert len(held) == 2
    assert not set(held) & set(catalogue.select("pair"))


def test_a_picture_without_mask_is_passed_over_by_name(data_folder):
    mask = sorted((data_folder / "clothing_cc0" / "masks").iterdir())[0]
    mask.unlink()
    catalogue = read_catalogue(data_folder)
    assert len(catalogue.skipped) == 1
    assert mask.name in catalogue.skipped[0]


def test_a_folder_without_data_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data"):
        read_catalogue(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="clothing_cc0"):
        read_catalogue(tmp_path)


def test_packed_pictures_are_the_decoded_files_and_are_decoded_once(data_folder, tmp_path, monkeypatch):
    items = read_catalogue(data_folder).items
    packed = cache.pack(items, tmp_path / "cache")
    for index, item in enumerate(packed.items):
        assert np.array_equal(packed[index], cache.read_item(item))
    monkeypatch.setattr(cache, "read_item", lambda item: pytest.fail("decoded again"))
    assert len(cache.pack(items, tmp_path / "cache")) == len(items)


def test_packed_pictures_reach_another_process_without_their_pixels(data_folder, tmp_path):
    packed = cache.pack(read_catalogue(data_folder).items, tmp_path / "cache")
    sent = pickle.dumps(packed)
    assert len(sent) < 20_000
    assert np.array_equal(pickle.loads(sent)[3], packed[3])


def test_bad_files_are_left_out_and_named(data_folder, tmp_path):
    images = sorted((data_folder / "clothing_cc0" / "images").iterdir())
    masks = data_folder / "clothing_cc0" / "masks"
    images[0].write_bytes(b"no picture")
    cv2.imwrite(str(masks / f"{images[1].stem}.png"), np.full((5, 5), 255, np.uint8))
    cv2.imwrite(str(masks / f"{images[2].stem}.png"), np.zeros((56, 72), np.uint8))
    packed = cache.pack(read_catalogue(data_folder).items, tmp_path / "cache")
    text = "\n".join(packed.skipped)
    assert len(packed.skipped) == 3
    assert "does not decode" in text
    assert "mask is (5, 5), the picture (72, 56)" in text
    assert "the mask is empty" in text


def test_large_pictures_are_packed_smaller(tmp_path, rng):
    cv2.imwrite(str(tmp_path / "big.jpg"), rng.integers(0, 255, (300, 1024, 3)).astype(np.uint8))
    assert cache.read_item(Item("background", "x", tmp_path / "big.jpg")).shape == (150, 512, 3)


@pytest.mark.parametrize("frame_wh", [(1920, 1080), (100, 400), (333, 77), (64, 64)])
@pytest.mark.parametrize("input_wh", [(512, 288), (288, 512), (384, 384)])
def test_a_picture_lies_in_the_input_as_the_engine_lays_it(frame_wh, input_wh):
    preprocess = pytest.importorskip("livecut.kernels.preprocess")
    assert geometry.fit_inside(frame_wh, input_wh) == tuple(
        preprocess.fit(frame_wh, input_wh, "letterbox").roi
    )


def test_letterbox_bars_are_grey_and_background():
    image, alpha = np.full((50, 100, 3), 200, np.uint8), np.full((50, 100), 255, np.uint8)
    framed, framed_alpha = geometry.letterbox(image, alpha, (96, 96))
    assert (framed[:24] == geometry.PAD_VALUE).all()
    assert (framed[24:72] == 200).all()
    assert framed_alpha[24:72].min() == 255
    assert framed_alpha[:24].max() == framed_alpha[72:].max() == 0


def test_a_composite_is_its_subject_inside_and_its_background_outside(rng):
    subject = np.zeros((40, 40, 4), np.uint8)
    subject[10:30, 10:30] = (0, 0, 250, 255)
    background = np.full((96, 96, 3), (0, 200, 0), np.uint8)
    image, alpha = compose.compose(background, [compose.cut_out(subject, tighten=False)], rng)
    assert alpha.max() == 255
    assert image[alpha == 0][:, 2].max() < 30  # no blue outside
    assert image[alpha == 255][:, 2].min() > 100


def test_a_cut_out_loses_the_colour_of_its_old_background():
    rgba = np.zeros((60, 60, 4), np.uint8)
    rgba[...] = (255, 0, 0, 0)
    rgba[20:40, 20:40] = (0, 0, 255, 255)
    rgba[20:40, 20] = (128, 0, 128, 128)
    cut = compose.cut_out(rgba, tighten=False)
    assert cut[cut[..., 3] > 0][:, 0].max() < 10


def test_a_shelf_of_things_stays_background_and_leaves_its_ground_alone(rng):
    thing = compose.cut_out(np.full((30, 20, 4), 255, np.uint8), tighten=False)
    ground = np.full((90, 120, 3), 40, np.uint8)
    before = ground.copy()
    shelves = [backgrounds.crowd(ground, [thing], rng) for _ in range(10)]
    assert np.array_equal(ground, before)
    assert all(shelf.shape == ground.shape and shelf.dtype == np.uint8 for shelf in shelves)
    assert all(shelf.max() > 90 for shelf in shelves)


def test_a_pattern_repeats_a_part_of_its_picture_all_over(rng):
    picture = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    size_wh = (160, 96)

    def in_few_waves(image):  # share of the variance that the strongest hundredth of the frequencies has
        power = np.sort(np.abs(np.fft.fft2(image.mean(2) - image.mean())).ravel() ** 2)
        return power[-power.size // 100 :].sum() / power.sum()

    seeds = [np.random.default_rng(seed) for seed in range(12)]
    printed = [backgrounds.patterned(picture, size_wh, seed) for seed in seeds]
    assert {(cloth.shape, cloth.dtype.name) for cloth in printed} == {((96, 160, 3), "uint8")}
    plain = [backgrounds.backdrop(picture, size_wh, seed) for seed in seeds]
    assert np.median([*map(in_few_waves, printed)]) > 2 * np.median([*map(in_few_waves, plain)])
    # No corner is empty: a picture without black makes cloth without black.
    light = np.maximum(picture, 200)
    assert min(backgrounds.patterned(light, size_wh, seed).min() for seed in seeds) > 60


def test_a_pattern_is_made_of_the_smallest_picture(rng):
    assert (backgrounds.patterned(np.full((2, 3, 3), 99, np.uint8), (64, 48), rng) > 40).all()


def test_backgrounds_are_printed_where_they_have_a_picture(data_folder, tmp_path, rng, monkeypatch):
    maker = SceneMaker(cache.pack(read_catalogue(data_folder).items, tmp_path / "cache"))
    monkeypatch.setattr(dataset, "PATTERNED", 1.0)
    monkeypatch.setattr(dataset, "HEAPS", 0.0)
    monkeypatch.setattr(dataset, "TONED", 0.0)
    monkeypatch.setattr(dataset, "CROWDS", 0.0)
    monkeypatch.setattr(dataset, "backdrop", lambda picture, size_wh, rng: picture)
    monkeypatch.setattr(dataset, "patterned", lambda picture, size_wh, rng: "cloth")
    monkeypatch.setattr(dataset, "compose", lambda ground, subjects, rng: ground)
    behind = []
    for picture in (np.zeros((9, 9, 3), np.uint8), None):
        monkeypatch.setattr(SceneMaker, "draw_behind", lambda self, rng, picture=picture: picture)
        behind.append(maker._composite((64, 48), rng))
    assert behind == ["cloth", None]


def test_a_group_holds_each_of_its_things(rng):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    things = [np.full((60, 40, 4), (*colour, 255), np.uint8) for colour in colours]
    group = compose.line_up(things, rng)
    assert set(np.unique(group[..., 3])) == {0, 255}
    shown = group[group[..., 3] == 255][:, :3] > 100
    assert [(shown == (np.array(colour) > 100)).all(1).any() for colour in colours] == [True] * 3
    assert shown.any(1).all()  # no black of the canvas


@pytest.mark.parametrize("seed", range(6))
def test_a_heap_shows_each_of_its_things_and_nothing_else(seed):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    things = [np.full((20, 90, 4), (*colour, 255), np.uint8) for colour in colours]
    heap = compose.heap(things, np.random.default_rng(seed))
    assert max(heap.shape[:2]) <= compose.HEAP_PX
    shown = heap[heap[..., 3] > 250][:, :3].astype(int)
    assert all((shown[:, channel] > 100).any() for channel in range(3))
    assert ((shown > 60).sum(1) <= 2).all()  # each place is of one thing, or of two at a seam
    assert (heap[..., 3] > 250).sum() > 1.2 * max((shown[:, channel] > 100).sum() for channel in range(3))


def test_a_heap_is_of_one_kind_and_of_few_shapes(data_folder, tmp_path, rng, monkeypatch):
    maker = SceneMaker(cache.pack(read_catalogue(data_folder).items, tmp_path / "cache"))
    kinds, heaps = [], []

    def draw(self, rng, kind):
        kinds.append(kind)
        return np.full((30, 20, 4), 60 * len(kinds), np.uint8)

    monkeypatch.setattr(dataset, "HEAPS", 1.0)
    monkeypatch.setattr(SceneMaker, "draw_subject", draw)
    monkeypatch.setattr(dataset, "heap", lambda things, rng: heaps.append(things) or things[0])
    monkeypatch.setattr(dataset, "compose", lambda ground, subjects, rng: subjects)
    for _ in range(12):
        kinds.clear()
        assert len(maker._composite((64, 48), rng)) == 1
        assert len(set(kinds)) == 1
        assert len({int(thing[0, 0, 0]) for thing in heaps[-1]}) <= len(kinds) <= 2
    assert {len(things) for things in heaps} <= set(range(2, 10))


def test_a_background_takes_the_colour_of_a_spot_of_the_subject(rng):
    subject = np.zeros((60, 60, 4), np.uint8)
    subject[10:50, 10:50] = (240, 240, 230, 255)
    ground = rng.integers(40, 90, (48, 64, 3), dtype=np.uint8)
    moved = backgrounds.toned(ground, subject, rng)
    assert moved.dtype == np.uint8
    assert np.abs(moved.mean((0, 1)) - (240, 240, 230)).max() < 0.32 * 180
    assert moved.std() == pytest.approx(ground.std(), rel=0.4)  # its pattern stays
    assert np.array_equal(backgrounds.toned(ground, subject * 0, rng), ground)


def test_a_group_is_of_one_kind(data_folder, tmp_path, rng, monkeypatch):
    maker = SceneMaker(cache.pack(read_catalogue(data_folder).items, tmp_path / "cache"))
    kinds = []
    drawn = np.full((30, 20, 4), 200, np.uint8)
    monkeypatch.setattr(dataset, "HEAPS", 0.0)
    monkeypatch.setattr(dataset, "GROUPS", 1.0)
    monkeypatch.setattr(SceneMaker, "draw_subject", lambda self, rng, kind: kinds.append(kind) or drawn)
    monkeypatch.setattr(dataset, "compose", lambda ground, subjects, rng: subjects)
    for _ in range(6):
        kinds.clear()
        assert len(maker._composite((64, 48), rng)) == 1
        assert len(kinds) >= 2
        assert len(set(kinds)) == 1


def test_a_long_thing_may_run_out_of_the_frame(rng, monkeypatch):
    monkeypatch.setattr(geometry, "CLOSE_UPS", 0.0)
    seen = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(compose, "RUN_OUT", share)
        placed = [compose.place(np.full((20, 120, 4), 255, np.uint8), (64, 64), 1, rng) for _ in range(40)]
        seen.append(np.mean([(thing[..., 3] > 127).mean() for thing in placed]))
    assert seen[1] > 1.5 * seen[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_carton_s_outline_does_not_depend_on_its_print(seed, rng):
    one, other = (
        carton(picture, np.random.default_rng(seed))
        for picture in (np.zeros((90, 120, 3), np.uint8), rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    )
    assert np.array_equal(one[..., 3], other[..., 3])
    assert one.dtype == np.uint8
    sides = cv2.boundingRect((one[..., 3] > 127).astype(np.uint8))[2:]
    assert max(sides) == pytest.approx(LONGEST_PX, abs=3)
    outlines, _ = cv2.findContours(
        (one[..., 3] > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    assert len(outlines) == 1  # one piece, without a hole
    hull = cv2.contourArea(cv2.convexHull(outlines[0]))
    assert cv2.contourArea(outlines[0]) > 0.98 * hull  # a box seen from anywhere is convex


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_a_shelf_may_hold_more_of_the_subject(alike, data_folder, tmp_path, rng, monkeypatch):
    maker = SceneMaker(cache.pack(read_catalogue(data_folder).items, tmp_path / "cache"))
    drawn = [np.full((30, 20, 4), value, np.uint8) for value in (80, 160, 240)]
    shelved = []
    monkeypatch.setattr(dataset, "HEAPS", 0.0)
    monkeypatch.setattr(dataset, "GROUPS", 0.0)
    monkeypatch.setattr(dataset, "CROWDS", 1.0)
    monkeypatch.setattr(dataset, "ALIKE", alike)
    monkeypatch.setattr(dataset, "crowd", lambda ground, things, rng: shelved.extend(things) or ground)
    monkeypatch.setattr(dataset, "compose", lambda ground, subjects, rng: shelved.extend(subjects))
    monkeypatch.setattr(SceneMaker, "draw_subject", lambda self, rng, left=iter(drawn): next(left))
    maker._composite((64, 48), rng)
    values = [int(thing[0, 0, 0]) for thing in shelved]
    assert values == ([80, 240, 80] if alike else [160, 240, 80])


def test_a_close_up_shows_some_subject_and_some_background(rng, monkeypatch):
    monkeypatch.setattr(geometry, "CLOSE_UPS", 1.0)
    picture = np.zeros((100, 140, 4), np.uint8)
    picture[25:75, 40:100] = 255
    cover = [(geometry.random_crop(picture, (64, 64), rng)[..., 3] > 127).mean() for _ in range(40)]
    assert np.mean([0.1 < share < 0.9 for share in cover]) > 0.9


def test_an_ordinary_crop_keeps_most_of_the_subject(rng, monkeypatch):
    monkeypatch.setattr(geometry, "CLOSE_UPS", 0.0)
    picture = np.zeros((100, 140, 4), np.uint8)
    picture[40:60, 60:80] = 255
    crops = [geometry.random_crop(picture, (64, 64), rng) for _ in range(40)]
    assert np.mean([(crop[..., 3] > 127).any() for crop in crops]) > 0.95


def test_drawn_pictures_fit_the_input_and_repeat_with_the_seed(data_folder, tmp_path):
    items = [item for item in read_catalogue(data_folder).items if not item.validation]
    maker = SceneMaker(cache.pack(items, tmp_path / "cache"))
    batches = [maker.batch((96, 64), 12, np.random.default_rng(5)) for _ in range(2)]
    assert batches[0].image.shape == (12, 3, 64, 96)
    assert batches[0].alpha.shape == (12, 1, 64, 96)
    assert batches[0].image.equal(batches[1].image)
    assert batches[0].alpha.equal(batches[1].alpha)
    assert batches[0].alpha.float().mean() > 5


def test_a_maker_without_labelled_pictures_is_refused(data_folder, tmp_path):
    items = read_catalogue(data_folder).select("background")
    with pytest.raises(ValueError, match="no labelled picture"):
        SceneMaker(cache.pack(items, tmp_path / "cache"))


def test_photometric_changes_keep_shape_and_type(rng):
    image = rng.integers(0, 255, (40, 56, 3)).astype(np.uint8)
    changed = [photometric(image, rng) for _ in range(30)]
    assert all(out.shape == image.shape and out.dtype == np.uint8 for out in changed)
    assert any(not np.array_equal(out, image) for out in changed)


def test_the_networks_range_is_minus_one_to_one():
    values = torch.tensor([0, 255], dtype=torch.uint8)
    assert to_network(values).tolist() == [-1, 1]
    assert to_alpha(values).tolist() == [0, 1]
