"""Trains the network on the pictures of `rawdata/`, and goes on where it was when it is run again.

Ctrl-C saves and ends; `tensorboard --logdir checkpoints` shows the run while it lasts and afterwards.
"""

import contextlib
import hashlib
import json
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from files import locked, printable, quiet_import, remove_leftovers, write_atomically

with quiet_import():
    import keras
    import tensorflow as tf

import numpy as np

import config as settings
import workers
from callbacks import Averaging, FiniteSteps, Keeper, Saturation, Stopped, Vocabulary
from checkpoint import BEST, Checkpoints, best_epoch, is_ours, load_best, newest_run, save_calibration
from classifier import Classifier
from config import TrainConfig, UserError
from dataset import (
    Samples,
    class_names,
    class_weights,
    epoch_steps,
    failure_of,
    fits_in_memory,
    load,
    places_of,
    training_batches,
    validation_batches,
)
from description import Description, refuse_others
from device import set_up
from evaluation import as_text, evaluate
from manifest import TRAIN, VALIDATION, Picture
from optimizer import FusedAdam
from preprocessing import prepare
from summaries import Summaries

REPORT = "report.txt"
_USUAL = 1000  # training pictures, at most, that tell what is usual


def compile_model(model: keras.Model, config: TrainConfig, *, steps_per_execution: int) -> None:
    """The original's cost, the mean softmax cross-entropy on the logits, or that of each class by itself; and Adam."""
    softmax = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    cost = softmax if config.loss == "softmax" else sigmoid_cross_entropy
    model.compile(
        optimizer=FusedAdam(config.learning_rate),
        loss=cost,
        metrics=[FiniteSteps(cost)],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=steps_per_execution,
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,  # it halves the speed of a CPU
    )
    model.optimizer.build(model.trainable_variables)
    # Keras makes the sums of a metric with its first batch; a resumed epoch needs them before.
    model.compute_metrics(None, tf.zeros(1, tf.int32), tf.zeros((1, *model.output_shape[1:])))
    model.reset_metrics()


def sigmoid_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The cost of judging each class by itself, summed over the classes: float32 (batch,)."""
    truth = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), tf.shape(logits)[1])
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits), axis=1)


def fingerprint(pictures: Sequence[Picture]) -> str:
    """Tells whether a run would go on with the very pictures that it began with."""
    known = [(picture.file, picture.class_name, picture.split, picture.sha256) for picture in pictures]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


@contextlib.contextmanager
def signals_to(keeper: Keeper) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the keeper to save and stop; the second acts at once, as it always does."""

    def ask(number: int, _frame: object) -> None:
        keeper.stop_signal = number
        signal.signal(number, former[number])

    former = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def fit(model: keras.Model, train: Samples, validation: Samples, checkpoints: Checkpoints, config: TrainConfig) -> None:
    """Trains from where the checkpoints stand to the end, which `epochs` or `patience` sets.

    Raises:
        Stopped: by a signal; the run is saved.
    """
    history = checkpoints.history
    steps_per_epoch, steps_per_execution = epoch_steps(len(train.labels), config.batch_size)
    averaging = Averaging(
        checkpoints.average, steps_per_execution=steps_per_execution, switched_on=config.average_weights
    )

    def files_of(step: int) -> list[str]:
        step += len(history) * steps_per_epoch
        places = places_of(step, count=len(train.labels), batch_size=config.batch_size, seed=config.seed)
        return [printable(train.paths[place]) for place in places]

    keeper = Keeper(checkpoints, save_seconds=config.save_seconds, files_of=files_of)
    summaries = Summaries(Path(config.model_save_name), history)
    saturation = Saturation(history, patience=config.patience)
    # What TensorBoard shows comes before the checkpoint, as it is written anew from that when a run goes on.
    callbacks = [Vocabulary(config.batch_size), averaging, summaries, keeper, saturation]
    weights, validation_weights = (
        class_weights(part.labels, balance=config.balance_classes) for part in (train, validation)
    )
    summaries.set_model(model)
    summaries.on_train_begin()  # of a finished run too, whose last figures a full disk may have cost
    try:
        with signals_to(keeper):
            while len(history) < config.epochs and not is_saturated(history, config.patience):
                done_steps = checkpoints.step - len(history) * steps_per_epoch
                model.fit(
                    training_batches(train, config, first_step=checkpoints.step),
                    steps_per_epoch=steps_per_epoch - done_steps,
                    initial_epoch=len(history),
                    epochs=len(history) + 1 if done_steps else config.epochs,  # first the rest of an epoch begun
                    validation_data=validation_batches(validation, validation_weights),
                    class_weight=weights,
                    callbacks=callbacks,
                    shuffle=False,  # the order is ours
                    verbose=1 if sys.stdout.isatty() else 2,
                )
    except tf.errors.OpError as error:
        raise failure_of(train, validation) or error from None
    finally:
        summaries.close()
    checkpoints.save()


def is_saturated(history: list[dict[str, float]], patience: int) -> bool:
    """Whether the epochs so far end the run: what `Saturation` would say of them."""
    accuracies = [figures["val_accuracy"] for figures in history]
    return bool(accuracies) and len(accuracies) - 1 - accuracies.index(max(accuracies)) >= patience


def calibrate(
    training: Sequence[Picture], train: Samples, validation: Samples, config: TrainConfig
) -> tuple[Classifier, int]:
    """Calibrates the network of the best epoch, and keeps what comes out; returns it and its step."""
    folder = Path(config.model_save_name)
    classifier, description, step = load_best(folder)
    # Originals alone tell what is usual; there may be nothing but copies.
    originals = [place for place, picture in enumerate(training) if not picture.is_copy] or range(len(training))
    evenly = np.linspace(0, len(originals) - 1, min(len(originals), _USUAL)).astype(int)
    classifier.calibrate(
        training=train.images[np.array(originals)[evenly]],
        validation=validation.images,
        labels=validation.labels,
        unknown_rate=config.unknown_rate,
    )
    save_calibration(folder, classifier, description, step)
    return classifier, step


def report(
    classifier: Classifier,
    epoch: int,
    history: list[dict[str, float]],
    pictures: Sequence[Picture],
    validation: Samples,
    config: TrainConfig,
) -> None:
    """What came out of the run, printed and written beside the checkpoints, and what to do with it.

    `epoch`, from 1, is that of the weights of the classifier: the best one, unless those were lost.
    """
    answers = classifier.ask(validation.images)
    figures = evaluate(
        pictures=[picture.origin for picture in pictures],
        labels=validation.labels,
        named=answers.named,
        scores=answers.scores[np.arange(len(pictures)), answers.named],
        unknown=answers.unknown,
        class_names=class_names(pictures),
    )
    best = best_epoch(history)
    text = (
        f"on the {len(pictures)} validation pictures, after epoch {epoch}:\n\n{as_text(figures)}\n\n"
        "The best epoch and the scores were fitted to these very pictures, so unseen ones will do a little worse.\n"
    )
    if config.unknown_rate and np.isinf(classifier.calibration.farthest):
        text += "They are too few to tell what is unusual, so nothing will be called unknown.\n"
    write_atomically(Path(config.model_save_name, REPORT), text.encode())
    print(f"\n{text}")
    lost = "" if epoch == best + 1 else f"; its weights are lost, and those of epoch {epoch} kept"
    folder = shlex.quote(config.model_save_name)
    option = "" if config.model_save_name == TrainConfig.model_save_name else f" --model_save_name {folder}"
    print(
        f"best validation accuracy {history[best]['val_accuracy']:.4f} (cost {history[best]['val_cost']:.4f}), "
        f"after epoch {best + 1} of {len(history)}{lost}\n"
        f"its checkpoint:  {printable(Path(config.model_save_name, BEST))}\n"
        f"this report:     {printable(Path(config.model_save_name, REPORT))}\n"
        f"ask it:          python predict.py{option} picture.jpg\n"
        f"look at the run: tensorboard --logdir {folder}"
    )


def main(config: TrainConfig) -> int:
    folder = Path(config.model_save_name)
    with locked(folder):
        remove_leftovers(folder, is_ours=lambda name: is_ours(name) or name == REPORT)
        return run(folder, config)


def run(folder: Path, config: TrainConfig) -> int:
    """A run from the first picture to the last report; `folder` is that of its checkpoints, and nobody else's."""
    pictures = prepare(config)
    workers.release()
    names = class_names(pictures)
    if len(names) > 1000:
        raise UserError(f"{len(names)} classes; at most 1,000 can be told apart")
    validating = [picture for picture in pictures if picture.split == VALIDATION]
    training = [picture for picture in pictures if picture.split == TRAIN]
    in_memory = fits_in_memory(len(pictures), config)
    samples, validation = (load(part, config, in_memory=in_memory) for part in (training, validating))
    print(f"classes: {', '.join(map(printable, names))}")
    print(f"training on {len(samples.labels)} pictures, validating on {len(validation.labels)}")
    if not in_memory:
        data = printable(config.data_path)
        print(f"they would take more than {config.memory_gib:g} GiB, so each is read from {data}/ when its turn comes")
    print(f"device: {set_up(config.precision)}")

    shared = {field.name: getattr(config, field.name) for field in fields(Description) if hasattr(config, field.name)}
    description = Description(**shared, class_names=names, pictures=fingerprint(pictures))
    if saved := newest_run(folder):
        refuse_others(folder, saved.description, description)

    keras.utils.set_random_seed(config.seed)
    model = description.network()
    model.summary()
    steps_per_epoch, steps_per_execution = epoch_steps(len(samples.labels), config.batch_size)
    compile_model(model, config, steps_per_execution=steps_per_execution)
    checkpoints = Checkpoints(folder, model, description, max_to_keep=config.max_to_keep)
    if saved:
        checkpoints.restore(saved)
        model.optimizer.learning_rate = config.learning_rate
        print(f"going on after epoch {len(checkpoints.history)}, step {checkpoints.step}")
    else:
        checkpoints.save()  # a full disk shows before the first step, and from here on a lost checkpoint is noticed

    history = checkpoints.history
    longer = [f"--patience {2 * config.patience}"] if is_saturated(history, config.patience) else []
    longer += [f"--epochs {len(history) + config.epochs}"] if len(history) >= config.epochs else []
    try:
        fit(model, samples, validation, checkpoints, config)
    except Stopped as stop:
        if history:
            calibrate(training, samples, validation, config)
        print(f"\nstopped and saved after step {checkpoints.step}; the same command goes on from here")
        return 128 + stop.signal_number
    classifier, step = calibrate(training, samples, validation, config)
    report(classifier, step // steps_per_epoch, history, validating, validation, config)
    if longer:
        print(f"this run is finished: train longer with {' '.join(longer)}, or afresh with another --model_save_name")
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, TrainConfig, __doc__)
