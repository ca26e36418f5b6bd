"""Trains the network on the pictures of `rawdata/`. If you run it again, it continues where it stopped.

Ctrl-C saves and ends the run; `tensorboard --logdir checkpoints` shows it while it runs and afterwards.
"""

if __name__ == "__main__":  # before the imports, which take a moment
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()
    from config import TrainConfig
    from system.script import check_command_line

    check_command_line(TrainConfig, __doc__)  # before TensorFlow is loaded

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from answers.conversion import require_convertible
from config import TrainConfig
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import Checkpoint, is_checkpoint_name, read_best, require_own_folder
from network.device import clear_session, raises_memory_error
from network.ensemble_folder import ENSEMBLE, require_same_folds
from network.model_config import MODEL_CONFIG, changed_settings, require_same
from network.model_file import MODEL_FILE
from pictures.manifest import Picture, class_names, kept
from pictures.split import fingerprint, pictures_of_fold, with_part_of_training
from preprocessing import prepare_data
from reports.console import (
    EpochTable,
    describe_network,
    describe_replicas,
    describe_run,
    format_end,
    how_to_train_longer,
    print_next_commands,
)
from reports.finished import finish_part, report_run
from reports.folds import FoldRun, config_of_fold, report_folds
from reports.learning_curve import PARTS, Point, config_of_part, measure, part_folder, report_learning_curve
from reports.report_files import REPORTS
from reports.run import Run, calibrate, load_run, model_config_of
from reports.tensorboard import TensorBoard
from system.cluster import Workers, connected, find_cluster
from system.errors import EXIT_OUTPUT_CLOSED, EXIT_SUCCESS
from system.files import locked, remove_partial_files, write_atomically
from system.pool import close_idle_workers
from system.progress import status
from system.script import run_script
from system.terminal import plural, print_entry, printable, wrapped
from training.batches import (
    batch_indices,
    epoch_steps,
    read_error,
    training_batches,
    validation_batches,
    validation_steps,
)
from training.callbacks import (
    EarlyStopping,
    SaveCheckpoints,
    Schedule,
    Throughput,
    TrainingStopped,
    WeightAveraging,
    WeightDecay,
)
from training.checkpoints import CheckpointManager, delete_all_but_newest, latest_of_chief
from training.compiling import compile_model
from training.distribution import Distribution, distribute, raises_worker_lost
from training.history import History, history_of
from training.resources import require_resources_for
from training.schedule import reached_limits, regularization
from training.signals import signals_to


@raises_memory_error()
def main(config: TrainConfig) -> int:
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(connected(find_cluster(config.workers, config.worker)))
        stack.enter_context(raises_worker_lost(workers))
        if workers.is_chief:  # the others save nothing
            folder = Path(config.model_save_name)
            require_own_folder(folder)
            stack.enter_context(locked(folder))
            others = (MODEL_FILE, ENSEMBLE, *REPORTS)
            remove_partial_files(folder, is_ours=lambda name: is_checkpoint_name(name) or name in others)
        try:
            code = train(config, workers)
            workers.all_gather(b"")  # nobody has succeeded before the chief has written its reports
            return code
        except TrainingStopped as stop:
            return 128 + stop.signal_number


def train(config: TrainConfig, workers: Workers) -> int:
    """Runs a training, from the pictures to the reports; returns the exit code.

    Raises:
        TrainingStopped: by a signal; the run is saved.
        WorkerLostError: another worker has ended.
    """
    folder, latest = Path(config.model_save_name), None
    with status("preparing ..."):
        if workers.is_chief:
            require_same_folds(folder, config)  # before data/ is changed
        distribution = distribute(config, workers)
        if config.folds == 1 and (latest := latest_of_chief(folder, workers)):
            require_same(folder, latest.model_config, config)
        needs = require_resources_for(config, workers)
    manifest = prepare_in_turn(config, workers)
    close_idle_workers()
    print_entry("device", distribution.device)
    print_entry("", needs)
    for line in describe_replicas(config, distribution):
        print_entry("", line)
    if config.folds > 1:
        return train_folds(folder, manifest, config, distribution)

    run = load_run(manifest, config, distribution, saved=latest and latest.model_config)
    checkpoints = start_or_continue(run, latest)
    del latest  # it has four times as many values as the network has weights
    advice = how_to_train_longer(checkpoints.history, config)
    tensorboard, end = train_network(run, checkpoints)
    history = checkpoints.history
    if workers.is_chief:
        evaluation, network = report_run(run, history, tensorboard, end=end)
    if config.learning_curve:
        del checkpoints, tensorboard  # the next networks need the memory
        points = train_on_parts(run)
        if workers.is_chief:
            report_learning_curve(points, run, evaluation, network=network, history=history)
    if workers.is_chief:
        print_next_commands(config, advice)
    else:
        print(f"\n{end}", flush=True)
    return EXIT_SUCCESS


def prepare_in_turn(config: TrainConfig, workers: Workers) -> list[Picture]:
    """Returns every picture, with what became of it, after all workers have made their `data/`, the chief first.

    If they share a disk, the others find nothing to do.

    Raises:
        UserError: a worker has other pictures.
    """
    workers.all_gather(b"")  # a worker that has not enough memory ends the others now
    if not workers.is_chief:
        with status("waiting for the chief, which prepares its pictures ..."):
            workers.all_gather(b"")
    manifest = prepare_data(config)
    if workers.is_chief:
        workers.all_gather(b"")
    pictures = kept(manifest)
    workers.require_equal({"classes": ", ".join(class_names(pictures)), "number of pictures": len(pictures)})
    workers.require_equal({"pictures (a checksum)": fingerprint(pictures)})
    return manifest


def train_on_parts(run: Run) -> list[Point]:
    """Trains also on a quarter and on half of the training pictures; returns how accurate all three networks are.

    Each is a run like any other, in a folder of its own. All validate with the same pictures.
    """
    folder = Path(run.config.model_save_name)
    points = []
    for fraction in PARTS:
        print(f"\nlearning curve: {100 * fraction:g} % of the training pictures", flush=True)
        rows = with_part_of_training(run.pictures, fraction=fraction, seed=run.config.seed)
        train_part(rows, config_of_part(run.config, fraction, rows), run.config, run.distribution)
        if run.distribution.is_chief:
            points.append(measure(part_folder(folder, fraction), rows, run))
    return [*points, measure(folder, run.pictures, run)] if run.distribution.is_chief else []


def train_folds(folder: Path, manifest: Sequence[Picture], config: TrainConfig, distribution: Distribution) -> int:
    """Trains a network for each fold, which validates on it, in a folder of its own; then all answer together.

    Each is a run like any other. Those that were finished before are not trained again.
    """
    model_config = model_config_of(manifest, config, distribution)
    if distribution.is_chief:
        require_same_folds(folder, model_config)
        write_atomically(folder / MODEL_CONFIG, model_config.to_json())
    folds, limits = [], {}
    for number in range(1, config.folds + 1):
        print(f"\nfold {number} of {config.folds}", flush=True)
        rows = pictures_of_fold(manifest, number)
        history, was_finished = train_part(rows, config_of_fold(config, number), config, distribution)
        folds.append(FoldRun(number, rows, history))
        if was_finished:
            for name, value in reached_limits(history, config).items():
                limits[name] = max(limits.get(name, 0), value)
    if distribution.is_chief:
        report_folds(folder, folds, manifest, config, model_config, distribution)
        print_next_commands(config, " ".join(f"--{name} {value}" for name, value in limits.items()))
    return EXIT_SUCCESS


def train_part(
    rows: Sequence[Picture], config: TrainConfig, given: TrainConfig, distribution: Distribution
) -> tuple[History, bool]:
    """Trains one of several networks, unless it is finished. Returns its history, and whether it was finished before.

    Args:
        rows: every picture, with its use by this network.
        config: of its run.
        given: that of the command, which trains all of them.
        distribution: of all of them.
    """
    folder, workers = Path(config.model_save_name), distribution.workers
    if latest := latest_of_chief(folder, workers):
        require_same(folder, latest.model_config, model_config_of(rows, config, distribution))
        history = history_of(latest)
        if reached_limits(history, config) and _is_calibrated(folder, workers):
            if workers.is_chief:
                delete_all_but_newest(folder)
            print_entry("", f"was finished before, after {plural(len(history), 'epoch')}")
            return history, True
    run = replace(load_run(rows, config, distribution), given=given)
    checkpoints = start_or_continue(run, latest)
    del latest
    tensorboard, end = train_network(run, checkpoints)
    if workers.is_chief:
        finish_part(run, tensorboard, end=end)
    clear_session()  # the next network needs the memory
    return checkpoints.history, False


def _is_calibrated(folder: Path, workers: Workers) -> bool:
    """Returns whether the network in a folder of the chief was calibrated after its training."""
    found = workers.is_chief and bool(read_best(folder).part("calibration"))
    return bool(workers.broadcast(b"x" * found))


def start_or_continue(run: Run, latest: Checkpoint | None) -> CheckpointManager:
    """Returns the checkpoints of a run, with its network, which is new or restored from the newest of them."""
    config = run.config
    model = build_network(run)
    print_entry("run", describe_run(config))
    checkpoints = CheckpointManager(
        Path(config.model_save_name),
        model,
        run.model_config,
        max_to_keep=config.max_to_keep,
        distribution=run.distribution,
    )
    restore_or_save(checkpoints, latest, run)
    return checkpoints


def train_network(run: Run, checkpoints: CheckpointManager) -> tuple[TensorBoard, str]:
    """Trains to the end. Returns the TensorBoard, to which the end of the run can be added, and a line about the end.

    Raises:
        TrainingStopped: by a signal; the run is saved.
    """
    epochs_before, start = len(checkpoints.history), time.monotonic()
    try:
        tensorboard = fit(checkpoints.model, run, checkpoints)
    except TrainingStopped as stop:
        end_stopped_run(run, checkpoints, stop.signal_number)
        raise
    trained, seconds = len(checkpoints.history) - epochs_before, time.monotonic() - start
    return tensorboard, format_end(checkpoints.history, run.config, trained=trained, seconds=seconds)


def build_network(run: Run) -> keras.Model:
    """Returns the network of a run, ready to be trained, and says how large it is."""
    with status("building the network ..."), run.distribution.scope():
        keras.utils.set_random_seed(run.config.seed)
        model = generate_model(run.model_config)
        require_convertible(model, run.model_config)
    print_entry("network", describe_network(model))
    if run.config.summary:
        model.summary()
    with status("preparing the training ..."):
        return compile_model(model, run.config, run.distribution, count=len(run.training))


def restore_or_save(checkpoints: CheckpointManager, latest: Checkpoint | None, run: Run) -> None:
    """Restores the newest checkpoint of a run, or saves the first one, so that a full disk is noticed soon."""
    if latest is None:
        checkpoints.start_saving()
        return
    checkpoints.restore(latest)
    print_entry("", f"continuing after epoch {len(checkpoints.history)}, step {checkpoints.step}")
    if changes := changed_settings(latest.model_config, run.model_config):
        print_entry("", f"with other settings than before: {changes}")
    if latest.model_config.replicas != run.model_config.replicas:
        print_entry("", "so sums are rounded differently, and other parts of a batch are normalized, from here on")


def fit(model: keras.Model, run: Run, checkpoints: CheckpointManager) -> TensorBoard:
    """Trains from the state of the checkpoints to the end, which `epochs` or `patience` sets.

    Returns:
        the TensorBoard, to which the end of the run can be added.

    Raises:
        TrainingStopped: by a signal; the run is saved.
        UserError: a picture cannot be read, or the loss is no longer finite.
    """
    history, config = checkpoints.history, run.config
    count = len(run.train.labels)
    steps_per_epoch, steps_per_execution = epoch_steps(count, config.batch_size)

    def files_of_step(step: int) -> list[str]:
        step += len(history) * steps_per_epoch
        indices = batch_indices(step, count=count, batch_size=config.batch_size, seed=config.seed)
        return [printable(run.train.paths[index]) for index in indices]

    averaging = WeightAveraging(
        checkpoints.average, steps_per_execution=steps_per_execution, enabled=config.average_weights
    )
    tensorboard = TensorBoard(run, history, averaging)
    saving = SaveCheckpoints(checkpoints, save_seconds=config.save_seconds, files_of_step=files_of_step)
    table = EpochTable(checkpoints, config, steps_per_epoch=steps_per_epoch)
    # TensorBoard's data comes before the checkpoint, from which it is written again when a run is resumed.
    callbacks = [
        Schedule(history, config),
        Throughput(config.batch_size),
        WeightDecay(config.weight_decay, steps_per_execution=steps_per_execution),
        averaging,
        tensorboard,
        saving,
        *([table] if run.distribution.is_chief else []),
        EarlyStopping(history, config, steps_per_epoch=steps_per_epoch),
    ]
    tensorboard.set_model(model)
    tensorboard.on_train_begin()  # also for a finished run, whose last metrics a full disk may have lost
    try:
        with signals_to(saving):
            fit_epochs(model, run, checkpoints, callbacks)
    except tf.errors.OpError as error:
        raise read_error(run.train, run.validation) or error from None
    finally:
        table.close()
        checkpoints.wait()
    checkpoints.save()
    saving.stop_if_asked()  # in the last epoch
    return tensorboard


def fit_epochs(
    model: keras.Model, run: Run, checkpoints: CheckpointManager, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """Calls Keras's `fit`, once for the rest of an interrupted epoch and once for the epochs after it."""
    history, config, distribution = checkpoints.history, run.config, run.distribution
    steps_per_epoch, _ = epoch_steps(len(run.train.labels), config.batch_size)

    def strength(epoch: int) -> float:
        return regularization(epoch, history, config)

    while not reached_limits(history, config):
        done_steps = checkpoints.step - len(history) * steps_per_epoch
        assert 0 <= done_steps < steps_per_epoch
        model.fit(
            training_batches(run.train, config, distribution, first_step=checkpoints.step, strength=strength),
            steps_per_epoch=steps_per_epoch - done_steps,
            initial_epoch=len(history),
            epochs=config.epochs,
            validation_data=validation_batches(run.validation, distribution, balance=config.balance_classes),
            validation_steps=validation_steps(run.validation, distribution),
            callbacks=callbacks,
            shuffle=False,  # the data set has its own order
            verbose=0,
        )


def end_stopped_run(run: Run, checkpoints: CheckpointManager, signal_number: int) -> None:
    """Tells how to continue a run that was stopped; the chief calibrates its best network."""
    code = 128 + signal_number
    line = f"stopped and saved after step {checkpoints.step}; run the same command to continue"
    if code == EXIT_OUTPUT_CLOSED:
        print(f"trainer.py: the output was closed: {line}", file=sys.stderr)
    else:
        print(wrapped(line), flush=True)
    if checkpoints.history and run.distribution.is_chief:
        with status("calibrating the scores; Ctrl-C leaves it out ..."):
            trained, _ = calibrate(run)
            trained.save(checkpoints.folder)


if __name__ == "__main__":
    run_script(main, TrainConfig, __doc__)
