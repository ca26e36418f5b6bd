"""The model of a run with several replicas, for Keras's `fit`."""

from collections.abc import Callable

from network.backend import keras, tf
from network.layers import ByteDropout


class ReplicatedModel(keras.Model):
    """A model of several replicas, which `fit` trains. Each has its part of a batch and the same weights.

    Loss and gradients are those of the whole batch. Keras's own steps divide by the size of each part, and cannot be
    run by several workers (https://github.com/keras-team/keras/issues/20585).
    """

    def prepare(self, *, batch_size: int, losses: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> None:
        """Sets the size of the whole batch, and the function that returns the loss of each image."""
        self._batch_size = batch_size
        self._replicas = self.distribute_strategy.num_replicas_in_sync
        self._loss_per_image = losses
        for layer in self.layers:
            if isinstance(layer, ByteDropout):
                layer.batch_size = batch_size

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing, since everything is built by `compile_model`."""

    def train_step(self, data):
        images, labels, weights = data
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            losses = self._loss_per_image(labels, logits) * weights
            regularization = self._regularization()
            loss = tf.reduce_sum(losses) / self._batch_size + regularization / self._replicas
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self._update_metrics(data, logits, losses + regularization)

    def test_step(self, data):
        images, labels, weights = data
        logits = self(images, training=False)
        losses = self._loss_per_image(labels, logits) * weights
        self._update_metrics(data, logits, losses + self._regularization())

    def _regularization(self):
        """Returns the sum of the losses that layers add, which do not depend on the batch."""
        return tf.add_n(self.losses) if self.losses else 0.0

    def _update_metrics(self, data, logits, losses):
        images, labels, weights = data
        self._loss_tracker.update_state(losses)
        self.compute_metrics(images, labels, logits, weights)

    def make_train_function(self, force=False):
        def run_steps(iterator):
            for _ in tf.range(self.steps_per_execution):
                self.distribute_strategy.run(self.train_step, args=(next(iterator),))
            return self.get_metrics_result()

        self.train_function = self.train_function or tf.function(run_steps)

    def evaluate(self, *args, steps=None, **options):
        self._steps_left = steps
        return super().evaluate(*args, steps=steps, **options)

    def make_test_function(self, force=False):
        @tf.function
        def run_steps(iterator, count):
            for _ in tf.range(count):
                self.distribute_strategy.run(self.test_step, args=(next(iterator),))
            return self.get_metrics_result()

        def run(iterator):
            count = min(self.steps_per_execution, self._steps_left)  # the last execution may be shorter
            self._steps_left -= count
            return run_steps(iterator, tf.constant(count))

        self.test_function = self.test_function or run
