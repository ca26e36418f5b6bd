"""Checkpoints: what is kept, what is refused, and what is done about damage."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from checkpoint import (
    Checkpoints,
    Description,
    best_epoch,
    load_classifier,
    read_description,
    read_history,
    refuse_others,
    save_calibration,
    write_description,
)
from classifier import Classifier
from config import UserError

FIELDS = {
    "validation_split": 0.2,
    "class_names": ["ant", "bee"],
    "height": 16,
    "width": 16,
    "color_channels": 3,
    "scale_input": True,
    "batch_normalization": True,
    "dropout": 0.5,
    "loss": "softmax",
    "random_mirror": True,
    "balance_classes": True,
    "batch_size": 10,
    "seed": 1,
    "pictures": "0123abcd",
}
DESCRIPTION = Description(**FIELDS)


def new_run(folder: Path, *, max_to_keep: int = 4) -> tuple[keras.Model, Checkpoints]:
    """A fresh network, and its checkpoints in a folder that need not be empty."""
    model = DESCRIPTION.network()
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    write_description(folder, DESCRIPTION)
    return model, Checkpoints(folder, model, max_to_keep=max_to_keep)


def figures(val_accuracy: float, val_cost: float = 0.5) -> dict[str, float]:
    return {
        "cost": 0.25,
        "accuracy": 0.75,
        "val_cost": val_cost,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.001,
    }


def add_epoch(model: keras.Model, checkpoints: Checkpoints, accuracy: float) -> None:
    """An epoch of 10 steps: the biases of the logits tell its number, and those of the averaged network do so too."""
    number = len(checkpoints.progress.history) + 1
    model.get_layer("logits").bias.assign([number, -number])
    for average, weight in zip(checkpoints.average, model.weights, strict=True):
        average.assign(weight.value)
    model.optimizer.iterations.assign(10 * number)
    checkpoints.add_epoch(figures(accuracy))


def save_epochs(model: keras.Model, checkpoints: Checkpoints, *accuracies: float) -> None:
    for accuracy in accuracies:
        add_epoch(model, checkpoints, accuracy)
        checkpoints.save()


def epoch_of(network: keras.Model | Classifier) -> int:
    model = network.model if isinstance(network, Classifier) else network
    return int(model.get_layer("logits").bias.numpy()[0])


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in folder.glob("ckpt-*.index"))


def weights_file(folder: Path, number: int) -> Path:
    (path,) = folder.glob(f"ckpt-{number}.data-*")
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_description_is_read_as_it_was_written(tmp_path):
    write_description(tmp_path, DESCRIPTION)
    assert read_description(tmp_path) == DESCRIPTION
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_description_rebuilds_the_network(tmp_path):
    changed = Description(**{**FIELDS, "height": 17, "width": 31, "color_channels": 1, "class_names": ["a", "b", "c"]})
    model = changed.network()
    assert (model.input_shape, model.output_shape) == ((None, 17, 31, 1), (None, 3))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        {"seed": None},
        {"seed": "1"},
        {"seed": True},
        {"scale_input": 1},
        {"dropout": "0.5"},
        {"dropout": 0.96},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"height": 15},
        {"height": 4097},
        {"width": 15},
        {"width": 4097},
        {"width": 16.0},
        {"color_channels": 2},
        {"class_names": "ant"},
        {"class_names": ["ant"]},
        {"class_names": ["bee", "ant"]},
        {"class_names": ["ant", "ant"]},
        {"class_names": ["ant", 1]},
        {"class_names": [f"{number:04d}" for number in range(1001)]},
        {"loss": "hinge"},
        {"loss": None},
        {"random_mirror": 1},
        {"pictures": 1},
        {"module": "os"},
    ],
    ids=lambda content: str(content)[:30],
)
def test_a_damaged_description_is_refused_in_one_line_that_names_it(tmp_path, content):
    text = content if isinstance(content, bytes) else json.dumps({**FIELDS, **content}).encode()
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(UserError, match="damaged") as refused:
        read_description(tmp_path)
    assert str(tmp_path / "model.json") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", FIELDS)
def test_a_description_without_one_of_its_fields_is_refused(tmp_path, missing):
    (tmp_path / "model.json").write_text(json.dumps({name: FIELDS[name] for name in FIELDS if name != missing}))
    with pytest.raises(UserError, match=f"damaged.*{missing}"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"height": 4096, "width": 4096},
        {"dropout": 0},
        {"dropout": 0.95},
        {"color_channels": 1},
        {"loss": "sigmoid"},
        {"class_names": [f"{number:04d}" for number in range(1000)]},
    ],
    ids=lambda content: str(content)[:30],
)
def test_a_description_at_the_limits_is_accepted(tmp_path, content):
    (tmp_path / "model.json").write_text(json.dumps({**FIELDS, **content}))
    assert read_description(tmp_path) == Description(**{**FIELDS, **content})


def test_a_folder_without_a_description_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match=r"no trained network here; run trainer\.py"):
        load_classifier(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "both"),
    [
        ({"height": 32}, "--height 16, not 32"),
        ({"seed": 2}, "--seed 1, not 2"),
        ({"dropout": 0.25}, "--dropout 0.5, not 0.25"),
        ({"loss": "sigmoid"}, "--loss softmax, not sigmoid"),
        ({"random_mirror": False}, "--random_mirror True, not False"),
        ({"balance_classes": False}, "--balance_classes True, not False"),
        ({"class_names": ["ant", "wasp"]}, "the classes ant, bee, not ant, wasp"),
        ({"pictures": "ffff"}, "other pictures"),
    ],
    ids=["height", "seed", "dropout", "loss", "mirror", "balance", "classes", "pictures"],
)
def test_going_on_with_something_else_is_refused_with_both_values(tmp_path, change, both):
    with pytest.raises(UserError) as refused:
        refuse_others(tmp_path, DESCRIPTION, Description(**{**FIELDS, **change}))
    assert both in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "--model_save_name" in str(refused.value)


def test_going_on_with_the_same_is_not_refused(tmp_path):
    refuse_others(tmp_path, DESCRIPTION, Description(**FIELDS))


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
    save_epochs(*new_run(tmp_path), 0.5, 0.6, 0.6)
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert len(numbers(tmp_path / "best")) == 1


def test_a_best_epoch_between_two_saves_is_kept(tmp_path):
    model, checkpoints = new_run(tmp_path)
    for accuracy in (0.5, 0.9, 0.6):
        add_epoch(model, checkpoints, accuracy)
    checkpoints.save()
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert numbers(tmp_path / "best") == [2]


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


def calibrate_best(folder: Path) -> None:
    """Writes 1.5, 2.5, … as the scale, offset and so on of the best network."""
    classifier, _ = load_classifier(folder)
    for number, variable in enumerate(classifier.calibration, 1):
        variable.assign(np.full(variable.shape, number + 0.5))
    save_calibration(folder, classifier)


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
    assert numbers(tmp_path / "best" / "calibration") == [4]


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink], ids=["truncated", "flipped bit", "missing"])
def test_a_damaged_calibration_is_named_and_the_network_answers_without(tmp_path, capsys, damage):
    save_epochs(*new_run(tmp_path), 0.9)
    calibrate_best(tmp_path)
    damage(weights_file(tmp_path / "best" / "calibration", 1))
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 1
    assert not classifier.is_calibrated
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "best" / "calibration" / "ckpt-1") in line


def test_the_calibration_of_a_damaged_best_network_is_not_that_of_the_one_that_answers_instead(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    calibrate_best(tmp_path)
    truncate(weights_file(tmp_path / "best", 1))
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 2
    assert not classifier.is_calibrated


def test_a_calibration_without_its_network_is_left_aside(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    calibrate_best(tmp_path)
    for path in [path for path in (tmp_path / "best").iterdir() if path.is_file()]:
        path.unlink()
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 2
    assert not classifier.is_calibrated


def test_before_the_first_epoch_is_over_the_average_of_the_newest_checkpoint_answers_not_calibrated(tmp_path):
    model, checkpoints = new_run(tmp_path)
    model.get_layer("logits").bias.assign([7, -7])
    checkpoints.average[-1].assign([6, -6])
    checkpoints.save()
    classifier, _ = load_classifier(tmp_path)
    assert epoch_of(classifier) == 6
    assert not classifier.is_calibrated


def test_without_any_weights_asking_is_refused_and_training_begins_anew(tmp_path):
    _, checkpoints = new_run(tmp_path)
    assert not checkpoints.restore()
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
    checkpoints.progress.metrics = [0.1, 3.0]
    checkpoints.save()

    other, again = new_run(tmp_path)
    assert again.restore()
    wanted, found = variables(model, checkpoints), variables(other, again)
    assert len(found) == len(wanted) > 50
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.step == 10
    assert again.progress.history == [figures(0.5)]
    assert again.progress.metrics == [0.1, 3.0]


def test_the_figures_of_every_epoch_can_be_read_without_the_network(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.9, 0.7)
    assert read_history(tmp_path) == [figures(0.5), figures(0.9), figures(0.7)]


def test_the_end_of_an_epoch_forgets_its_running_sums(tmp_path):
    model, checkpoints = new_run(tmp_path)
    checkpoints.progress.metrics = [0.1, 3.0]
    save_epochs(model, checkpoints, 0.5)
    assert checkpoints.progress.metrics == []


def test_a_resumed_run_remembers_the_best_weights(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9)
    model, checkpoints = new_run(tmp_path)
    checkpoints.restore()
    save_epochs(model, checkpoints, 0.5)
    assert epoch_of(load_classifier(tmp_path)[0]) == 1
    save_epochs(model, checkpoints, 1.0)
    assert epoch_of(load_classifier(tmp_path)[0]) == 3


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink], ids=["truncated", "flipped bit", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, capsys, damage):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3)
    damage(weights_file(tmp_path, 30))
    model, checkpoints = new_run(tmp_path)
    assert checkpoints.restore()
    assert (epoch_of(model), checkpoints.step, len(checkpoints.progress.history)) == (2, 20, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "ckpt-30") in line
    assert "damaged" in line


def test_whole_checkpoints_are_restored_without_a_word(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    model, checkpoints = new_run(tmp_path)
    assert checkpoints.restore()
    assert epoch_of(model) == 2
    assert capsys.readouterr().out == ""


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    for number in (10, 20):
        truncate(weights_file(tmp_path, number))
    _, checkpoints = new_run(tmp_path)
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        checkpoints.restore()


def test_a_damaged_best_checkpoint_does_not_keep_a_whole_run_from_answering(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    truncate(weights_file(tmp_path / "best", 1))
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert str(tmp_path / "best" / "ckpt-1") in capsys.readouterr().err


def test_a_run_that_fell_back_does_not_keep_untrained_weights_as_its_best(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5, 0.9)
    flip_a_bit(weights_file(tmp_path, 20))
    model, checkpoints = new_run(tmp_path)
    assert checkpoints.restore()
    save_epochs(model, checkpoints, 0.4)
    assert epoch_of(load_classifier(tmp_path)[0]) in (1, 2)


def test_nothing_that_could_be_executed_is_stored(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5)
    calibrate_best(tmp_path)
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    allowed = ("model.json", "checkpoint", "ckpt-")
    assert len(names) == 10  # the description; of the newest, the best and its calibration: state, index and data
    assert all(name.startswith(allowed) for name in names)
    first_bytes = [path.read_bytes()[:2] for path in tmp_path.rglob("ckpt-*.data*")]
    assert all(start not in (b"\x80\x04", b"\x80\x05", b"PK") for start in first_bytes)
