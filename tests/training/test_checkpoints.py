"""The checkpoints of a run: which are kept, and what is restored."""

import errno
from pathlib import Path

import numpy as np
import pytest

from answers.trained_network import load_trained_network
from network.backend import keras
from tests.helpers.checkpoints import (
    add_epoch,
    calibrate_best,
    checkpoint_file,
    epoch_of,
    flip_a_bit,
    metrics,
    model_config,
    new_run,
    resumed,
    save_epochs,
    steps,
    truncate,
)
from tests.helpers.kill import killed
from training.checkpoints import CheckpointManager, latest_checkpoint
from training.history import best_epoch, history_of


def test_save_keeps_the_newest_four(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3, 0.4, 0.5)
    assert steps(tmp_path) == [20, 30, 40, 50]


def test_save_keeps_as_many_as_max_to_keep(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=1), 0.1, 0.2)
    assert steps(tmp_path) == [20]


def test_save_keeps_the_best_epoch_however_old_it_is(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=2), 0.1, 0.9, 0.5, 0.5, 0.5)
    assert steps(tmp_path) == [40, 50]
    assert len(steps(tmp_path / "best")) == 1
    assert epoch_of(load_trained_network(tmp_path)) == 2


def test_save_replaces_the_best_epoch_by_a_better_one_not_by_an_equal(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=1), 0.5, 0.6, 0.6)
    assert epoch_of(load_trained_network(tmp_path)) == 2
    assert steps(tmp_path / "best") == [20]


def test_save_keeps_a_best_epoch_between_two_saves(tmp_path):
    model, checkpoints = new_run(tmp_path)
    for accuracy in (0.5, 0.9, 0.6):
        add_epoch(model, checkpoints, accuracy)
    checkpoints.save()
    assert epoch_of(load_trained_network(tmp_path)) == 2
    assert steps(tmp_path / "best") == [20]


def test_best_checkpoint_has_the_averaged_weights_not_the_newest(tmp_path):
    model, checkpoints = new_run(tmp_path)
    add_epoch(model, checkpoints, 0.5)
    for average in checkpoints.average:
        average.assign(average + 0.25)
    checkpoints.add_epoch(metrics(0.9))
    checkpoints.save()
    found = load_trained_network(tmp_path).model.get_weights()
    for one, average, last in zip(found, checkpoints.average, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, average)
        assert not np.array_equal(one, last)


def test_save_keeps_the_best_epoch_before_each_kept_checkpoint(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=3), 0.5, 0.7, 0.6, 0.8, 0.1)
    assert steps(tmp_path) == [30, 40, 50]
    assert steps(tmp_path / "best") == [20, 40]  # that of 30, and that of the others


def test_restore_deletes_best_epochs_after_its_own_step(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.7, 0.9)
    flip_a_bit(checkpoint_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path)
    assert steps(tmp_path / "best") == [10, 20]
    save_epochs(model, checkpoints, 0.1)  # the third epoch is different this time
    assert epoch_of(load_trained_network(tmp_path)) == 2


def test_save_deletes_a_damaged_checkpoint_once_an_intact_one_exists(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=2), 0.1, 0.2, 0.3)
    truncate(checkpoint_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path, max_to_keep=1)
    model.optimizer.iterations.assign(25)
    assert steps(tmp_path) == [20, 30]
    checkpoints.save()
    assert steps(tmp_path) == [25]


def test_save_on_a_full_disk_deletes_no_checkpoint(tmp_path, monkeypatch):
    model, checkpoints = new_run(tmp_path, max_to_keep=1)
    save_epochs(model, checkpoints, 0.1)

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        add_epoch(model, checkpoints, 0.2)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save()
    assert steps(tmp_path) == [10]
    assert steps(tmp_path / "best") == [10]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "ckpt-10.safetensors", "model.json"]
    checkpoints.save()
    assert (steps(tmp_path), steps(tmp_path / "best")) == ([20], [20])


def test_calibration_is_kept_until_an_epoch_is_better(tmp_path):
    model, checkpoints = new_run(tmp_path)
    save_epochs(model, checkpoints, 0.9)
    calibrate_best(tmp_path)
    save_epochs(model, checkpoints, 0.5, 0.9)
    assert load_trained_network(tmp_path).calibration.slope == 3.5
    save_epochs(model, checkpoints, 0.95)
    better = load_trained_network(tmp_path)
    assert epoch_of(better) == 4
    assert better.calibration is None
    calibrate_best(tmp_path)
    assert load_trained_network(tmp_path).calibration.slope == 3.5


def set_metric_sums(model: keras.Model, *values: float) -> None:
    for variable, value in zip(model.metrics_variables, values, strict=True):
        variable.assign(value)


def metric_sums(model: keras.Model) -> list[float]:
    return [float(variable.numpy()) for variable in model.metrics_variables]


def test_restore_brings_everything_back_to_the_bit(tmp_path):
    model, checkpoints = new_run(tmp_path)
    random = np.random.default_rng(0)

    def variables(model: keras.Model, checkpoints: CheckpointManager) -> list:
        own = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        return [variable for variable in [*own, *checkpoints.average] if variable.dtype.is_floating]

    checkpoints.add_epoch(metrics(0.5))
    model.optimizer.iterations.assign(10)
    for variable in variables(model, checkpoints):
        variable.assign(random.normal(size=variable.shape).astype(np.float32))
    set_metric_sums(model, 0.5, 3.0)
    checkpoints.keep_metric_sums()
    checkpoints.save()

    other, again = resumed(tmp_path)
    wanted, found = variables(model, checkpoints), variables(other, again)
    assert len(found) == len(wanted) > 50
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.step == 10
    assert again.history == [metrics(0.5)]
    again.restore_metric_sums()
    assert metric_sums(other) == [0.5, 3.0]


def test_save_after_a_resumption_remembers_changed_settings(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    changed = model_config(learning_rate=0.01)
    for _ in range(2):  # no step is trained: the run is finished
        _, checkpoints = resumed(tmp_path, model_config=changed)
        checkpoints.save()
        assert latest_checkpoint(tmp_path).model_config.learning_rate == 0.01
        assert steps(tmp_path) == [10]
    assert epoch_of(load_trained_network(tmp_path)) == 1


def test_save_after_a_resumption_with_equal_settings_writes_nothing(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    with killed(tmp_path, after=0) as kill:
        _, checkpoints = resumed(tmp_path)
        checkpoints.save()
    assert not kill.happened


def test_save_killed_at_any_change_keeps_the_best_weights_of_its_history(tmp_path):
    """The second epoch is the best. Whatever of it was kept, the network is the best of the history that was kept."""
    for changes in range(100):
        folder = tmp_path / str(changes)
        model, checkpoints = new_run(folder, max_to_keep=1)
        save_epochs(model, checkpoints, 0.5)
        add_epoch(model, checkpoints, 0.9)
        with killed(folder, after=changes) as kill:
            checkpoints.save()
        model, checkpoints = resumed(folder, max_to_keep=1)
        assert epoch_of(load_trained_network(folder)) == 1 + best_epoch(checkpoints.history)
        if not kill.happened:
            break
        for accuracy in (0.9, 0.6)[len(checkpoints.history) - 1 :]:
            save_epochs(model, checkpoints, accuracy)
        assert epoch_of(load_trained_network(folder)) == 2
        assert (steps(folder), steps(folder / "best")) == ([30], [20])
    assert 5 <= changes < 99


def test_history_of_needs_no_network(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.9, 0.7)
    assert history_of(latest_checkpoint(tmp_path)) == [metrics(0.5), metrics(0.9), metrics(0.7)]


def test_add_epoch_clears_the_running_sums_of_the_metrics(tmp_path):
    model, checkpoints = new_run(tmp_path)
    set_metric_sums(model, 0.5, 3.0)
    checkpoints.keep_metric_sums()
    save_epochs(model, checkpoints, 0.5)
    other, again = resumed(tmp_path)
    again.restore_metric_sums()
    assert metric_sums(other) == [0.0, 0.0]


def test_resumed_run_keeps_the_best_weights_until_an_epoch_is_better(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9)
    model, checkpoints = resumed(tmp_path)
    save_epochs(model, checkpoints, 0.5)
    assert epoch_of(load_trained_network(tmp_path)) == 1
    save_epochs(model, checkpoints, 1.0)
    assert epoch_of(load_trained_network(tmp_path)) == 3
