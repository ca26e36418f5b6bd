"""Sheets of pictures with captions, and the confusion matrix as a picture, in the size in which TensorBoard shows them.

Matplotlib was considered: it would add 30 MB, to place small pictures in a grid. Pillow's own font has ASCII only.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

WIDTH = 350  # pixels: the tab Images shows so many, and leaves out pixel columns of wider pictures, also of letters
TILE = 84  # pixels, of a picture
COLUMNS = 4
MAX_MATRIX = 20  # classes up to which a whole confusion matrix is legible
_LINE, _LARGE_LINE = 14, 20  # height of a line of text
_GAP = WIDTH // COLUMNS - TILE
_BACKGROUND, _TEXT = (255, 255, 255), (30, 30, 30)
_RIGHT, _WRONG = (33, 113, 181), (203, 24, 29)  # blue and red, which color-blind people can tell apart
_MIN_CELL_FOR_PERCENT = 44  # pixels


class Tile(NamedTuple):
    """A picture and the lines below it."""

    image: np.ndarray  # uint8 (height, width, 3 or 1)
    caption: Sequence[str] = ()
    is_wrong: bool = False  # the caption is red


def sheet(tiles: Sequence[Tile]) -> np.ndarray:
    """Returns pictures in rows of four, each with its caption: uint8 (height, 350, 3). Without any, it says "none"."""
    if not tiles:
        canvas, draw = _canvas(WIDTH, 2 * _LINE)
        draw.text((4, _LINE), "none", _TEXT, _font(12), "lm")
        return np.asarray(canvas)
    lines = max(len(tile.caption) for tile in tiles)
    row_height = _GAP + TILE + lines * _LINE
    canvas, draw = _canvas(WIDTH, -(-len(tiles) // COLUMNS) * row_height + _GAP)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, COLUMNS)
        x, y = column * (TILE + _GAP) + _GAP // 2, row * row_height + _GAP
        canvas.paste(_square(tile.image), (x, y))
        _draw_caption(draw, tile, (x, y + TILE), TILE)
    return np.asarray(canvas)


def titled_sheets(parts: Mapping[str, Sequence[Tile]]) -> np.ndarray:
    """Returns sheets below each other, each with its title above it: uint8 (height, 350, 3).

    Args:
        parts: title → pictures; at least one.
    """
    found = []
    for title, tiles in parts.items():
        canvas, draw = _canvas(WIDTH, _LARGE_LINE + 4)
        draw.text((4, 4), _fit(title, WIDTH - 8, 15), _TEXT, _font(15))
        found += [np.asarray(canvas), sheet(tiles)]
    return np.concatenate(found)


def strip(tiles: Sequence[Tile]) -> np.ndarray:
    """Returns pictures side by side in their own size, each with its caption below: uint8 (height, width, 3).

    Args:
        tiles: at least one; their images have the same size.
    """
    height, width = tiles[0].image.shape[:2]
    margin = 2 * _GAP
    lines = max(len(tile.caption) for tile in tiles)
    canvas, draw = _canvas(len(tiles) * (width + margin) + margin, height + 2 * margin + lines * _LARGE_LINE)
    for index, tile in enumerate(tiles):
        x = margin + index * (width + margin)
        canvas.paste(_in_color(tile.image), (x, margin))
        _draw_caption(draw, tile, (x, margin + height), width, is_large=True)
    return np.asarray(canvas)


def _draw_caption(
    draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], width: int, *, is_large: bool = False
) -> None:
    x, y = corner
    size, line = (15, _LARGE_LINE) if is_large else (12, _LINE)
    for number, text in enumerate(tile.caption):
        color = _WRONG if tile.is_wrong else _TEXT
        draw.text((x, y + number * line), _fit(text, width, size), fill=color, font=_font(size))


def thumbnails(images: Sequence[np.ndarray], *, side: int) -> np.ndarray:
    """Returns images in a square grid, row by row, without gaps: uint8 (rows · side, rows · side, 3)."""
    columns = int(np.ceil(np.sqrt(len(images))))
    canvas = Image.new("RGB", (columns * side, columns * side), _BACKGROUND)
    for index, image in enumerate(images):
        canvas.paste(_square(image, side), (index % columns * side, index // columns * side))
    return np.asarray(canvas)


def confusion_image(matrix: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Returns a drawing of a confusion matrix: uint8 (height, 350, 3).

    A cell is the darker, the larger its fraction of its row: blue on the diagonal, red off it.

    Args:
        matrix: int (classes, classes), the pictures of the class of a row that were predicted as that of a column.
        class_names: (classes,); up to 20 are legible.
    """
    count = len(class_names)
    names = [drawable_class(label, class_names) for label in range(count)]
    left = 12 + min(110 if count <= 12 else 60, max(round(_font(12).getlength(f"{count} {name}")) for name in names))
    cell, top = min(80, (WIDTH - left - 4) // count), 2 * _LINE + 4
    canvas, draw = _canvas(WIDTH, top + count * cell + 4)
    draw.text((4, 2), "row: true class, column: predicted", fill=_TEXT, font=_font(12))
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row, name in enumerate(names):
        y = top + row * cell
        number = "" if cell > _MIN_CELL_FOR_PERCENT else f"{row + 1} "
        draw.text((4, y + cell // 2), _fit(number + name, left - 8, 12), _TEXT, _font(12), "lm")
        head = number.strip() or _fit(name, cell - 4, 12)
        draw.text((left + row * cell + cell // 2, top - 5), head, _TEXT, _font(min(12, cell - 4)), "ms")
        for column in range(count):
            _draw_cell(
                draw, (left + column * cell, y), cell, matrix[row, column], fractions[row, column], row == column
            )
    return np.asarray(canvas)


def _draw_cell(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, count: int, fraction: float, is_right: bool
) -> None:
    x, y = corner
    strength = fraction**0.5  # a few mistakes are to be seen too
    color = tuple(round(255 + (full - 255) * strength) for full in (_RIGHT if is_right else _WRONG))
    draw.rectangle((x, y, x + side - 2, y + side - 2), fill=color, outline=(200, 200, 200))
    if not count:
        return
    text = (255, 255, 255) if strength > 0.6 else _TEXT
    middle = x + side // 2 - 1, y + side // 2 - 1
    if side > _MIN_CELL_FOR_PERCENT:
        draw.text((middle[0], middle[1] - 7), f"{count:,}", text, _font(16), "mm")
        draw.text((middle[0], middle[1] + 11), f"{fraction:.0%}", text, _font(11), "mm")
    else:
        size = next((size for size in range(12, 6, -1) if _font(size).getlength(str(count)) < side - 3), 6)
        draw.text(middle, str(count), text, _font(size), "mm")


def drawable(text: str, otherwise: str) -> str:
    """Returns a text in letters that can be drawn, é as e; or the other one, if it has letters of other scripts."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return plain if plain.isascii() and plain.isprintable() else otherwise


def drawable_class(label: int, class_names: Sequence[str]) -> str:
    """Returns the name of a class, or its number, counted from 1: #2."""
    return drawable(class_names[label], f"#{label + 1}")


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    return canvas, ImageDraw.Draw(canvas)


def _square(image: np.ndarray, side: int = TILE) -> Image.Image:
    """Returns an image in its own proportions, in the middle of a square."""
    return ImageOps.pad(_in_color(image), (side, side), Image.Resampling.LANCZOS, color=_BACKGROUND)


def _in_color(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))


@lru_cache  # Pillow parses it each time
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _fit(text: str, width: float, size: int) -> str:
    """Returns a text, shortened if it is wider than this many pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
