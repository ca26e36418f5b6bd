"""The evaluation of a network on a folder: which pictures are in it, and their classes."""

from pathlib import Path

import numpy as np
import pytest

from answers.output import Answer
from reports.folder import evaluation_of, find_true_classes
from system.errors import UserError
from tests.helpers.predictions import picture


def test_find_true_classes_compares_names_whatever_letters_are_made_of(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    picture(tmp_path / decomposed / "1.png")
    for name in (composed, decomposed):
        assert list(find_true_classes(tmp_path, ["bee", name])[1].values()) == [name]


def test_find_true_classes_escapes_the_names_of_classes(tmp_path):
    names = ["a\x1b[2J", "b\nee"]
    with pytest.raises(UserError) as empty:
        find_true_classes(tmp_path, names)
    picture(tmp_path / "c\x1b" / "1.png")
    with pytest.raises(UserError) as unexpected:
        find_true_classes(tmp_path, names)
    for refused in (unexpected, empty):
        assert str(refused.value).isprintable()
        assert r"a\x1b[2J, b\nee" in str(refused.value)


def test_evaluation_of_answers_leaves_out_unreadable_pictures():
    values = {"logits": np.array([1.0, 2.0]), "scores": np.array([0.3, 0.7])}
    answers = [
        Answer(path=Path("1"), predicted=1, **values),
        Answer(path=Path("2"), error="the file is empty"),
        Answer(path=Path("3"), predicted=1, unknown=True, **values),
    ]
    classes = {Path("1"): "ant", Path("2"): "ant", Path("3"): "bee"}
    found = evaluation_of(answers, classes, ["ant", "bee"])
    assert (found.paths, found.labels.tolist()) == (["1", "3"], [0, 1])
    assert found.predictions.unknown.tolist() == [False, True]
    assert evaluation_of(answers[1:2], classes, ["ant", "bee"]) is None
