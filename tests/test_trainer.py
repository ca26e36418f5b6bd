"""A training run: what it trains, what it prints, and when it ends."""

import contextlib
import csv
import dataclasses
import io
import json
import math
import re
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

import model
import predict
import trainer
from answers.trained_network import load_trained_network
from config import ImageConfig, PredictConfig, TrainConfig
from network.backend import keras, tf
from network.model_config import read_model_config
from pictures.manifest import TRAIN, VALIDATION
from preprocessing import training_pictures
from reports import finished as finished_runs
from system.errors import UserError
from tests.helpers.checkpoints import write_first_version
from tests.helpers.pages import Page
from tests.helpers.pictures import write_classes, write_picture
from tests.helpers.predictions import picture, pixels_of
from tests.helpers.runs import BY_STEPS, FROZEN, STEPS, files, history, run_here, stop_at, tensors
from training.batches import Samples, load, validation_batches
from training.checkpoints import latest_checkpoint
from training.compiling import compile_model, sigmoid_cross_entropy


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[TrainConfig, str]:
    """Returns the config of a run of 2 epochs with 16 training and 4 validation pictures, and what it printed."""
    folder = tmp_path_factory.mktemp("two_epochs")
    write_classes(folder / "rawdata", 12, 8)
    config = TrainConfig(
        raw_data=str(folder / "rawdata"),
        augmented=str(folder / "augmented"),
        data_path=str(folder / "data"),
        model_save_name=str(folder / "networks"),
        height=16,
        width=16,
        epochs=2,
    )
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert trainer.main(config) == 0
    assert err.getvalue() == ""
    return config, out.getvalue()


def test_run_prints_what_it_found_does_and_made(finished):
    config, out = finished
    lines = out.splitlines()
    data = f"{config.data_path}/"
    assert lines[0] == f"{data} 20 pictures, 2 classes: ant 12, bee 8 (20 new)"
    assert lines[1].split() == ["16", "to", "train,", "4", "to", "validate,", "0", "copies,", "0", "skipped"]
    assert lines[2].startswith("device     ")
    assert lines[4] == "network    3 convolutions, 2 fully connected layers, 293,378 weights"
    assert lines[5] == f"run        {config.model_save_name}/: up to 2 epochs, 30 without a lower cost; Ctrl-C saves"
    assert lines[6:8] == ["", " epoch    training        validation"]
    assert [line.split()[0] for line in lines[9:11]] == ["1", "2"]
    number = 1 + best(history(config.model_save_name))
    why = r"no more than --epochs 2"
    assert re.search(rf"Finished after 2 epochs in 0:\d\d: {why}\. Kept: epoch {number}\.", out.replace("\n", " "))
    assert "conv_1" not in out
    assert "\x1b" not in out and "\r" not in out
    assert f"python predict.py --model_save_name {config.model_save_name} picture.jpg" in out
    assert f"tensorboard --logdir {config.model_save_name}" in out
    assert "this run is finished" not in out


def test_run_says_what_it_needs(finished):
    _, out = finished
    memory, disk = re.search(r"^ +needs about (\S+) GB of memory, up to (\S+) MB of disk", out, re.MULTILINE).groups()
    assert 0.3 < float(memory) < 5
    assert disk == "22"  # 293,602 weights in 4 bytes: 4 checkpoints of 4 times as much, 2 best ones, 1 model file


def test_summary_shows_every_layer(rawdata, settings_for, capsys):
    trainer.main(settings_for(TrainConfig, epochs=1, summary=True))
    out = capsys.readouterr().out
    for layer in ("conv_1", "pooling_2", "activation_3", "fully_connected_1", "logits"):
        assert layer in out
    assert "(None, 8, 8, 16)" in out


@pytest.mark.parametrize(
    ("owner", "phase"), [(trainer, "generate_model"), (keras.Model, "fit"), (finished_runs, "calibrate")]
)
def test_memory_that_runs_out_is_a_memory_error_in_every_phase(rawdata, settings_for, monkeypatch, owner, phase):
    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(owner, phase, fail)
    with pytest.raises(MemoryError):
        trainer.main(settings_for(TrainConfig, epochs=1))


def test_report_is_printed_and_written_beside_the_checkpoints(finished):
    config, out = finished
    path = Path(config.model_save_name, "report.txt")
    report = path.read_text(encoding="utf-8")
    assert report in out
    assert f"report     {path.with_name('report.html')}" in out.splitlines()
    epochs = history(config.model_save_name)
    number = best(epochs)
    assert report.startswith(f"On the 4 validation pictures, after epoch {1 + number}:\n")
    assert f"accuracy           {100 * epochs[number]['val_accuracy']:5.1f} %  " in report
    for name, count in (("ant", 2), ("bee", 2)):
        assert re.search(rf"^{name} .* {count}  ", report, re.MULTILINE)


def test_report_is_also_a_page_and_json(finished):
    config, out = finished
    folder = Path(config.model_save_name)
    assert f"report     {folder / 'report.html'}" in out.splitlines()
    contents = json.loads((folder / "report.json").read_text())
    assert contents["history"] == history(config.model_save_name)
    assert contents["settings"]["epochs"] == {"value": 2, "default": 300}
    assert f"{contents['report']['correct']} of 4 pictures; 95 % interval" in out
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert f"{contents['report']['correct']} of 4 correct; 95 % interval" in page.text
    assert "Trained on 16 pictures in 2 epochs, validated on 4 others." in page.text
    assert "CPU, " in page.text


def test_suspects_are_listed_beside_the_report(finished):
    config, out = finished
    folder = Path(config.model_save_name)
    with (folder / "suspects.csv").open(newline="", encoding="utf-8") as file:
        suspects = list(csv.DictReader(file))
    contents = json.loads((folder / "report.json").read_text())
    mislabeled = [row["picture"] for row in suspects if row["kind"] == "mislabeled"]
    assert mislabeled == [row["picture"] for row in contents["probable_label_errors"]]
    assert (folder / "suspects.png").exists() == bool(suspects) == ("suspects   " in out)


def test_report_has_the_mistakes_that_predict_makes_on_the_same_photos(rawdata, settings_for, tmp_path, capsys):
    """Predictions for the validation photos one by one are those of the report."""
    config = settings_for(TrainConfig, epochs=1, **FROZEN)  # nothing is learned, so about half of them are wrong
    trainer.main(config)
    validating = [picture for picture in training_pictures(config) if picture.split == VALIDATION]
    capsys.readouterr()
    paths = tuple(picture.path for picture in validating)
    predict.main(PredictConfig(images=paths, model_save_name=config.model_save_name))
    answers = [line.split() for line in capsys.readouterr().out.splitlines()]
    mistakes = set()
    for photo, (path, predicted, score, *_) in zip(validating, answers, strict=True):
        if predicted != photo.class_name:
            mistakes.add(f"{path}  is {photo.class_name}, predicted {predicted} with {score}")
    assert 1 <= len(mistakes) < 4
    report = Path(config.model_save_name, "report.txt").read_text(encoding="utf-8")
    worst, remarks = report.split("mistakes, highest score first:\n")[1].split("\n\n")
    assert set(worst.replace("\n    is", "  is").splitlines()) == mistakes
    assert remarks.splitlines() == [
        "The end of the run and the scores were chosen with these pictures,",
        "so expect slightly less accuracy on new ones.",
        "They are too few to recognize unknown ones: no picture will be called unknown.",
    ]
    assert f" {4 - len(mistakes)} of 4 pictures; 95 % interval" in report


def best(history: list[dict[str, float]]) -> int:
    return max(range(len(history)), key=lambda epoch: (history[epoch]["val_accuracy"], -history[epoch]["val_loss"]))


def test_data_is_updated_when_pictures_are_added(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 20
    assert "16 to train, 4 to validate, " in capsys.readouterr().out
    write_picture(rawdata / "ant" / "new.png", label=0, seed=99)
    with pytest.raises(UserError, match="was trained with different pictures; train to a new folder"):
        trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 21
    assert "(1 new)" in capsys.readouterr().out


def test_data_folder_made_by_the_user_is_enough(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    rawdata.rename(config.data_path)
    before = files(config.data_path)
    assert len(before) == 20
    assert trainer.main(config) == 0
    assert "16 to train, 4 to validate, " in capsys.readouterr().out
    assert files(config.data_path) == before


def test_patience_ends_a_run_also_after_it_was_resumed(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=2, patience=2, **FROZEN)
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 2
    config = dataclasses.replace(config, epochs=20)
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 3
    assert "this run is finished" not in capsys.readouterr().out
    assert trainer.main(config) == 0
    assert "this run is finished: train longer with --patience 4, or" in capsys.readouterr().out
    assert len(history(config.model_save_name)) == 3


def test_patience_counts_through_a_stop_in_the_middle_of_an_epoch(rawdata, settings_for, monkeypatch):
    config = settings_for(TrainConfig, epochs=20, patience=2, **FROZEN, **BY_STEPS)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS + 9, lambda: signal.raise_signal(signal.SIGINT))
        assert trainer.main(config) == 130
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 3


def losses(samples: Samples, config: TrainConfig) -> list[np.ndarray]:
    """Returns the losses of single pictures with the best weights of a run: those of ants, and those of bees."""
    classifier = load_trained_network(Path(config.model_save_name))
    assert classifier.model_config.class_names == ["ant", "bee"]
    logits = classifier.predict(samples.images).logits.astype(np.float64)
    own, other = logits[np.arange(len(logits)), samples.labels], logits[np.arange(len(logits)), 1 - samples.labels]
    each = np.log(1 + np.exp(other - own))  # the softmax loss of two classes
    if config.loss == "sigmoid":
        each = np.log(1 + np.exp(-own)) + np.log(1 + np.exp(other))
    return [each[samples.labels == label] for label in (0, 1)]


@pytest.mark.parametrize(("balance", "loss"), [(True, "softmax"), (False, "softmax"), (True, "sigmoid")])
def test_loss_is_the_balanced_mean_over_the_pictures(settings_for, balance, loss):
    """Nothing is learned and all pictures are in one batch, so the final weights give the losses of the epoch."""
    config = settings_for(TrainConfig, epochs=1, batch_size=15, balance_classes=balance, loss=loss, **FROZEN)
    write_classes(Path(config.raw_data), 15, 4)  # train 12 and 3, validate 3 and 1
    trainer.main(config)
    pictures = training_pictures(config)
    (metrics_of_epoch,) = history(config.model_save_name)
    for split, name, counts in ((TRAIN, "loss", [12, 3]), (VALIDATION, "val_loss", [3, 1])):
        ants, bees = losses(load([picture for picture in pictures if picture.split == split], config), config)
        assert [len(ants), len(bees)] == counts
        assert abs(ants.mean() - bees.mean()) > 0.01
        expected = (ants.mean() + bees.mean()) / 2 if balance else np.mean([*ants, *bees])
        assert metrics_of_epoch[name] == pytest.approx(expected, rel=1e-3)


def test_validation_accuracy_is_equal_to_the_bit_for_equal_counts():
    """84 of 100 and 31 of 37 pictures are right, but not the same ones. In 32 bits this gives several accuracies."""
    images = keras.Input((2,))
    network = keras.Model(images, keras.layers.Activation("linear")(images))
    compile_model(network, TrainConfig(), count=100)
    labels = np.repeat([0, 1], [100, 37]).astype(np.int32)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(20):
        right = np.concatenate([rng.permutation(100) < 84, rng.permutation(37) < 31])
        logits = np.eye(2, dtype=np.uint8)[np.where(right, labels, 1 - labels)]
        order = rng.permutation(137)
        # The pictures of validation_batches are images; here they are the answers themselves.
        batches = validation_batches(Samples(logits[order], labels[order]), balance=True).map(
            lambda images, *others: (tf.cast(images, tf.float32), *others)
        )
        found.add(network.evaluate(batches, verbose=0, return_dict=True)["accuracy"])
    (accuracy,) = found
    assert accuracy == pytest.approx((84 / 100 + 31 / 37) / 2, abs=1e-7)


def test_sigmoid_cross_entropy_is_summed_over_the_classes():
    logits = tf.constant([[0.0, 0.0, 0.0], [2.0, -1.0, 100.0]])
    found = sigmoid_cross_entropy(tf.constant([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), logits)
    expected = [3 * math.log(2), math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def accuracy_on_new_pictures(folder: str | Path) -> float:
    """Returns the fraction of 40 pictures that is predicted correctly."""
    classifier = load_trained_network(Path(folder))
    with tempfile.TemporaryDirectory() as new:
        images = [
            pixels_of(
                picture(Path(new, f"{label}{number}.png"), label=label, seed=1000 + number),
                ImageConfig(height=16, width=16),
            )
            for label in (0, 1)
            for number in range(20)
        ]
    return (classifier.predict(np.stack(images)).predicted == np.repeat([0, 1], 20)).mean()


def test_easy_pictures_are_learned_with_softmax_loss(trained):
    assert accuracy_on_new_pictures(trained) >= 0.9


def test_easy_pictures_are_learned_with_sigmoid_loss(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=12, random_mirror=False, loss="sigmoid")
    assert trainer.main(config) == 0
    assert accuracy_on_new_pictures(config.model_save_name) >= 0.9


def test_average_of_the_weights_differs_from_the_newest(finished):
    latest = latest_checkpoint(Path(finished[0].model_save_name))
    newest, average = latest.part("weights"), latest.part("average")
    assert max(np.abs(newest[name] - average[name]).max() for name in average) > 1e-5


def test_average_weights_switched_off_keeps_the_newest(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=1, average_weights=False, **BY_STEPS)
    trainer.main(config)
    latest = latest_checkpoint(Path(config.model_save_name))
    newest, average = latest.part("weights"), latest.part("average")
    assert len(average) == 22
    assert max(np.abs(newest[name] - average[name]).max() for name in average) < 1e-6
    for weight in load_trained_network(Path(config.model_save_name)).model.weights:
        np.testing.assert_array_equal(weight.numpy(), average[weight.path])


def test_unknown_rate_can_be_changed_after_a_run(finished, tmp_path):
    shutil.copytree(finished[0].model_save_name, tmp_path / "copy")
    config = dataclasses.replace(finished[0], model_save_name=str(tmp_path / "copy"))
    # 4 validation pictures are too few for a rate of 0.05, but enough for 0.5.
    for rate, finite in ((0.05, False), (0.5, True), (0, False)):
        assert trainer.main(dataclasses.replace(config, unknown_rate=rate)) == 0
        calibration = load_trained_network(Path(config.model_save_name)).calibration
        assert math.isfinite(calibration.max_distance) == finite
        assert calibration.slope != 1
    assert len(history(config.model_save_name)) == 2


def test_three_classes_of_gray_pictures_are_trained(rawdata, settings_for, capsys):
    for number in range(5):
        write_picture(rawdata / "wasp" / f"{number}.png", label=2, seed=number)
    config = settings_for(TrainConfig, epochs=1, color_channels=1, height=17, width=23)
    assert trainer.main(config) == 0
    assert "3 classes: ant 12, bee 8, wasp 5" in capsys.readouterr().out
    assert read_model_config(Path(config.model_save_name)).class_names == ["ant", "bee", "wasp"]


def test_first_try_with_few_pictures_works(settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    for label, name in enumerate(("ant", "bee")):
        for number in range(2):
            write_picture(Path(config.raw_data, name, f"{number}.png"), label=label, seed=number)
    assert trainer.main(config) == 0
    assert "2 to train, 2 to validate, " in capsys.readouterr().out


@pytest.mark.parametrize("batch_size", [17, 3000])
def test_batches_larger_than_the_training_pictures_are_refused(rawdata, settings_for, batch_size):
    config = settings_for(TrainConfig, batch_size=batch_size)
    with pytest.raises(UserError) as refused:
        trainer.main(config)
    problem = f"--batch_size {batch_size}: there are only 16 training pictures"
    assert str(refused.value) == f"{problem}; use --batch_size 16 or less"


def test_first_weights_and_dropout_follow_from_the_seed(rawdata, settings_for, tmp_path, monkeypatch):
    class Begun(Exception):
        """The run has saved its first checkpoint."""

    def begin(*arguments):
        raise Begun

    monkeypatch.setattr(trainer, "fit", begin)
    first, again, other = (
        settings_for(TrainConfig, seed=seed, model_save_name=str(tmp_path / name))
        for seed, name in ((1, "first"), (1, "again"), (2, "other"))
    )
    for config in (first, again, other):
        with pytest.raises(Begun):
            trainer.main(config)
    found, same, different = (tensors(config.model_save_name) for config in (first, again, other))
    drawn = re.compile("weights/.*(/kernel|seed_generator_state)")
    random = [name for name in found if drawn.fullmatch(name)]
    assert len(random) == 7  # of 3 convolutions, 2 fully connected layers and 2 dropouts
    for name in random:
        assert np.array_equal(found[name], same[name])
        assert not np.array_equal(found[name], different[name])


def test_checkpoint_of_the_first_version_is_refused_and_kept(rawdata, settings_for):
    config = settings_for(TrainConfig)
    path = write_first_version(Path(config.model_save_name))
    before = files(config.model_save_name)
    with pytest.raises(UserError, match="was saved by another version of this toolkit; train to a new folder") as error:
        trainer.main(config)
    assert str(error.value).startswith(f"{path.with_name('model.json')}: ")
    (Path(config.model_save_name) / ".lock").unlink()
    assert files(config.model_save_name) == before


def test_edited_network_is_trained_resumed_and_used(rawdata, settings_for, monkeypatch, capsys):
    config = settings_for(TrainConfig, epochs=1)
    layer = model.fully_connected_layer

    def smaller(x, *, units: int, name: str, **options):
        return layer(x, units=8 if name == "fully_connected_1" else units, name=name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(model, "fully_connected_layer", smaller)
        assert trainer.main(config) == 0
        assert trainer.main(dataclasses.replace(config, epochs=2)) == 0
        assert "continuing after epoch 1, " in capsys.readouterr().out
        assert len(history(config.model_save_name)) == 2
        kernel = load_trained_network(Path(config.model_save_name)).model.get_layer("fully_connected_1").kernel
        assert kernel.shape == (256, 8)
        predict.main(PredictConfig(images=(str(rawdata),), model_save_name=config.model_save_name))
        assert len(capsys.readouterr().out.splitlines()) == 20
    with pytest.raises(UserError, match="its weights do not fit this network"):
        load_trained_network(Path(config.model_save_name))
    with pytest.raises(UserError, match="cannot continue from it: its weights do not fit this network"):
        trainer.main(config)


@pytest.mark.parametrize("part", ["best", "train", "best/inside"])
def test_part_of_a_folder_of_checkpoints_is_refused(finished, settings_for, part):
    config, _ = finished
    whole = config.model_save_name
    with pytest.raises(UserError) as refused:
        trainer.main(settings_for(TrainConfig, model_save_name=f"{whole}/{part}"))
    assert str(refused.value) == f"--model_save_name {whole}/{part}: is a part of {whole}; use another folder"


def test_folder_called_best_is_refused_for_a_new_run(settings_for, tmp_path):
    with pytest.raises(UserError, match="best: best is a part of each network; use another name$"):
        trainer.main(settings_for(TrainConfig, model_save_name=str(tmp_path / "best")))
    assert list(tmp_path.iterdir()) == []


def test_script_names_a_missing_folder_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_here("trainer.py", trainer.main, TrainConfig) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("trainer.py: rawdata: no such folder; create it and ")
