"""What a report says, as a dict: `report.json`, and what `report.html` is made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from answers.evaluation import Evaluation, evaluate
from answers.label_errors import label_errors
from answers.predictions import short_float
from answers.suspects import BOTH, NEITHER, find_suspects, suspect_row
from config import TrainConfig
from pictures.duplicates import mixed_groups, same_photos
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, Picture
from pictures.summary import count_classes, notes, unused_files
from reports.run_info import command_of
from system.validation import Validated
from system.versions import versions
from training.history import History, best_epoch

if TYPE_CHECKING:  # loading it would load TensorFlow, which the page about a folder does not need
    from reports.run import Run

VERSION = 1  # of the JSON format
_MAX_PATHS = 10  # that are named for one reason


def evaluation_contents(evaluation: Evaluation) -> dict:
    """Returns what is said about predictions for pictures whose class is known, ready for JSON."""
    names, predicted = evaluation.class_names, evaluation.predictions.predicted
    return {
        "report": evaluate(evaluation),
        "average_precision": dict(zip(names, evaluation.average_precisions, strict=True)),
        "reliability": [found._asdict() for found in evaluation.reliability_bins],
        "probable_label_errors": [
            {
                "picture": evaluation.paths[index],
                "label": names[evaluation.labels[index]],
                "score_of_label": short_float(evaluation.true_scores[index]),
                "predicted": names[predicted[index]],
                "score": short_float(evaluation.top_scores[index]),
            }
            for index in label_errors(evaluation)
        ],
        "may_show_both": _suspects(evaluation, BOTH),
        "may_show_neither": _suspects(evaluation, NEITHER),
    }


def _suspects(evaluation: Evaluation, kind: str) -> list[dict]:
    rows = (suspect_row(evaluation, suspect) for suspect in find_suspects(evaluation) if suspect.kind == kind)
    return [{name: value for name, value in row.items() if name != "kind"} for row in rows]


def run_contents(run: "Run", evaluation: Evaluation, *, history: History, epoch: int, source: str) -> dict:
    """Returns what is said about a training run, ready for JSON.

    Args:
        run: its settings and its pictures.
        evaluation: the predictions for the validation pictures.
        history: the metrics of its epochs.
        epoch: the one whose weights were kept, from 1.
        source: checksum of the checkpoint that has them.
    """
    return {
        "version": VERSION,
        "epoch": epoch,
        "best_epoch": best_epoch(history) + 1,
        "source": source,
        **evaluation_contents(evaluation),
        "data": _data(run.pictures),
        "history": list(history),
        **_settings(run.config, command_of(run.config), run.device),
    }


def folds_contents(run: "Run", evaluation: Evaluation, *, folds: Sequence[dict], source: str) -> dict:
    """Returns what is said about a training run with several folds, ready for JSON.

    Args:
        run: of all folds together.
        evaluation: the predictions for all pictures, each by the network that was not trained on it.
        folds: as from `folds.fold_contents`.
        source: checksum of the ensemble.
    """
    return {
        "version": VERSION,
        "folds": list(folds),
        "source": source,
        **evaluation_contents(evaluation),
        "data": _data(run.pictures),
        **_settings(run.config, command_of(run.config), run.device),
    }


def folder_contents(
    evaluation: Evaluation,
    settings: Validated,
    *,
    command: str,
    device: str,
    unreadable: Iterable[tuple[str, str]],
    notes: Mapping[str, Sequence[str]],
) -> dict:
    """Returns what is said about a folder of pictures that a network was asked about, ready for JSON.

    Args:
        evaluation: the predictions for them.
        settings: of the network.
        command: that was used.
        device: on which it ran.
        unreadable: the path of each file that could not be read, and why.
        notes: the paths of the pictures whose image does not show everything, by what is missing.
    """
    unused: dict[tuple[str, str], list[str]] = {}
    for path, reason in unreadable:
        unused.setdefault((SKIPPED, reason), []).append(path)
    return {
        "version": VERSION,
        **evaluation_contents(evaluation),
        "data": {"unused": _unused(unused), "notes": _notes(notes)},
        **_settings(settings, command, device),
    }


def _data(pictures: Sequence[Picture]) -> dict:
    mixed = mixed_groups(pictures)
    return {
        "classes": {name: count._asdict() for name, count in count_classes(pictures).items()},
        "kept": sum(picture.status == KEPT for picture in pictures),
        "unused": _unused(unused_files(pictures, (SKIPPED, EXCLUDED))),
        "notes": _notes(notes(pictures)),
        "repeated_photos": len(same_photos(pictures)) - len(mixed),
        "in_several_classes": [[picture.path for picture in group] for group in mixed],
    }


def _unused(files: Mapping[tuple[str, str], Sequence[str]]) -> list[dict]:
    return [
        {"status": status, "reason": reason, "count": len(paths), "paths": list(paths[:_MAX_PATHS])}
        for (status, reason), paths in files.items()
    ]


def _notes(found: Mapping[str, Sequence[str]]) -> list[dict]:
    return [{"note": note, "count": len(paths), "paths": list(paths[:_MAX_PATHS])} for note, paths in found.items()]


def _settings(settings: Validated, command: str, device: str) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    return {
        "command": command,
        "settings": {
            name: {"value": getattr(settings, name), "default": default}
            for name, default in defaults.items()
            if hasattr(settings, name)
        },
        "device": device,
        "versions": versions(),
    }
