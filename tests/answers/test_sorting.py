"""Copying pictures into one folder per predicted class."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest

from answers.output import Answer
from answers.sorting import Sorter, is_folder_name
from system.errors import UserError
from tests.helpers.files import contents

IMAGE = np.zeros((16, 16, 3), np.uint8)
CLASSES = ["ant", "bee"]


def answer_about(path: Path, *scores: float, unknown: bool = False) -> Answer:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(path.parent.name.encode())  # the content is the name of the folder
    return Answer(path=path, predicted=int(np.argmax(scores)), scores=scores, unknown=unknown, image=IMAGE)


def test_sorter_copies_each_picture_to_the_folder_of_its_class(tmp_path):
    answers = [
        answer_about(tmp_path / "a" / "1.png", 0.9, 0.1),
        answer_about(tmp_path / "a" / "2.png", 0.2, 0.8),
        answer_about(tmp_path / "a" / "3.png", 0.2, 0.9, unknown=True),
        answer_about(tmp_path / "a" / "4.png", 0.2, 0.79),
        answer_about(tmp_path / "b" / "2.png", 0.2, 0.8),
    ]
    sorter = Sorter(tmp_path / "out", CLASSES, 0.8)
    sorter.add(answers[:3])
    sorter.add([Answer(path=tmp_path / "none.png", error="is missing"), *answers[3:]])
    expected = {"ant/1.png": b"a", "bee/2.png": b"a", "bee/2 (2).png": b"b", "unsure/3.png": b"a", "unsure/4.png": b"a"}
    assert contents(tmp_path / "out") == expected
    assert contents(tmp_path / "a").keys() == {"1.png", "2.png", "3.png", "4.png"}

    again = Sorter(tmp_path / "out", CLASSES, 0.8)
    again.add(answers)
    assert contents(tmp_path / "out") == expected
    assert again.files.describe("picture") == f"{tmp_path / 'out'}: 0 pictures added, 5 were there already"


def test_sorter_is_sure_of_any_score_by_default(tmp_path):
    sorter = Sorter(tmp_path / "out", CLASSES, 0.0)
    sorter.add([answer_about(tmp_path / "a" / "1.png", 0.0, 0.0)])
    assert contents(tmp_path / "out").keys() == {"ant/1.png"}


@pytest.mark.parametrize("name", ["unsure", "Unsure"])
def test_sorter_refuses_a_class_called_unsure(tmp_path, name):
    with pytest.raises(UserError, match=f"^--sort: the folder unsure is for .*; rename the class {name} and"):
        Sorter(tmp_path / "out", ["ant", name], 0.5)
    assert not list(tmp_path.iterdir())


def test_sorter_refuses_a_class_that_leads_out_of_the_folder(tmp_path):
    with pytest.raises(UserError, match=r"^--sort: \.\.: no folder can have this name here; rename that class$"):
        Sorter(tmp_path / "out", ["..", "ant"], 0.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ant", "ä ö", "a.b", ".hidden", "..a", "a b (2)"])
def test_is_folder_name_accepts_names_of_folders(name):
    assert is_folder_name(name, system=PurePosixPath)
    assert is_folder_name(name, system=PureWindowsPath)


@pytest.mark.parametrize("name", [".", "..", "a/b", "/", "/a", "a/"])
def test_is_folder_name_refuses_other_folders(name):
    assert not is_folder_name(name, system=PurePosixPath)
    assert not is_folder_name(name, system=PureWindowsPath)


@pytest.mark.parametrize("name", ["a\\b", "..\\a", "\\a", "C:a", "C:", "\\\\host\\share", ".. ", "...", "a.", "a "])
def test_is_folder_name_refuses_what_only_windows_takes_for_another_folder(name):
    assert is_folder_name(name, system=PurePosixPath)
    assert not is_folder_name(name, system=PureWindowsPath)
