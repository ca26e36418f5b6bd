"""Colors and transparency: from an image of any of Pillow's modes to RGB or gray."""

import numpy as np
from PIL import Image

_PAPER, _BOARD = (255, 255, 255), (0, 0, 0)  # shown through transparent pixels: white, or black behind what is white
_VISIBLE = 32  # levels of contrast, of 255; a drawing with less is lost on its ground


def fix_transparent_color(image: Image.Image) -> None:
    """Scales the transparent gray of a PNG to 8 bits, like its pixels; Pillow keeps it at the bit depth of the file."""
    tiles = getattr(image, "tile", [])
    color, stored_mode = image.info.get("transparency"), tiles[0].args if tiles else ""
    if color is not None and stored_mode in ("L;2", "L;4"):
        image.info["transparency"] = color * (255 // 3 if stored_mode == "L;2" else 255 // 15)


def flatten(image: Image.Image, mode: str) -> tuple[Image.Image, str]:
    """Returns an image of any of Pillow's modes as "RGB" or "L", with 8 bits per channel, and a note."""
    if image.mode in ("La", "LAB"):  # Pillow converts them to hardly any other mode
        image = image.convert({"La": "LA", "LAB": "RGB"}[image.mode])
    if not image.has_transparency_data:
        return (image if image.mode == mode else image.convert(mode)), ""
    image = image.convert("RGBA")
    on_paper = _on_ground(image, _PAPER, mode)
    if _contrast(on_paper) >= _VISIBLE:
        return on_paper, ""
    on_board = _on_ground(image, _BOARD, mode)
    if _contrast(on_board) < _VISIBLE:
        return on_paper, ""
    return on_board, "white on transparent ground, shown on black"


def _on_ground(image: Image.Image, color: tuple[int, int, int], mode: str) -> Image.Image:
    page = Image.new("RGB", image.size, color)
    page.paste(image, mask=image)
    return page if mode == "RGB" else page.convert(mode)


def _contrast(image: Image.Image) -> int:
    """Returns the largest difference between two levels of a channel."""
    extrema = np.reshape(image.getextrema(), (-1, 2))
    return int(np.ptp(extrema, axis=1).max())
