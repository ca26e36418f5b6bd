"""What the terminal shows of a training run."""

import contextlib
import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from config import TrainConfig
from model import generate_model
from network.backend import keras
from reports.console import (
    EpochTable,
    describe_network,
    describe_replicas,
    describe_run,
    format_end,
    format_row,
    how_to_train_longer,
    print_next_commands,
)
from system.cluster import Cluster, Workers
from tests.helpers.checkpoints import MODEL_CONFIG, metrics
from tests.helpers.screens import rendered, show_terminal


def test_describe_network_counts_layers_and_weights():
    assert describe_network(generate_model(MODEL_CONFIG)) == "3 convolutions, 2 fully connected layers, 293,378 weights"
    images = keras.Input((1000,))
    one = keras.Model(images, keras.layers.Dense(1100)(images))
    assert describe_network(one) == "0 convolutions, 1 fully connected layer, 1.1 million weights"


def replicas(count: int, workers: Workers | None = None) -> SimpleNamespace:
    """Returns what is asked of a distribution."""
    return SimpleNamespace(replicas=count, workers=workers or Workers())


def test_describe_replicas_says_nothing_about_one_device():
    assert describe_replicas(TrainConfig(), replicas(1)) == []


def test_describe_replicas_says_who_shares_a_batch():
    large = TrainConfig(batch_size=256)
    assert describe_replicas(large, replicas(4)) == ["4 devices share each batch of 256 pictures"]
    cluster = Cluster(["a:1", "b:1"])
    chief, other = (Workers(dataclasses.replace(cluster, index=index)) for index in range(2))
    shared = "2 workers, 4 devices share each batch of 256 pictures; this is"
    assert describe_replicas(large, replicas(4, chief)) == [f"{shared} the chief"]
    assert describe_replicas(large, replicas(4, other)) == [f"{shared} worker 1; the chief shows the progress"]


def test_describe_replicas_says_that_small_parts_do_not_pay():
    assert len(describe_replicas(TrainConfig(batch_size=128), replicas(2))) == 1
    assert describe_replicas(TrainConfig(batch_size=127), replicas(2))[1:] == [
        "with 63 pictures per device, exchanging the gradients may take longer than",
        "computing them: use --batch_size 128 or more, or a single device",
    ]


def test_describe_run_says_when_it_ends():
    config = TrainConfig(epochs=1, patience=30, model_save_name="my\tnetwork")
    assert describe_run(config) == "my\\tnetwork/: up to 1 epoch, 30 without a lower cost; Ctrl-C saves"


def test_default_run_is_described_on_one_line_of_80_columns():
    assert len(f"{'run':<11}{describe_run(TrainConfig())}") <= 80


@pytest.mark.parametrize(
    ("count", "trained", "limits", "end"),
    [
        (5, 5, {"patience": 3}, "Finished after 5 epochs in 1:05: 3 without a lower cost."),
        (5, 2, {"patience": 3}, "Finished after 5 epochs, 2 of them now, in 1:05: 3 without a lower cost."),
        (5, 0, {"epochs": 5}, "Finished after 5 epochs: no more than --epochs 5."),
        (1, 1, {"epochs": 1}, "Finished after 1 epoch in 1:05: no more than --epochs 1."),
        (
            5,
            5,
            {"patience": 3, "epochs": 5},
            "Finished after 5 epochs in 1:05: 3 without a lower cost and no more than --epochs 5.",
        ),
    ],
)
def test_format_end_says_why_a_run_ended(count, trained, limits, end):
    history = [metrics(accuracy) for accuracy in (0.5, 0.9, 0.8, 0.9, 0.8)[:count]]
    assert format_end(history, TrainConfig(learning_rate_decay=0, **limits), trained=trained, seconds=65) == end


def test_format_end_counts_the_epochs_with_a_falling_learning_rate():
    history = [metrics(accuracy) for accuracy in (0.5, 0.9, 0.8, 0.9)]
    history += [metrics(0.9) | {"learning_rate": rate} for rate in (0.0006, 0.0003)]
    end = "Finished after 6 epochs in 1:05: 2 without a lower cost, the last 2 with a falling learning rate."
    assert format_end(history, TrainConfig(patience=2, learning_rate_decay=0.5), trained=6, seconds=65) == end


def row(loss=0.828, accuracy=0.65, val_loss=0.445, val_accuracy=1.0, rate=12345) -> dict[str, float]:
    values = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
    return {**values, "images_per_second": rate}


def test_format_row_is_aligned_below_the_head():
    assert format_row(12, row(), 3725) == "    12  0.828   65.0 %   0.445  100.0 %  12,345 1:02:05"
    assert format_row(300, row(loss=1234567, val_loss=0.00004), 7) == (
        "   300  1e+06   65.0 %   0.000  100.0 %  12,345    0:07"
    )


class Run:
    """A table of epochs, called as `fit` calls it, with scripted metrics."""

    def __init__(self, *, steps: int = 4, **settings) -> None:
        self.checkpoints = SimpleNamespace(history=[], step=0, saved_step=0)
        self.steps = steps
        self.table = EpochTable(
            self.checkpoints, TrainConfig(learning_rate_decay=0.5, **settings), steps_per_epoch=steps
        )
        self.table.set_params({"steps": steps})

    def step(self, batch: int) -> None:
        self.checkpoints.step += 1
        self.table.on_train_batch_end(batch, {"images_per_second": 289})

    def epoch(self, accuracy: float, cost: float | None = None, *, saves_at: int = -1, rate: float = 0.001) -> None:
        """Runs an epoch in which a checkpoint is saved at a step, counted from 1."""
        cost = 1 - accuracy if cost is None else cost
        self.table.on_epoch_begin(len(self.checkpoints.history))
        for batch in range(self.steps):
            self.step(batch)
            if batch + 1 == saves_at:
                self.checkpoints.saved_step = self.checkpoints.step
        self.table.on_test_begin()
        self.checkpoints.history.append(metrics(accuracy, cost) | {"learning_rate": rate})
        self.table.on_epoch_end(len(self.checkpoints.history) - 1, row(val_loss=cost, val_accuracy=accuracy))


def remarks(out: str) -> list[str]:
    """Returns what stands after the time in the rows of a table."""
    return [re.split(r" \d+:\d\d", line)[1].strip() for line in out.splitlines() if "%" in line]


def test_epoch_table_says_what_is_best_and_counts_the_others(capsys):
    run = Run(patience=30)
    for accuracy, cost in ((0.5, 1), (0.7, 1), (0.6, 0.2), (0.7, 0.9), (0.7, 0.95), (0.8, 2)):
        run.epoch(accuracy, cost)
    assert remarks(capsys.readouterr().out) == [
        *("best", "best, 1 of 30", "", "best, 1 of 30", "2 of 30", "best, 3 of 30")
    ]


def test_epoch_table_counts_the_epochs_in_which_the_learning_rate_falls(capsys):
    run = Run(patience=2)
    for accuracy in (0.7, 0.6, 0.5):
        run.epoch(accuracy)
    run.epoch(0.6, rate=0.0007)
    run.epoch(0.8, rate=0.0003)
    assert remarks(capsys.readouterr().out) == ["best", "1 of 2", "2 of 2", "rate falls, 1 of 2", "rate falls, 2 of 2"]


def test_epoch_table_says_which_epochs_are_saved(capsys):
    run = Run(patience=30)
    run.epoch(0.5)
    run.epoch(0.7, saves_at=4)
    run.epoch(0.8, saves_at=2)  # before it was known that it is the best one
    run.epoch(0.6, saves_at=2)
    run.epoch(0.6)
    assert remarks(capsys.readouterr().out) == ["best", "best, saved", "best", "1 of 30, saved", "2 of 30"]


def test_epoch_table_in_a_log_has_a_head_and_a_plain_line_for_each_epoch(capsys):
    run = Run()
    run.epoch(0.5)
    run.epoch(0.75)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "",
        " epoch    training        validation",
        "         cost accuracy    cost accuracy   img/s    time",
    ]
    assert [line[: line.index("0:")] for line in lines[3:]] == [
        "     1  0.828   65.0 %   0.500   50.0 %  12,345    ",
        "     2  0.828   65.0 %   0.250   75.0 %  12,345    ",
    ]


def test_epoch_table_shows_the_current_epoch_on_a_terminal(monkeypatch):
    monkeypatch.setattr("system.bar._SECONDS_BETWEEN_DRAWS", 0)
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    run = Run(epochs=3)
    run.table.on_epoch_begin(0)
    assert re.fullmatch(r"     1 ━+ 0/4 starting ...", rendered(screen.getvalue())[-1])
    run.step(0)
    run.step(1)
    line = rendered(screen.getvalue())[-1]
    assert re.fullmatch(r"     1 ━+[╺╸]━+ 2/4 289 img/s  0:00 left", line)
    run.table.close()
    assert len(rendered(screen.getvalue())) == 3  # the head
    run.epoch(0.5)
    *_, last = rendered(screen.getvalue())
    assert last.startswith("     1  0.828 ") and last.endswith("  best")


def test_epoch_table_fits_80_columns(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    run = Run(patience=300)
    run.checkpoints.history += [metrics(0.7, 0.1), *(metrics(0.5) for _ in range(122))]
    run.epoch(0.7, 0.5, saves_at=4)
    (line,) = (line for line in rendered(screen.getvalue()) if "%" in line)
    assert line.endswith("123 of 300, saved") and len(line) <= 80


def test_next_commands_name_the_folder_unless_it_is_the_default(capsys):
    print_next_commands(TrainConfig(), "")
    assert capsys.readouterr().out.splitlines() == [
        "network    checkpoints/",
        f"report     {Path('checkpoints', 'report.html')}",
        "next       python predict.py picture.jpg",
        "           tensorboard --logdir checkpoints   then open http://localhost:6006",
    ]
    print_next_commands(TrainConfig(model_save_name="my\x1b new"), "--epochs 600")
    assert capsys.readouterr().out.splitlines() == [
        "network    my\\x1b new/",
        f"report     {Path('my', 'report.html')}".replace("my", "my\\x1b new"),
        "next       python predict.py --model_save_name 'my\\x1b new' picture.jpg",
        "           tensorboard --logdir 'my\\x1b new'   then open http://localhost:6006",
        "this run is finished: train longer with --epochs 600, or use another --model_save_name",
    ]


@contextlib.contextmanager
def noted_bar(shown: list):
    """Yields a bar that only notes what it would show."""
    yield SimpleNamespace(update=lambda done, text: shown.append((done, text)), show=lambda text: None)


def test_time_left_is_for_all_epochs_at_the_pace_since_the_first_step(monkeypatch, capsys):
    clock = [1.0]
    monkeypatch.setattr("reports.console.time", SimpleNamespace(monotonic=lambda: clock[0]))
    shown = []
    monkeypatch.setattr("reports.console.live_bar", lambda *_: noted_bar(shown))
    run = Run(epochs=10, patience=3, steps=100)
    run.table.set_params({"steps": 40})  # the rest of an epoch, after a stop
    run.checkpoints.step = 60
    run.table.on_epoch_begin(0)
    clock[0] = 50  # now the graph is compiled
    run.step(0)
    clock[0] = 52
    run.step(1)
    # 938 steps of 2 s, or 538 if none is better than the first epoch: four of them, then two with a falling rate.
    assert shown == [(61, "289 img/s"), (62, "289 img/s  17:56 to 31:16 left")]


def test_time_left_is_measured_from_the_second_epoch_on(monkeypatch, capsys):
    clock = [1.0]
    monkeypatch.setattr("reports.console.time", SimpleNamespace(monotonic=lambda: clock[0]))
    shown = []
    monkeypatch.setattr("reports.console.live_bar", lambda *_: noted_bar(shown))
    run = Run(epochs=4, steps=2)
    run.epoch(0.5)
    clock[0] = 100  # the first epoch took long
    run.table.on_epoch_begin(1)
    clock[0] = 107
    run.step(0)
    assert shown[-1] == (1, "289 img/s  0:35 left")  # 5 steps of 7 s


def test_epoch_table_of_a_run_that_trains_nothing_shows_nothing(capsys):
    Run().table.close()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("accuracies", "advice"),
    [
        ([], ""),
        ([0.5, 0.6], ""),
        ([0.5, 0.6, 0.7, 0.8], "--epochs 8"),
        ([0.8, 0.7, 0.6], "--patience 4"),
        ([0.8, 0.7, 0.7, 0.7], "--patience 5 --epochs 8"),
        ([0.5] * 10, "--patience 11 --epochs 14"),
        ([0.5, 0.8, 0.7, 0.6], "--patience 4 --epochs 8"),
    ],
)
def test_how_to_train_longer_names_the_settings_that_ended_the_run(accuracies, advice):
    config = TrainConfig(epochs=4, patience=2, learning_rate_decay=0)
    assert how_to_train_longer([metrics(accuracy) for accuracy in accuracies], config) == advice


@pytest.mark.parametrize("tensorboard", [True, False])
def test_next_commands_name_tensorboard_only_if_there_is_something_to_see(capsys, tensorboard):
    print_next_commands(TrainConfig(tensorboard=tensorboard), "")
    assert ("tensorboard --logdir checkpoints" in capsys.readouterr().out) is tensorboard
