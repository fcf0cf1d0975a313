"""What products stand on and in front of: stages, backdrops and the sky, for Cycles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .render_layout import Scene
from .render_surfaces import any_color, surface

WIDE = 18.0
SAMPLE_MAP_PX = 512
"""Width of the map of where light comes from."""


def build_stage(scene: Scene, root: Path) -> list[Any]:
    """Build the stage and its surroundings; returns what hides a product that is behind it."""
    rng = np.random.default_rng(scene.seed)
    build_sky(scene, root)
    if scene.stage == "sweep":
        return [_sweep(rng, scene.seed)]
    if scene.stage == "shelf":
        return [*_shelf(rng, scene.seed), *_backdrop(rng, scene, root, 6.0)]
    if scene.stage == "outdoors":
        return [_sheet("ground", 40.0, 40.0, surface(_pick(rng, "stone", "tiles", "wood"), scene.seed))]
    far = float(rng.uniform(2.5, 7))
    if scene.stage == "table":
        kind = _pick(rng, "wood", "stone", "fabric", "checks", "paint", "tiles")
        board = _box((0, float(rng.uniform(0.2, 0.8)), -0.06), (5.5, float(rng.uniform(3.6, 4.6)), 0.12))
        board.data.materials.append(surface(kind, scene.seed))
        return [board, *_backdrop(rng, scene, root, far + 1.5)]
    kind = _pick(rng, "tiles", "wood", "fabric", "stone", "checks")
    return [_sheet("floor", WIDE * 2, WIDE * 2, surface(kind, scene.seed)), *_backdrop(rng, scene, root, far)]


def build_ground(scene: Scene) -> Any:
    """A plain ground of any colour."""
    return _sheet("ground", WIDE, WIDE, surface("paint", scene.seed))


def _pick(rng: np.random.Generator, *kinds: str) -> str:
    return str(rng.choice(kinds))


def _linked(name: str, data: Any, smooth: bool = False) -> Any:
    if smooth:
        data.shade_smooth()
    made = bpy.data.objects.new(name, data)
    bpy.context.collection.objects.link(made)
    return made


def _mesh(name: str, vertices: Any, faces: Any, smooth: bool = False) -> Any:
    data = bpy.data.meshes.new(name)
    data.from_pydata(vertices, [], faces)
    return _linked(name, data, smooth)


def _sheet(name: str, width: float, depth: float, material: Any) -> Any:
    x, y = width / 2, depth / 2
    made = _mesh(name, [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], [(0, 1, 2, 3)])
    made.data.materials.append(material)
    return made


def _box(middle: tuple[float, float, float], size: tuple[float, float, float]) -> Any:
    x, y, z = middle
    a, b, c = (side / 2 for side in size)
    vertices = [(x + i * a, y + j * b, z + k * c) for k in (-1, 1) for j in (-1, 1) for i in (-1, 1)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return _mesh("box", vertices, faces)


def _sweep(rng: np.random.Generator, seed: int) -> Any:
    """A sheet that rises behind the products in a curve, as in a studio."""
    back, bend = float(rng.uniform(1.2, 2.6)), float(rng.uniform(0.5, 1.6))
    turn = np.linspace(0, math.pi / 2, 16)
    profile = [(-WIDE / 2, 0.0)]
    profile += [(back + bend * math.sin(a), bend * (1 - math.cos(a))) for a in turn]
    profile.append((back + bend, 12.0))
    vertices = [(side * WIDE / 2, y, z) for y, z in profile for side in (-1, 1)]
    faces = [(2 * k, 2 * k + 1, 2 * k + 3, 2 * k + 2) for k in range(len(profile) - 1)]
    made = _mesh("sweep", vertices, faces, smooth=True)
    paper = surface("paint", seed)
    if rng.random() < 0.55:  # white and grey paper is what shops use most
        grey = np.full(3, rng.uniform(0.35, 0.9)) * rng.uniform(0.97, 1.0, 3)
        paper.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*map(float, grey), 1.0)
    made.data.materials.append(paper)
    return made


def _shelf(rng: np.random.Generator, seed: int) -> list[Any]:
    """A compartment: board, back, sides, and sometimes a board above."""
    side, deep, tall = (
        float(rng.uniform(1.3, 2.6)),
        float(rng.uniform(1.1, 1.8)),
        float(rng.uniform(1.5, 2.4)),
    )
    thick, middle = 0.08, 0.25
    parts = [
        _box((0, middle, -thick / 2), (2 * side, deep, thick)),
        _box((0, middle + deep / 2, tall / 2), (2 * side, thick, tall)),
        _box((-side, middle, tall / 2), (thick, deep, tall)),
        _box((side, middle, tall / 2), (thick, deep, tall)),
    ]
    if rng.random() < 0.5:
        parts.append(_box((0, middle, tall), (2 * side, deep, thick)))
    board = surface(_pick(rng, "wood", "paint", "plastic", "metal"), seed)
    for part in parts:
        part.data.materials.append(board)
    return parts


def _backdrop(rng: np.random.Generator, scene: Scene, root: Path, far: float) -> list[Any]:
    """A wall behind: a picture that gives light of its own, as a far room does, or a plain surface."""
    tall = 10.0
    wall = _mesh(
        "wall",
        [(-WIDE / 2, far, -3), (WIDE / 2, far, -3), (WIDE / 2, far, tall), (-WIDE / 2, far, tall)],
        [(0, 1, 2, 3)],
    )
    wall.data.uv_layers.new().data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    if not scene.backdrop:
        wall.data.materials.append(
            surface(_pick(rng, "paint", "paint", "tiles", "checks", "stone"), scene.seed + 2)
        )
        return [wall]
    material = bpy.data.materials.new("backdrop")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    picture = tree.nodes.new("ShaderNodeTexImage")
    picture.image = bpy.data.images.load(str(root / scene.backdrop))
    picture.extension = "MIRROR"
    place, part = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    scale = float(rng.uniform(0.6, 1.8))
    part.inputs["Scale"].default_value = (scale, scale, 1.0)
    part.inputs["Location"].default_value = (float(rng.uniform(0, 1)), float(rng.uniform(0, 0.3)), 0.0)
    glow, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    glow.inputs["Strength"].default_value = float(rng.uniform(0.4, 1.1))
    tree.links.new(place.outputs["UV"], part.inputs["Vector"])
    tree.links.new(part.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], glow.inputs["Color"])
    tree.links.new(glow.outputs["Emission"], out.inputs["Surface"])
    wall.data.materials.append(material)
    return [wall]


def build_sky(scene: Scene, root: Path) -> None:
    """The light of a scene's surroundings."""
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    world.cycles.sampling_method = "MANUAL"  # by itself it is made as large as the HDR picture, in a second
    world.cycles.sample_map_resolution = SAMPLE_MAP_PX
    tree = world.node_tree
    background = tree.nodes["Background"]
    background.inputs["Strength"].default_value = scene.environment_strength
    if not scene.environment:
        pale = any_color(np.random.default_rng(scene.seed)) * 0.5 + 0.5
        background.inputs["Color"].default_value = (*(float(part) for part in pale), 1.0)
        return
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    picture.image = bpy.data.images.load(str(root / scene.environment))
    place, turn = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value = (0.0, 0.0, scene.environment_turn)
    tree.links.new(place.outputs["Generated"], turn.inputs["Vector"])
    tree.links.new(turn.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], background.inputs["Color"])
