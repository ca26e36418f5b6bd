"""When TensorBoard's data is written: every epoch once, snapshots at some, whatever happens in between."""

import math
import shutil
from pathlib import Path

import pytest

from model import generate_model
from network.backend import tf
from reports import tensorboard as module
from reports.tensorboard import TensorBoard
from tests.helpers import checkpoints
from tests.helpers.reports import network_of, run_in
from tests.helpers.runs import read_events, scalars
from training.callbacks import WeightAveraging

SNAPSHOT = "pictures/confusion"


def metrics(epoch: int, accuracy: float | None = None) -> dict[str, float]:
    """Returns the metrics of an epoch, counted from 1; without an accuracy, each epoch is better than those before."""
    values = checkpoints.metrics(epoch / 32 if accuracy is None else accuracy, 4 / epoch)
    return values | {"loss": 8 / epoch, "accuracy": epoch / 16, "images_per_second": 100 * epoch}


class Session:
    """One start of the trainer, with a TensorBoard and a history that grows."""

    def __init__(self, folder: Path, *, before: int = 0, **settings) -> None:
        self.run = run_in(folder, class_names=("ant", "bee", "wasp"), per_class=1, **settings)
        self.history = [metrics(epoch + 1) for epoch in range(before)]
        model = generate_model(self.run.model_config)
        averaging = WeightAveraging([tf.Variable(w.value) for w in model.weights], steps_per_execution=1, enabled=True)
        averaging.set_model(model)
        self.tensorboard = TensorBoard(self.run, self.history, averaging)
        self.tensorboard.set_model(model)
        self.tensorboard.on_train_begin()

    def train(self, *accuracies: float | None) -> "Session":
        for accuracy in accuracies:
            epoch = len(self.history)
            self.tensorboard.on_epoch_end(epoch, metrics(epoch + 1, accuracy))
            self.history.append(metrics(epoch + 1, accuracy))
        return self

    def finish(self) -> "Session":
        classifier = network_of(self.run)
        evaluation = self.run.evaluation(classifier.predict(self.run.validation.images))
        self.tensorboard.finish(classifier, evaluation)
        return self

    def close(self) -> None:
        self.tensorboard.close()


def steps(folder: Path, tag: str, log: str = "validation") -> list[int]:
    events = read_events(folder / log)
    return [event.step for event in events.Tensors(tag)] if tag in events.Tags()["tensors"] else []


def assert_three_epochs(folder: Path) -> None:
    train, validation = folder / "train", folder / "validation"
    assert scalars(train, "cost") == [(1, 8), (2, 4), (3, pytest.approx(8 / 3))]
    assert scalars(train, "accuracy") == [(1, 1 / 16), (2, 2 / 16), (3, 3 / 16)]
    assert scalars(validation, "cost") == [(1, 4), (2, 2), (3, pytest.approx(4 / 3))]
    assert scalars(validation, "accuracy/best") == [(1, 1 / 32), (2, 2 / 32), (3, 3 / 32)]
    assert read_events(train).Tags()["graph"]


def test_scalars_show_every_epoch_once_counted_from_one(tmp_path):
    Session(tmp_path).train(None, None, None).close()
    assert_three_epochs(tmp_path)
    assert scalars(tmp_path / "train", "images_per_second") == [(1, 100), (2, 200), (3, 300)]


def test_resumed_run_shows_every_epoch_once_and_keeps_what_was_measured(tmp_path):
    Session(tmp_path).train(None, None).close()
    Session(tmp_path, before=2).train(None).close()
    assert_three_epochs(tmp_path)
    assert scalars(tmp_path / "train", "images_per_second") == [(1, 100), (2, 200), (3, 300)]
    assert steps(tmp_path, SNAPSHOT)[0] == 1


def test_run_resumed_twice_shows_every_epoch_once(tmp_path):
    Session(tmp_path).train(None).close()
    Session(tmp_path, before=1).train(None).close()
    Session(tmp_path, before=2).train(None).finish().close()
    assert_three_epochs(tmp_path)
    assert len(set(steps(tmp_path, SNAPSHOT))) == len(steps(tmp_path, SNAPSHOT))


def test_no_epoch_is_shown_twice_after_an_older_checkpoint(tmp_path):
    Session(tmp_path).train(None, None, None).close()
    Session(tmp_path, before=1).train(None, None).close()
    assert_three_epochs(tmp_path)
    assert scalars(tmp_path / "train", "images_per_second") == [(1, 100), (2, 200), (3, 300)]


def test_half_written_event_of_a_killed_run_is_left_out(tmp_path):
    Session(tmp_path).train(None, None).close()
    for path in tmp_path.glob("*/events*"):
        path.write_bytes(path.read_bytes()[:-5])
    Session(tmp_path, before=2).train(None).close()
    assert_three_epochs(tmp_path)


def test_run_killed_while_it_is_resumed_shows_every_epoch_once(tmp_path):
    """The new files may have been written, and the old ones not yet deleted."""
    Session(tmp_path).train(None, None).close()
    old = {path: path.read_bytes() for path in tmp_path.glob("*/events*")}
    Session(tmp_path, before=2).close()
    for path, content in old.items():
        path.write_bytes(content)
    Session(tmp_path, before=2).train(None).close()
    assert_three_epochs(tmp_path)
    assert scalars(tmp_path / "train", "images_per_second") == [(1, 100), (2, 200), (3, 300)]
    assert steps(tmp_path, SNAPSHOT).count(1) == 1


def test_folder_deleted_after_the_last_epoch_is_written_again(tmp_path):
    session = Session(tmp_path / "checkpoints").train(None, None, None)
    shutil.rmtree(tmp_path / "checkpoints")
    session.finish().close()
    assert_three_epochs(tmp_path / "checkpoints")
    assert steps(tmp_path / "checkpoints", SNAPSHOT) == [3]


def test_lost_files_are_written_again_from_the_history(tmp_path):
    Session(tmp_path, before=3).finish().close()
    assert_three_epochs(tmp_path)
    assert steps(tmp_path, SNAPSHOT) == [3]


@pytest.mark.parametrize("deleted", ["", "train", "validation"])
def test_folder_deleted_during_a_run_is_written_again(tmp_path, deleted):
    session = Session(tmp_path / "checkpoints").train(None, None)
    shutil.rmtree(tmp_path / "checkpoints" / deleted)
    session.train(None).finish().close()
    assert_three_epochs(tmp_path / "checkpoints")
    assert steps(tmp_path / "checkpoints", SNAPSHOT)[-1] == 3


def test_second_fit_of_the_same_run_starts_no_second_file(tmp_path):
    session = Session(tmp_path)
    for _ in range(3):
        session.tensorboard.on_train_begin()
        session.train(None)
    session.close()
    assert_three_epochs(tmp_path)


def test_epoch_is_shown_as_soon_as_it_has_ended(tmp_path):
    session = Session(tmp_path).train(None)
    assert scalars(tmp_path / "validation", "cost") == [(1, 4)]
    session.close()


def test_files_of_the_user_are_kept(tmp_path):
    notes = tmp_path / "train" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    Session(tmp_path).train(None).close()
    assert notes.read_text() == "mine"


@pytest.mark.parametrize(("fraction", "expected"), [(1e9, [1, 2, 4]), (0, [1])])
def test_snapshots_are_of_best_epochs_while_they_take_little_time(tmp_path, monkeypatch, fraction, expected):
    monkeypatch.setattr(module, "_SNAPSHOT_FRACTION", fraction)
    Session(tmp_path).train(0.5, 0.75, 0.7, 0.8, 0.6).close()
    assert steps(tmp_path, SNAPSHOT) == expected
    assert steps(tmp_path, "unknown") == expected[1:]  # after one epoch it is too early


@pytest.mark.parametrize(
    ("accuracies", "expected"), [((0.5, 0.4, 0.3), [1, 3]), ((0.5, 0.4, 0.6), [1, 3]), ((0.5,), [1])]
)
def test_end_has_one_snapshot_and_the_curves(tmp_path, monkeypatch, accuracies, expected):
    monkeypatch.setattr(module, "_SNAPSHOT_FRACTION", 1e9)
    Session(tmp_path).train(*accuracies).finish().close()
    assert steps(tmp_path, SNAPSHOT) == expected
    assert steps(tmp_path, "precision and recall/ant/pr_curves") == [len(accuracies)]
    assert (tmp_path / "validation" / "projector_config.pbtxt").is_file()


def test_finished_run_that_is_started_again_shows_its_end_once(tmp_path):
    Session(tmp_path).train(None, None, None).finish().close()
    Session(tmp_path, before=3).finish().close()
    assert_three_epochs(tmp_path)
    assert steps(tmp_path, "precision and recall/ant/pr_curves") == [3]
    assert steps(tmp_path, SNAPSHOT).count(3) == 1


def test_end_that_was_killed_before_the_curves_is_written_again(tmp_path, monkeypatch):
    def kill(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.snapshots, "write_final", kill)
        Session(tmp_path).train(None).finish()
    (tmp_path / "validation" / "features.tsv").unlink()
    Session(tmp_path, before=1).finish().close()
    assert (tmp_path / "validation" / "features.tsv").is_file()
    assert steps(tmp_path, "precision and recall/ant/pr_curves") == [1]


def test_finished_run_that_continues_shows_both_ends(tmp_path):
    Session(tmp_path).train(None, None).finish().close()
    Session(tmp_path, before=2).train(None).finish().close()
    assert steps(tmp_path, "precision and recall/ant/pr_curves") == [2, 3]


def test_tensorboard_false_writes_nothing(tmp_path):
    Session(tmp_path / "checkpoints", tensorboard=False).train(None).finish().close()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (tf.errors.UnknownError(None, None, "{{function_node x}} {{node y}} disk full [Op:Flush]\nmore"), "disk full"),
        (OSError(), "OSError: "),
        (ValueError("not connected\nmore"), "ValueError: not connected"),
    ],
)
def test_any_error_ends_the_writing_but_not_the_run(tmp_path, monkeypatch, capsys, error, reason):
    session = Session(tmp_path).train(None)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module.summaries, "write_scalars", fail)
    session.train(None, None).finish().close()
    assert capsys.readouterr().err.splitlines() == [
        f"TensorBoard's files cannot be written, but training continues: {reason}"
    ]


def test_epoch_whose_cost_is_not_finite_has_no_snapshot(tmp_path):
    session = Session(tmp_path)
    session.tensorboard.on_epoch_end(0, metrics(1) | {"val_loss": math.nan})
    session.close()
    assert steps(tmp_path, SNAPSHOT) == []
