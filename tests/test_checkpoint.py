"""Checkpoints: what is kept, what comes back."""

import errno
from pathlib import Path

import keras
import numpy as np
import pytest
from saving import (
    add_epoch,
    calibrate_best,
    epoch_of,
    figures,
    flip_a_bit,
    new_run,
    numbers,
    resumed,
    save_epochs,
    truncate,
    weights_file,
)

from checkpoint import (
    Checkpoints,
    best_epoch,
    history_of,
    load_classifier,
    newest_run,
)
from config import UserError


def test_the_best_epoch_has_the_highest_accuracy_then_the_smaller_cost_and_is_the_first_of_equals():
    assert best_epoch([figures(0.7, 0.1), figures(0.9, 0.5), figures(0.8, 0.2)]) == 1
    assert best_epoch([figures(0.9, 0.5), figures(0.9, 0.4), figures(0.9, 0.6)]) == 1
    assert best_epoch([figures(0.7, 0.5), figures(0.9, 0.5), figures(0.9, 0.5)]) == 1


def test_the_newest_four_of_five_are_kept(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3, 0.4, 0.5)
    assert numbers(tmp_path) == [20, 30, 40, 50]


def test_as_many_as_told_are_kept(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=1), 0.1, 0.2)
    assert numbers(tmp_path) == [20]


def test_the_best_is_kept_besides_the_newest_however_old_it_is(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=2), 0.1, 0.9, 0.5, 0.5, 0.5)
    assert numbers(tmp_path) == [40, 50]
    assert len(numbers(tmp_path / "best")) == 1
    assert epoch_of(load_classifier(tmp_path)[0]) == 2


def test_a_better_epoch_replaces_the_best_and_an_equal_one_does_not(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=1), 0.5, 0.6, 0.6)
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert numbers(tmp_path / "best") == [20]


def test_a_best_epoch_between_two_saves_is_kept(tmp_path):
    model, checkpoints = new_run(tmp_path)
    for accuracy in (0.5, 0.9, 0.6):
        add_epoch(model, checkpoints, accuracy)
    checkpoints.save()
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert numbers(tmp_path / "best") == [20]


def test_the_best_network_has_the_averaged_weights_and_not_the_last_ones(tmp_path):
    model, checkpoints = new_run(tmp_path)
    add_epoch(model, checkpoints, 0.5)
    for average in checkpoints.average:
        average.assign(average + 0.25)
    checkpoints.add_epoch(figures(0.9))
    checkpoints.save()
    found = load_classifier(tmp_path)[0].model.get_weights()
    for one, average, last in zip(found, checkpoints.average, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, average)
        assert not np.array_equal(one, last)


def test_every_run_that_is_kept_finds_its_best_epoch(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=3), 0.5, 0.7, 0.6, 0.8, 0.1)
    assert numbers(tmp_path) == [30, 40, 50]
    assert numbers(tmp_path / "best") == [20, 40]  # that of 30, and that of the others


def test_a_run_that_fell_back_has_the_best_epoch_of_its_own_past(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.7, 0.9)
    flip_a_bit(weights_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path)
    assert numbers(tmp_path / "best") == [10, 20]
    save_epochs(model, checkpoints, 0.1)  # the third epoch is another one this time
    assert epoch_of(load_classifier(tmp_path)[0]) == 2


def test_a_damaged_checkpoint_is_deleted_only_when_a_whole_one_has_its_place(tmp_path):
    save_epochs(*new_run(tmp_path, max_to_keep=2), 0.1, 0.2, 0.3)
    truncate(weights_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path, max_to_keep=1)
    model.optimizer.iterations.assign(25)
    assert numbers(tmp_path) == [20, 30]
    checkpoints.save()
    assert numbers(tmp_path) == [25]


def test_no_checkpoint_is_deleted_before_the_new_one_is_whole(tmp_path, monkeypatch):
    model, checkpoints = new_run(tmp_path, max_to_keep=1)
    save_epochs(model, checkpoints, 0.1)

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        add_epoch(model, checkpoints, 0.2)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save()
    assert numbers(tmp_path) == [10]
    assert numbers(tmp_path / "best") == [10]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "ckpt-10.safetensors", "model.json"]
    checkpoints.save()
    assert (numbers(tmp_path), numbers(tmp_path / "best")) == ([20], [20])


def test_a_calibration_comes_back_with_the_best_network(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    assert not load_classifier(tmp_path)[0].is_calibrated
    calibrate_best(tmp_path)
    classifier, _ = load_classifier(tmp_path)
    assert classifier.is_calibrated
    assert epoch_of(classifier) == 1
    for number, variable in enumerate(classifier.calibration, 1):
        np.testing.assert_array_equal(variable, np.full(variable.shape, number + 0.5))
    assert classifier.calibration.vaguest.numpy() == 6.5


def test_a_calibration_lasts_until_an_epoch_is_better(tmp_path):
    model, checkpoints = new_run(tmp_path)
    save_epochs(model, checkpoints, 0.9)
    calibrate_best(tmp_path)
    save_epochs(model, checkpoints, 0.5, 0.9)
    assert load_classifier(tmp_path)[0].is_calibrated
    save_epochs(model, checkpoints, 0.95)
    better, _ = load_classifier(tmp_path)
    assert epoch_of(better) == 4
    assert not better.is_calibrated
    assert better.calibration.scale.numpy() == 1
    calibrate_best(tmp_path)
    assert load_classifier(tmp_path)[0].calibration.scale.numpy() == 3.5


def test_the_calibration_of_a_damaged_best_network_is_not_that_of_the_one_that_answers_instead(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    calibrate_best(tmp_path)
    truncate(weights_file(tmp_path / "best", 10))
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 2
    assert not classifier.is_calibrated


def test_before_the_first_epoch_is_over_the_average_of_the_newest_checkpoint_answers_not_calibrated(tmp_path):
    model, checkpoints = new_run(tmp_path)
    model.get_layer("logits").bias.assign([7, -7])
    checkpoints.average[-1].assign([6, -6])
    model.optimizer.iterations.assign(5)
    checkpoints.save()
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 6
    assert not classifier.is_calibrated


def test_before_the_first_step_is_saved_asking_is_refused_and_the_run_can_go_on(tmp_path):
    assert newest_run(tmp_path) is None
    _, checkpoints = new_run(tmp_path)
    checkpoints.save()
    assert newest_run(tmp_path).step == 0
    with pytest.raises(UserError, match="not saved any weights yet"):
        load_classifier(tmp_path)


def test_weights_optimizer_and_progress_come_back_to_the_bit(tmp_path):
    model, checkpoints = new_run(tmp_path)
    random = np.random.default_rng(0)

    def variables(model: keras.Model, checkpoints: Checkpoints) -> list:
        own = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        return [variable for variable in [*own, *checkpoints.average] if variable.dtype.is_floating]

    checkpoints.add_epoch(figures(0.5))
    model.optimizer.iterations.assign(10)
    for variable in variables(model, checkpoints):
        variable.assign(random.normal(size=variable.shape).astype(np.float32))
    checkpoints.metrics = [0.1, 3.0]
    checkpoints.save()

    other, again = resumed(tmp_path)
    wanted, found = variables(model, checkpoints), variables(other, again)
    assert len(found) == len(wanted) > 50
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.step == 10
    assert again.history == [figures(0.5)]
    assert again.metrics == [0.1, 3.0]


def test_the_figures_of_every_epoch_can_be_read_without_the_network(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.9, 0.7)
    assert history_of(newest_run(tmp_path)) == [figures(0.5), figures(0.9), figures(0.7)]


def test_the_end_of_an_epoch_forgets_its_running_sums(tmp_path):
    model, checkpoints = new_run(tmp_path)
    checkpoints.metrics = [0.1, 3.0]
    save_epochs(model, checkpoints, 0.5)
    assert checkpoints.metrics == []


def test_a_resumed_run_remembers_the_best_weights(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9)
    model, checkpoints = resumed(tmp_path)
    save_epochs(model, checkpoints, 0.5)
    assert epoch_of(load_classifier(tmp_path)[0]) == 1
    save_epochs(model, checkpoints, 1.0)
    assert epoch_of(load_classifier(tmp_path)[0]) == 3
