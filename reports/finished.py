"""The end of a run: its network is calibrated, saved, and reported on."""

from functools import partial
from pathlib import Path

import numpy as np

from answers.evaluation import Evaluation, evaluate
from answers.trained_network import TrainedNetwork
from reports.report_files import TEXT_REPORT, write_run_report
from reports.run import Run, calibrate
from reports.suspects import print_suspects, write_suspects
from reports.tensorboard import TensorBoard
from reports.text import MAX_CLASSES_SHOWN, MAX_MISTAKES_SHOWN, format_run_report
from system.files import write_atomically
from system.progress import status
from system.terminal import wrapped
from training.checkpoints import delete_all_but_newest
from training.history import History, best_epoch


def report_run(run: Run, history: History, tensorboard: TensorBoard, *, end: str) -> tuple[Evaluation, TrainedNetwork]:
    """Prints how accurate the network of the best epoch is, below the line `end`; saves it, and writes the reports.

    Returns:
        the predictions for the validation pictures, and the network.
    """
    folder = Path(run.config.model_save_name)
    with status("evaluating ..."):
        converted, evaluation = calibrate(run)
        network = converted.network
        tensorboard.finish(network, evaluation)
        result = evaluate(evaluation)
    epoch = run.epochs_in(network.step)  # the best one, unless its weights were lost
    best = best_epoch(history) + 1
    lost = "" if epoch == best else f", since the weights of epoch {best} are lost"
    never_unknown = run.config.unknown_rate > 0 and np.isinf(network.max_distance)
    text = partial(format_run_report, result, epoch=epoch, never_unknown=never_unknown)
    print(f"\n{wrapped(f'{end} Kept: epoch {epoch}{lost}.')}\n")
    print(text(max_classes=MAX_CLASSES_SHOWN, max_mistakes=MAX_MISTAKES_SHOWN))
    # After the figures are printed, so that a full disk does not take them away.
    converted.save(folder)
    write_atomically(folder / TEXT_REPORT, text().encode())
    with status("writing the report ..."):
        write_run_report(folder, run, evaluation, network=network, history=history)
        write_suspects(folder, evaluation, run.validation_image)
    print_suspects(folder, evaluation)
    return evaluation, network


def finish_part(run: Run, tensorboard: TensorBoard, *, end: str) -> None:
    """Calibrates one of several networks after its training, saves it, and says below `end` how accurate it is."""
    folder = Path(run.config.model_save_name)
    with status("evaluating ..."):
        converted, evaluation = calibrate(run)
        tensorboard.finish(converted.network, evaluation)
    converted.save(folder)
    delete_all_but_newest(folder)
    kept = f"Kept: epoch {run.epochs_in(converted.network.step)}, right for {100 * evaluation.correct.mean():.1f} %"
    print(f"\n{wrapped(f'{end} {kept} of its {len(evaluation.labels):,} validation pictures.')}", flush=True)
