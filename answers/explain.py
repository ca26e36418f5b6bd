"""Where a network looks: Grad-CAM heat maps of the third convolution.

Libraries for Grad-CAM and Keras 3 are missing or dormant, and the method is ten lines.
"""

import cv2
import numpy as np
from scipy.special import softmax

from answers.classifier import BATCH_SIZE, Classifier
from network.backend import keras, tf
from system.errors import UserError

_OPACITY = 0.45  # of a heat map over its image


def grad_cam(classifier: Classifier, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns how much each part of an image speaks for a class: float32 (count, rows, columns), 0..1.

    The maps have the resolution of the third convolution, 13×13 for images of 100×100, and a maximum of 1, or of 0 if
    nothing speaks for the class. They are averaged over the image and its mirror image if the network is.

    Args:
        classifier: a trained network.
        images: uint8 (count, height, width, color_channels).
        classes: int (count,), the index of the class in question for each image.

    Raises:
        UserError: `model.py` was edited, and something behind `activation_3` does not depend on it alone.

    Algorithm: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391), with the log-odds of the class as
    its score, since with the softmax loss a logit means something only relative to the others.
    """
    model = classifier.model
    third = model.get_layer("activation_3").output
    # Cut in two, so that no gradient of any weight is computed.
    try:
        parts = keras.Model(model.input, third), keras.Model(third, model.output)
    except ValueError:
        raise UserError("model.py: there is a way around activation_3, so there are no heat maps; remove it") from None
    batches = [slice(start, start + BATCH_SIZE) for start in range(0, len(images), BATCH_SIZE)]
    loss = classifier.model_config.loss
    return np.concatenate([_maps(parts, images[batch], classes[batch], loss) for batch in batches])


def _maps(parts: tuple[keras.Model, keras.Model], images: np.ndarray, classes: np.ndarray, loss: str) -> np.ndarray:
    convolutions, fully_connected = parts
    features = convolutions(tf.constant(images), training=False)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        logits = fully_connected(features, training=False)
    slopes = tf.cast(tape.gradient(logits, features, _slopes_of_log_odds(logits.numpy(), classes, loss)), tf.float32)
    weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=3)).numpy()
    if len(maps) == 2 * len(images):  # the second half belongs to the mirror images
        maps = (maps[: len(images)] + maps[len(images) :, :, ::-1]) / 2
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)


def _slopes_of_log_odds(logits: np.ndarray, classes: np.ndarray, loss: str) -> np.ndarray:
    """Returns the gradient of the log-odds of one class for each image: float32 (count, classes).

    With the softmax loss they are its logit minus the logarithm of the sum of the exponentials of the others, as in
    `calibration.log_odds`; the gradient of that logarithm is the softmax of the others.
    """
    is_class = np.arange(logits.shape[1]) == classes[:, None]
    if loss == "sigmoid":
        return is_class.astype(np.float32)
    return is_class - softmax(np.where(is_class, -np.inf, logits), axis=1)


def overlay(image: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Returns an image under its heat map, from blue (0) to red (1): uint8 (height, width, 3).

    Args:
        image: uint8 (height, width, 3 or 1).
        heat_map: float (rows, columns), 0..1.
    """
    height, width = image.shape[:2]
    smooth = cv2.resize(heat_map.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.clip(np.rint(smooth * 255), 0, 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(np.broadcast_to(image, heat.shape), 1 - _OPACITY, heat, _OPACITY, 0)
