"""The outputs of a network, computed from its logits and features: scores, and the distance for unknown pictures."""

import numpy as np

from answers.calibration import MIN_LENGTH, Calibration
from network.backend import tf

_NEIGHBORS = 5  # the similarity of the last of them counts, so that no single odd training picture does
NEVER = -3e38  # a logit that no class has, since its exponential is 0


def outputs(
    logits: tf.Tensor, features: tf.Tensor, *, loss: str, calibration: Calibration | None
) -> dict[str, tf.Tensor]:
    """Returns the three outputs by name: raw (the logits), scores and distance.

    Args:
        logits: float32 (batch, classes).
        features: float32 (batch, features).
        loss: softmax or sigmoid.
        calibration: fitted, or None: then the scores are those of the network alone, and the distances are 0.
    """
    odds = log_odds(logits, loss=loss)
    if calibration is None:
        return {"raw": logits, "scores": tf.sigmoid(odds), "distance": tf.zeros_like(features[:, 0])}
    scores = tf.sigmoid(calibration.slope * odds + calibration.intercept)
    return {"raw": logits, "scores": scores, "distance": distances(features, calibration)}


def log_odds(logits: tf.Tensor, *, loss: str) -> tf.Tensor:
    """Returns the logarithm of the odds of each class, according to the network alone: float32 (batch, classes).

    With the softmax loss, a logit means something only relative to the others: the odds of a class are its exponential
    over the sum of the other exponentials. With the sigmoid loss, it is the logarithm of the odds already.
    """
    if loss == "sigmoid":
        return logits
    highest = tf.argmax(logits, axis=1, output_type=tf.int32)[:, None] == tf.range(tf.shape(logits)[1])
    maximum = tf.reduce_max(logits, axis=1, keepdims=True)
    shifted = tf.exp(logits - maximum)
    others = maximum + tf.math.log(tf.where(highest, 1.0, tf.reduce_sum(shifted, axis=1, keepdims=True) - shifted))
    # For the highest logit, the sum of the others may be tiny and would be lost in the subtraction.
    without_highest = tf.where(highest, NEVER, logits)
    second = tf.reduce_max(without_highest, axis=1, keepdims=True)
    sum_of_others = tf.reduce_sum(tf.exp(without_highest - second), axis=1, keepdims=True)
    return logits - tf.where(highest, second + tf.math.log(sum_of_others), others)


def distances(features: tf.Tensor, calibration: Calibration) -> tf.Tensor:
    """Returns how unlike the training pictures each picture is: float32 (batch,), 0..2.

    It is 1 minus the cosine between its features and those of the fifth most similar training picture. Lengths do not
    count. From Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors"
    (https://arxiv.org/abs/2204.06507), where the distance of the normalized features orders the pictures in the same
    way. What else was tried: benchmarks/README.md.
    """
    lengths = tf.sqrt(tf.reduce_sum(tf.square(features), axis=1, keepdims=True))
    cosines = tf.matmul(features / tf.maximum(lengths, MIN_LENGTH), calibration.references, transpose_b=True)
    nearest = tf.math.top_k(cosines, min(_NEIGHBORS, len(calibration.references))).values
    return 1 - nearest[:, -1]
