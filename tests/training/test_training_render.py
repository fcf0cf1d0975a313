"""Scenes for training: what stands where, without Blender; one tiny picture where Blender's module is."""

import math
from pathlib import Path

import numpy as np
import pytest

from livecut.engine.errors import DeviceUnavailable, LivecutError
from livecut.training import render, render_layout, render_shapes
from livecut.training.data.holdout import is_validation
from livecut.training.ledger import parse_statement
from livecut.training.render_layout import Assets, Camera, View, camera_for, layout, project

MODELS = tuple(f"models3d/market/model{index}.gltf" for index in range(60))
ASSETS = Assets(MODELS, ("envmaps/hall.hdr",), tuple(f"backgrounds/shop/{n}.jpg" for n in range(60)))
SCENES = [layout(number, 7, ASSETS) for number in range(150)]
OLD_NAMES = pytest.mark.filterwarnings("ignore:.*use_nodes.*Blender 6:DeprecationWarning")
VIEW = View(0.3, 0.5, 50.0, 0.8, (0.0, 0.0), 0.0, 0.0)


def corners(low, high):
    return np.array(
        [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )


# -- what stands where


def test_a_number_and_a_seed_give_the_same_scene_and_others_another():
    assert layout(3, 7, ASSETS) == SCENES[3]
    assert layout(3, 8, ASSETS) != SCENES[3]
    assert len({scene.seed for scene in SCENES}) == len(SCENES)


def test_every_stage_rig_and_shape_comes_up():
    assert {scene.stage for scene in SCENES} == set(render_layout.STAGES)
    assert {scene.rig for scene in SCENES} == set(render_layout.RIGS)
    models = {thing.model for scene in SCENES for thing in (*scene.products, *scene.props)}
    assert models >= set(render_layout.SHAPES)


def test_things_stand_beside_each_other_and_never_inside():
    several = 0
    for scene in SCENES:
        things = [*scene.products, *scene.props]
        several += len(things) > 1
        for index, one in enumerate(things):
            for other in things[index + 1 :]:
                apart = math.hypot(one.x - other.x, one.y - other.y)
                assert apart >= one.radius + other.radius + render_layout.GAP - 1e-9
    assert several > 30


def test_the_first_product_is_in_the_middle():
    assert all((scene.products[0].x, scene.products[0].y) == (0, 0) for scene in SCENES)


def test_held_out_models_and_backdrops_are_seen_in_held_out_pictures_alone():
    sides = set()
    for scene in SCENES:
        held_out = is_validation(render_layout.picture_name(scene.number))
        sides.add(held_out)
        things = [thing.model for thing in (*scene.products, *scene.props)]
        files = [name for name in (*things, scene.backdrop) if "/" in name]
        assert all(is_validation(Path(name).name) == held_out for name in files)
    assert sides == {True, False}


def test_a_product_alone_is_held_out_by_the_name_of_its_own_picture():
    sides = set()
    for number in range(150):
        name = render.cutout_names(number)["image"]
        sides.add(is_validation(name))
        models = [thing.model for thing in layout(number, 7, ASSETS, name).products if "/" in thing.model]
        assert all(is_validation(Path(model).name) == is_validation(name) for model in models)
    assert sides == {True, False}


def test_scenes_can_be_drawn_without_any_files():
    scene = layout(0, 0, Assets((), (), ()))
    assert {thing.model for thing in scene.products} <= set(render_layout.SHAPES)
    assert (scene.environment, scene.backdrop) == ("", "")


def test_assets_are_found_relative_to_the_data_folder(tmp_path):
    for name in ("models3d/a/cup.gltf", "models3d/b/shoe.npz", "models3d/b/shoe.jpg", "envmaps/hall.hdr"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assets = Assets.find(tmp_path)
    assert assets.models == ("models3d/a/cup.gltf", "models3d/b/shoe.npz")
    (tmp_path / "objects3d").mkdir()
    (tmp_path / "objects3d" / "stool.obj").touch()
    assert Assets.find(tmp_path, "objects3d").models == ("objects3d/stool.obj",)
    assert assets.environments == ("envmaps/hall.hdr",)
    assert assets.backdrops == ()


# -- camera and light


@pytest.mark.parametrize("share", [0.4, 0.9, 1.4])
@pytest.mark.parametrize("lens", [35.0, 90.0])
def test_a_sphere_fills_the_share_of_the_picture_that_was_asked_for(share, lens):
    distance = render_layout.distance_for(0.5, lens, share)
    camera = Camera((0, -distance, 1), (0, 0, 1), lens, 0.0, 0.0)
    # The outline of a sphere: where rays from the camera touch it.
    touch = 0.25 / distance
    edge = np.array([[math.sqrt(0.25 - touch**2), -touch, 1.0]])
    np.testing.assert_allclose(project(camera, edge), [[share, 0]], atol=1e-9)


def test_the_products_stay_in_the_picture_unless_the_view_is_too_near():
    for scene in SCENES:
        tall = scene.products[0].height
        low, high = np.array([-0.4, -0.3, 0]), np.array([0.4, 0.3, tall])
        places = project(camera_for(scene.view, low, high), corners(low, high))
        if scene.view.share < 1:
            assert np.abs(places).max() < 1.15  # a box's corners stick out of the sphere's outline when near
        assert np.abs(places.mean(0)).max() < 0.75


def test_the_camera_looks_from_where_the_view_says():
    camera = camera_for(VIEW, np.array([-0.5, -0.5, 0]), np.array([0.5, 0.5, 1]))
    away = np.subtract(camera.position, camera.target)
    assert math.atan2(away[0], -away[1]) == pytest.approx(0.3)
    assert math.asin(away[2] / np.linalg.norm(away)) == pytest.approx(0.5)
    np.testing.assert_allclose(project(camera, np.array([[0, 0, 0.5]])), [[0, 0]], atol=1e-9)


def test_an_offset_moves_the_products_to_the_right_and_up():
    view = View(0.3, 0.5, 50.0, 0.5, (1.0, 0.6), 0.0, 0.0)
    camera = camera_for(view, np.array([-0.5, -0.5, 0]), np.array([0.5, 0.5, 1]))
    ((x, y),) = project(camera, np.array([[0, 0, 0.5]]))
    assert x == pytest.approx(0.46, abs=0.01)
    assert y == pytest.approx(0.28, abs=0.01)


def test_cameras_stay_above_the_ground_and_their_axes_are_a_rotation():
    for scene in SCENES:
        camera = camera_for(scene.view, np.array([-1, -1, 0.0]), np.array([1, 1, 0.1]))
        assert camera.position[2] > 0
        rotation = render_layout.axes(camera)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_what_is_behind_the_camera_is_not_projected():
    camera = Camera((0, -2, 0), (0, 0, 0), 50.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="behind the camera"):
        project(camera, np.array([[0, -3, 0]]))


def test_light_is_orange_when_warm_and_blue_when_cold():
    assert render_layout.kelvin(6500) == pytest.approx((1, 1, 1))
    red, green, blue = render_layout.kelvin(2700)
    assert (red, green > blue) == (1, True)
    assert 0.1 < blue < 0.4
    assert render_layout.kelvin(10000)[2] == 1


def test_exposure_is_metered_and_bounded():
    assert render_layout.stops_for(render_layout.METERED, 0.0) == 0
    assert render_layout.stops_for(render_layout.METERED / 4, 0.5) == pytest.approx(2.5)
    assert render_layout.stops_for(0.0, 0.0) == 5


def test_lamps_stand_above_the_ground():
    assert all(light.position[2] > 0 for scene in SCENES for light in scene.lights)


# -- shapes


@pytest.mark.parametrize("kind", render_layout.SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_shapes_are_closed_stand_on_the_ground_and_can_be_printed_on(kind, seed):
    mesh = render_shapes.shape(kind, seed)
    assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-9)
    assert mesh.vertices[:, 2].max() <= 1.001
    assert len(mesh.corners) == sum(len(face) for face in mesh.faces)
    assert mesh.corners.min() >= -1e-9
    assert mesh.corners.max() <= 1 + 1e-9
    # Closed where no two vertices coincide: every edge belongs to two faces, once in each direction.
    places = {}
    same = [places.setdefault(tuple(np.round(v, 6)), len(places)) for v in mesh.vertices]
    edges = {}
    for face in mesh.faces:
        ring = [same[k] for k in face]
        for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
            if a != b:
                edges[a, b] = edges.get((a, b), 0) + 1
    assert all(edges.get((b, a), 0) == count for (a, b), count in edges.items())


def test_labels_differ_and_are_pictures():
    one, two = render_shapes.label(1), render_shapes.label(2)
    assert one.shape == (256, 256, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, render_shapes.label(1))
    assert not np.array_equal(one, two)


def test_an_unknown_shape_names_those_there_are():
    with pytest.raises(ValueError, match="got 'teapot'"):
        render_shapes.shape("teapot", 0)


# -- a run


def painter(fail=()):
    """Stands in for Blender: three small files."""
    from PIL import Image

    made = []

    def make(scene, folder):
        if scene.number in fail:
            raise RuntimeError("cannot read the model\nmore words")
        made.append(scene.number)
        paths = {
            part: folder / f"{part}.{'png' if part == 'alpha' else 'jpg'}"
            for part in ("image", "plate", "alpha")
        }
        for part in ("image", "plate"):
            Image.new("RGB", (8, 8), (scene.number, 0, 0)).save(paths[part])
        Image.new("RGBA", (8, 8), (9, 9, 9, 100 + scene.number)).save(paths["alpha"])
        return paths

    return make, made


def test_a_run_takes_up_where_it_stopped(tmp_path):
    from PIL import Image

    make, made = painter()
    first = render.run(tmp_path, range(3), assets=ASSETS, seed=0, make=make)
    (tmp_path / "00001_i.jpg").unlink()  # interrupted before its last file
    second = render.run(tmp_path, range(4), assets=ASSETS, seed=0, make=make)
    assert (first.rendered, second.rendered, second.kept) == (3, 2, 2)
    assert made == [0, 1, 2, 1, 3]
    assert sorted(path.name for path in tmp_path.iterdir())[:4] == [
        "00000.json",
        "00000_a.png",
        "00000_i.jpg",
        "00000_p.jpg",
    ]
    with Image.open(tmp_path / "00002_a.png") as alpha:
        assert (alpha.mode, alpha.getpixel((0, 0))) == ("L", 102)


def test_a_scene_that_fails_is_named_and_the_others_go_on(tmp_path):
    make, made = painter(fail=(1,))
    done = render.run(tmp_path, range(3), assets=ASSETS, seed=0, make=make)
    assert made == [0, 2]
    assert done.failed[0].startswith("00001: cannot read the model (")
    assert not list(tmp_path.glob("00001*"))
    assert not list(tmp_path.glob(".render-*"))


def test_a_run_in_which_nothing_works_stops(tmp_path):
    make, _ = painter(fail=range(50))
    with pytest.raises(LivecutError, match="5 scenes in a row failed; the last: 00004"):
        render.run(tmp_path, range(50), assets=ASSETS, seed=0, make=make)


def test_the_catalogue_reads_what_a_run_writes(tmp_path):
    from livecut.training.data.catalogue import read_catalogue

    make, _ = painter()
    render.run(tmp_path / "renders", range(3), assets=ASSETS, seed=0, make=make)
    catalogue = read_catalogue(tmp_path)
    kinds = sorted(item.kind for item in catalogue.items)
    assert kinds == ["pair"] * 3 + ["plate"] * 3
    assert catalogue.skipped == []


def test_products_alone_are_cut_outs_to_the_catalogue(tmp_path):
    from PIL import Image

    from livecut.training.data.catalogue import RENDERED, read_catalogue

    def make(scene, folder):
        Image.new("RGBA", (8, 8), (9, 9, 9, 200)).save(folder / "image.png")
        return {"image": folder / "image.png"}

    out = tmp_path / RENDERED
    for _ in range(2):
        done = render.run(out, range(3), assets=ASSETS, seed=0, make=make, names=render.cutout_names)
    assert (done.rendered, done.kept) == (0, 3)
    assert sorted(path.name for path in out.iterdir())[:2] == ["00000.json", "00000.png"]
    catalogue = read_catalogue(tmp_path)
    assert [(item.kind, item.folder) for item in catalogue.items] == [("cutout", RENDERED)] * 3
    assert catalogue.folders == [RENDERED]


def test_what_is_rendered_carries_the_licences_of_what_it_is_made_of(tmp_path):
    (tmp_path / "objects3d").mkdir()
    (tmp_path / "objects3d" / "LICENCE.txt").write_text("licence: CC-BY-3.0\ncredit: Ada\n")
    render.state(tmp_path / "out", tmp_path, ["objects3d", "envmaps"])
    stated = parse_statement((tmp_path / "out" / "LICENCE.txt").read_text())
    assert stated["licence"] == ["CC-BY-3.0"]
    assert stated["credit"] == ["Ada"]
    assert stated["source"] == ["rendered by livecut.training.render of objects3d"]
    (tmp_path / "objects3d" / "LICENCE.txt").unlink()
    render.state(tmp_path / "out", tmp_path, ["objects3d"])  # what is stated already stays
    assert "Ada" in (tmp_path / "out" / "LICENCE.txt").read_text()


def test_without_blender_the_way_to_it_is_one_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bpy", None)
    monkeypatch.delitem(sys.modules, "livecut.training.render_blender", raising=False)
    with pytest.raises(DeviceUnavailable, match=r"pip install livecut\[render\], on Python 3\.11") as caught:
        render.settings_for("cpu", 32, 1, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@OLD_NAMES
def test_a_tiny_scene_is_rendered_with_its_plate_and_alpha(tmp_path):
    pytest.importorskip("bpy", reason="Blender's module, for Python 3.11")
    from PIL import Image

    assert (
        render.main(
            [str(tmp_path), "--data", str(tmp_path), "--size", "32", "--samples", "4", "--device", "cpu"]
        )
        == 0
    )
    image, plate, alpha = (
        np.asarray(Image.open(tmp_path / f"00000_{part}")).astype(float)
        for part in ("i.jpg", "p.jpg", "a.png")
    )
    assert image.shape == plate.shape == (32, 32, 3)
    assert alpha.shape == (32, 32)
    assert 0.02 < alpha.mean() / 255 < 0.98
    difference = np.abs(image - plate).mean(-1)
    assert difference[alpha > 250].mean() > 3 * difference[alpha == 0].mean()


CUBE = """mtllib cube.mtl
{vertices}
usemtl red
f 1 3 4 2
f 5 6 8 7
f 1 2 6 5
f 3 7 8 4
f 1 5 7 3
f 2 4 8 6
"""


@pytest.mark.slow
@OLD_NAMES
def test_a_tiny_model_is_rendered_alone_whole_and_in_its_own_colour(tmp_path):
    pytest.importorskip("bpy", reason="Blender's module, for Python 3.11")
    from PIL import Image

    folder = tmp_path / "objects3d"
    folder.mkdir()
    places = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    text = CUBE.format(vertices="\n".join("v {} {} {}".format(*place) for place in places))
    model = next(f"cube{n}.obj" for n in range(50) if not is_validation(f"cube{n}.obj"))
    (folder / model).write_text(text)
    (folder / "cube.mtl").write_text("newmtl red\nKd 0.8 0.02 0.02\n")
    assets = Assets.find(tmp_path, "objects3d")
    first = (layout(n, 0, assets, render.cutout_names(n)["image"]) for n in range(200))
    number = next(
        scene.number
        for scene in first
        if scene.products[0].material == "own" and scene.products[0].model.endswith(model)
    )
    options = ["--data", str(tmp_path), "--models", "objects3d", "--cutouts", "--first", str(number)]
    options += ["--size", "32", "--samples", "8", "--device", "cpu"]
    assert render.main([str(tmp_path / "out"), *options]) == 0
    with Image.open(tmp_path / "out" / f"{number:05d}.png") as made:
        assert (made.mode, made.size) == ("RGBA", (32, 32))
        pixels = np.asarray(made).astype(float)
    alpha = pixels[..., 3]
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert border.max() == 0
    assert 0.1 < alpha.mean() / 255 < 0.8
    red, green, _, _ = pixels[alpha > 250].mean(0)
    assert red > 1.5 * green
