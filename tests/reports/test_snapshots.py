"""Pictures, histograms and curves of a network for TensorBoard."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from answers.calibration import Calibration
from network.backend import tf
from reports import snapshots
from tests.helpers.reports import network_of, predictions, run_in
from tests.helpers.runs import read_events


def written(folder: Path, write: Callable[[], None]) -> dict[str, np.ndarray]:
    """Returns what a function writes with the default writer, by tag."""
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=3):
        write()
    writer.close()
    events = read_events(folder)
    return {tag: tf.make_ndarray(events.Tensors(tag)[-1].tensor_proto) for tag in events.Tags()["tensors"]}


FITTED = Calibration(
    mean=np.zeros(224, np.float32),
    whitening=np.eye(224, dtype=np.float32),
    references=np.eye(1024, dtype=np.float32),
    centers=np.zeros(2, np.float32),
    spreads=np.ones(2, np.float32),
)


def snapshot(folder: Path, run, predicted: list[int], scores: list[float] | None = None) -> dict[str, np.ndarray]:
    classes = len(run.model_config.class_names)
    evaluation = run.evaluation(predictions(predicted, classes=classes, scores=scores))
    classifier = network_of(run)
    classifier.calibration = FITTED
    return written(folder, lambda: snapshots.write_snapshot(run, classifier, evaluation))


def size_of(image: np.ndarray) -> tuple[int, int]:
    """Returns width and height of an image summary."""
    width, height, png = image
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (int(height), int(width))
    return int(width), int(height)


@pytest.mark.parametrize("color_channels", [1, 3])
def test_snapshot_has_pictures_histograms_and_the_unknown_share(tmp_path, color_channels):
    run = run_in(tmp_path / "bats", color_channels=color_channels)
    found = snapshot(tmp_path, run, [0, 0, 0, 1, 1, 0])
    layers = ("conv_1", "conv_2", "conv_3", "fully_connected_1", "logits")
    assert set(found) == {
        *("pictures/confusion", "pictures/mistakes", "pictures/label errors", "unknown", "scores of the true class"),
        *(f"weights/{layer}" for layer in layers),
    }
    assert found["unknown"] == 0
    assert all(size_of(found[f"pictures/{name}"])[0] == 350 for name in ("confusion", "mistakes", "label errors"))


def test_snapshot_without_calibration_has_no_unknown_share(tmp_path):
    run = run_in(tmp_path / "bats", per_class=1)
    evaluation = run.evaluation(predictions([0, 1], classes=2))
    assert "unknown" not in written(tmp_path, lambda: snapshots.write_snapshot(run, network_of(run), evaluation))


@pytest.mark.parametrize(("mistakes", "rows"), [(0, 0), (1, 1), (2, 1), (3, 2), (8, 4), (9, 4)])
def test_snapshot_shows_the_worst_eight_mistakes(tmp_path, mistakes, rows):
    run = run_in(tmp_path / "bats", per_class=5)
    right = [0] * 5 + [1] * 5
    found = snapshot(tmp_path, run, [1 - label if n < mistakes else label for n, label in enumerate(right)])
    height = rows * (3 + 84 + 2 * 14) + 3 if rows else 28
    assert size_of(found["pictures/mistakes"]) == (350, height)


def test_histogram_has_the_scores_of_the_true_classes(tmp_path):
    run = run_in(tmp_path / "bats", per_class=2)
    found = snapshot(tmp_path, run, [0, 1, 1, 1], [0.9, 0.9, 0.6, 0.6])["scores of the true class"]
    assert found[:, 2].sum() == 4
    assert found[0, 0] == pytest.approx(0.1)  # the lowest: the second picture is predicted as bee with 0.9
    assert found[-1, 1] == pytest.approx(0.9)


@pytest.mark.parametrize(("classes", "is_matrix"), [(20, True), (21, False)])
def test_confusion_is_a_matrix_up_to_twenty_classes(tmp_path, monkeypatch, classes, is_matrix):
    sheets = []
    monkeypatch.setattr(snapshots, "sheet", lambda tiles: sheets.append(tiles) or np.zeros((8, 350, 3), np.uint8))
    run = run_in(tmp_path / "bats", class_names=tuple(f"c{n:02d}" for n in range(classes)), per_class=2)
    predicted = run.validation.labels.copy()
    predicted[[0, 1, 2]] = [5, 5, 6]  # class 0 twice as 5, class 1 once as 6
    snapshot(tmp_path, run, predicted.tolist())
    captions = [[tile.caption[0] for tile in tiles] for tiles in sheets]
    assert (["is c00", "2 x c05", "is c01", "1 x c06"] in captions) is not is_matrix


def test_data_sheets_show_transforms_and_no_duplicates_if_there_are_none(tmp_path):
    run = run_in(tmp_path / "bats")
    found = written(tmp_path, lambda: snapshots.write_data_sheets(run))
    assert set(found) == {"pictures/training"}
    assert size_of(found["pictures/training"]) == (350, 4 * (3 + 84 + 14) + 3)


def test_data_sheets_show_pairs_of_the_same_photo(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(snapshots, "sheet", lambda tiles: sheets.append(tiles) or np.zeros((8, 350, 3), np.uint8))
    run = run_in(tmp_path / "bats")
    one, other = run.training[0], run.training[3]  # an ant and a bee
    other = replace(other, photo=one.photo)
    run = replace(run, training=[*run.training[:3], other, *run.training[4:]])
    run = replace(run, pictures=[*run.training, *run.validating])
    assert "pictures/duplicates" in written(tmp_path, lambda: snapshots.write_data_sheets(run))
    assert [(tile.caption, tile.is_wrong) for tile in sheets[-1]] == [
        (["ant", "train0"], True),
        (["bee", "train3"], True),
    ]


def test_final_curves_of_a_class_that_is_not_utf_8_have_its_escaped_name(tmp_path):
    run = run_in(tmp_path / "bats", class_names=("a\nb", "caf\udce9"), per_class=1)
    evaluation = run.evaluation(predictions([0, 1], classes=2))
    found = written(tmp_path, lambda: snapshots.write_final(evaluation))
    assert set(found) == {f"precision and recall/{name}/pr_curves" for name in ("a\\nb", "caf\\udce9")}


def test_final_curves_are_precision_and_recall_of_each_class(tmp_path):
    run = run_in(tmp_path / "bats", per_class=2)
    evaluation = run.evaluation(predictions([0, 1, 1, 1], classes=2, scores=[0.9, 0.9, 0.6, 0.6]))
    found = written(tmp_path, lambda: snapshots.write_final(evaluation))
    assert set(found) == {"precision and recall/ant/pr_curves", "precision and recall/bee/pr_curves"}
    assert all(map(snapshots.is_final, found))
    curve = found["precision and recall/ant/pr_curves"]
    half = curve[:, 50]  # true and false positives, true and false negatives, precision and recall at 0.5
    assert half.tolist() == [1, 0, 2, 1, 1, 0.5]
