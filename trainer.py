"""Trains the network on the pictures of `rawdata/`. If you run it again, it continues where it stopped.

Ctrl-C saves and ends the run; `tensorboard --logdir checkpoints` shows it while it runs and afterwards.
"""

if __name__ == "__main__":  # before the imports, which take seconds
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from answers.classifier import Classifier, load_classifier
from answers.evaluation import Evaluation, evaluate
from config import MAX_CLASSES, MIN_CLASSES, TrainConfig
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import is_checkpoint_name, require_own_folder
from network.device import configure_device, raises_memory_error
from network.model_config import ModelConfig, changed_settings, require_same
from pictures.folders import find_classes, picture_files
from pictures.manifest import TRAIN, VALIDATION, Picture, class_names, kept
from pictures.split import fingerprint
from preprocessing import prepare_data
from reports.console import EpochTable, describe_network, describe_run, format_end
from reports.report_files import HTML_REPORT, JSON_REPORT, write_run_report
from reports.run import Run
from reports.tensorboard import TensorBoard
from reports.text import format_report
from system.errors import EXIT_OUTPUT_CLOSED, EXIT_SUCCESS
from system.files import locked, remove_partial_files, write_atomically
from system.pool import close_idle_workers
from system.progress import status
from system.script import run_script
from system.startup import STOP_SIGNALS, handle_signal
from system.terminal import plural, print_entry, printable, wrapped
from training.batches import (
    Samples,
    batch_indices,
    class_weights,
    epoch_steps,
    fits_in_memory,
    load,
    read_error,
    require_batch_size,
    training_batches,
    validation_batches,
)
from training.callbacks import (
    EarlyStopping,
    SaveCheckpoints,
    Throughput,
    TrainingStopped,
    WeightAveraging,
)
from training.checkpoints import CheckpointManager, History, best_epoch, latest_checkpoint, reached_limits
from training.metrics import ClassRecall, FiniteStepCount
from training.optimizer import FusedAdam
from training.resources import require_resources

REPORT = "report.txt"
REPORTS = (REPORT, HTML_REPORT, JSON_REPORT)
_MAX_CLASSES_SHOWN = 12  # and mistakes, on the terminal; the reports have more
_MAX_MISTAKES_SHOWN = 5
_MAX_CALIBRATION_IMAGES = 1000  # training images with which pictures are compared to call them unknown


@raises_memory_error()
def main(config: TrainConfig) -> int:
    folder = Path(config.model_save_name)
    require_own_folder(folder)
    with locked(folder):
        remove_partial_files(folder, is_ours=lambda name: is_checkpoint_name(name) or name in REPORTS)
        return train(folder, config)


def train(folder: Path, config: TrainConfig) -> int:
    """Runs a training, from the pictures to the report, with its checkpoints in `folder`; returns the exit code."""
    with status("preparing ..."):
        if latest := latest_checkpoint(folder):
            require_same(folder, latest.model_config, config)  # before data/ is changed
        device = configure_device(config.precision)
        needs = require_resources_for(config)
    rows = prepare_data(config)
    pictures = kept(rows)
    close_idle_workers()
    print_entry("device", device)
    print_entry("", needs)
    training = [picture for picture in pictures if picture.split == TRAIN]
    validating = [picture for picture in pictures if picture.split == VALIDATION]
    require_batch_size(config.batch_size, count=len(training))
    model_config = ModelConfig.of_run(config, class_names=class_names(pictures), pictures=fingerprint(pictures))
    if latest:
        require_same(folder, latest.model_config, model_config)
    train_samples, validation_samples = load_samples(training, validating, config)
    run = Run(
        config=config,
        model_config=model_config,
        pictures=rows,
        training=training,
        validating=validating,
        train=train_samples,
        validation=validation_samples,
    )

    keras.utils.set_random_seed(config.seed)
    model = generate_model(model_config)
    print_entry("network", describe_network(model))
    if config.summary:
        model.summary()
    compile_model(model, config, count=len(training))
    checkpoints = CheckpointManager(folder, model, model_config, max_to_keep=config.max_to_keep)
    print_entry("run", describe_run(config))
    if latest:
        checkpoints.restore(latest)
        model.optimizer.learning_rate = config.learning_rate
        print_entry("", f"continuing after epoch {len(checkpoints.history)}, step {checkpoints.step}")
        if changes := changed_settings(latest.model_config, model_config):
            print_entry("", f"with other settings than before: {changes}")
        del latest  # it has four times as many values as the network has weights
    else:
        checkpoints.save()  # so that a full disk is noticed at once, and a lost checkpoint later

    advice = how_to_train_longer(checkpoints.history, config)
    _, steps_per_execution = epoch_steps(len(training), config.batch_size)
    averaging = WeightAveraging(
        checkpoints.average, steps_per_execution=steps_per_execution, enabled=config.average_weights
    )
    tensorboard = TensorBoard(run, checkpoints.history, averaging)
    epochs_before, start = len(checkpoints.history), time.monotonic()
    try:
        fit(model, run, checkpoints, averaging, tensorboard)
    except TrainingStopped as stop:
        code = 128 + stop.signal_number
        tell_how_to_continue(checkpoints.step, output_closed=code == EXIT_OUTPUT_CLOSED)
        tensorboard.close()
        if checkpoints.history:
            with status("calibrating the scores; Ctrl-C leaves it out ..."):
                classifier, _ = calibrate(run)
                classifier.save(folder)
        return code
    end = format_end(
        checkpoints.history, config, trained=len(checkpoints.history) - epochs_before, seconds=time.monotonic() - start
    )
    with status("evaluating ..."):
        classifier, evaluation = calibrate(run)
        tensorboard.finish(classifier, evaluation)
        tensorboard.close()
        result = evaluate(evaluation)
    text = report(result, classifier, checkpoints.history, config, count=len(training), end=end)
    # Last, so that a full disk does not take the figures with it.
    classifier.save(folder)
    write_atomically(folder / REPORT, text.encode())
    with status("writing the report ..."):
        write_run_report(folder, run, evaluation, classifier=classifier, history=checkpoints.history, device=device)
    tell_what_is_next(config, advice)
    return EXIT_SUCCESS


def require_resources_for(config: TrainConfig) -> str:
    """Returns a line about the memory and disk that the run needs; checked before `data/` is made, which may take long.

    Raises:
        UserError: it is more than this machine has.
    """
    folders = [Path(config.raw_data), Path(config.augmented)]
    if not folders[0].is_dir():
        folders = [Path(config.data_path)]
    names = list(find_classes(folders[0]))
    count = sum(1 for folder in folders for path in find_classes(folder).values() for _ in picture_files(path))
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        return ""  # the pictures will be refused
    model_config = ModelConfig.of_run(config, class_names=names, pictures="")
    with tf.Graph().as_default():  # where a network takes no memory
        return require_resources(generate_model(model_config), config, count=count)


def load_samples(
    training: Sequence[Picture], validating: Sequence[Picture], config: TrainConfig
) -> tuple[Samples, Samples]:
    """Returns the images to train on and to validate with.

    Raises:
        UserError: a picture cannot be read.
    """
    in_memory = fits_in_memory(len(training) + len(validating), config)
    train_samples, validation_samples = (load(part, config, in_memory=in_memory) for part in (training, validating))
    if not in_memory:
        data = printable(config.data_path)
        print_entry(
            "", f"the pictures need more than {config.memory_gib:g} GiB, so each is read from {data}/ when used"
        )
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
        metrics=[FiniteStepCount(loss), ClassRecall(model.output_shape[1])],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy", dtype="float64")],
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
    model: keras.Model, run: Run, checkpoints: CheckpointManager, averaging: WeightAveraging, tensorboard: TensorBoard
) -> None:
    """Trains from the state of the checkpoints to the end, which `epochs` or `patience` sets.

    Raises:
        TrainingStopped: by a signal; the run is saved.
        UserError: a picture cannot be read, or the loss is no longer finite.
    """
    history, config = checkpoints.history, run.config
    count = len(run.train.labels)
    steps_per_epoch, _ = epoch_steps(count, config.batch_size)

    def files_of_step(step: int) -> list[str]:
        step += len(history) * steps_per_epoch
        indices = batch_indices(step, count=count, batch_size=config.batch_size, seed=config.seed)
        return [printable(run.train.paths[index]) for index in indices]

    saving = SaveCheckpoints(checkpoints, save_seconds=config.save_seconds, files_of_step=files_of_step)
    table = EpochTable(checkpoints, config, steps_per_epoch=steps_per_epoch)
    # TensorBoard's data comes before the checkpoint, from which it is written again when a run is resumed.
    callbacks = [
        Throughput(config.batch_size),
        averaging,
        tensorboard,
        saving,
        table,
        EarlyStopping(history, config, steps_per_epoch=steps_per_epoch),
    ]
    weights, validation_weights = (
        class_weights(samples.labels, balance=config.balance_classes) for samples in (run.train, run.validation)
    )
    tensorboard.set_model(model)
    tensorboard.on_train_begin()  # also for a finished run, whose last metrics a full disk may have lost
    try:
        with signals_to(saving):
            while not reached_limits(history, config):
                done_steps = checkpoints.step - len(history) * steps_per_epoch
                assert 0 <= done_steps < steps_per_epoch
                model.fit(
                    training_batches(run.train, config, first_step=checkpoints.step),
                    steps_per_epoch=steps_per_epoch - done_steps,
                    initial_epoch=len(history),
                    epochs=config.epochs,
                    validation_data=validation_batches(run.validation, validation_weights),
                    class_weight=weights,
                    callbacks=callbacks,
                    shuffle=False,  # the data set has its own order
                    verbose=0,
                )
    except tf.errors.OpError as error:
        raise read_error(run.train, run.validation) or error from None
    finally:
        table.close()
    checkpoints.save()
    if saving.stop_signal:  # it came after the last step
        raise TrainingStopped(saving.stop_signal)


@contextlib.contextmanager
def signals_to(saving: SaveCheckpoints) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP asks the callback to save and stop; the second acts at once, as usual.

    Those that this process was started to ignore stay ignored.
    """

    def save_and_stop(number: int, _frame: object) -> None:
        saving.stop_signal = number
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        handle_signal(number, save_and_stop)
    try:
        yield
    finally:
        restore()


def tell_how_to_continue(step: int, *, output_closed: bool) -> None:
    """Prints that a run was stopped; on stderr if nobody reads stdout."""
    line = f"stopped and saved after step {step}; run the same command to continue"
    if output_closed:
        print(f"trainer.py: the output was closed: {line}", file=sys.stderr)
    else:
        print(wrapped(line), flush=True)


def calibrate(run: Run) -> tuple[Classifier, Evaluation]:
    """Returns the network of the best epoch, calibrated, and its predictions for the validation pictures."""
    classifier = load_classifier(Path(run.config.model_save_name))
    predictions = classifier.calibrate(
        training=run.typical_images(_MAX_CALIBRATION_IMAGES),
        validation=run.validation.images,
        labels=run.validation.labels,
        unknown_rate=run.config.unknown_rate,
    )
    return classifier, run.evaluation(predictions)


def report(result: dict, classifier: Classifier, history: History, config: TrainConfig, *, count: int, end: str) -> str:
    """Prints how accurate the trained network is, and returns the whole report, of which it prints what fits a screen.

    `result` is that of `evaluate`, `count` the number of training images, `end` the line about the end of the run.
    """
    epoch = classifier.step // epoch_steps(count, config.batch_size)[0]  # the best one, unless its weights were lost
    best = best_epoch(history) + 1
    lost = "" if epoch == best else f", since the weights of epoch {best} are lost"
    remarks = (
        "The best epoch and the scores were chosen with these pictures,\nso expect slightly less accuracy on new ones."
    )
    if config.unknown_rate and np.isinf(classifier.calibration.max_distance):
        remarks += "\nThey are too few to recognize unknown ones: no picture will be called unknown."
    head = f"On the {plural(result['pictures'], 'validation picture')}, after epoch {epoch}:"

    def text(**limits: int) -> str:
        return "\n\n".join([head, format_report(result, **limits), remarks]) + "\n"

    print(f"\n{wrapped(f'{end} Kept: epoch {epoch}{lost}.')}\n")
    print(f"{text(max_classes=_MAX_CLASSES_SHOWN, max_mistakes=_MAX_MISTAKES_SHOWN)}")
    return text()


def tell_what_is_next(config: TrainConfig, advice: str) -> None:
    """Prints what the run has made, and the commands for it; for a run that was finished before, `advice`."""
    folder = shlex.quote(config.model_save_name)
    option = "" if config.model_save_name == TrainConfig.model_save_name else f" --model_save_name {folder}"
    print_entry("network", f"{printable(config.model_save_name)}/")
    print_entry("report", f"{printable(Path(config.model_save_name, HTML_REPORT))}")
    print_entry("next", f"python predict.py{option} picture.jpg")
    print_entry("", f"tensorboard --logdir {folder}   then open http://localhost:6006")
    if advice:
        print(wrapped(f"this run is finished: train longer with {advice}, or use another --model_save_name"))


def how_to_train_longer(history: History, config: TrainConfig) -> str:
    """Returns the settings with which a finished run would continue, or "" for a run that is not finished."""
    return " ".join(f"--{name} {value}" for name, value in reached_limits(history, config).items())


if __name__ == "__main__":
    run_script(main, TrainConfig, __doc__)
