"""`report.html`: one page about a training run or an evaluation, without scripts and without anything from elsewhere.

Jinja2 fills the template, since it escapes names by itself; the string templates of the standard library do not.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from answers.evaluation import Evaluation, accuracy_interval
from answers.explain import HeatMaps
from config import TrainConfig
from reports.charts import Chart, epoch_charts, precision_recall_chart, reliability_chart
from reports.gallery import ImageOf, confusions, most_suspicious, worst_mistakes
from reports.sheets import MAX_MATRIX
from system.command_line import read_comments
from system.terminal import printable

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_ROWS = 20  # of a table of classes; all others are folded
_MAX_CURVES = 10
_MAX_REASONS = 20  # why files are not used
_MAX_NAMES = 4  # classes that the title names
_SECTIONS = {
    "data": "Pictures",
    "labels": "Probable label errors",
    "training": "Training",
    "confusions": "Confusions",
    "classes": "Classes",
    "mistakes": "Worst mistakes",
    "calibration": "Calibration",
    "curves": "Precision and recall",
    "settings": "Settings",
}


def render(
    contents: dict, evaluation: Evaluation, heat_maps: HeatMaps, image_of: ImageOf, **galleries: list[dict]
) -> str:
    """Returns a report as HTML.

    Args:
        contents: as from `contents.run_contents` or `contents.folder_contents`.
        evaluation: what they are about.
        heat_maps: of the network.
        image_of: returns the image of an evaluated picture.
        galleries: `duplicates` and `mixed`, as from `gallery.duplicates` and `gallery.in_several_classes`.
    """
    values = {
        "history": [],
        "folds": [],
        "learning_curve": None,
        "duplicates": [],
        "mixed": [],
        **contents,
        **galleries,
        **_heading(contents),
        **_pictures(contents, evaluation, heat_maps, image_of),
        **_tables(contents, evaluation),
        **_charts(contents, evaluation),
        "style": Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        "max_rows": _MAX_ROWS,
        "max_reasons": _MAX_REASONS,
    }
    shown = {
        "data": contents["data"].get("classes") or contents["data"]["unused"] or contents["data"]["notes"],
        "labels": values["label_errors"] or values["both"] or values["neither"] or values["mixed"],
        "training": values["epoch_charts"],
    }
    values["sections"] = [(anchor, text) for anchor, text in _SECTIONS.items() if shown.get(anchor, True)]
    return _environment().get_template("report.html").render(values)


def _environment() -> Environment:
    def finalize(value: Any) -> Any:
        """Names may have control characters, and bytes that are not UTF-8, which cannot be encoded."""
        return printable(value) if type(value) is str else value

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    environment.filters["score"] = lambda value: f"{value:.3f}"
    return environment


def _heading(contents: dict) -> dict:
    names = list(contents["report"]["classes"])
    *first, last = names
    title = f"{', '.join(first)} or {last}" if len(names) <= _MAX_NAMES else f"A network for {len(names)} classes"
    count = contents["report"]["pictures"]
    is_run = True
    if folds := contents.get("folds"):
        kept = contents["data"]["kept"]
        subtitle = (
            f"{len(folds)} networks, trained on {kept:,} pictures. Each of {count:,} pictures was judged by the "
            "network that was not trained on it."
        )
    elif history := contents.get("history"):
        kept, epochs = contents["data"]["kept"], "1 epoch" if len(history) == 1 else f"{len(history):,} epochs"
        subtitle = f"Trained on {kept - count:,} pictures in {epochs}, validated on {count:,} others."
    else:
        is_run = False
        subtitle = f"Tested on {count:,} pictures: {contents['command']}"
    kind = "judged" if folds else "validation" if is_run else "evaluated"
    return {"title": title, "subtitle": subtitle, "kind": kind, "is_run": is_run}


def _pictures(contents: dict, evaluation: Evaluation, heat_maps: HeatMaps, image_of: ImageOf) -> dict:
    is_small = len(evaluation.class_names) <= MAX_MATRIX
    return {
        "mistakes": worst_mistakes(evaluation, heat_maps, image_of),
        "number_of_mistakes": len(evaluation.mistakes),
        **dict(zip(("label_errors", "both", "neither"), most_suspicious(evaluation, image_of).values(), strict=True)),
        "number_of_label_errors": len(contents["probable_label_errors"]),
        "number_of_duplicates": contents["data"].get("repeated_photos", 0),
        "confusions": [] if is_small else confusions(evaluation, image_of),
    }


def _tables(contents: dict, evaluation: Evaluation) -> dict:
    classes, counts = list(contents["report"]["classes"].items()), list(contents["data"].get("classes", {}).items())
    if len(classes) > _MAX_ROWS:
        classes.sort(key=lambda item: 2 if item[1]["recall"] is None else item[1]["recall"])
    matrix = [
        {"name": name, "counts": row.tolist(), "support": int(row.sum())}
        for name, row in zip(evaluation.class_names, evaluation.confusion_matrix, strict=True)
    ]
    return {
        "classes": classes,
        "class_counts": counts,
        "smallest_classes": sorted(counts, key=lambda item: item[1]["train"])[:_MAX_ROWS],
        "matrix": matrix if len(matrix) <= MAX_MATRIX else [],
        "guessing": max(row["support"] for row in matrix) / contents["report"]["pictures"],
        "setting_groups": _setting_groups(contents["settings"]),
        "changed": any(row["value"] != row["default"] for row in contents["settings"].values()),
    }


def _setting_groups(settings: dict[str, dict]) -> list[tuple[str, list[dict]]]:
    """Returns the settings in the groups of `config.py`, with their meaning."""
    groups: dict[str, list[dict]] = {}
    for name, (group, meaning) in read_comments(TrainConfig).items():
        if name in settings:
            groups.setdefault(group, []).append({"name": name, "help": meaning, **settings[name]})
    return list(groups.items())


def _charts(contents: dict, evaluation: Evaluation) -> dict:
    averages = [(average, label) for label, average in enumerate(evaluation.average_precisions) if average is not None]
    shown = sorted(averages)[:_MAX_CURVES] if len(averages) > _MAX_CURVES else averages
    bins = contents["reliability"]
    intervals = (accuracy_interval(round(found["accuracy"] * found["count"]), found["count"]) for found in bins)
    history = contents.get("history")
    return {
        "epoch_charts": epoch_charts(history, epoch=contents["epoch"]) if history else [],
        "reliability_chart": reliability_chart(
            [
                (found["mean_score"], found["accuracy"], *ends, found["count"])
                for found, ends in zip(bins, intervals, strict=True)
            ]
        ),
        "curves": [(_curve(evaluation, label), average) for average, label in shown],
        "number_of_curves": len(averages),
    }


def _curve(evaluation: Evaluation, label: int) -> Chart:
    curve = evaluation.precision_recall(label)
    return precision_recall_chart(evaluation.class_names[label], curve.recall, curve.precision)
