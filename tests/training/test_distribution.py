"""Several replicas train like one. They are in a process of their own, in which the CPU is three devices."""

import json
import subprocess
import sys

import numpy as np
import pytest

from config import TrainConfig
from network.backend import tf
from system.cluster import Cluster, Workers
from system.errors import UserError
from tests.helpers.processes import with_modules
from training.distribution import Distribution, distribute, raises_worker_lost

# Trains the same network with one and with three replicas. Batches of 10 and 601 validation images: the parts differ,
# and there are several steps in each. A layer has a regularizer, as a network that was edited may have.
# (TensorFlow cannot have groups of two and of three replicas in one process.)
TRAIN = """
import json, sys
import numpy as np
from config import TrainConfig
from network.backend import keras, tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3
)
from model import generate_model
from network.device import trainable_devices
from network.model_config import ModelConfig
from training.batches import Samples, epoch_steps, training_batches, validation_batches, validation_steps
from training.compiling import compile_model
from training.distribution import Distribution

devices = trainable_devices()
assert devices == ["CPU:0", "CPU:1", "CPU:2"], devices
changes = json.loads(sys.argv[1])
config = TrainConfig(height=16, width=16, batch_size=10, precision="float32", mixup=0.5, **changes)
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 200, (681, 16, 16, 3), np.uint8), np.arange(681, dtype=np.int32) % 3 % 2
images[labels == 1] += 40
train, validation = Samples(images[:80], labels[:80]), Samples(images[80:], labels[80:])
for count in (1, 3):
    strategy = tf.distribute.MirroredStrategy(devices[:count]) if count > 1 else None
    distribution = Distribution(strategy)
    keras.utils.set_random_seed(1)
    with distribution.scope():
        model = generate_model(ModelConfig.of_run(config, class_names=["ant", "bee"], pictures=""))
        model.get_layer("fully_connected_1").kernel_regularizer = keras.regularizers.L2(0.1)
    model = compile_model(model, config, distribution, count=80)
    history = model.fit(
        training_batches(train, config, distribution, first_step=0),
        steps_per_epoch=epoch_steps(80, 10)[0],
        epochs=3,
        validation_data=validation_batches(validation, distribution, balance=True),
        validation_steps=validation_steps(validation, distribution),
        shuffle=False,
        verbose=0,
    ).history
    sums = distribution.read_replicas(model.metrics_variables)
    model.reset_metrics()
    distribution.write_replicas(model.metrics_variables, sums)
    again = distribution.read_replicas(model.metrics_variables)
    model.reset_metrics()
    distribution.write_replicas(model.metrics_variables, np.concatenate([sums, sums]))
    folded = distribution.read_replicas(model.metrics_variables)
    found = {
        "replicas": distribution.replicas,
        "history": {name: [float(value) for value in values] for name, values in history.items()},
        "weights": [np.asarray(weight).ravel()[:50].tolist() for weight in model.weights],
        "equal": all(
            np.array_equal(parts[0], part)
            for parts in (strategy.experimental_local_results(weight.value) for weight in model.weights)
            for part in parts
        )
        if strategy
        else True,
        "sums": [sums.tolist(), again.tolist(), folded.tolist()],
    }
    print(json.dumps(found), flush=True)
"""


def train(**changes) -> list[dict]:
    """Returns what a training with one replica gives, and with three."""
    command = [sys.executable, "-c", TRAIN, json.dumps(changes)]
    result = subprocess.run(command, env=with_modules(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def runs() -> list[dict]:
    return train(batch_normalization=False)


def test_replicas_train_like_one_but_for_rounding(runs):
    one, three = runs
    assert [run["replicas"] for run in runs] == [1, 3]
    assert three["equal"]
    assert one["history"]["finite_steps"] == [8.0, 8.0, 8.0]
    assert len(set(one["history"]["loss"])) == 3
    assert three["history"].keys() == one["history"].keys()
    assert three["history"]["val_finite_steps"] == [4.0, 4.0, 4.0]
    del one["history"]["val_finite_steps"]  # each step validates with three times as many images
    for name, values in one["history"].items():
        np.testing.assert_allclose(three["history"][name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    for found, expected in zip(three["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_metric_sums_of_replicas_are_read_and_written_again(runs):
    for run in runs:
        sums, again, _ = map(np.array, run["sums"])
        assert len(sums) == run["replicas"]
        np.testing.assert_array_equal(again, sums)
        assert sums.sum(axis=0)[1] == 601  # validation images


def test_metric_sums_of_another_number_of_replicas_are_added_up(runs):
    for run in runs:
        sums, _, folded = map(np.array, run["sums"])
        np.testing.assert_allclose(folded[0], 2 * sums.sum(axis=0), rtol=1e-6)
        assert not folded[1:].any()


def test_replicas_with_batch_normalization_have_equal_moving_averages():
    """Each normalizes its own part of a batch, so the metrics differ a little; what they learn is alike."""
    one, three = train(batch_normalization=True, learning_rate=0.0001)
    assert three["equal"]
    assert three["history"]["loss"][-1] == pytest.approx(one["history"]["loss"][-1], abs=0.2)
    assert three["history"]["finite_steps"] == [8.0, 8.0, 8.0]


def test_distribution_is_a_single_replica_by_default():
    distribution = Distribution()
    assert (distribution.replicas, distribution.is_chief) == (1, True)
    assert not tf.distribute.has_strategy()


def test_distribute_names_the_device_and_has_one_replica_without_a_gpu():
    distribution = distribute(TrainConfig(precision="float32"), Workers())
    assert distribution.replicas == 1
    assert distribution.device.startswith("CPU, ")


def test_distribute_refuses_more_devices_than_there_are():
    with pytest.raises(UserError, match="^--devices 64: TensorFlow finds .* GPUs? on this machine; use fewer, or 0"):
        distribute(TrainConfig(devices=64), Workers())


def test_distribute_refuses_batches_with_fewer_pictures_than_replicas(monkeypatch):
    monkeypatch.setattr("training.distribution.trainable_devices", lambda: [f"CPU:{index}" for index in range(11)])
    with pytest.raises(UserError) as error:
        distribute(TrainConfig(batch_size=10), Workers())
    assert str(error.value) == (
        "--batch_size 10: there are 11 devices, and each needs a picture; use --batch_size 11 or more"
    )


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Collective ops is aborted by: Error reported from /job:worker/task:2: unhealthy", "worker 2 (c:3)"),
        ("Collective ops is aborted by: remote target /job:worker/replica:0/task:0 while …", "the chief (a:1)"),
        ("Collective ops is aborted by: /job:worker/task:1 has lost /job:worker/task:0", "the chief (a:1)"),
        ("Collective ops is aborted by: cancelled", "another worker"),
    ],
)
def test_a_lost_worker_is_named_in_one_line(message, name):
    workers = Workers(Cluster(["a:1", "b:2", "c:3"], 1), [])
    with pytest.raises(UserError) as error, raises_worker_lost(workers):
        raise tf.errors.UnavailableError(None, None, message)
    assert str(error.value).startswith(f"{name} has ended or cannot be reached; its own output says why; ")


def test_other_errors_of_tensorflow_are_not_taken_for_a_lost_worker():
    workers = Workers(Cluster(["a:1", "b:2"], 1), [])
    for count, message in ((workers, "no such op"), (Workers(), "Collective ops is aborted")):
        with pytest.raises(tf.errors.UnavailableError), raises_worker_lost(count):
            raise tf.errors.UnavailableError(None, None, message)
