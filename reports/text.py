"""What is said at the end of a run and of an evaluation: plain text for a terminal of 80 columns and for report.txt."""

import statistics
from collections.abc import Sequence

import numpy as np

from answers.evaluation import largest_confusions
from system.terminal import columns, fitted, plural, printable

MAX_CLASSES_SHOWN, MAX_MISTAKES_SHOWN = 12, 5  # on the terminal; the reports have more
_COLUMNS = 80
_BAR = 20  # letters of a recall of 1
_MAX_NAME = 22  # letters of a class in the first column of a table
_MAX_MATRIX = 12  # classes up to which the whole confusion matrix is shown
_MAX_CONFUSIONS = 10  # that are shown of more classes
_NEVER_UNKNOWN = "They are too few to recognize unknown ones: no picture will be called unknown."


def format_run_report(result: dict, *, epoch: int, never_unknown: bool, **limits: int) -> str:
    """Returns the report of a training run as lines; only those that name a file may be longer than 80 columns.

    Args:
        result: as from `evaluate`, of the validation pictures.
        epoch: whose weights are kept.
        never_unknown: whether there were too few pictures to recognize unknown ones.
        limits: as of `format_report`.
    """
    head = f"On the {plural(result['pictures'], 'validation picture')}, after epoch {epoch}:"
    remarks = [
        "The end of the run and the scores were chosen with these pictures,",
        "so expect slightly less accuracy on new ones.",
    ]
    if never_unknown:
        remarks.append(_NEVER_UNKNOWN)
    return "\n\n".join([head, format_report(result, **limits), "\n".join(remarks)]) + "\n"


def format_folds_report(result: dict, *, folds: Sequence[dict], never_unknown: bool, **limits: int) -> str:
    """Returns the report of a training run with several folds as lines.

    Args:
        result: as from `evaluate`, of all pictures that were judged.
        folds: as from `folds.fold_contents`.
        never_unknown: whether there were too few pictures to recognize unknown ones.
        limits: as of `format_report`.
    """
    head = f"Each of {plural(result['pictures'], 'picture')} was judged by the network that was not trained on it:"
    accuracies = [100 * fold["accuracy"] for fold in folds]
    each = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
    deviation = f"{statistics.mean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f} %"
    remarks = [
        f"Accuracy of each of the {len(folds)} networks: {each}; mean and deviation {deviation}.",
        "predict.py answers with all of them together, which is usually more accurate.",
        "The end of each run was chosen with the pictures that its network judged,",
        "so expect slightly less accuracy of a single one on new pictures.",
    ]
    if never_unknown:
        remarks.append(_NEVER_UNKNOWN)
    return "\n\n".join([head, format_report(result, **limits), "\n".join(remarks)]) + "\n"


def format_report(report: dict, *, max_classes: int | None = None, max_mistakes: int | None = None) -> str:
    """Returns the report of an evaluation as lines.

    Args:
        report: as from `evaluate`.
        max_classes: if there are more, so many are shown, those with the lowest recall.
        max_mistakes: so many are shown, of those that the report has.
    """
    parts = [
        _format_figures(report),
        _format_classes(report["classes"], max_classes),
        _format_confusions(report),
        _format_mistakes(report, max_mistakes),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _format_figures(report: dict) -> list[str]:
    count, unknown, accuracy = report["pictures"], report["unknown"], report["accuracy"]
    low, high = report["accuracy_interval_95"]
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    rows = [("accuracy", accuracy, f"{report['correct']:,} of {plural(count, 'picture')}; {interval}")]
    if abs(report["balanced_accuracy"] - accuracy) >= 0.0005:
        rows.append(("balanced accuracy", report["balanced_accuracy"], "mean recall: all classes count equally"))
    error = report["expected_calibration_error"]
    rows.append(("calibration error", error, "mean difference between score and fraction correct"))
    rows.append(("called unknown", unknown / count, f"{unknown:,} of {plural(count, 'picture')}"))
    return [f"{name:<18} {100 * value:>5.1f} %  {text}" for name, value, text in rows]


def _format_classes(classes: dict[str, dict], max_classes: int | None) -> list[str]:
    """Returns a table with the precision, the recall, F1 and the pictures of each class, and a bar for its recall."""
    rows, left = list(classes.items()), 0
    if max_classes and len(rows) > max_classes:
        rows.sort(key=lambda item: (item[1]["recall"] is None, item[1]["recall"] or 0))
        rows, left = rows[:max_classes], len(rows) - max_classes
    width = _width_of_names([name for name, _ in rows], least=len("class"))
    lines = [f"{'class':<{width}}  {'precision':>9}  {'recall':>6}  {'F1':>5}  {'pictures':>8}"]
    for name, row in rows:
        precision, recall, f1 = (
            "-" if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1")
        )
        cells = f"{precision:>9}  {recall:>6}  {f1:>5}  {row['support']:>8,}"
        lines.append(f"{fitted(printable(name), width)}  {cells}  {_bar(row['recall'] or 0)}".rstrip())
    if left:
        lines.append(f"and {left:,} more classes, whose recall is not lower")
    return lines


def _bar(fraction: float) -> str:
    """Returns a bar of up to 20 letters, in steps of an eighth of a letter."""
    whole, eighths = divmod(round(fraction * _BAR * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()


def _width_of_names(names: Sequence[str], *, least: int) -> int:
    return min(_MAX_NAME, max(least, *(columns(printable(name)) for name in names)))


def _format_confusions(report: dict) -> list[str]:
    """Returns the confusion matrix or, if there are many classes, its largest entries."""
    matrix = np.array(report["confusion_matrix"])
    names = list(report["classes"])
    if len(names) <= _MAX_MATRIX:
        return _format_matrix(matrix, names)
    pairs = largest_confusions(matrix, _MAX_CONFUSIONS)
    title = ["most frequent confusions:"] if pairs else []
    rows = (f"{matrix[i, j]:>5} × {_short(names[i])} predicted as {_short(names[j])}" for i, j in pairs)
    return [*title, *rows]


def _format_matrix(matrix: np.ndarray, names: Sequence[str]) -> list[str]:
    corner = "true ↓  predicted →"
    first = _width_of_names(names, least=len(corner))
    longest = max(columns(printable(name)) for name in names)
    room = (_COLUMNS - first) // len(names) - 2
    width = max(len(str(matrix.max())), min(longest, room))
    head = "".join(f"  {_right(name, width)}" for name in names)
    rows = ("".join(f"  {count:>{width}}" for count in row) for row in matrix)
    return [
        f"{corner:<{first}}{head}",
        *(f"{fitted(printable(name), first)}{row}" for name, row in zip(names, rows, strict=True)),
    ]


def _short(name: str) -> str:
    """Returns a name as in the first column of a table."""
    return fitted(printable(name), _MAX_NAME).rstrip()


def _right(name: str, width: int) -> str:
    """Returns a name that takes this many columns, aligned to the right."""
    cell = fitted(printable(name), width).rstrip()
    return " " * (width - columns(cell)) + cell


def _format_mistakes(report: dict, max_mistakes: int | None) -> list[str]:
    mistakes, count = report["worst_mistakes"][:max_mistakes], report["pictures"] - report["correct"]
    if not mistakes:
        return []
    worst = f"the {len(mistakes)} worst" if len(mistakes) > 1 else "the worst"
    lines = [f"{worst} of {count:,} mistakes:" if len(mistakes) < count else "mistakes, highest score first:"]
    for mistake in mistakes:
        picture, true_class, predicted = printable(mistake["picture"]), mistake["true_class"], mistake["predicted"]
        what = f"is {_short(true_class)}, predicted {_short(predicted)} with {mistake['score']:.3f}"
        fits = columns(f"{picture}  {what}") <= _COLUMNS
        lines += [f"{picture}  {what}"] if fits else [picture, f"    {what}"]
    return lines
