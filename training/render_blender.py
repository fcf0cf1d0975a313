"""Builds a drawn scene in Blender and renders its three pictures with Cycles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from .render_layout import SHAPES, Camera, Light, Scene, Thing, axes, camera_for, stops_for
from .render_shapes import Mesh, shape
from .render_stage import build_ground, build_sky, build_stage
from .render_surfaces import surface

GPU_KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")
METER_PX = 32
WHOLE = 0.96
"""Of the picture's half side, filled by the sphere around a product that is rendered alone."""
ALPHA_SAMPLES = 48
"""Of the alpha: coverage alone is cheap, and its edges are what is learnt from."""


@dataclass(frozen=True)
class Settings:
    """How scenes are rendered."""

    size: int
    samples: int
    threads: int
    """0 takes all."""
    gpu: bool


def gpu_kind() -> str | None:
    """The kind of GPU that Cycles can use here, and switch it on; None where there is none."""
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in GPU_KINDS:
        try:
            preferences.compute_device_type = kind
        except TypeError:
            continue  # this build of Blender does not know it
        preferences.get_devices()
        devices = [device for device in preferences.devices if device.type == kind]
        for device in preferences.devices:
            device.use = device.type == kind
        if devices:
            return kind
    return None


def render(scene: Scene, root: Path, folder: Path, settings: Settings) -> dict[str, Path]:
    """Render ``scene`` into ``folder``.

    Returns
    -------
    dict of str to Path
        ``image`` and ``plate``, JPEG; ``alpha``, RGBA PNG of which the alpha is the product's.
    """
    world = _empty(scene, settings)
    background = build_stage(scene, root)
    products = [part for thing in scene.products for part in _thing(thing, root)]
    background += [part for thing in scene.props for part in _thing(thing, root)]
    for light in scene.lights:
        _light(light)
    points = np.concatenate(list(_vertices(products)))
    _camera(camera_for(scene.view, points.min(0), points.max(0)), world)
    world.view_settings.exposure = stops_for(_metered(world, folder / "meter.exr"), scene.exposure)
    made = {"image": folder / "image.jpg", "plate": folder / "plate.jpg", "alpha": folder / "alpha.png"}
    _write(world, made["image"])
    for part in products:
        part.hide_render = True
    _write(world, made["plate"])
    for part in products:
        part.hide_render = False
    for part in background:
        part.is_holdout = True  # what stands in front of a product takes its alpha away
    _coverage(world)
    _write(world, made["alpha"])
    return made


def render_cutout(scene: Scene, root: Path, folder: Path, settings: Settings) -> dict[str, Path]:
    """Render the first product of ``scene`` alone, whole and in the light of its place, into ``folder``.

    Returns
    -------
    dict of str to Path
        ``image``, RGBA PNG.
    """
    world = _empty(scene, settings)
    build_sky(scene, root)
    ground = build_ground(scene)  # seen by light alone: what it throws back is on every product
    ground.visible_camera = ground.visible_transmission = False
    thing = scene.products[0]
    product = _thing(thing, root)
    for light in scene.lights:
        _light(light)
    points = np.concatenate(list(_vertices(product)))
    view = replace(scene.view, share=WHOLE, offset=(0.0, 0.0), f_number=0.0)
    _camera(camera_for(view, points.min(0), points.max(0)), world)
    world.render.film_transparent = world.cycles.film_transparent_glass = True
    world.view_settings.exposure = stops_for(_metered(world, folder / "meter.exr"), scene.exposure)
    made = {"image": folder / "image.png"}
    _write(world, made["image"])
    return made


def _empty(scene: Scene, settings: Settings) -> Any:
    """Blender's scene with nothing in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _cycles(bpy.context.scene, settings, scene)
    return bpy.context.scene


def _cycles(world: Any, settings: Settings, scene: Scene) -> None:
    world.render.engine = "CYCLES"
    cycles, picture = world.cycles, world.render
    cycles.device = "GPU" if settings.gpu else "CPU"
    cycles.samples = settings.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_quality = cycles.denoising_prefilter = (
        "FAST"  # on a CPU the best takes as long as the light
    )
    cycles.max_bounces = 6
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 8.0
    cycles.seed = scene.seed
    picture.resolution_x = picture.resolution_y = settings.size
    picture.resolution_percentage = 100
    if settings.threads:
        picture.threads_mode, picture.threads = "FIXED", settings.threads
    world.view_settings.view_transform = ("AgX", "Standard")[scene.seed % 2]


def _metered(world: Any, path: Path) -> float:
    """Mean linear luminance of what is there to be seen, from a small and quick picture."""
    size, samples = world.render.resolution_x, world.cycles.samples
    world.render.resolution_x = world.render.resolution_y = METER_PX
    world.cycles.samples = 8
    world.render.image_settings.file_format = "OPEN_EXR"
    world.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    world.render.resolution_x = world.render.resolution_y = size
    world.cycles.samples = samples
    picture = bpy.data.images.load(str(path))
    pixels = np.zeros(METER_PX * METER_PX * 4, np.float32)
    picture.pixels.foreach_get(pixels)
    bpy.data.images.remove(picture)
    red, green, blue, alpha = pixels.reshape(-1, 4).mean(0)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue) / max(float(alpha), 1e-6)


def _coverage(world: Any) -> None:
    """What is left is who covers which pixel: no light, no noise to take away."""
    cycles = world.cycles
    world.render.film_transparent = True
    cycles.film_transparent_glass = True  # through glass its background is seen, so its alpha is low
    cycles.use_denoising = False
    cycles.samples = ALPHA_SAMPLES
    for thing in list(world.objects):
        if thing.type == "LIGHT":
            thing.hide_render = True


def _write(world: Any, path: Path) -> None:
    image = world.render.image_settings
    image.file_format = "JPEG" if path.suffix == ".jpg" else "PNG"
    image.color_depth = "8"
    image.color_mode = "RGB" if path.suffix == ".jpg" else "RGBA"
    if path.suffix == ".jpg":
        image.quality = 95
    world.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def _camera(camera: Camera, world: Any) -> None:
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.sensor_fit = camera.lens_mm, 36.0, "HORIZONTAL"
    data.clip_start, data.clip_end = 0.01, 200.0
    if camera.f_number:
        data.dof.use_dof = True
        data.dof.focus_distance = math.dist(camera.position, camera.target)
        # Lengths are in product heights: with a product of 15 cm a unit is 0.15 m.
        data.dof.aperture_fstop = camera.f_number * 0.15
    eye = bpy.data.objects.new("camera", data)
    matrix = np.eye(4)
    matrix[:3, :3] = axes(camera).T
    matrix[:3, 3] = camera.position
    eye.matrix_world = Matrix(matrix.tolist())
    bpy.context.collection.objects.link(eye)
    world.camera = eye


def _light(light: Light) -> None:
    data = bpy.data.lights.new("light", "SUN" if light.kind == "sun" else "AREA")
    data.energy, data.color = light.watts, light.color
    if light.kind == "sun":
        data.angle = light.size[0]
    else:
        data.shape, data.size, data.size_y = "RECTANGLE", light.size[0], light.size[1]
    lamp = bpy.data.objects.new("light", data)
    towards = Camera(light.position, (0.0, 0.001, 0.3), 50.0, 0.0, 0.0)
    matrix = np.eye(4)
    matrix[:3, :3] = axes(towards).T
    matrix[:3, 3] = light.position
    lamp.matrix_world = Matrix(matrix.tolist())
    lamp.visible_camera = False
    bpy.context.collection.objects.link(lamp)


# -- things


def _thing(thing: Thing, root: Path) -> list[Any]:
    parts = _own_shape(thing) if thing.model in SHAPES else _model(root / thing.model)
    if thing.material != "own" or thing.model in SHAPES:
        dress = surface("printed" if thing.material == "own" else thing.material, thing.seed)
        for part in parts:
            part.data.materials.clear()
            part.data.materials.append(dress)
    _place(parts, thing)
    return parts


def _own_shape(thing: Thing) -> list[Any]:
    return [_object(shape(thing.model, thing.seed))]


def _object(mesh: Mesh) -> Any:
    data = bpy.data.meshes.new("mesh")
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces)
    data.uv_layers.new().data.foreach_set("uv", mesh.corners.astype(np.float32).ravel())
    return _linked(data)


def _linked(data: Any) -> Any:
    data.shade_smooth()
    data.set_sharp_from_angle(angle=math.radians(38))
    made = bpy.data.objects.new("thing", data)
    bpy.context.collection.objects.link(made)
    return made


def _model(path: Path) -> list[Any]:
    """Meshes of a file; raises ValueError where it has none."""
    if path.suffix == ".npz":
        return [_scan(path)]
    before = set(bpy.data.objects)
    if path.suffix == ".obj":
        bpy.ops.wm.obj_import(filepath=str(path))
    else:
        bpy.ops.import_scene.gltf(filepath=str(path))
    new = [thing for thing in bpy.data.objects if thing not in before]
    meshes = [thing for thing in new if thing.type == "MESH"]
    if not meshes:
        raise ValueError(f"{path}: holds no mesh")
    bpy.context.view_layer.update()
    for thing in meshes:
        matrix = thing.matrix_world.copy()
        thing.parent = None
        thing.data.transform(matrix)
        thing.matrix_world = Matrix.Identity(4)
    for thing in new:
        if thing.type != "MESH":
            bpy.data.objects.remove(thing)
    return meshes


def _scan(path: Path) -> Any:
    """A model in whole numbers: vertices ``v`` (int16), triangles ``f``, ``uv``; its picture is beside it."""
    with np.load(path) as file:
        vertices, faces, uv = file["v"].astype(np.float32), file["f"].astype(np.int64), file.get("uv")
    corners = uv.astype(np.float32)[faces].reshape(-1, 2) if uv is not None else np.zeros((faces.size, 2))
    made = _object(Mesh(vertices / max(1.0, float(np.abs(vertices).max())), faces.tolist(), corners))
    picture = path.with_suffix(".jpg")
    material = bpy.data.materials.new("scan")
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.45
    if picture.is_file() and uv is not None:
        texture = nodes.new("ShaderNodeTexImage")
        texture.image = bpy.data.images.load(str(picture))
        material.node_tree.links.new(texture.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    made.data.materials.append(material)
    return made


def _vertices(parts: list[Any]) -> Iterator[np.ndarray]:
    for part in parts:
        flat = np.zeros(len(part.data.vertices) * 3, np.float32)
        part.data.vertices.foreach_get("co", flat)
        yield flat.reshape(-1, 3)


def _place(parts: list[Any], thing: Thing) -> None:
    """Turn, scale to height and disc, and stand on the ground at its place."""
    turn = Matrix.Rotation(thing.turn, 4, "Z")
    if thing.lying:
        turn = turn @ Matrix.Rotation(math.pi / 2, 4, "X")
    rotation = np.array(turn.to_3x3())
    points = np.concatenate(list(_vertices(parts))) @ rotation.T
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    around = float(np.hypot(*(points[:, :2] - middle[:2]).T).max())
    scale = min(thing.height / float((high - low).max()), thing.radius / max(around, 1e-6))
    shift = np.array([thing.x, thing.y, 0.0]) - scale * np.array([middle[0], middle[1], low[2]])
    matrix = Matrix.Translation(shift.tolist()) @ Matrix.Scale(scale, 4) @ turn
    for part in parts:
        part.data.transform(matrix)
