"""Materials of products and stages for Cycles: principled shaders with procedural or printed colour."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from .render_shapes import label

METALS = ((0.56, 0.57, 0.58), (0.83, 0.69, 0.22), (0.72, 0.45, 0.2), (0.9, 0.91, 0.92), (0.1, 0.1, 0.11))
WOODS = ((0.32, 0.17, 0.08), (0.55, 0.36, 0.19), (0.72, 0.56, 0.37), (0.12, 0.07, 0.04))


def surface(kind: str, seed: int) -> Any:
    """A material of ``render_layout.MATERIALS``; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    material = bpy.data.materials.new(kind)
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    _MAKERS[kind](tree, shader, rng, seed)
    return material


def _set(shader: Any, **values: float) -> None:
    for name, value in values.items():
        shader.inputs[name.replace("_", " ").title()].default_value = float(value)


def _color(shader: Any, color: Any) -> None:
    shader.inputs["Base Color"].default_value = (*(float(part) for part in color), 1.0)


def any_color(rng: np.random.Generator) -> np.ndarray:
    """Linear RGB: now pale, now strong, now near black or white."""
    kind = rng.random()
    if kind < 0.18:
        return np.full(3, rng.uniform(0.7, 0.92)) * rng.uniform(0.94, 1, 3)
    if kind < 0.3:
        return np.full(3, rng.uniform(0.01, 0.05))
    return rng.uniform(0.02, 0.9, 3) ** rng.uniform(0.8, 2.2)


def image_of(array: np.ndarray, name: str) -> Any:
    """uint8 (h, w, 3) RGB as a Blender image."""
    height, width = array.shape[:2]
    image = bpy.data.images.new(name, width, height)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = array[::-1].astype(np.float32) / 255
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def _bump(tree: Any, shader: Any, texture: Any, output: str, strength: float) -> None:
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = strength
    tree.links.new(texture.outputs[output], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _noise(tree: Any, scale: float, detail: float = 6.0) -> Any:
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = scale
    noise.inputs["Detail"].default_value = detail
    return noise


def _ramp(tree: Any, source: Any, low: Any, high: Any) -> Any:
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color = (*(float(part) for part in low), 1.0)
    ramp.color_ramp.elements[1].color = (*(float(part) for part in high), 1.0)
    tree.links.new(source, ramp.inputs["Fac"])
    return ramp


def _printed(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image_of(label(seed), f"label{seed}")
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=rng.uniform(0.2, 0.7), coat_weight=rng.choice([0.0, rng.uniform(0.2, 0.8)]))


def _plastic(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    _color(shader, any_color(rng))
    _set(shader, roughness=rng.uniform(0.12, 0.6))


def _ceramic(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    _color(shader, np.clip(any_color(rng) * 0.6 + 0.35, 0, 0.92))
    _set(shader, roughness=rng.uniform(0.08, 0.35), coat_weight=rng.uniform(0.3, 0.9))


def _metal(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    _color(shader, METALS[int(rng.integers(len(METALS)))])
    _set(shader, metallic=1.0, roughness=rng.uniform(0.08, 0.5))
    if rng.random() < 0.4:
        _bump(tree, shader, _noise(tree, float(rng.uniform(80, 300))), "Fac", float(rng.uniform(0.03, 0.12)))


def _fabric(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    color = any_color(rng)
    noise = _noise(tree, float(rng.uniform(20, 90)))
    ramp = _ramp(tree, noise.outputs["Fac"], color * rng.uniform(0.5, 0.9), color)
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=1.0, sheen_weight=rng.uniform(0.2, 0.7))
    _bump(tree, shader, _noise(tree, float(rng.uniform(120, 400))), "Fac", float(rng.uniform(0.2, 0.6)))


def _wood(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    color = np.array(WOODS[int(rng.integers(len(WOODS)))]) * rng.uniform(0.8, 1.2)
    wave = tree.nodes.new("ShaderNodeTexWave")
    wave.bands_direction = str(rng.choice(["X", "Y"]))
    values = {"Scale": rng.uniform(1, 5), "Distortion": rng.uniform(2, 9), "Detail": 3.0, "Detail Scale": 1.5}
    for name, value in values.items():
        wave.inputs[name].default_value = float(value)
    ramp = _ramp(tree, wave.outputs["Fac"], color * 0.55, color)
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=rng.uniform(0.25, 0.7), coat_weight=rng.choice([0.0, 0.3]))


def _glass(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    _color(shader, 1 - rng.uniform(0, 0.25) * rng.uniform(0, 1, 3))
    _set(shader, roughness=rng.uniform(0, 0.06), transmission_weight=1.0)
    shader.inputs["IOR"].default_value = 1.45


def _stone(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    color = np.full(3, rng.uniform(0.15, 0.85)) * rng.uniform(0.9, 1, 3)
    noise = _noise(tree, float(rng.uniform(1.5, 6)), 12.0)
    ramp = _ramp(tree, noise.outputs["Fac"], color * rng.uniform(0.45, 0.95), color)
    ramp.color_ramp.elements[0].position = float(rng.uniform(0.3, 0.5))
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=rng.uniform(0.1, 0.9))


def _paint(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    _color(shader, any_color(rng))
    _set(shader, roughness=rng.uniform(0.5, 1.0))


def _tiles(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    brick = tree.nodes.new("ShaderNodeTexBrick")
    brick.offset = float(rng.choice([0.0, 0.5]))
    colors = {"Color1": any_color(rng), "Color2": any_color(rng), "Mortar": np.full(3, rng.uniform(0.1, 0.7))}
    if rng.random() < 0.6:
        colors["Color2"] = colors["Color1"] * rng.uniform(0.8, 1.0)
    for name, color in colors.items():
        brick.inputs[name].default_value = (*(float(part) for part in color), 1.0)
    brick.inputs["Scale"].default_value = float(rng.uniform(0.8, 4))
    brick.inputs["Mortar Size"].default_value = float(rng.uniform(0.005, 0.03))
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Object"], brick.inputs["Vector"])
    tree.links.new(brick.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=rng.uniform(0.15, 0.8))


def _checks(tree: Any, shader: Any, rng: np.random.Generator, seed: int) -> None:
    """Printed cloth or paper: what is behind a product is often patterned."""
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image_of(label(seed + 1), f"cloth{seed}")
    place, scale = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    scale.inputs["Scale"].default_value = (float(rng.uniform(0.4, 2.5)),) * 3
    tree.links.new(place.outputs["Object"], scale.inputs["Vector"])
    tree.links.new(scale.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    _set(shader, roughness=0.9)


_MAKERS = {
    "printed": _printed,
    "plastic": _plastic,
    "ceramic": _ceramic,
    "metal": _metal,
    "fabric": _fabric,
    "wood": _wood,
    "glass": _glass,
    "stone": _stone,
    "paint": _paint,
    "tiles": _tiles,
    "checks": _checks,
}
