"""Several devices and several workers that train one network together, with tf.distribute.

The network is copied to each device of each worker: these are the *replicas*. In a training step each of them has a
part of the batch; then they exchange their gradients, and all weights stay equal.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from config import TrainConfig
from network.backend import keras, tf
from network.device import configure_device, trainable_devices
from network.model_config import VERSION, remembered_settings
from system.cluster import Workers
from system.errors import UserError
from system.terminal import printable
from system.versions import versions
from system.watchdog import killed_after

_CONNECT_SECONDS = 120  # in which TensorFlow connects workers that were all there a moment ago
_LOST_WORKER = re.compile(r"/task:(\d+)")  # in TensorFlow's messages


class Distribution:
    """The replicas of a run. By default there is one, and nothing is different from a run without tf.distribute.

    Every worker runs the same program. What exchanges values must be called by all of them, in the same order.

    Attributes:
        strategy: that of tf.distribute.
        workers: the connections to the other workers.
        device: what this worker computes on, and in which precision, to be shown to the user.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, workers: Workers | None = None, device: str = ""
    ) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.workers = workers or Workers()
        self.device = device

    @property
    def replicas(self) -> int:
        """The number of copies of the network, on all devices of all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that saves and reports."""
        return self.workers.is_chief

    def scope(self) -> AbstractContextManager:
        """Returns the context in which the network, its optimizer and its metrics have to be built."""
        return self.strategy.scope()

    def dataset(self, make: Callable[[Sequence[int]], tf.data.Dataset]) -> tf.data.Dataset:
        """Returns a data set for `fit`, from which each replica takes its own batches.

        Args:
            make: returns the batches for some replicas, whose numbers it is given: in turn one for each of them.
        """
        if self.replicas == 1:
            return make([0])
        local = self.replicas // self.workers.count
        first = self.workers.index * local
        return self.strategy.distribute_datasets_from_function(lambda _: make(range(first, first + local)))

    def read_replicas(self, variables: Sequence[keras.Variable]) -> np.ndarray:
        """Returns the values that the variables of a metric have in each replica: float64 (replicas, n).

        Exchanges values.
        """
        rows = [np.concatenate([np.ravel(part) for part in parts]) for parts in self._replicas_of(variables)]
        return np.frombuffer(b"".join(self.workers.all_gather(np.float64(rows).tobytes()))).reshape(self.replicas, -1)

    def write_replicas(self, variables: Sequence[keras.Variable], values: np.ndarray) -> None:
        """Assigns what `read_replicas` returned. If the number of replicas has changed, the first one has the sum."""
        if len(values) != self.replicas:
            values = np.concatenate([values.sum(axis=0, keepdims=True), np.zeros((self.replicas - 1, values.shape[1]))])
        local = self._replicas_of(variables)
        for parts, row in zip(local, values[self.workers.index * len(local) :], strict=False):
            ends = np.cumsum([math.prod(part.shape) for part in parts])
            for part, value in zip(parts, np.split(row, ends[:-1]), strict=True):
                part.assign(value.reshape(part.shape))

    def _replicas_of(self, variables: Sequence[keras.Variable]) -> list[tuple[tf.Variable, ...]]:
        """Returns the parts of variables that each replica of this worker has."""
        parts = [self.strategy.experimental_local_results(variable.value) for variable in variables]
        return list(zip(*parts, strict=True))


def distribute(config: TrainConfig, workers: Workers) -> Distribution:
    """Returns the distribution of a run, over all devices of all workers. Call it before anything is computed.

    Raises:
        UserError: a batch has fewer pictures than there are replicas.
    """
    device = configure_device(config.precision, config.devices)
    devices = trainable_devices()
    workers.require_equal(
        {
            **{f"--{name}": value for name, value in remembered_settings(config).items()},
            "--precision": keras.config.dtype_policy().name,
            "--learning_curve": config.learning_curve,
            "number of devices": len(devices),
            "version of the toolkit's files": VERSION,
            **{f"version of {name}": version for name, version in versions().items()},
        }
    )
    replicas = len(devices) * workers.count
    if config.batch_size < replicas:
        raise UserError(
            f"--batch_size {config.batch_size}: there are {replicas} devices, and each needs a picture; use "
            f"--batch_size {replicas} or more"
        )
    if workers.count > 1:
        strategy = _strategy_of_workers(workers, gpus=sum(name.startswith("GPU") for name in devices))
    else:
        strategy = tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else None
    return Distribution(strategy, workers, device)


def _strategy_of_workers(workers: Workers, *, gpus: int) -> tf.distribute.Strategy:
    """Returns the strategy that connects TensorFlow's servers of all workers, each with some GPUs."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(workers.cluster.addresses)}),
        task_type="worker",
        task_id=workers.index,
        num_accelerators={"GPU": gpus},
    )
    implementation = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementation.NCCL if gpus else implementation.RING
    )
    # TensorFlow waits forever for a worker that has ended a moment ago, and nothing else in this process can run.
    line = f"another worker has ended while all were being connected, {_CONNECT_SECONDS} seconds ago"
    with killed_after(_CONNECT_SECONDS, f"trainer.py: {line}; run the same commands again"):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)
        except tf.errors.UnknownError as error:
            if "gRPC server" not in error.message:
                raise
            address = workers.cluster.addresses[workers.index]
            raise UserError(f"{printable(address)}: another program uses this port; choose another one") from None


@contextmanager
def raises_worker_lost(workers: Workers) -> Iterator[None]:
    """Turns TensorFlow's error about a worker that cannot be reached into one line."""
    try:
        yield
    except tf.errors.OpError as error:
        if workers.count == 1 or "ollective" not in error.message:
            raise
        numbers = [int(number) for number in _LOST_WORKER.findall(error.message)]
        raise workers.lost(next((number for number in numbers if number != workers.index), None)) from None
