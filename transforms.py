"""Random transforms of training pictures, a batch at a time and inside the graph.

Every draw follows from the seed of the run and the number of the step, so a resumed run sees the very same pictures.
"""

import math

import tensorflow as tf


def transform_batch(
    images: tf.Tensor,
    *,
    seed: int,
    step: tf.Tensor,
    mirror: bool,
    shift: float,
    rotation: float,
    zoom: float,
    contrast: float,
) -> tf.Tensor:
    """Moves and lights every picture of a batch differently.

    Args:
        images: uint8 (batch, height, width, color_channels).
        seed: of the run.
        step: int64 scalar, the number of the batch.
        mirror: whether half of them are mirrored left-right.
        shift: how far they may be moved, as a share of the width and of the height, to either side.
        rotation: how far they may be turned, in degrees to either side.
        zoom: how much larger or smaller they may become: by a factor from 1 / (1 + zoom) to 1 + zoom, for each axis.
        contrast: by how much light and contrast of each colour may change: factors from 1 - contrast to 1 + contrast.

    Returns:
        as images. What comes in over an edge is the picture reflected.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    seeds = tf.stack([tf.constant(seed, tf.int64), step])
    draws = tf.unstack(tf.random.stateless_uniform((6, batch), seed=seeds, minval=-1.0))

    angle = draws[0] * (rotation * math.pi / 180)
    across = (1 + zoom) ** draws[1]
    if mirror:
        across *= tf.sign(draws[2])
    down = (1 + zoom) ** draws[3]
    moves = draws[4] * shift * width, draws[5] * shift * height
    pixels = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),  # of whole numbers it would cut off the fractions
        transforms=_around_middle(angle, across, down, moves, height=height, width=width),
        output_shape=(height, width),
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )

    mean = tf.reduce_mean(pixels, axis=(1, 2), keepdims=True)
    # Each colour for itself, so that what is learnt does not hang on a hue.
    draws = tf.random.stateless_uniform((2, batch, 1, 1, images.shape[3]), seed=seeds + 1, minval=-1.0)
    gain, light = tf.unstack(1 + contrast * draws)
    lit = (pixels - mean) * gain + mean * light
    return tf.cast(tf.clip_by_value(tf.round(lit), 0, 255), tf.uint8)


def _around_middle(angle, across, down, moves, *, height: int, width: int) -> tf.Tensor:
    """Rows (batch, 8) that map places of the result to places of the picture, as the kernel wants them.

    A place relative to the middle is turned, then scaled along each axis, then moved.
    """
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    a, b = across * tf.cos(angle), -across * tf.sin(angle)
    c, d = down * tf.sin(angle), down * tf.cos(angle)
    x = middle_x + moves[0] - a * middle_x - b * middle_y
    y = middle_y + moves[1] - c * middle_x - d * middle_y
    nothing = tf.zeros_like(angle)
    return tf.stack([a, b, x, c, d, y, nothing, nothing], axis=1)
