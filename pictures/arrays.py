"""From pixels in memory to the image that a network reads: for arrays of other programs, and frames of videos."""

import numpy as np
from PIL import Image

from config import ImageConfig
from pictures.decoding import LoadedPicture, standard_image

_EXPECTED = "expected a uint8 array (rows, columns, 3) in RGB, or (rows, columns) or (rows, columns, 1) in gray"


def picture_from_array(array: np.ndarray, config: ImageConfig) -> LoadedPicture:
    """Returns the same as `load_picture` does for a PNG file with these pixels.

    A JPEG file is not quite the same as its pixels: `load_picture` decodes a large one at a smaller size.

    Args:
        array: uint8 (rows, columns, 3) in RGB, or (rows, columns) or (rows, columns, 1) in gray. It is not changed.
        config: the size and the color format of the result.

    Raises:
        ValueError: it has another type or shape. The message is one line that says which.
    """
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise ValueError(f"{_EXPECTED}, received {array.dtype} {array.shape}")
    pixels = array[..., 0] if array.shape[2:] == (1,) else array
    if (pixels.ndim == 3) != (config.color_channels == 3):
        pixels = np.asarray(Image.fromarray(pixels).convert("RGB" if config.color_channels == 3 else "L"))
    image, note = standard_image(np.ascontiguousarray(pixels), config)
    return LoadedPicture(image, pixels.shape[0] * pixels.shape[1], note)
