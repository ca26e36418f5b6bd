"""The end of a run with several folds: each picture is judged by a network that never saw it, then all are combined."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from answers.conversion import ConvertedNetwork
from answers.ensemble import Ensemble, calibrated_predictions, fit_calibration
from answers.evaluation import Evaluation, accuracy_interval, evaluate
from answers.explain import HeatMaps
from answers.loading import load_engine
from answers.predictions import BATCH_SIZE, Outputs
from answers.trained_network import TrainedNetwork, load_trained_network
from config import TrainConfig
from network.checkpoint_file import member_folder
from network.ensemble_folder import EnsembleCalibration
from network.model_config import ModelConfig
from pictures.manifest import VALIDATION, Picture, kept
from reports.gallery import MAX_MISTAKES
from reports.report_files import TEXT_REPORT, write_folds_report
from reports.run import Run
from reports.suspects import print_suspects, write_suspects
from reports.text import MAX_CLASSES_SHOWN, MAX_MISTAKES_SHOWN, format_folds_report
from system.files import write_atomically
from system.progress import status
from training.batches import load
from training.distribution import Distribution
from training.history import History


class FoldRun(NamedTuple):
    """The run of one fold, after its end."""

    number: int  # from 1
    pictures: Sequence[Picture]  # every row of the manifest, with its use in this run
    history: History

    @property
    def judged(self) -> list[Picture]:
        """The pictures that its network was not trained on, and judges."""
        return [picture for picture in kept(self.pictures) if picture.split == VALIDATION]


def config_of_fold(config: TrainConfig, fold: int) -> TrainConfig:
    """Returns the config of the run for one fold. It has initial weights and an order of pictures of its own."""
    folder = member_folder(Path(config.model_save_name), fold)
    seed = (config.seed + fold - 1) % 2**31
    return replace(config, folds=1, seed=seed, model_save_name=str(folder))


def run_of_folds(
    folds: Sequence[FoldRun],
    manifest: Sequence[Picture],
    config: TrainConfig,
    model_config: ModelConfig,
    distribution: Distribution,
) -> Run:
    """Returns the run of all folds together, which validates with every picture that one of them judges.

    Its images are read when they are used.
    """
    judged = [picture for fold in folds for picture in fold.judged]
    paths = {picture.path for picture in judged}
    others = [picture for picture in kept(manifest) if picture.path not in paths]
    return Run(
        config=config,
        model_config=model_config,
        distribution=distribution,
        pictures=manifest,
        training=others,
        validating=judged,
        train=load(others, config, in_memory=False),
        validation=load(judged, config, in_memory=False),
    )


def judge(folder: Path, folds: Sequence[FoldRun], run: Run) -> tuple[Evaluation, EnsembleCalibration]:
    """Returns the predictions for all pictures, each by the network that was not trained on it, and their calibration.

    They are computed by LiteRT, from the model file of each fold. The scores and the limit for unknown pictures are
    fitted to all of them together.

    Args:
        folder: of the ensemble.
        folds: in their order.
        run: as from `run_of_folds`.
    """
    found, start = [], 0
    for fold in folds:
        end = start + len(fold.judged)
        found.append(load_engine(member_folder(folder, fold.number)).outputs(run.validation.images[start:end]))
        start = end
    parts = zip(*((part.logits, part.scores, part.distances) for part in found), strict=True)
    outputs = Outputs(*map(np.concatenate, parts))
    loss, labels = run.model_config.loss, run.validation.labels
    calibration = fit_calibration(outputs, labels, loss=loss, unknown_rate=run.config.unknown_rate)
    return run.evaluation(calibrated_predictions(outputs, calibration, loss=loss)), calibration


def combine(folder: Path, run: Run, calibration: EnsembleCalibration) -> ConvertedNetwork:
    """Returns the ensemble of the networks of all folds, converted, and compared on some pictures.

    Raises:
        UserError: LiteRT cannot compute it, or gives other answers than Keras.
    """
    members = [load_trained_network(member_folder(folder, 1 + index)) for index in range(run.config.folds)]
    converted = ConvertedNetwork(Ensemble(members, run.model_config, calibration))
    chosen = np.linspace(0, len(run.validating) - 1, min(len(run.validating), BATCH_SIZE)).astype(int)
    images = run.validation.images[chosen]
    converted.check(images, converted.network.predict(images))
    return converted


def fold_contents(folds: Sequence[FoldRun], evaluation: Evaluation) -> list[dict]:
    """Returns what is said about each fold, ready for JSON."""
    rows, start = [], 0
    for fold in folds:
        own = slice(start, start + len(fold.judged))
        start = own.stop
        correct, count = int(evaluation.correct[own].sum()), len(fold.judged)
        rows.append(
            {
                "fold": fold.number,
                "epochs": len(fold.history),
                "pictures": count,
                "correct": correct,
                "accuracy": correct / count,
                "accuracy_interval_95": accuracy_interval(correct, count),
            }
        )
    return rows


def report_folds(
    folder: Path,
    folds: Sequence[FoldRun],
    manifest: Sequence[Picture],
    config: TrainConfig,
    model_config: ModelConfig,
    distribution: Distribution,
) -> None:
    """Combines the networks of all folds in one file, prints how accurate they are, and writes the reports.

    Args:
        folder: of the ensemble.
        folds: their runs, in their order.
        manifest: every picture, with its fold.
        config: of the run.
        model_config: of the ensemble.
        distribution: of the training.

    Raises:
        UserError: LiteRT cannot compute the ensemble, or gives other answers than Keras.
    """
    run = run_of_folds(folds, manifest, config, model_config, distribution)
    with status("evaluating ..."):
        evaluation, calibration = judge(folder, folds, run)
        rows = fold_contents(folds, evaluation)
    never_unknown = config.unknown_rate > 0 and math.isinf(calibration.max_distance)
    text = partial(format_folds_report, evaluate(evaluation), folds=rows, never_unknown=never_unknown)
    print(f"\n{text(max_classes=MAX_CLASSES_SHOWN, max_mistakes=MAX_MISTAKES_SHOWN)}")
    with status("combining the networks ..."):
        ensemble = combine(folder, run, calibration)
        ensemble.save(folder)
    write_atomically(folder / TEXT_REPORT, text().encode())
    with status("writing the report ..."):
        write_folds_report(
            folder,
            run,
            evaluation,
            heat_maps=_heat_maps_of_judges(ensemble.network.members, folds, run, evaluation),
            folds=rows,
            source=ensemble.network.source,
        )
        write_suspects(folder, evaluation, run.validation_image)
    print_suspects(folder, evaluation)


def _heat_maps_of_judges(
    members: Sequence[TrainedNetwork], folds: Sequence[FoldRun], run: Run, evaluation: Evaluation
) -> HeatMaps:
    """Returns a function for heat maps of the worst mistakes, each by the network that made it."""
    judges = np.repeat(np.arange(len(folds)), [len(fold.judged) for fold in folds])
    worst = evaluation.mistakes[:MAX_MISTAKES]
    judge_of = {run.validation_image(index).tobytes(): members[judges[index]] for index in worst}

    def heat_maps(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        pairs = zip(images, classes, strict=True)
        return np.concatenate([judge_of[image.tobytes()].heat_maps(image[None], label[None]) for image, label in pairs])

    return heat_maps
