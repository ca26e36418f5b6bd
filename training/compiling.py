"""Preparing a network for its training: the optimizer, the loss, the metrics."""

from config import TrainConfig
from network.backend import keras, tf
from training.batches import epoch_steps
from training.distribution import Distribution
from training.metrics import ClassRecall, FiniteStepCount
from training.optimizer import FusedAdam
from training.replicated_model import ReplicatedModel


def compile_model(
    model: keras.Model, config: TrainConfig, distribution: Distribution | None = None, *, count: int
) -> keras.Model:
    """Returns the model, compiled with Adam and the loss of the config: softmax or sigmoid cross-entropy on the logits.

    For several replicas it is a `ReplicatedModel` with the same layers. `count` is the number of training images.
    """
    distribution = distribution or Distribution()
    softmax = keras.losses.CategoricalCrossentropy(from_logits=True)
    loss = softmax if config.loss == "softmax" else sigmoid_cross_entropy
    _, steps_per_execution = epoch_steps(count, config.batch_size)
    with distribution.scope():
        if distribution.replicas > 1:
            model = ReplicatedModel(model.input, model.output, name=model.name)
            losses = softmax.call if config.loss == "softmax" else sigmoid_cross_entropy
            model.prepare(batch_size=config.batch_size, losses=losses)
        model.compile(
            optimizer=FusedAdam(config.learning_rate, name="adam"),
            loss=loss,
            metrics=[
                FiniteStepCount(loss, replicas=distribution.replicas),
                ClassRecall(model.output_shape[1]),
            ],
            weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy", dtype="float64")],
            steps_per_execution=steps_per_execution,
            jit_compile=False,  # XLA is half as fast on a CPU, and compiles for minutes on a GPU
        )
        model.optimizer.build(model.trainable_variables)
        # Keras creates the sums of a metric with the first batch; a resumed epoch needs them earlier.
        model.compute_metrics(None, *tf.zeros((2, 1, *model.output_shape[1:])))
        model.reset_metrics()
    return model


def sigmoid_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the loss of judging each class independently, summed over the classes: float32 (batch,)."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=1)
