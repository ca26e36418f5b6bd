"""Checkpoints: what is kept, what is refused, and what is done about damage."""

import errno
import json
import math
import pickle
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from checkpoint import (
    Checkpoints,
    best_epoch,
    history_of,
    load_best,
    load_classifier,
    newest_run,
    read_tensors,
    save_calibration,
    write_tensors,
)
from classifier import Classifier
from config import UserError
from description import Description, read_description

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
    return model, Checkpoints(folder, model, DESCRIPTION, max_to_keep=max_to_keep)


def resumed(folder: Path, *, max_to_keep: int = 4) -> tuple[keras.Model, Checkpoints]:
    """The run in a folder, gone on with."""
    model, checkpoints = new_run(folder, max_to_keep=max_to_keep)
    checkpoints.restore(newest_run(folder))
    return model, checkpoints


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
    number = len(checkpoints.history) + 1
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
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in folder.glob("ckpt-*.safetensors"))


def weights_file(folder: Path, number: int) -> Path:
    return folder / f"ckpt-{number}.safetensors"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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


def calibrate_best(folder: Path) -> None:
    """Writes 1.5, 2.5, … as the scale, offset and so on of the best network."""
    classifier, description, step = load_best(folder)
    for number, variable in enumerate(classifier.calibration, 1):
        variable.assign(np.full(variable.shape, number + 0.5))
    save_calibration(folder, classifier, description, step)


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


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink], ids=["truncated", "flipped bit", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, capsys, damage):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3)
    damage(weights_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path)
    assert (epoch_of(model), checkpoints.step, len(checkpoints.history)) == (2, 20, 2)
    lines = capsys.readouterr().err.splitlines()
    if damage is Path.unlink:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{tmp_path / 'ckpt-30.safetensors'}: damaged (")


def test_whole_checkpoints_are_restored_without_a_word(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    model, _ = resumed(tmp_path)
    assert epoch_of(model) == 2
    assert capsys.readouterr() == ("", "")


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    for number in (10, 20):
        truncate(weights_file(tmp_path, number))
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        newest_run(tmp_path)


@pytest.mark.parametrize(
    ("lost", "left"),
    [(["best"], "model.json"), (["model.json"], "best"), ([], "model.json and best")],
    ids=["best", "description", "nothing else"],
)
def test_a_run_whose_checkpoints_are_gone_is_never_begun_anew(tmp_path, lost, left):
    save_epochs(*new_run(tmp_path), 0.1)
    for path in tmp_path.glob("ckpt-*"):
        path.unlink()
    for name in lost:
        shutil.rmtree(tmp_path / name) if name == "best" else (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"has {left}, but its checkpoints ckpt-\\* are gone; bring them back"):
        newest_run(tmp_path)


@pytest.mark.parametrize("damage", [truncate, Path.unlink], ids=["truncated", "missing"])
def test_a_damaged_description_is_written_anew_when_the_run_goes_on(tmp_path, damage):
    save_epochs(*new_run(tmp_path), 0.1)
    damage(tmp_path / "model.json")
    resumed(tmp_path)
    assert read_description(tmp_path) == DESCRIPTION


def test_a_description_of_another_network_is_not_believed(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    (tmp_path / "model.json").write_text(json.dumps({**FIELDS, "class_names": ["cat", "dog"]}))
    with pytest.raises(UserError, match="is not of the network that .*model.json describes"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("average/000"), "weights are not those of this network"),
        (lambda tensors: tensors.update({"average/000": np.zeros(3, np.float32)}), "not those of this network"),
        (lambda tensors: tensors.update({"average/099": np.zeros(3, np.float32)}), "not those of this network"),
        (lambda tensors: tensors.update({"average/000": tensors["average/000"].astype(float)}), "not those of this"),
        (lambda tensors: tensors.update({"history": np.zeros((1, 4))}), "cannot go on from it"),
        (lambda tensors: tensors.update({"history": np.zeros(5)}), "its history is none"),
        (lambda tensors: tensors.update({"history": np.full((1, 5), math.nan)}), "its history is none"),
        (lambda tensors: tensors.pop("history"), "its history is none"),
        (lambda tensors: tensors.pop("metrics"), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.zeros(99)}), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.zeros((1, 1))}), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.full(2, math.inf)}), "its running sums are none"),
    ],
)
def test_a_checkpoint_of_another_make_is_refused_in_one_line(tmp_path, change, reason):
    save_epochs(*new_run(tmp_path), 0.1)
    saved = newest_run(tmp_path)
    change(saved.tensors)
    write_tensors(saved.path, saved.tensors, DESCRIPTION)
    with pytest.raises(UserError, match=reason) as refused:
        resumed(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_checkpoint_of_another_name_is_not_believed(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    (tmp_path / "ckpt-10.safetensors").rename(tmp_path / "ckpt-30.safetensors")
    assert newest_run(tmp_path).step == 20
    assert "ckpt-30.safetensors: damaged (it has another name than it was given)" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "goes_on"), [(errno.EIO, True), (errno.EACCES, False), (errno.ENFILE, False)])
def test_only_what_the_disk_cannot_read_is_passed_over(tmp_path, monkeypatch, number, goes_on):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    read = Path.read_bytes

    def failing(self):
        if self.name == "ckpt-20.safetensors":
            raise OSError(number, "no", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    if goes_on:
        assert newest_run(tmp_path).step == 10
    else:
        with pytest.raises(OSError, match="ckpt-20"):
            newest_run(tmp_path)


def test_a_description_cannot_have_more_allocated_than_its_file_is_long(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    huge = Description(**{**FIELDS, "height": 4096, "width": 4096})  # 68 GB of weights
    write_tensors(tmp_path / "ckpt-10.safetensors", newest_run(tmp_path).tensors, huge)
    (tmp_path / "model.json").write_bytes(huge.as_json())
    shutil.rmtree(tmp_path / "best")
    for read in (newest_run, load_classifier):
        with pytest.raises(UserError, match="every checkpoint is damaged"):
            read(tmp_path)


def test_every_truncation_and_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    description = Description(**{**FIELDS, "class_names": ["a", "b"]})
    path = tmp_path / "ckpt-7.safetensors"
    tensors = {"average/000": np.zeros((256, 1024), np.float32), "history": np.array([[0.5, 0.25, 0.1, 1, 2]])}
    write_tensors(path, tensors, description)
    whole = path.read_bytes()
    assert read_tensors(path).tensors.keys() == tensors.keys()
    header = len(whole) - 256 * 1024 * 4
    places = [*range(0, header, 3), *range(header, len(whole), 4001), len(whole) - 1]
    random = np.random.default_rng(0)
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(random.integers(8))
        for damaged in (bytes(flipped), whole[:place]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="whole|checksum"):
                read_tensors(path)
    assert len(places) > 450


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**63).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (70).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9999999999999],"data_offsets":[0,0]}}    ',
        (70).to_bytes(8, "little") + b'{"a":{"dtype":"XX","shape":[0],"data_offsets":[0,0]}}                 ',
        pickle.dumps(print),
    ],
    ids=["empty", "long header", "nothing", "deep", "huge shape", "type", "pickle"],
)
def test_a_hostile_checkpoint_is_refused_in_one_line(tmp_path, content, capsys):
    (tmp_path / "ckpt-1.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        newest_run(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line


def test_best_weights_that_are_gone_are_told_of_and_the_newest_answer(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    shutil.rmtree(tmp_path / "best")
    resumed(tmp_path)
    assert "best: the weights of the best epoch are gone; the newest stand in" in capsys.readouterr().err
    assert epoch_of(load_classifier(tmp_path)[0]) == 2


def test_a_damaged_best_checkpoint_does_not_keep_a_whole_run_from_answering(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    truncate(weights_file(tmp_path / "best", 10))
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert str(tmp_path / "best" / "ckpt-10") in capsys.readouterr().err


def test_nothing_that_could_be_executed_is_stored(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5)
    calibrate_best(tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["best/ckpt-10.safetensors", "ckpt-10.safetensors", "model.json"]
    for path in tmp_path.rglob("ckpt-*"):
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert {tensor["dtype"] for tensor in header.values()} <= {"F32", "F64", "I64", "U8", "U32", "I32"}
