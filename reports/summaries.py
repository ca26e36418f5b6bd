"""Metrics, charts, settings and texts for TensorBoard, written with the default writer of `tf.summary`."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalars
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from network.backend import own_settings, tf
from pictures.manifest import EXCLUDED, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.summary import count_classes, notes, unused_files
from reports.run import Run
from reports.run_info import changed_settings, command_of
from system.terminal import printable
from system.versions import versions
from training.callbacks import SPEED
from training.history import History, best_epoch

with own_settings():  # it imports `tf.keras`, which fails with TF_USE_LEGACY_KERAS
    from tensorboard.plugins.hparams import api as hparams

_MAX_FILES = 20  # in a table

# Tag → metric of an epoch. Curves with the same tag are drawn in one chart.
_TRAIN_SCALARS = {"accuracy": "accuracy", "cost": "loss"}
_VALIDATION_SCALARS = {
    "accuracy": "val_accuracy",
    "cost": "val_loss",
    "recall/mean": "val_recall_mean",
    "recall/worst": "val_recall_worst",
    "recall/best": "val_recall_best",
}
UNKNOWN = "unknown"
_BEST, _RATE = "accuracy/best", "learning_rate"
CURVES = {*_TRAIN_SCALARS, *_VALIDATION_SCALARS, _BEST, _RATE}  # everything that follows from the history

DESCRIPTIONS = {
    "accuracy": "Fraction of pictures that are predicted correctly. One step is one epoch. Training is measured on "
    "transformed pictures, with values dropped, so it may be lower than validation.",
    _BEST: "Validation accuracy of the network that is kept: the best so far, or the newest while the rate falls.",
    "cost": "The error that the training reduces. If it rises for validation and falls for training, the network "
    "memorizes its pictures: more pictures help most.",
    "recall/mean": "Mean of the recalls of the classes, which all count equally. The recall of a class is the fraction "
    "of its validation pictures that are predicted correctly.",
    "recall/worst": "Recall of the class that is recognized worst. If it stays far below the mean, look at the "
    "confusion matrix, and collect more pictures of that class.",
    "recall/best": "Recall of the class that is recognized best.",
    _RATE: "Step size of the optimizer. It is drawn only if it has changed.",
    SPEED: "Training pictures per second. A lower value means that the machine had other work.",
    UNKNOWN: "Fraction of the validation pictures that would be called unknown. All of them are of known classes, so "
    "it should be near `--unknown_rate`, or below it.",
}


# ---- scalars ----


def scalars(history: History) -> dict[str, list[tuple[str, float, int]]]:
    """Returns the points to add after the last epoch of a history: by run, each with tag, value and step."""
    step, metrics = len(history), history[-1]
    train, validation = (
        [(tag, metrics[name], step) for tag, name in tags.items()] for tags in (_TRAIN_SCALARS, _VALIDATION_SCALARS)
    )
    validation.append((_BEST, history[best_epoch(history)]["val_accuracy"], step))
    rates = [epoch[_RATE] for epoch in history]
    if len(set(rates)) > 1:  # a constant one is not worth a chart
        first = 0 if len(set(rates[:-1])) == 1 else step - 1
        train += [(_RATE, rate, epoch + 1) for epoch, rate in enumerate(rates) if epoch >= first]
    return {TRAIN: train, VALIDATION: validation}


def write_scalars(points: Sequence[tuple[str, float, int]]) -> None:
    """Writes tags, values and steps; those of a step together: `tf.summary.scalar` takes four times as long."""
    for step, together in groupby(points, key=itemgetter(2)):
        # Serialized messages one after the other are the same message with all values.
        parts = (scalar_pb(tag, value, description=DESCRIPTIONS[tag]) for tag, value, _ in together)
        tf.summary.experimental.write_raw_pb(b"".join(part.SerializeToString() for part in parts), step=step)


def write_layout() -> None:
    """Writes the charts of the tab Custom Scalars."""

    def lines(title: str, tag: str) -> layout_pb2.Chart:
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$"]))

    recall = layout_pb2.MarginChartContent.Series(value="recall/mean", lower="recall/worst", upper="recall/best")
    charts = [
        lines("accuracy", "accuracy"),
        lines("cost", "cost"),
        layout_pb2.Chart(
            title="recall of the classes: mean, and from the worst to the best",
            margin=layout_pb2.MarginChartContent(series=[recall]),
        ),
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="training and validation", chart=charts)])
    write_raw(custom_scalars.pb(layout))


def write_raw(summary: tf.compat.v1.Summary) -> None:
    tf.summary.experimental.write_raw_pb(summary.SerializeToString())


# ---- settings ----

_HYPERPARAMETERS = (
    *("batch_size", "learning_rate", "loss", "height", "width", "dropout"),
    *("random_shift", "random_rotation", "random_zoom", "random_contrast", "seed"),
)
_METRICS = {_BEST: "best validation accuracy", "accuracy": "last validation accuracy", "cost": "last validation cost"}


def write_hyperparameters(run: Run) -> None:
    """Writes the row of this run in the tab HParams, which compares several runs."""
    settings = {name: getattr(run.config, name) for name in _HYPERPARAMETERS}
    metrics = [hparams.Metric(tag, display_name=name) for tag, name in _METRICS.items()]
    hparams.hparams_config(hparams=[hparams.HParam(name) for name in settings], metrics=metrics)
    hparams.hparams(settings, trial_id=_trial_name(run.config.model_save_name))


def _trial_name(folder: str) -> str:
    """Returns a name for the first column of HParams, which shows about 16 letters: the folder, then where it is."""
    path = Path(folder)
    return printable(path.name if path.parent == Path() else f"{path.name} in {path.parent}")


def write_texts(run: Run) -> None:
    """Writes the tab Text: the data, the settings that differ from the defaults, and the versions."""
    tf.summary.text("data", _data_text(run.pictures))
    changed = changed_settings(run.config)
    # Not as a block, which would not be wrapped.
    command = f"Repeat the run with the same pictures:\n\n<code>{_escaped(command_of(run.given or run.config))}</code>"
    text = _table(("setting", "value", "default"), changed) if changed else "All settings have their default values."
    tf.summary.text("settings", f"{text}\n\n{command}")
    tf.summary.text("versions", _table(("name", "value"), [("device", run.device), *versions().items()]))


def _data_text(pictures: Sequence[Picture]) -> str:
    counts = count_classes(pictures)
    rows = [
        (number, name, count.train, count.copies, count.validation, count.skipped, count.excluded)
        for number, (name, count) in enumerate(counts.items(), start=1)
    ]
    parts = [_table(("number", "class", "train", "of them copies", "validation", "skipped", "excluded"), rows)]
    files = [
        (path, f"{status}: {reason}")
        for (status, reason), paths in unused_files(pictures, (SKIPPED, EXCLUDED)).items()
        for path in paths
    ]
    files += [(path, note) for note, paths in notes(pictures).items() for path in paths]
    if files:
        more = f"\n\nThere are {len(files) - _MAX_FILES} more in `manifest.csv`." if len(files) > _MAX_FILES else ""
        parts.append(_table(("file", "remark"), files[:_MAX_FILES]) + more)
    return "\n\n".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown; what is special in Markdown or HTML is escaped."""
    lines = [header, ["---"] * len(header), *([_escaped(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    return "".join(f"&#{ord(char)};" if char in "\\`*_{}[]()<>#+-.!|&~" else char for char in printable(text))
