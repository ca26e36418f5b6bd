"""Trains the network on the pictures of `rawdata/`. If you run it again, it continues where it stopped.

Ctrl-C saves and ends the run; `tensorboard --logdir checkpoints` shows it while it runs and afterwards.
"""

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from answers.classifier import Classifier, load_classifier
from answers.evaluation import evaluate, format_report
from config import MAX_CLASSES, TrainConfig
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import BEST, is_checkpoint_name
from network.device import configure_device, raises_memory_error
from network.model_config import ModelConfig, require_same
from pictures.manifest import TRAIN, VALIDATION, Picture, class_names
from pictures.split import fingerprint
from preprocessing import training_pictures
from system.command_line import run_script
from system.errors import EXIT_SUCCESS, UserError
from system.files import locked, remove_partial_files, write_atomically
from system.pool import close_idle_workers
from system.terminal import printable
from training.batches import (
    Samples,
    batch_indices,
    class_weights,
    epoch_steps,
    fits_in_memory,
    load,
    read_error,
    training_batches,
    validation_batches,
)
from training.callbacks import (
    EarlyStopping,
    FiniteStepCount,
    SaveCheckpoints,
    Throughput,
    TrainingStopped,
    WeightAveraging,
)
from training.checkpoints import CheckpointManager, History, best_epoch, is_saturated, latest_checkpoint
from training.optimizer import FusedAdam
from training.resources import require_resources
from training.tensorboard import TensorBoard

REPORT = "report.txt"
_MAX_CALIBRATION_IMAGES = 1000  # training images with which pictures are compared to call them unknown


@raises_memory_error()
def main(config: TrainConfig) -> int:
    folder = Path(config.model_save_name)
    with locked(folder):
        remove_partial_files(folder, is_ours=lambda name: is_checkpoint_name(name) or name == REPORT)
        return train(folder, config)


def train(folder: Path, config: TrainConfig) -> int:
    """Runs a training, from the pictures to the report, with its checkpoints in `folder`; returns the exit code."""
    pictures = training_pictures(config)
    close_idle_workers()
    training = [picture for picture in pictures if picture.split == TRAIN]
    validating = [picture for picture in pictures if picture.split == VALIDATION]
    print(f"device: {configure_device(config.precision)}")
    model_config = ModelConfig.of_run(config, class_names=class_names(pictures), pictures=fingerprint(pictures))
    with tf.Graph().as_default():  # where a network takes no memory
        require_resources(generate_model(model_config), config, count=len(pictures))
    train_samples, validation_samples = load_samples(training, validating, config)

    if latest := latest_checkpoint(folder):
        require_same(folder, latest.model_config, model_config)
    keras.utils.set_random_seed(config.seed)
    model = generate_model(model_config)
    model.summary()
    compile_model(model, config, count=len(training))
    checkpoints = CheckpointManager(folder, model, model_config, max_to_keep=config.max_to_keep)
    if latest:
        checkpoints.restore(latest)
        model.optimizer.learning_rate = config.learning_rate
        print(f"continuing after epoch {len(checkpoints.history)}, step {checkpoints.step}")
    else:
        checkpoints.save()  # so that a full disk is noticed at once, and a lost checkpoint later

    advice = how_to_train_longer(checkpoints.history, config)
    try:
        fit(model, train_samples, validation_samples, checkpoints, config)
    except TrainingStopped as stop:
        if checkpoints.history:
            calibrate(training, train_samples, validation_samples, config)
        print(f"\nstopped and saved after step {checkpoints.step}; run the same command to continue")
        return 128 + stop.signal_number
    classifier = calibrate(training, train_samples, validation_samples, config)
    report(classifier, checkpoints.history, validating, validation_samples, config, count=len(training))
    if advice:
        print(f"this run is finished: train longer with {advice}, or start a new one with another --model_save_name")
    return EXIT_SUCCESS


def load_samples(
    training: Sequence[Picture], validating: Sequence[Picture], config: TrainConfig
) -> tuple[Samples, Samples]:
    """Returns the images to train on and to validate with, and prints how many there are.

    Raises:
        UserError: there are too many classes, or a picture cannot be read.
    """
    names = class_names(training)
    if len(names) > MAX_CLASSES:
        raise UserError(f"{len(names)} classes; at most {MAX_CLASSES:,} are possible: remove or merge some")
    in_memory = fits_in_memory(len(training) + len(validating), config)
    train_samples, validation_samples = (load(part, config, in_memory=in_memory) for part in (training, validating))
    print(f"classes: {', '.join(map(printable, names))}")
    print(f"training on {len(training)} pictures, validating on {len(validating)}")
    if not in_memory:
        data = printable(config.data_path)
        print(f"they need more than {config.memory_gib:g} GiB, so each is read from {data}/ when it is used")
    return train_samples, validation_samples


def compile_model(model: keras.Model, config: TrainConfig, *, count: int) -> None:
    """Compiles the model with Adam and the loss of the config: softmax or sigmoid cross-entropy on the logits.

    `count` is the number of training images.
    """
    softmax = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = softmax if config.loss == "softmax" else sigmoid_cross_entropy
    _, steps_per_execution = epoch_steps(count, config.batch_size)
    model.compile(
        optimizer=FusedAdam(config.learning_rate, name="adam"),
        loss=loss,
        metrics=[FiniteStepCount(loss)],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=steps_per_execution,
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,  # XLA is half as fast on a CPU
    )
    model.optimizer.build(model.trainable_variables)
    # Keras creates the sums of a metric with the first batch; a resumed epoch needs them earlier.
    model.compute_metrics(None, tf.zeros(1, tf.int32), tf.zeros((1, *model.output_shape[1:])))
    model.reset_metrics()


def sigmoid_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the loss of judging each class independently, summed over the classes: float32 (batch,)."""
    truth = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), tf.shape(logits)[1])
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits), axis=1)


def fit(
    model: keras.Model, train: Samples, validation: Samples, checkpoints: CheckpointManager, config: TrainConfig
) -> None:
    """Trains from the state of the checkpoints to the end, which `epochs` or `patience` sets.

    Raises:
        TrainingStopped: by a signal; the run is saved.
        UserError: a picture cannot be read, or the loss is no longer finite.
    """
    history = checkpoints.history
    count = len(train.labels)
    steps_per_epoch, steps_per_execution = epoch_steps(count, config.batch_size)

    def files_of_step(step: int) -> list[str]:
        step += len(history) * steps_per_epoch
        indices = batch_indices(step, count=count, batch_size=config.batch_size, seed=config.seed)
        return [printable(train.paths[index]) for index in indices]

    averaging = WeightAveraging(
        checkpoints.average, steps_per_execution=steps_per_execution, enabled=config.average_weights
    )
    saving = SaveCheckpoints(checkpoints, save_seconds=config.save_seconds, files_of_step=files_of_step)
    tensorboard = TensorBoard(Path(config.model_save_name), history)
    # TensorBoard's data comes before the checkpoint, from which it is written again when a run is resumed.
    callbacks = [
        Throughput(config.batch_size),
        averaging,
        tensorboard,
        saving,
        EarlyStopping(history, patience=config.patience),
    ]
    weights, validation_weights = (
        class_weights(samples.labels, balance=config.balance_classes) for samples in (train, validation)
    )
    tensorboard.set_model(model)
    tensorboard.on_train_begin()  # also for a finished run, whose last metrics a full disk may have lost
    try:
        with signals_to(saving):
            while len(history) < config.epochs and not is_saturated(history, config.patience):
                done_steps = checkpoints.step - len(history) * steps_per_epoch
                model.fit(
                    training_batches(train, config, first_step=checkpoints.step),
                    steps_per_epoch=steps_per_epoch - done_steps,
                    initial_epoch=len(history),
                    epochs=len(history) + 1 if done_steps else config.epochs,  # first the rest of an epoch
                    validation_data=validation_batches(validation, validation_weights),
                    class_weight=weights,
                    callbacks=callbacks,
                    shuffle=False,  # the data set has its own order
                    verbose=1 if sys.stdout.isatty() else 2,
                )
    except tf.errors.OpError as error:
        raise read_error(train, validation) or error from None
    finally:
        tensorboard.close()
    checkpoints.save()


@contextlib.contextmanager
def signals_to(saving: SaveCheckpoints) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the callback to save and stop; the second acts at once, as usual."""

    def handle(number: int, _frame: object) -> None:
        saving.stop_signal = number
        signal.signal(number, previous[number])

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def calibrate(training: Sequence[Picture], train: Samples, validation: Samples, config: TrainConfig) -> Classifier:
    """Returns the network of the best epoch, calibrated, after saving it with its calibration."""
    folder = Path(config.model_save_name)
    classifier = load_classifier(folder)
    # Copies are less typical than their sources; but there may be nothing else.
    originals = [index for index, picture in enumerate(training) if not picture.is_copy] or range(len(training))
    chosen = np.linspace(0, len(originals) - 1, min(len(originals), _MAX_CALIBRATION_IMAGES)).astype(int)
    classifier.calibrate(
        training=train.images[np.array(originals)[chosen]],
        validation=validation.images,
        labels=validation.labels,
        unknown_rate=config.unknown_rate,
    )
    classifier.save(folder)
    return classifier


def report(
    classifier: Classifier,
    history: History,
    pictures: Sequence[Picture],
    validation: Samples,
    config: TrainConfig,
    *,
    count: int,
) -> None:
    """Prints how accurate the trained network is and what to do with it; also writes it beside the checkpoints.

    `count` is the number of training images, `pictures` are those of the validation.
    """
    result = evaluate(
        classifier.predict(validation.images),
        labels=validation.labels,
        paths=[picture.path for picture in pictures],
        class_names=class_names(pictures),
    )
    epoch = classifier.step // epoch_steps(count, config.batch_size)[0]  # the best one, unless its weights were lost
    text = (
        f"on the {len(pictures)} validation pictures, after epoch {epoch}:\n\n{format_report(result)}\n\n"
        "The best epoch and the scores were chosen with these pictures, so expect slightly less accuracy on new ones.\n"
    )
    if config.unknown_rate and np.isinf(classifier.calibration.max_distance):
        text += "They are too few to recognize unknown pictures, so no picture will be called unknown.\n"
    write_atomically(Path(config.model_save_name, REPORT), text.encode())
    print(f"\n{text}")
    best = best_epoch(history)
    lost = "" if epoch == best + 1 else f"; its weights are lost, and those of epoch {epoch} were kept"
    folder = shlex.quote(config.model_save_name)
    option = "" if config.model_save_name == TrainConfig.model_save_name else f" --model_save_name {folder}"
    print(
        f"best validation accuracy {history[best]['val_accuracy']:.4f} (cost {history[best]['val_loss']:.4f}), "
        f"after epoch {best + 1} of {len(history)}{lost}\n"
        f"checkpoint:      {printable(Path(config.model_save_name, BEST))}\n"
        f"this report:     {printable(Path(config.model_save_name, REPORT))}\n"
        f"predict:         python predict.py{option} picture.jpg\n"
        f"show the run:    tensorboard --logdir {folder}"
    )


def how_to_train_longer(history: History, config: TrainConfig) -> str:
    """Returns the settings with which a finished run would continue, or "" for a run that is not finished."""
    settings = [f"--patience {2 * config.patience}"] if is_saturated(history, config.patience) else []
    settings += [f"--epochs {len(history) + config.epochs}"] if len(history) >= config.epochs else []
    return " ".join(settings)


if __name__ == "__main__":
    run_script(main, TrainConfig, __doc__)
