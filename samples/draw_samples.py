"""Draws the sample pictures: bats in `rawdata/batman/`, shields with a letter in `rawdata/superman/`.

They consist of curves and random numbers, and each picture depends only on its own number. Size, position, angle,
perspective, background and clutter have the same distribution in both classes. Most emblems have their familiar colors.
`python samples/draw_samples.py FOLDER` draws them below FOLDER.
"""

import colorsys
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TRAINING, UNSEEN = range(120), range(1000, 1005)  # the numbers of the pictures of each class
RED, YELLOW, BLUE = 0.0, 0.14, 0.62  # hues
_FAMILIAR_COLORS = 0.85  # fraction of emblems in familiar colors: dark on yellow, red on yellow or blue
_OVERSAMPLING = 2  # drawn larger and then reduced, for smooth edges
_EMBLEM_SIZE = 480  # side of the square that an emblem is drawn in, in pixels

Points = np.ndarray  # float (n, 2), x to the right and y downwards; emblems span about -1..1
Color = tuple[int, int, int]


def curve(*control: Sequence[float], steps: int = 12) -> Points:
    """Returns a Bézier curve of any degree from its first to its last control point (de Casteljau's algorithm)."""
    t = np.linspace(0, 1, steps)[:, None, None]
    points = np.broadcast_to(np.array(control, float), (steps, len(control), 2))
    while points.shape[1] > 1:
        points = (1 - t) * points[:, :-1] + t * points[:, 1:]
    return points[:, 0]


def bat(rng: np.random.Generator) -> Points:
    """Returns the outline of a bat with spread wings and two ears: symmetric, of random proportions."""
    ear, ear_width = rng.uniform(0.22, 0.42), rng.uniform(0.05, 0.1)
    head, shoulder = rng.uniform(0.08, 0.13), rng.uniform(0.05, 0.15)
    tip = np.array([1.0, rng.uniform(-0.45, 0.0)])
    tail = rng.uniform(0.35, 0.6)
    scallops = int(rng.integers(2, 4))
    lower = np.linspace([tip[0] * 0.93, tip[1] + 0.25], [0.0, tail], scallops + 1)
    lower[1:-1, 1] += rng.uniform(0.02, 0.12)
    right = [
        [(0.0, -head), (ear_width * 0.6, -head)],
        [(ear_width, -ear), (head + ear_width, -0.02)],
        curve((head + ear_width, -0.02), (0.4, shoulder + 0.1), (0.45, -0.3), tip),
        curve(tip, tip + [0.02, 0.15], lower[0]),
        *(curve(a, (a + b) / 2 - [0.02, rng.uniform(0.12, 0.22)], b) for a, b in zip(lower, lower[1:], strict=False)),
    ]
    half = np.concatenate([np.array(part, float) for part in right])
    return np.concatenate([half, half[::-1] * [-1, 1]])


def letter(rng: np.random.Generator) -> Points:
    """Returns the outline of an S: a curved center line, thick in the middle and thin or barbed at its ends."""
    wide, high = rng.uniform(0.38, 0.5), rng.uniform(0.5, 0.6)
    belly = rng.uniform(1.0, 1.5)
    upper = curve((wide, -high * 0.72), (0, -high * 1.45), (-wide * 1.9 * belly, -high * 0.75), (0, 0), steps=24)
    lower = curve((0, 0), (wide * 1.9 * belly, high * 0.75), (0, high * 1.45), (-wide, high * 0.72), steps=24)
    line = np.concatenate([upper, lower[1:]])
    slope = np.gradient(line, axis=0)
    normal = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.linalg.norm(slope, axis=1, keepdims=True)
    thickness = rng.uniform(0.1, 0.15) * (0.55 + 0.75 * np.sin(np.linspace(0.15, np.pi - 0.15, len(line))))
    if rng.random() < 0.5:
        thickness[0] = thickness[-1] = 0.2
    return np.concatenate([line + normal * thickness[:, None], (line - normal * thickness[:, None])[::-1]])


def shield(rng: np.random.Generator) -> Points:
    """Returns the outline of a shield: like a cut gem with a long lower point."""
    shoulder, waist = rng.uniform(0.6, 0.8), rng.uniform(-0.35, -0.1)
    right = np.array([(shoulder, -0.75), (1.0, waist), (rng.uniform(0.45, 0.55), 0.45), (0.0, 1.0)])
    return np.concatenate([right, right[:-1][::-1] * [-1, 1]]) * [1, rng.uniform(0.8, 1.0)]


def oval(rng: np.random.Generator) -> Points:
    """Returns the outline of an ellipse, from a circle to twice as wide as high."""
    angle = np.linspace(0, 2 * np.pi, 60)
    return np.stack([np.cos(angle), rng.uniform(0.55, 0.95) * np.sin(angle)], axis=1)


def color(rng: np.random.Generator, *, bright: bool, hue: float | None = None) -> Color:
    """Returns a random bright or dark color, or one of about the given hue (0..1 around the color circle)."""
    value = rng.uniform(0.65, 1.0) if bright else rng.uniform(0.0, 0.4)
    hue, saturation = (rng.random(), rng.uniform(0.1, 1.0)) if hue is None else (rng.normal(hue, 0.02), 0.85)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def emblem(draw_sign: Callable[[np.random.Generator], Points], rng: np.random.Generator) -> Image.Image:
    """A sign with or without a plate around it: RGBA (_EMBLEM_SIZE, _EMBLEM_SIZE), transparent around it."""
    image = Image.new("RGBA", (_EMBLEM_SIZE, _EMBLEM_SIZE))
    draw = ImageDraw.Draw(image)

    def fill(points: Points, scale: float, paint: Color) -> None:
        pixels = (points * scale + 1) * (_EMBLEM_SIZE / 2)
        draw.polygon([tuple(point) for point in pixels], fill=(*paint, 255))

    familiar = rng.random() < _FAMILIAR_COLORS  # else any colors, sometimes a bright sign on a dark plate
    bright = bool(familiar or rng.random() < 0.85)
    sign_hue, plate_hue = (None, YELLOW) if draw_sign is bat else (RED, rng.choice([YELLOW, BLUE]))
    sign_hue, plate_hue = (sign_hue, plate_hue) if familiar else (None, None)
    sign, size = draw_sign(rng), 0.95
    if rng.random() < 0.9:
        plate, size = (oval(rng), 0.75) if draw_sign is bat else (shield(rng), 0.6)
        rim = rng.uniform(0.03, 0.1) if rng.random() < 0.7 else 0
        fill(plate, 0.97, color(rng, bright=not bright, hue=sign_hue))
        fill(plate, 0.97 - rim, color(rng, bright=bright, hue=plate_hue))
    sign_bright = bool(familiar and draw_sign is letter) or not bright
    fill(sign, size * rng.uniform(0.85, 1.0) / np.abs(sign).max(), color(rng, bright=sign_bright, hue=sign_hue))
    return image


def background(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Returns a background: a gradient, stripes, tiles or clouds, with random shapes on it."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(3, 12)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    clouds = rng.uniform(0, 255, (int(rng.integers(3, 9)),) * 2).astype(np.uint8)
    clouds = np.asarray(Image.fromarray(clouds).resize((width, height), Image.Resampling.BICUBIC)) / 255
    mix = {
        "gradient": (along - along.min()) / np.ptp(along),
        "stripes": (np.sin(2 * np.pi * pitch * along) > 0) * 0.8 + 0.2 * clouds,
        "tiles": (np.sin(2 * np.pi * pitch * along) * np.sin(2 * np.pi * pitch * across) > 0) * 0.7 + 0.3 * clouds,
        "clouds": clouds,
    }[rng.choice(["gradient", "stripes", "tiles", "clouds"])][..., None]
    one, other = (np.array(color(rng, bright=bool(rng.random() < 0.5))) for _ in range(2))
    other = one + (other - one) * rng.uniform(0.2, 0.7)  # less contrast than the emblem
    image = Image.fromarray((one * mix + other * (1 - mix)).clip(0, 255).astype(np.uint8))
    clutter(image, int(rng.integers(0, 9)), 0.25, rng)
    return image


def clutter(image: Image.Image, count: int, size: float, rng: np.random.Generator) -> None:
    """Draws random polygons anywhere, each up to the fraction `size` of the longer side."""
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        center = rng.uniform(0, 1, 2) * image.size
        radius = rng.uniform(0.2, 1.0) * size * max(image.size) / 2
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        corners = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        draw.polygon([tuple(corner) for corner in corners], fill=color(rng, bright=bool(rng.random() < 0.5)))


def paste_emblem(sign: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Pastes an emblem into a scene: rotated, in perspective, at a random position and a recognizable size."""
    side = rng.uniform(0.85, 1.1) * min(scene.size)
    angle = np.deg2rad(rng.normal(0, 9))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (side / 2)
    corners = corners * (1 + rng.uniform(-0.13, 0.13, (4, 2)))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    middle = np.array(scene.size) / 2 + rng.uniform(-0.5, 0.5, 2) * (np.array(scene.size) - side * 0.8)
    target = corners @ turn + middle
    source = np.array([(0, 0), (_EMBLEM_SIZE, 0), (_EMBLEM_SIZE, _EMBLEM_SIZE), (0, _EMBLEM_SIZE)])
    # Pillow needs the projection from the scene back to the emblem: eight unknowns from four pairs of corners.
    rows, right = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        right += [u, v]
    projection = np.linalg.solve(np.array(rows, float), np.array(right, float))
    placed = sign.transform(scene.size, Image.Transform.PERSPECTIVE, projection, Image.Resampling.BICUBIC)
    scene.paste(placed, mask=placed.getchannel("A"))


def picture(draw_sign: Callable[[np.random.Generator], Points], rng: np.random.Generator) -> Image.Image:
    """Returns a whole picture: RGB, 110 to 240 pixels wide, portrait or landscape."""
    width = int(rng.integers(110, 241))
    height = int(width * rng.uniform(0.75, 1.33))
    scene = background(width * _OVERSAMPLING, height * _OVERSAMPLING, rng)
    paste_emblem(emblem(draw_sign, rng), scene, rng)
    if rng.random() < 0.2:
        clutter(scene, int(rng.integers(1, 4)), 0.3, rng)  # in front of the emblem
    scene = scene.resize((width, height), Image.Resampling.LANCZOS)
    if rng.random() < 0.3:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    light = np.asarray(scene, float) * rng.uniform(0.7, 1.15) + rng.uniform(-15, 30)
    grain = rng.normal(0, rng.uniform(0, 10), light.shape)
    return Image.fromarray((light + grain).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, number: int) -> tuple[bytes, str]:
    """Returns the content of a file and its extension: every tenth picture is a small PNG, the others are JPEGs."""
    data = io.BytesIO()
    if number % 10 == 0:
        image.thumbnail((110, 110))
        image.save(data, "PNG", optimize=True)
        return data.getvalue(), "png"
    image.save(data, "JPEG", quality=75 + number % 3 * 8)
    return data.getvalue(), "jpg"


def main(folder: Path) -> None:
    for label, (name, draw_sign) in enumerate({"batman": bat, "superman": letter}.items()):
        for number in (*TRAINING, *UNSEEN):
            image = picture(draw_sign, np.random.default_rng([2018, label, number]))
            data, extension = encode(image, number)
            parent = f"rawdata/{name}" if number in TRAINING else "samples/unseen"
            path = folder / parent / f"{name}_{number:03d}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
