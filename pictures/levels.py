"""Levels of more than 8 bits, reduced to 8 without losing those that a picture uses.

Cameras, microscopes, X-ray detectors and depth sensors deliver 10, 12 or 14 bits, and most programs store them as they
are in files of 16 bits, of which a fixed reduction would leave 4 of 256 levels, 16 or 64.
"""

import sys
from collections.abc import Callable

import numpy as np

# Bits that sensors deliver. With finer steps, pictures of one camera would more often be treated differently.
_DEPTHS = (8, 10, 12, 14, 16)
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # ends of Pillow's raw modes


def white_level(largest: int, significant_bits: int = 0) -> int:
    """Returns the level of white in a file of 16 bits, from the largest level of the picture.

    It is the largest number of the fewest bits that hold the picture: those that the file declares or, if it declares
    none, 8, 10, 12, 14 or 16. A picture that really has 16 bits, but nothing brighter than a quarter of white, becomes
    brighter, which loses nothing; the other mistake would lose nearly all levels.
    """
    depths = (significant_bits, 16) if 0 < significant_bits <= 16 else _DEPTHS
    return 2 ** next(depth for depth in depths if largest < 2**depth) - 1


def note(white: int, visible: np.ndarray) -> str:
    """Returns what to say about a picture of these levels, with this level of white, in a file of 16 bits."""
    depth = f"{white.bit_length()}-bit levels" if white < 65535 else ""
    brighter = np.count_nonzero(visible > white // 16)
    # A few pixels may be marked as invalid by the brightest level, and the others lose most of their levels.
    dark = "nearly all of its levels are dark" if 0 < brighter < visible.size / 100 else ""
    return "; ".join(filter(None, (depth, dark)))


def to_8_bits(levels: np.ndarray, white: int) -> np.ndarray:
    """Returns levels from 0 to `white` as uint8 from 0 to 255; higher ones become 255."""
    all_levels = np.arange(2**16, dtype=np.int64)
    # Equally many levels become one, as if the lower bits were cut off; too few levels are spread out instead.
    table = all_levels * 256 // (white + 1) if white >= 255 else (all_levels * 255 + white // 2) // white
    return table.clip(0, 255).astype(np.uint8)[levels]


def read_deep(
    rawmode: str,
    load: Callable[[str], np.ndarray],
    *,
    color_key: tuple[int, ...] = (),
    largest: int = 0,
    significant_bits: int = 0,
) -> tuple[np.ndarray, str]:
    """Returns a picture of 16 bits with 8, and a note if it uses fewer than 16.

    Args:
        rawmode: how the file stores a pixel, in Pillow's words, such as "RGB;16B". Those that it does not have,
            such as "LA;16L", are read as four channels of 8 bits.
        load: returns the pixels read as if they were stored in another raw mode. Pillow has no images of several
            channels of 16 bits, but can read either byte of each level.
        color_key: the color that is transparent; none if empty.
        largest: the largest level that the file declares.
        significant_bits: how many bits the file declares to be in use; 0 if it does not.

    Returns:
        uint8 array (height, width, channels): gray, gray and alpha, RGB, or RGB and alpha.
    """
    levels = _load_levels(rawmode, load, exact=bool(color_key))
    colors, alpha = (levels, None) if levels.shape[2] in (1, 3) else (levels[..., :-1], levels[..., -1])
    if color_key:
        alpha = (colors != color_key).any(axis=2).astype(np.uint16) * 65535
    if alpha is not None and "a;" in rawmode:  # colors that are already multiplied by their opacity
        colors = (colors * np.uint32(65535) // np.maximum(alpha, 1)[..., np.newaxis]).clip(0, 65535).astype(np.uint16)
    visible = colors if alpha is None else colors[alpha > 0]
    white = white_level(max(largest, int(visible.max(initial=0))), significant_bits)
    reduced = to_8_bits(colors, white)
    if alpha is None:
        return reduced, note(white, visible)
    opaque = white if alpha.max(initial=0) <= white else 65535  # some programs store alpha like the colors
    return np.concatenate([reduced, to_8_bits(alpha, opaque)[..., np.newaxis]], axis=2), note(white, visible)


def _load_levels(rawmode: str, load: Callable[[str], np.ndarray], *, exact: bool) -> np.ndarray:
    """Returns the levels as uint16 array (height, width, channels).

    Their lower bytes are 0 unless `exact` levels are needed, or the upper ones show that the picture is not of 16 bits.
    """
    if rawmode.startswith("I;"):
        return load(rawmode)[..., np.newaxis]
    if rawmode.startswith("L"):
        levels = load("RGBA").view({"L": "<u2", "B": ">u2", "N": "=u2"}[rawmode[-1]])
        return levels[..., :1] if rawmode.startswith("LX") else levels
    rawmode = rawmode.replace("a;", "A;")
    levels = load(rawmode).astype(np.uint16) << 8
    colors = levels[..., :3] if levels.shape[2] == 3 else levels[levels[..., 3] > 0, :3]
    if exact or colors.max(initial=0) < 2**14:
        levels |= load(rawmode[:-1] + _OTHER_BYTE[rawmode[-1]])
    return levels
