"""How right a trained network is on pictures whose class is known: figures, and the same figures as text."""

from collections.abc import Sequence

import numpy as np

from files import printable

_BINS = 10  # of the calibration error
_WORST = 10  # mistakes that are named
_WIDEST = 12  # classes up to which the whole confusion matrix is printed


def evaluate(
    *,
    pictures: Sequence[str],
    labels: np.ndarray,
    named: np.ndarray,
    scores: np.ndarray,
    unknown: np.ndarray,
    class_names: Sequence[str],
) -> dict:
    """The figures of a report, ready for JSON.

    Args:
        pictures: names, (count,).
        labels: int (count,), the places of the true classes in `class_names`.
        named: int (count,), the places of the classes that were named.
        scores: float (count,), 0..1, of those.
        unknown: bool (count,), whether it was called unknown besides. That changes none of the other figures.
        class_names: of the network.

    Raises:
        ValueError: there are no pictures.
    """
    if not len(labels):
        raise ValueError("nothing to evaluate")
    right = named == labels
    matrix = confusion_matrix(labels, named, classes=len(class_names))
    figures = class_figures(matrix)
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-scores[wrong], kind="stable")][:_WORST]
    return {
        "pictures": len(labels),
        "right": int(right.sum()),
        "accuracy": float(right.mean()),
        "accuracy_interval_95": accuracy_interval(int(right.sum()), len(labels)),
        "mean_recall": float(np.mean([row["recall"] for row in figures if row["count"]])),
        "calibration_error": calibration_error(scores, right),
        "unknown": int(unknown.sum()),
        "classes": dict(zip(class_names, figures, strict=True)),
        "confusion_matrix": matrix.tolist(),
        "worst_mistakes": [
            {
                "picture": pictures[place],
                "class": class_names[labels[place]],
                "named": class_names[named[place]],
                "score": float(scores[place]),
            }
            for place in worst
        ],
    }


def confusion_matrix(labels: np.ndarray, named: np.ndarray, *, classes: int) -> np.ndarray:
    """int (classes, classes): how many pictures of the class of a row were named as the class of a column."""
    return np.bincount(labels * classes + named, minlength=classes**2).reshape(classes, classes)


def class_figures(matrix: np.ndarray) -> list[dict]:
    """Of each class: precision (how many of those named so are it), recall (how many of it are named so), F1 (their
    harmonic mean) and count; None where there is nothing to divide by."""

    def share(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    return [
        {
            "precision": share(hits, named),
            "recall": share(hits, count),
            "f1": share(2 * hits, named + count),
            "count": int(count),
        }
        for hits, named, count in zip(matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1), strict=True)
    ]


def accuracy_interval(right: int, count: int) -> list[float]:
    """The 95 % interval of an accuracy (Wilson 1927), which holds for few pictures and near 0 and 1 as well."""
    from scipy.stats import binomtest  # here, since it takes as long to load as hundreds of pictures to be named

    interval = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def calibration_error(scores: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: how far scores are from the share of right answers, on average.

    The answers are sorted into 10 equally wide bins by the score of the class they name; the differences between mean
    score and share of right answers are averaged over the answers (Naeini et al. 2015, Guo et al. 2017,
    https://arxiv.org/abs/1706.04599). Even perfect scores get about 0.04 on 200 pictures, by chance.

    Args:
        scores: float (count,), 0..1, of the classes named.
        right: bool (count,).
    """
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=scores - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(right))


def as_text(report: dict) -> str:
    """The report on lines of a terminal."""
    low, high = report["accuracy_interval_95"]
    count = report["pictures"]
    lines = [
        f"accuracy {report['accuracy']:.4f}: {report['right']} of {count} right, 95 % interval {low:.3f} to {high:.3f}",
        f"mean recall {report['mean_recall']:.4f}: the accuracy if every class counts alike",
        f"calibration error {report['calibration_error']:.3f}: how far scores are from the share of right answers",
        f"called unknown: {report['unknown']} of {count} ({report['unknown'] / count:.1%})",
        "",
        f"{'class':<20} {'precision':>9} {'recall':>9} {'F1':>9} {'count':>9}",
    ]
    for name, row in report["classes"].items():
        cells = ("-" if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        lines.append(f"{printable(name):<20} " + " ".join(f"{cell:>9}" for cell in cells) + f" {row['count']:>9}")
    lines += ["", *_confusions(report)]
    if report["worst_mistakes"]:
        lines += ["", "worst mistakes, the surest first:"]
    for mistake in report["worst_mistakes"]:
        picture, is_one, named = (printable(mistake[key]) for key in ("picture", "class", "named"))
        lines.append(f"{picture}  is {is_one}, named {named} with {mistake['score']:.3f}")
    return "\n".join(lines)


def _confusions(report: dict) -> list[str]:
    names = [printable(name) for name in report["classes"]]
    matrix = np.array(report["confusion_matrix"])
    if len(names) <= _WIDEST:
        width = max(7, *(len(name) for name in names))
        head = " ".join(f"{name:>{width}}" for name in names)
        rows = (" ".join(f"{count:>{width}}" for count in row) for row in matrix)
        return [f"{'is ↓   named →':<20} {head}", *(f"{name:<20} {row}" for name, row in zip(names, rows, strict=True))]
    off = matrix * (1 - np.eye(len(names), dtype=int))
    most = np.argsort(-off, axis=None, kind="stable")[:_WORST]
    pairs = [divmod(int(place), len(names)) for place in most if off.flat[place]]
    head = ["most frequent confusions:"] if pairs else []
    return [*head, *(f"{off[i, j]:>5} × {names[i]} named {names[j]}" for i, j in pairs)]
