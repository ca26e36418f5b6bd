"""How a run can be repeated: its command and its settings."""

import shlex

import pytest

from config import PredictConfig, TrainConfig
from reports.run_info import changed_settings, command_of
from system.command_line import read_command_line


def test_changed_settings_are_those_with_another_value_in_order():
    assert changed_settings(TrainConfig()) == []
    changed = changed_settings(TrainConfig(seed=2, height=64, width=100))
    assert changed == [("height", 64, 100), ("seed", 2, 1)]


def test_command_of_default_settings_has_no_options():
    assert command_of(TrainConfig()) == "python trainer.py"
    assert command_of(PredictConfig(evaluate="new"), "predict.py") == "python predict.py --evaluate new"


@pytest.mark.parametrize(
    "settings",
    [
        {"model_save_name": "it's mine; rm -rf"},
        {"tensorboard": False, "random_mirror": False},
        {"summary": True},
        {"learning_rate": 1e-8, "memory_gib": 0.0, "loss": "sigmoid"},
    ],
)
def test_command_gives_the_same_settings(settings):
    config = TrainConfig(**settings)
    python, script, *arguments = shlex.split(command_of(config))
    assert (python, script) == ("python", "trainer.py")
    assert read_command_line(TrainConfig, "", arguments) == config
