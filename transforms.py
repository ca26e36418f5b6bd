"""Random transforms of training pictures, a batch at a time.

Every draw follows from the seed of the run and the number of the step, so a resumed run sees the very same pictures.
OpenCV moves the pixels: its kernel does it in a seventh of the time of TensorFlow's `ImageProjectiveTransformV3`, which
would take a fifth of a processor's training time.
"""

import cv2
import numpy as np


def transform_batch(
    images: np.ndarray,
    *,
    draws: np.random.Generator,
    mirror: bool,
    shift: float,
    rotation: float,
    zoom: float,
    contrast: float,
) -> np.ndarray:
    """Moves and lights every picture of a batch differently.

    Args:
        images: uint8 (batch, height, width, color_channels).
        draws: where everything random comes from.
        mirror: whether half of them are mirrored left-right.
        shift: how far they may be moved, as a share of the width and of the height, to either side.
        rotation: how far they may be turned, in degrees to either side.
        zoom: how much larger or smaller they may become: by a factor from 1 / (1 + zoom) to 1 + zoom, for each axis.
        contrast: by how much light and contrast of each colour may change: factors from 1 - contrast to 1 + contrast.

    Returns:
        as images. What comes in over an edge is the picture reflected.
    """
    batch, height, width, colors = images.shape
    turn, across, flip, down, right, below = draws.uniform(-1, 1, (6, batch))
    places = _around_middle(
        np.radians(rotation * turn),
        (1 + zoom) ** across * (np.where(flip < 0, -1, 1) if mirror else 1),
        (1 + zoom) ** down,
        (right * shift * width, below * shift * height),
        height=height,
        width=width,
    )
    # Each colour for itself, so that what is learnt does not hang on a hue.
    gain, light = 1 + contrast * draws.uniform(-1, 1, (2, batch, colors))
    changed = np.empty_like(images)
    for number, image in enumerate(images):
        moved = cv2.warpAffine(
            image,
            places[number],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        mean = np.array(cv2.mean(moved)[:colors])
        # Colour by colour: (value - mean) * gain + mean * light, rounded and kept within 0..255.
        colour = np.column_stack([np.diag(gain[number]), mean * (light[number] - gain[number])])
        changed[number] = cv2.transform(moved, colour).reshape(image.shape)
    return changed


def _around_middle(angle, across, down, moves, *, height: int, width: int) -> np.ndarray:
    """Float64 (batch, 2, 3): matrices that map places of the result, (x, y), to places of the picture.

    A place relative to the middle is turned, then scaled along each axis, then moved.
    """
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scaled = np.moveaxis(turned * np.array([across, down])[:, None], -1, 0)
    moved = middle + np.transpose(moves) - scaled @ middle
    return np.concatenate([scaled, moved[..., None]], axis=2)
