"""Folders that are not classes."""

from pathlib import Path

import pytest

from pictures.folders import find_classes
from pictures.layout import find_class_folders, parts_of_a_split


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def parts(folder: Path) -> list[str]:
    return parts_of_a_split(find_classes(folder))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train", "validation"], ["train", "validation"]),
        (["Test", "TRAIN"], ["TRAIN", "Test"]),
        (["testing", "training", "valid"], ["training", "testing", "valid"]),
        (["test_set", "training_set"], ["training_set", "test_set"]),
        (["train data", "val data"], ["train data", "val data"]),
        (["seg_pred", "seg_test", "seg_train"], ["seg_train", "seg_test"]),
        (["testA", "testB", "trainA", "trainB"], ["trainA", "trainB", "testA", "testB"]),
        (["petsTest", "petsTrain"], ["petsTrain", "petsTest"]),
        (["Meta", "Test", "Train"], ["Train", "Test"]),  # of the German traffic signs
        (["dev", "eval", "holdout"], ["dev", "eval", "holdout"]),
        (["bus", "train"], []),
        (["blood_test", "train_station"], []),
        (["contest", "constrain"], []),
        (["latest_test", "trainer"], []),
        (["valley", "testament", "training"], []),
        (["train1", "test2"], []),
    ],
)
def test_parts_of_a_split_are_recognized_by_their_names(names, found, tmp_path):
    make_files(tmp_path, *(f"{name}/1.jpg" for name in names))
    assert parts(tmp_path) == found


@pytest.mark.parametrize("names", [["fold1", "fold2", "fold3"], ["2023", "2024"], ["A", "B", "extra"]])
def test_parts_of_a_split_are_recognized_by_what_they_hold(names, tmp_path):
    shared = names[:2] if "extra" in names else names
    make_files(tmp_path, *(f"{part}/{name}/1.jpg" for part in shared for name in ("cats", "dogs")))
    make_files(tmp_path, *(f"{part}/labels.csv" for part in shared), *(f"{part}/.1.jpg" for part in shared))
    make_files(tmp_path, *(f"{name}/1.jpg" for name in names if name not in shared))
    assert parts(tmp_path) == shared
    make_files(tmp_path, *(f"{part}/cover.JPG" for part in shared))  # a picture of its own: they may be classes
    assert parts(tmp_path) == []


def test_parts_of_a_split_share_at_least_two_folders(tmp_path):
    make_files(tmp_path, "ant/2023/1.jpg", "bee/2023/1.jpg", "cow/red/1.jpg", "cow/blue/1.jpg", "ant/red/1.jpg")
    assert parts(tmp_path) == []
    make_files(tmp_path, "bee/red/1.jpg")
    assert parts(tmp_path) == ["ant", "bee"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["a/1.jpg", "b/1.jpg"], ""),
        (["images/a/1.jpg", "images/b/1.jpg"], "images"),
        (["data/images/a/1.jpg", "data/images/b/1.jpg", "__MACOSX/x/1.jpg"], "data/images"),
        (["images/train/a/1.jpg", "images/train/b/1.jpg", "images/val/a/1.jpg"], "images/train"),
        (["a/1.jpg"], None),
        (["1.jpg"], None),
    ],
)
def test_find_class_folders_goes_down_to_the_classes(files, found, tmp_path):
    make_files(tmp_path, *files)
    assert find_class_folders(tmp_path) == (None if found is None else tmp_path / found)
