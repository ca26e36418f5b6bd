"""Metrics of our own, beside those of Keras."""

from collections.abc import Callable

from network.backend import keras, tf


class FiniteStepCount(keras.metrics.Metric):
    """The number of steps in an epoch before the first one whose loss is not finite.

    The graph runs many steps before it returns to Python, which could not know otherwise which step failed.
    """

    def __init__(self, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], *, replicas: int = 1) -> None:
        super().__init__(name="finite_steps")
        self._loss = loss
        self._share = 1.0 / replicas  # of a step, which each replica counts by itself; all values are added up
        self._steps = self.add_weight(name="steps", initializer="zeros")
        self._finite = self.add_weight(name="finite", initializer="zeros")

    def update_state(self, labels, logits, sample_weight=None):
        finite = tf.reduce_all(tf.math.is_finite(self._loss(labels, logits)))
        self._finite.assign_add(self._share * tf.cast(finite & (self._steps == self._finite), tf.float32))
        self._steps.assign_add(self._share)

    def result(self):
        # In the step after the first loss that is not finite, no other is finite either.
        return tf.floor(tf.convert_to_tensor(self._finite) + self._share / 2)


class ClassRecall(keras.metrics.Metric):
    """The recall of the classes, each the fraction of its pictures that are predicted correctly: mean, worst and best.

    Classes without pictures do not count. Keras's Recall has no such summary, and one of it would be needed per class.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="recall")
        self._correct = self.add_weight(name="correct", shape=(classes,), initializer="zeros")
        self._count = self.add_weight(name="count", shape=(classes,), initializer="zeros")

    def update_state(self, labels, logits, sample_weight=None):
        labels = tf.argmax(labels, axis=1)  # of a mixed picture, the one with the larger share
        correct = tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32)
        truth = tf.one_hot(labels, logits.shape[1])
        self._correct.assign_add(tf.linalg.matvec(truth, correct, transpose_a=True))
        self._count.assign_add(tf.reduce_sum(truth, axis=0))

    def result(self):
        recall = tf.math.divide_no_nan(tf.convert_to_tensor(self._correct), self._count)
        exists = self._count > 0
        return {
            "recall_mean": tf.math.divide_no_nan(
                tf.reduce_sum(recall), tf.math.count_nonzero(exists, dtype=tf.float32)
            ),
            "recall_worst": tf.reduce_min(tf.where(exists, recall, 1.0)),
            "recall_best": tf.reduce_max(recall),
        }
