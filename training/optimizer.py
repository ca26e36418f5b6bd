"""Adam with one fused kernel for the update."""

from network.backend import keras, tf


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with the same arithmetic, in one pass over each variable instead of ten.

    In each step Adam moves about 28 bytes per weight, so with 11 million weights the passes over memory determine the
    time. Algorithm: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, in the form that precedes its section 2.1.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates a variable (a tf.Variable, as Keras passes it) and its two moments in place."""
        index = self._get_variable_index(variable)

        def scalar(value):
            return tf.cast(value, variable.dtype)

        step = scalar(self.iterations.value + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(scalar(self.beta_1), step),
            beta2_power=tf.pow(scalar(self.beta_2), step),
            lr=scalar(learning_rate),
            beta1=scalar(self.beta_1),
            beta2=scalar(self.beta_2),
            epsilon=scalar(self.epsilon),
            grad=scalar(gradient),
        )
