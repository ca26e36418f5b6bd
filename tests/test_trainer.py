"""A training run: what it trains, what it says and when it ends."""

import dataclasses
import math
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_picture
from runs import BY_STEPS, FROZEN, STEPS, files, history, stop_at, stored

import predict
import trainer
from checkpoint import load_classifier
from config import PredictConfig, TrainConfig, UserError
from dataset import Samples, load
from description import read_description
from manifest import TRAIN, VALIDATION
from preprocessing import prepare


def test_a_run_says_what_it_found_does_and_made(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=2)
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert "classes: ant, bee" in out
    assert "training on 16 pictures, validating on 4" in out
    assert "device: " in out
    for layer in ("conv_1", "pooling_2", "activation_3", "fully_connected_1", "logits"):
        assert layer in out
    assert "(None, 8, 8, 16)" in out
    for figure in ("cost: ", "accuracy: ", "val_accuracy: ", "images_per_second: "):
        assert f" {figure}" in out
    assert "loss: " not in out
    assert f"after epoch {1 + best(history(config.model_save_name))} of 2" in out
    assert f"python predict.py --model_save_name {config.model_save_name} picture.jpg" in out
    assert f"tensorboard --logdir {config.model_save_name}" in out
    assert "finished" not in out
    assert "Traceback" not in err


def test_the_report_on_the_validation_pictures_is_printed_and_written_beside_the_checkpoints(
    rawdata, settings_for, capsys
):
    config = settings_for(TrainConfig, epochs=2)
    assert trainer.main(config) == 0
    out = capsys.readouterr().out
    path = Path(config.model_save_name, "report.txt")
    report = path.read_text(encoding="utf-8")
    assert report in out
    assert f"this report:     {path}" in out.splitlines()
    figures = history(config.model_save_name)
    number = best(figures)
    assert report.startswith(f"on the 4 validation pictures, after epoch {1 + number}:\n")
    assert f"mean recall {figures[number]['val_accuracy']:.4f}: " in report
    for kind, count in (("ant", 2), ("bee", 2)):
        assert re.search(rf"^{kind} .* {count}$", report, re.MULTILINE)


def test_the_report_is_about_the_best_epoch_and_names_the_photographs_that_it_gets_wrong(
    rawdata, settings_for, tmp_path, capsys
):
    """Asked about the validation photographs one by one, the checkpoint gives the answers of the report."""
    config = settings_for(TrainConfig, epochs=1, **FROZEN)  # nothing is learnt, so about half of them are wrong
    trainer.main(config)
    validating = [picture for picture in prepare(config) if picture.split == VALIDATION]
    capsys.readouterr()
    paths = tuple(picture.origin for picture in validating)
    predict.main(PredictConfig(images=paths, model_save_name=config.model_save_name))
    answers = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    mistakes = set()
    for picture, (path, named, *scores) in zip(validating, answers, strict=True):
        if named != picture.class_name:
            score = max(score.split(" ")[1] for score in scores)
            mistakes.add(f"{path}  is {picture.class_name}, named {named} with {score}")
    assert 1 <= len(mistakes) < 4
    report = Path(config.model_save_name, "report.txt").read_text(encoding="utf-8")
    worst, remarks = report.split("worst mistakes, the surest first:\n")[1].split("\n\n")
    assert set(worst.splitlines()) == mistakes
    assert remarks.splitlines() == [
        "The best epoch and the scores were fitted to these very pictures, so unseen ones will do a little worse.",
        "They are too few to tell what is unusual, so nothing will be called unknown.",
    ]
    assert f": {4 - len(mistakes)} of 4 right, " in report


def best(figures: list[dict[str, float]]) -> int:
    return max(range(len(figures)), key=lambda epoch: (figures[epoch]["val_accuracy"], -figures[epoch]["val_cost"]))


def test_data_is_made_when_it_is_missing_and_refreshed_when_pictures_are_added(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 20
    write_picture(rawdata / "ant" / "new.png", label=0, seed=99)
    with pytest.raises(UserError, match="other pictures than there are now"):
        trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 21
    assert trainer.main(dataclasses.replace(config, model_save_name=config.model_save_name + "2")) == 0
    assert "training on 16 pictures, validating on 5" in capsys.readouterr().out


def test_a_ready_made_data_folder_is_enough(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    rawdata.rename(config.data_path)
    before = files(config.data_path)
    assert trainer.main(config) == 0
    assert "training on 16 pictures, validating on 4" in capsys.readouterr().out
    assert files(config.data_path) == before


@pytest.mark.parametrize("patience", [1, 2])
def test_a_run_ends_after_so_many_epochs_without_a_better_validation_accuracy(rawdata, settings_for, capsys, patience):
    config = settings_for(TrainConfig, epochs=20, patience=patience, **FROZEN)
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 1 + patience
    capsys.readouterr()
    assert trainer.main(config) == 0
    assert f"train longer with --patience {2 * patience}" in capsys.readouterr().out


def test_patience_counts_the_epochs_before_a_run_was_resumed(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=3, patience=3, **FROZEN)
    trainer.main(config)
    assert len(history(config.model_save_name)) == 3
    trainer.main(dataclasses.replace(config, epochs=20))
    assert len(history(config.model_save_name)) == 4


def test_patience_counts_through_a_stop_in_the_middle_of_an_epoch(rawdata, settings_for, monkeypatch):
    config = settings_for(TrainConfig, epochs=20, patience=2, **FROZEN, **BY_STEPS)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS + 9, lambda: signal.raise_signal(signal.SIGINT))
        assert trainer.main(config) == 130
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 3


def costs(samples: Samples, config: TrainConfig) -> list[np.ndarray]:
    """The costs of single pictures, by the best weights of a run; those of ants, and those of bees."""
    classifier, description = load_classifier(Path(config.model_save_name))
    assert description.class_names == ["ant", "bee"]
    logits = classifier.ask(samples.images).logits.astype(np.float64)
    own, other = logits[np.arange(len(logits)), samples.labels], logits[np.arange(len(logits)), 1 - samples.labels]
    each = np.log(1 + np.exp(other - own))  # the softmax of two
    if config.loss == "sigmoid":
        each = np.log(1 + np.exp(-own)) + np.log(1 + np.exp(other))
    return [each[samples.labels == label] for label in (0, 1)]


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("balance", [True, False])
def test_the_cost_is_that_of_either_loss_and_classes_count_alike_unless_switched_off(
    tmp_path, settings_for, balance, loss
):
    """Nothing is learnt and all pictures are in one batch, so the final weights give the costs of the epoch by hand."""
    config = settings_for(TrainConfig, epochs=1, batch_size=16, balance_classes=balance, loss=loss, **FROZEN)
    for name, label, count in (("ant", 0, 15), ("bee", 1, 5)):  # train 12 and 4, validate 3 and 1
        for number in range(count):
            write_picture(Path(config.raw_data, name, f"{number}.png"), label=label, seed=number)
    trainer.main(config)
    pictures = prepare(config)
    (figures,) = history(config.model_save_name)
    for split, name, counts in ((TRAIN, "cost", [12, 4]), (VALIDATION, "val_cost", [3, 1])):
        ants, bees = costs(load([picture for picture in pictures if picture.split == split], config), config)
        assert [len(ants), len(bees)] == counts
        assert abs(ants.mean() - bees.mean()) > 0.01
        expected = (ants.mean() + bees.mean()) / 2 if balance else np.mean([*ants, *bees])
        assert figures[name] == pytest.approx(expected, rel=1e-3)


def test_the_sigmoid_loss_is_summed_over_the_classes():
    logits = tf.constant([[0.0, 0.0, 0.0], [2.0, -1.0, 100.0]])
    found = trainer.sigmoid_cross_entropy(tf.constant([[1], [2]]), logits)
    expected = [3 * math.log(2), math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_easy_pictures_are_learnt_and_the_best_checkpoint_knows_unseen_ones(rawdata, settings_for, tmp_path, loss):
    config = settings_for(TrainConfig, epochs=12, random_mirror=False, loss=loss)
    assert trainer.main(config) == 0
    classifier, description = load_classifier(Path(config.model_save_name))
    fresh = dataclasses.replace(config, raw_data=str(tmp_path / "fresh"), data_path=str(tmp_path / "fresh_data"))
    for label, name in enumerate(description.class_names):
        for number in range(20):
            write_picture(Path(fresh.raw_data, name, f"{number}.png"), label=label, seed=1000 + number)
    samples = load(prepare(fresh), fresh)
    named = classifier.ask(samples.images).scores.argmax(axis=1)
    assert len(named) == 40
    assert (named == samples.labels).mean() >= 0.9


@pytest.mark.parametrize("switched_on", [True, False])
def test_the_average_of_the_weights_is_what_is_kept_unless_switched_off(rawdata, settings_for, switched_on):
    # Without dropout there are no random generators, whose states would be stored among the weights.
    config = settings_for(TrainConfig, epochs=1, dropout=0, average_weights=switched_on, **BY_STEPS)
    trainer.main(config)
    values = stored(config.model_save_name)
    newest, average = ([values[f"{part}/{place:03d}"] for place in range(22)] for part in ("weights", "average"))
    assert "weights/022" not in values
    gap = max(np.abs(one - other).max() for one, other in zip(newest, average, strict=True))
    assert gap > 1e-3 if switched_on else gap < 1e-6
    kept = load_classifier(Path(config.model_save_name))[0].model.get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(kept, average, strict=True))


def test_the_rate_of_unknown_pictures_reaches_the_checkpoint_and_can_be_changed_afterwards(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=1)
    # 4 validation pictures are too few for a rate of a twentieth, and enough for one of a half.
    for rate, finite in ((0.05, False), (0.5, True), (0, False)):
        trainer.main(dataclasses.replace(config, unknown_rate=rate))
        calibration = load_classifier(Path(config.model_save_name))[0].calibration
        assert [math.isfinite(calibration.farthest), math.isfinite(calibration.vaguest)] == [finite] * 2
        assert calibration.scale.numpy() != 1
    assert len(history(config.model_save_name)) == 1


def test_three_classes_of_grey_pictures_train(rawdata, settings_for, capsys):
    for number in range(5):
        write_picture(rawdata / "wasp" / f"{number}.png", label=2, seed=number)
    config = settings_for(TrainConfig, epochs=1, color_channels=1, height=17, width=23)
    assert trainer.main(config) == 0
    assert "classes: ant, bee, wasp" in capsys.readouterr().out
    assert read_description(Path(config.model_save_name)).class_names == ["ant", "bee", "wasp"]


def test_more_than_a_thousand_classes_are_refused_and_a_thousand_are_not(settings_for, tmp_path):
    config = settings_for(
        TrainConfig, epochs=1, batch_size=500, near_duplicate_bits=0, data_path=str(tmp_path / "many")
    )
    for number in range(1001):
        for copy in range(2):
            path = Path(config.data_path, f"{number:04d}", f"{copy}.png")
            write_picture(path, label=0, seed=2 * number + copy, size=(16, 16))
    with pytest.raises(UserError, match="1001 classes; at most 1,000"):
        trainer.main(config)
    assert [path.name for path in Path(config.model_save_name).iterdir()] == [".lock"]
    shutil.rmtree(Path(config.data_path, "1000"))
    assert trainer.main(config) == 0


def test_the_script_names_a_missing_folder_in_one_line(script):
    ended = script("trainer.py")
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line == "trainer.py: rawdata: no such folder; make it and put your pictures into one sub-folder a class"
