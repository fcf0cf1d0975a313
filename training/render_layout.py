"""What stands where in a rendered scene: drawn from a seed, in NumPy alone. Lengths are in product heights.

x goes to the right, y away from the viewer, z up; the products stand on z = 0 around the origin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data.holdout import is_validation

SENSOR_MM = 36.0
STAGES = ("sweep", "table", "shelf", "floor", "outdoors")
RIGS = ("softboxes", "window", "strips", "lamp", "sun", "surroundings")
SHAPES = ("carton", "bottle", "can", "jar", "bangle", "block")
MATERIALS = ("printed", "plastic", "ceramic", "metal", "fabric", "wood", "glass")
_MATERIAL_SHARES = (0.34, 0.2, 0.14, 0.1, 0.1, 0.07, 0.05)
METERED = 0.22
"""Mean linear luminance that a camera's meter aims at."""
GAP = 0.04
"""Least distance between what stands beside each other."""


@dataclass(frozen=True)
class Thing:
    """A product, or a prop that belongs to the background."""

    model: str
    """File of a 3D model, relative to the data folder; or one of ``SHAPES``."""
    seed: int
    """Of its shape and surface."""
    material: str
    """One of ``MATERIALS``; ``own`` for a model's own textures."""
    height: float
    """Its longest side."""
    x: float
    y: float
    turn: float
    """About the vertical, radians."""
    lying: bool
    radius: float
    """Of the disc that is kept free for it."""


@dataclass(frozen=True)
class Light:
    """One lamp. ``kind`` is ``area`` (a rectangle that faces the origin) or ``sun``."""

    kind: str
    position: tuple[float, float, float]
    size: tuple[float, float]
    """Width and height of an area light; the angle of a sun, radians, first."""
    watts: float
    """Or W/m2 of a sun."""
    color: tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """How the products are looked at; ``camera_for`` makes a camera of it once their extent is known."""

    around: float
    """Radians to the right of the front."""
    above: float
    """Radians above the ground."""
    lens_mm: float
    share: float
    """Of the picture's half side that the sphere around the products fills; above 1 they are cut off."""
    offset: tuple[float, float]
    """Of the products' middle to the right and up, as a share of the room that is left."""
    roll: float
    f_number: float
    """0 is sharp everywhere."""


@dataclass(frozen=True)
class Camera:
    """A camera at ``position`` that looks at ``target``."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    lens_mm: float
    roll: float
    f_number: float


@dataclass(frozen=True)
class Scene:
    """One picture, its plate and its alpha."""

    number: int
    seed: int
    stage: str
    rig: str
    view: View
    lights: tuple[Light, ...]
    environment: str
    """HDR file, relative to the data folder; empty for a plain sky."""
    environment_turn: float
    environment_strength: float
    backdrop: str
    """Picture behind, relative to the data folder; empty for a plain one."""
    products: tuple[Thing, ...]
    props: tuple[Thing, ...]
    exposure: float
    """Stops more than a camera's meter would choose."""

    def to_json(self) -> dict[str, Any]:
        """Everything in it, for the file beside the picture."""
        return asdict(self)


@dataclass(frozen=True)
class Assets:
    """What scenes are made of: files relative to the data folder."""

    models: tuple[str, ...]
    environments: tuple[str, ...]
    backdrops: tuple[str, ...]

    @classmethod
    def find(cls, root: Path, models: str = "models3d") -> Assets:
        """Look under ``models``, ``envmaps`` and ``backgrounds`` of ``root``; each may be missing."""

        def files(folder: str, *suffixes: str) -> tuple[str, ...]:
            found = (path for path in (root / folder).rglob("*") if path.suffix.lower() in suffixes)
            return tuple(sorted(path.relative_to(root).as_posix() for path in found))

        return cls(
            files(models, ".npz", ".gltf", ".glb", ".obj"),
            files("envmaps", ".hdr", ".exr"),
            files("backgrounds", ".jpg", ".jpeg", ".png"),
        )

    def for_scene(self, name: str) -> Assets:
        """What the picture ``name`` may be made of: held-out files for a held-out picture, and no others."""
        held_out = is_validation(name)

        def side(paths: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(path for path in paths if is_validation(Path(path).name) == held_out)

        return Assets(side(self.models), self.environments, side(self.backdrops))


def picture_name(number: int) -> str:
    """``00042_i.jpg``: the picture with the product. Plate and alpha are ``_p.jpg`` and ``_a.png``."""
    return f"{number:05d}_i.jpg"


def layout(number: int, seed: int, assets: Assets, name: str = "") -> Scene:
    """Draw scene ``number`` of the series ``seed``: the same numbers give the same scene.

    ``name`` is the picture's, which decides whether it is held out; ``picture_name(number)`` when empty.
    """
    rng = np.random.default_rng([seed, number])
    mine = assets.for_scene(name or picture_name(number))
    stage = str(rng.choice(STAGES, p=(0.3, 0.28, 0.14, 0.16, 0.12)))
    count = int(rng.choice([1, 2, 3], p=(0.72, 0.2, 0.08)))
    products = _stand(rng, [_thing(rng, mine.models) for _ in range(count)], ())
    props: tuple[Thing, ...] = ()
    if rng.random() < 0.45 and stage != "sweep":
        drawn = [_thing(rng, mine.models) for _ in range(int(rng.integers(1, 5)))]
        props = _stand(rng, drawn, products, spread=2.2)
    rig, lights = _rig(rng, stage)
    plain = not mine.backdrops or rng.random() < 0.4
    return Scene(
        number=number,
        seed=int(rng.integers(2**31)),
        stage=stage,
        rig=rig,
        view=_view(rng, low=stage == "shelf"),
        lights=lights,
        environment=str(rng.choice(mine.environments)) if mine.environments else "",
        environment_turn=float(rng.uniform(0, 2 * math.pi)),
        environment_strength=_environment_strength(rng, stage, rig),
        backdrop="" if plain else str(rng.choice(mine.backdrops)),
        products=products,
        props=props,
        exposure=float(rng.normal(0, 0.35)),
    )


def _thing(rng: np.random.Generator, models: Sequence[str]) -> Thing:
    own = len(models) > 0 and rng.random() < 0.78
    model = str(rng.choice(models)) if own else str(rng.choice(SHAPES))
    dressed = own and not model.startswith("models3d/gso_shapes/") and rng.random() < 0.85
    material = "own" if dressed else str(rng.choice(MATERIALS, p=_MATERIAL_SHARES))
    height = float(rng.uniform(0.6, 1.2))
    lying = bool(rng.random() < 0.18)
    # The disc holds what is as wide as high; lying things may be as long as they are high.
    radius = height * (0.5 if lying else 0.42)
    turn = float(rng.uniform(0, 2 * math.pi))
    return Thing(model, int(rng.integers(2**31)), material, height, 0.0, 0.0, turn, lying, radius)


def _stand(
    rng: np.random.Generator, things: Sequence[Thing], taken: Sequence[Thing], *, spread: float = 0.0
) -> tuple[Thing, ...]:
    """Put things beside each other and beside ``taken``, ``spread`` apart. One may find no place."""
    placed: list[Thing] = []
    for thing in things:
        for attempt in range(60):
            others = [*taken, *placed]
            if not others and not spread:
                x, y = 0.0, 0.0
            else:
                angle = rng.uniform(0, 2 * math.pi)
                around = others[int(rng.integers(len(others)))] if others else None
                away = (around.radius if around else 0.0) + thing.radius + GAP
                away += abs(rng.normal(0, 0.15 + spread * 0.4)) + 0.02 * attempt
                x = (around.x if around else 0.0) + away * math.cos(angle)
                y = (around.y if around else 0.0) + away * math.sin(angle)
            if all(
                math.hypot(x - other.x, y - other.y) >= thing.radius + other.radius + GAP for other in others
            ):
                placed.append(Thing(**{**asdict(thing), "x": float(x), "y": float(y)}))
                break
    return tuple(placed)


# -- camera


def distance_for(radius: float, lens_mm: float, share: float) -> float:
    """How far a sphere of ``radius`` must be for its outline to fill ``share`` of the picture's half side."""
    return radius / math.sin(math.atan(share * half_field(lens_mm)))


def half_field(lens_mm: float) -> float:
    """Tangent of half the field of view."""
    return SENSOR_MM / 2 / lens_mm


def _view(rng: np.random.Generator, *, low: bool) -> View:
    """One in twelve comes so near that the product is cut off by the picture's border."""
    steep = float(rng.uniform(2, 22) if low else rng.choice([rng.uniform(3, 25), rng.uniform(20, 75)]))
    share = float(rng.uniform(1.05, 1.5) if rng.random() < 1 / 12 else rng.uniform(0.42, 0.92))
    return View(
        around=math.radians(rng.uniform(-28, 28)),
        above=math.radians(steep),
        lens_mm=float(rng.uniform(32, 95)),
        share=share,
        offset=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        roll=float(rng.normal(0, math.radians(1.5))),
        f_number=float(rng.uniform(5.6, 22)) if rng.random() < 0.4 else 0.0,
    )


def camera_for(view: View, low: np.ndarray, high: np.ndarray) -> Camera:
    """A camera above the ground that sees the box from ``low`` to ``high`` (x, y, z) as ``view`` says."""
    middle = (np.asarray(low, np.float64) + high) / 2
    radius = float(np.linalg.norm(np.asarray(high, np.float64) - low)) / 2
    distance = distance_for(radius, view.lens_mm, view.share)
    room = max(0.0, 0.96 - view.share) * half_field(view.lens_mm) * distance
    flat = math.cos(view.above) * distance
    away = np.array(
        [flat * math.sin(view.around), -flat * math.cos(view.around), math.sin(view.above) * distance]
    )
    right = np.array([math.cos(view.around), math.sin(view.around), 0.0])
    up = np.cross(away / distance, right)
    target = middle - room * (view.offset[0] * right + view.offset[1] * up)
    position = target + away
    position[2] = max(position[2], 0.05)
    x, y, z = (float(value) for value in position)
    return Camera((x, y, z), tuple(float(v) for v in target), view.lens_mm, view.roll, view.f_number)  # type: ignore[arg-type]


def axes(camera: Camera) -> np.ndarray:
    """The camera's right, up and back as the rows of a (3, 3) rotation, roll included."""
    back = np.subtract(camera.position, camera.target)
    back = back / np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    right = right / np.linalg.norm(right)
    up = np.cross(back, right)
    c, s = math.cos(camera.roll), math.sin(camera.roll)
    return np.array([c * right + s * up, c * up - s * right, back])


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Where points (n, 3) fall in the picture: (n, 2), -1..1 from left to right and from bottom to top.

    Raises
    ------
    ValueError
        If one lies behind the camera.
    """
    seen = (np.asarray(points, np.float64) - camera.position) @ axes(camera).T
    if (seen[:, 2] >= 0).any():
        raise ValueError("a point lies behind the camera")
    return seen[:, :2] / -seen[:, 2:] / half_field(camera.lens_mm)


# -- light


def kelvin(temperature: float) -> tuple[float, float, float]:
    """Linear RGB of a black body at 1500..12000 K, its largest component 1 (a fit to Planck's law)."""
    # Spectral radiance at the primaries' wavelengths, relative to 6500 K, where the sRGB white is.
    waves = np.array([611e-9, 549e-9, 464e-9])
    scale = 1.4388e-2

    def radiance(kelvins: float) -> np.ndarray:
        return 1 / (np.exp(scale / (waves * kelvins)) - 1)

    color = radiance(temperature) / radiance(6500)
    red, green, blue = color / color.max()
    return float(red), float(green), float(blue)


def _rig(rng: np.random.Generator, stage: str) -> tuple[str, tuple[Light, ...]]:
    shares = (0, 0, 0, 0, 0.6, 0.4) if stage == "outdoors" else (0.34, 0.2, 0.16, 0.1, 0.06, 0.14)
    rig = str(rng.choice(RIGS, p=shares))
    if rig == "softboxes":
        side = rng.choice([-1.0, 1.0])
        warm = rng.uniform(4300, 6800)
        key = _area(
            rng, side * rng.uniform(25, 75), rng.uniform(25, 65), 3.2, rng.uniform(0.7, 2.2), 1.0, warm
        )
        fill = _area(
            rng, -side * rng.uniform(30, 90), rng.uniform(10, 45), 3.6, 2.0, rng.uniform(0.1, 0.5), warm
        )
        lights = [key, fill]
        if rng.random() < 0.5:
            behind = 180 + rng.uniform(-40, 40)
            lights.append(_area(rng, behind, rng.uniform(30, 60), 3.0, 0.6, rng.uniform(0.3, 1.2), warm))
        return rig, tuple(lights)
    if rig == "window":
        side = rng.choice([-1.0, 1.0]) * rng.uniform(60, 110)
        return rig, (_area(rng, side, rng.uniform(8, 35), 4.0, 2.6, 1.1, rng.uniform(5200, 8500)),)
    if rig == "strips":
        color, strips = kelvin(rng.uniform(3500, 5200)), []
        for index in range(int(rng.integers(2, 4))):
            x = (index - 1) * rng.uniform(1.2, 2.0)
            strips.append(
                Light("area", (float(x), -0.4, 3.4), (0.25, 3.0), float(rng.uniform(90, 170)), color)
            )
        return rig, tuple(strips)
    if rig == "lamp":
        return rig, (
            _area(rng, rng.uniform(-90, 90), rng.uniform(30, 75), 2.2, 0.22, 0.9, rng.uniform(2400, 3400)),
        )
    if rig == "sun":
        place = _direction(rng.uniform(-120, 120), rng.uniform(18, 65), 10.0)
        softness = math.radians(rng.uniform(0.5, 6))
        return rig, (
            Light("sun", place, (softness, 0.0), float(rng.uniform(2, 5)), kelvin(rng.uniform(4200, 6200))),
        )
    return rig, ()


def _area(
    rng: np.random.Generator,
    around: float,
    height: float,
    distance: float,
    size: float,
    power: float,
    warm: float,
) -> Light:
    """A rectangle ``around`` degrees from the viewer and ``height`` up; ``power`` 1 lights well."""
    distance *= float(rng.uniform(0.8, 1.3))
    watts = power * 24 * distance**2 * float(rng.uniform(0.7, 1.4))
    shape = (size, size * float(rng.uniform(0.6, 1.6)))
    return Light("area", _direction(around, height, distance), shape, watts, kelvin(warm))


def _direction(around: float, height: float, distance: float) -> tuple[float, float, float]:
    a, h = math.radians(around), math.radians(height)
    flat = math.cos(h) * distance
    return flat * math.sin(a), -flat * math.cos(a), math.sin(h) * distance


def stops_for(luminance: float, more: float) -> float:
    """Exposure in stops for a picture of mean linear ``luminance``, as a camera meters it, and ``more``."""
    return min(5.0, max(-5.0, math.log2(METERED / max(luminance, 1e-6)))) + more


def _environment_strength(rng: np.random.Generator, stage: str, rig: str) -> float:
    if rig == "surroundings":
        return float(rng.uniform(0.8, 1.6))
    if stage == "outdoors":
        return float(rng.uniform(0.5, 1.0))
    return float(rng.uniform(0.05, 0.45))
