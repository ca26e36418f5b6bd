"""Curves, charts, settings and texts for TensorBoard."""

import html

import pytest
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from network.backend import tf
from pictures.manifest import SKIPPED, Picture
from reports import summaries
from tests.helpers.checkpoints import metrics
from tests.helpers.reports import run_in


def epochs(*accuracies: float, rates: tuple[float, ...] = ()) -> list[dict[str, float]]:
    """Returns a history; the learning rate is 0.001 if none is given."""
    history = [metrics(accuracy) for accuracy in accuracies]
    return [row | {"learning_rate": rate} for row, rate in zip(history, rates or [0.001] * len(history), strict=True)]


def points(history: list[dict[str, float]], run: str) -> dict[str, list[tuple[float, int]]]:
    """Returns what is added after each epoch of a history, by tag."""
    found: dict[str, list[tuple[float, int]]] = {}
    for count in range(1, len(history) + 1):
        for tag, value, step in summaries.scalars(history[:count])[run]:
            found.setdefault(tag, []).append((value, step))
    return found


def test_scalars_have_the_metrics_of_each_epoch():
    history = epochs(0.5, 0.75)
    assert points(history, "train") == {"accuracy": [(0.75, 1), (0.75, 2)], "cost": [(0.25, 1), (0.25, 2)]}
    found = points(history, "validation")
    assert set(found) == {"accuracy", "cost", "accuracy/best", "recall/mean", "recall/worst", "recall/best"}
    assert found["accuracy"] == [(0.5, 1), (0.75, 2)]


def test_scalars_have_the_best_accuracy_so_far():
    found = points(epochs(0.5, 0.75, 0.25, 0.8), "validation")
    assert found["accuracy/best"] == [(0.5, 1), (0.75, 2), (0.75, 3), (0.8, 4)]


def test_learning_rate_is_drawn_from_the_start_once_it_changes():
    assert "learning_rate" not in points(epochs(0.5, 0.6, rates=(0.1, 0.1)), "train")
    found = points(epochs(*[0.5] * 5, rates=(0.1, 0.1, 0.2, 0.2, 0.1)), "train")
    assert found["learning_rate"] == [(0.1, 1), (0.1, 2), (0.2, 3), (0.2, 4), (0.1, 5)]


def test_every_scalar_has_a_description():
    tags = {tag for part in summaries.scalars(epochs(0.5, 0.6, rates=(0.1, 0.2))).values() for tag, *_ in part}
    assert tags | {"images_per_second", "unknown"} == set(summaries.DESCRIPTIONS)


def written(folder, write) -> dict[str, tf.compat.v1.Summary.Value]:
    """Returns the values that a function writes with the default writer, by tag."""
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=0):
        write()
    writer.close()
    (path,) = folder.glob("events*")
    events = [
        tf.compat.v1.Event.FromString(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    return {value.tag: value for event in events for value in event.summary.value}


def text_of(value: tf.compat.v1.Summary.Value) -> str:
    return tf.make_ndarray(value.tensor).item().decode()


def test_texts_have_the_settings_that_differ_and_the_command(tmp_path):
    run = run_in(tmp_path / "bats", batch_size=16)
    found = written(tmp_path, lambda: summaries.write_texts(run))
    settings = text_of(found["settings"])
    assert "| batch&#95;size | 16 | 10 |" in settings
    settings = html.unescape(settings)
    assert "learning" not in settings
    assert f"python trainer.py --model_save_name {tmp_path}/bats --batch_size 16" in settings.replace(
        "--height 16 --width 16 ", ""
    )
    assert "| tensorflow |" in text_of(found["versions"])


def test_texts_have_the_data_with_everything_escaped(tmp_path):
    bad = Picture(class_name="a|b <i>", source="s", path="rawdata/a|b <i>/x.png", status=SKIPPED, reason="is `damaged`")
    run = run_in(tmp_path / "bats", class_names=("a|b <i>", "bee"), per_class=2, extra=(bad,))
    data = text_of(written(tmp_path, lambda: summaries.write_texts(run))["data"])
    assert "| 1 | a&#124;b &#60;i&#62; | 2 | 0 | 2 | 1 | 0 |" in data
    assert "| 2 | bee | 2 | 0 | 2 | 0 | 0 |" in data
    assert "| rawdata/a&#124;b &#60;i&#62;/x&#46;png | skipped: is &#96;damaged&#96; |" in data


@pytest.mark.parametrize(("count", "more"), [(20, ""), (23, "There are 3 more")])
def test_texts_name_at_most_twenty_files(tmp_path, count, more):
    skipped = [
        Picture(class_name="ant", source="s", path=f"{n}.png", status=SKIPPED, reason="empty") for n in range(count)
    ]
    run = run_in(tmp_path / "bats", extra=tuple(skipped))
    data = text_of(written(tmp_path, lambda: summaries.write_texts(run))["data"])
    assert data.count("skipped: empty") == 20
    assert more in data
    assert ("There are" in data) is bool(more)


def test_hyperparameters_are_those_of_the_run_and_its_metrics(tmp_path):
    run = run_in(tmp_path / "bats", batch_size=16, loss="sigmoid")
    found = written(tmp_path, lambda: summaries.write_hyperparameters(run))

    def content(tag: str):
        return plugin_data_pb2.HParamsPluginData.FromString(found[tag].metadata.plugin_data.content)

    experiment = content("_hparams_/experiment").experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == ["accuracy/best", "accuracy", "cost"]
    settings = content("_hparams_/session_start_info").session_start_info.hparams
    assert settings["batch_size"].number_value == 16
    assert settings["loss"].string_value == "sigmoid"
    assert set(settings) == {info.name for info in experiment.hparam_infos}
    assert content("_hparams_/session_start_info").session_start_info.group_name == f"bats in {tmp_path}"


def test_layout_names_tags_that_are_written(tmp_path):
    found = written(tmp_path, summaries.write_layout)
    assert list(found) == ["custom_scalars__config__"]
    (content,) = tf.make_ndarray(found["custom_scalars__config__"].tensor).ravel()
    charts = layout_pb2.Layout.FromString(content).category[0].chart
    lines = [pattern for chart in charts for pattern in chart.multiline.tag]
    assert lines == ["^accuracy$", "^cost$"]
    bands = [tag for chart in charts for band in chart.margin.series for tag in (band.value, band.lower, band.upper)]
    assert bands == ["recall/mean", "recall/worst", "recall/best"]
    assert {*bands, *(line.strip("^$") for line in lines)} <= summaries.CURVES
