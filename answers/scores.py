"""The outputs of a network, computed from its logits and features: scores, and the distance for unknown pictures."""

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
    """Returns how unlike the training pictures each picture is: float32 (batch,), 0 or more.

    It is the larger one of two measures, each of which is 0 for an average picture or one that is even more like them,
    and 1 for the most unlike tenth of ordinary pictures. Either recognizes pictures that the other one does not
    (benchmarks/experiments.md).
    """
    scaled = (measures(features, calibration) - calibration.centers) / calibration.spreads
    return tf.maximum(tf.reduce_max(scaled, axis=1), 0.0)


def measures(features: tf.Tensor, calibration: Calibration) -> tf.Tensor:
    """Returns two measures of how unlike the training pictures each picture is: float32 (batch, 2), 0 or more.

    The first is the Mahalanobis distance of the statistics from the mean of the training pictures, an idea of Lee et
    al. 2018 (https://arxiv.org/abs/1807.03888). Statistics are never negative; their square roots are closer to a
    normal distribution. The second is 1 minus the cosine between the other features and those of the fifth most similar
    training picture (Sun et al. 2022, https://arxiv.org/abs/2204.06507).
    """
    statistics, others = tf.split(features, [len(calibration.mean), calibration.references.shape[1]], axis=1)
    whitened = (tf.sqrt(statistics) - calibration.mean) @ calibration.whitening
    distance = tf.sqrt(tf.reduce_sum(tf.square(whitened), axis=1))
    lengths = tf.sqrt(tf.reduce_sum(tf.square(others), axis=1, keepdims=True))
    cosines = tf.matmul(others / tf.maximum(lengths, MIN_LENGTH), calibration.references, transpose_b=True)
    nearest = tf.math.top_k(cosines, min(_NEIGHBORS, len(calibration.references))).values
    return tf.stack([distance, 1 - nearest[:, -1]], axis=1)
