"""The learning curve: networks that are trained on a part of the pictures."""

import json
from pathlib import Path

import trainer
from config import TrainConfig
from network.model_config import read_model_config
from tests.helpers.files import contents
from tests.helpers.pages import Page


def test_learning_curve_trains_on_parts_and_is_reported(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1, learning_curve=True)
    assert trainer.main(config) == 0
    out = capsys.readouterr().out
    assert "learning curve: 25 % of the training pictures\n" in out
    assert "Learning curve, on the same 4 validation pictures:\n" in out
    folder = Path(config.model_save_name)
    curve = json.loads((folder / "report.json").read_text())["learning_curve"]
    assert [row["training_pictures"] for row in curve["rows"]] == [5, 8, 16]
    assert {row["validation_pictures"] for row in curve["rows"]} == {4}
    assert (folder / "report.txt").read_text(encoding="utf-8").count("training pictures") == 1
    assert curve["conclusion"] in Page((folder / "report.html").read_text(encoding="utf-8")).text
    configs = [read_model_config(folder / name) for name in ("", "learning-curve-25", "learning-curve-50")]
    assert len({config.pictures for config in configs}) == 3

    before = contents(folder)
    assert trainer.main(config) == 0  # nothing is trained again
    assert capsys.readouterr().out.count("was finished before, after 1 epoch\n") == 2
    assert contents(folder) == before
