"""Listing a folder of classes, and refusing folders that are none."""

import hashlib
import os
from pathlib import Path

import pytest

from config import MAX_CLASSES, ImageConfig
from pictures.formats import NOT_A_PICTURE
from pictures.listing import (
    count_loose_files,
    find_true_classes,
    index_classes,
    index_pictures,
    split_off_other_files,
)
from pictures.manifest import PENDING, SKIPPED, Picture
from system.errors import UserError

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and names of POSIX")


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def stored(folder: Path) -> dict[str, str]:
    """Returns where the image of each file is stored, by the name of the file below the folder."""
    pictures = index_pictures(folder, ImageConfig())
    return {Path(picture.path).relative_to(folder).as_posix(): picture.stored for picture in pictures}


# ---- rows ----


def test_index_pictures_describes_every_file(tmp_path):
    make_files(tmp_path, "ant/deep/a.jpg")
    assert index_pictures(tmp_path, ImageConfig(height=20, width=30)) == [
        Picture(
            stored="ant/deep/a.jpg.png",
            class_name="ant",
            source="ant/deep/a.jpg",
            status=PENDING,
            path=f"{tmp_path.as_posix()}/ant/deep/a.jpg",
            shape="20x30x3",
        )
    ]


@not_on_windows
@pytest.mark.parametrize(
    "name", ["A: good", "a\\..\\b", "a..", "-rf", "CON", "a*?", "two\nlines", os.fsdecode(b"\xe9")]
)
def test_index_pictures_takes_any_name_of_a_class_or_a_file(name, tmp_path):
    make_files(tmp_path, f"{name}/1.jpg", f"bee/{name}", f"bee/{name}s/1.jpg")
    assert stored(tmp_path) == {
        f"{name}/1.jpg": f"{name}/1.jpg.png",
        f"bee/{name}": f"bee/{name}.png",
        f"bee/{name}s/1.jpg": f"bee/{name}s/1.jpg.png",
    }


def test_index_pictures_leaves_it_to_reading_to_refuse_a_folder(tmp_path):
    make_files(tmp_path, "ant/" + "d/" * 101 + "a.jpg")  # nested too deep
    assert [(p.path[-4:], p.status, p.reason) for p in index_pictures(tmp_path, ImageConfig())] == [
        ("/d/d", PENDING, "")
    ]


def test_index_pictures_shortens_only_names_that_would_be_too_long(tmp_path):
    fits, too_long = "x" * 245, "猫" * 82  # and 246 bytes in UTF-8
    make_files(tmp_path, f"ant/{fits}", f"ant/{too_long}")
    names = stored(tmp_path)
    assert names[f"ant/{fits}"] == f"ant/{fits}.png"
    digits = hashlib.sha256(too_long.encode()).hexdigest()[:8]
    assert names[f"ant/{too_long}"].startswith("ant/猫猫猫") and f"~{digits}" in names[f"ant/{too_long}"]
    assert len(os.fsencode(names[f"ant/{too_long}"])) <= len("ant/") + 249


def test_index_pictures_keeps_a_picture_apart_from_a_folder(tmp_path):
    make_files(tmp_path, "ant/pic", "ant/pic.png/a.jpg", "ant/deep/pic", "ant/deep/pic.png/deeper/a.jpg", "bee/pic")
    digits = hashlib.sha256(b"pic").hexdigest()[:8]
    assert stored(tmp_path) == {
        "ant/pic": f"ant/pic~{digits}.png",
        "ant/pic.png/a.jpg": "ant/pic.png/a.jpg.png",
        "ant/deep/pic": f"ant/deep/pic~{digits}.png",
        "ant/deep/pic.png/deeper/a.jpg": "ant/deep/pic.png/deeper/a.jpg.png",
        "bee/pic": "bee/pic.png",
    }


def test_index_pictures_keeps_a_long_name_apart_from_a_folder(tmp_path):
    name = "x" * 240
    make_files(tmp_path, f"ant/{name}", f"ant/{name}.png/a.jpg")
    found = stored(tmp_path)[f"ant/{name}"]
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    assert found.endswith(f"~{digits}.png")
    assert len(found) == len("ant/") + 249


def test_index_pictures_of_a_decomposed_class_name_is_composed(tmp_path):
    make_files(tmp_path, "cafe\u0301/e\u0301.jpg")
    (picture,) = index_pictures(tmp_path, ImageConfig())
    assert (picture.class_name, picture.stored) == ("caf\u00e9", "caf\u00e9/e\u0301.jpg.png")
    assert Path(picture.path).exists()
    assert not picture.is_copy


# ---- folders that are refused ----


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        index_classes(folder, ImageConfig())
    return str(refused.value)


def classes(folder: Path) -> set[str]:
    return {picture.class_name for picture in index_classes(folder, ImageConfig())}


def test_index_classes_needs_a_folder_with_two_classes_that_have_files(tmp_path):
    raw = tmp_path / "raw"
    assert "raw: no such folder; create it and put your pictures into one sub-folder per class" in refusal(raw)
    raw.mkdir()
    assert "raw: at least two classes are needed, found none; put" in refusal(raw)
    make_files(raw, "ant/1.jpg")
    assert "raw: at least two classes are needed, found ant; put your pictures into one" in refusal(raw)
    (raw / "bee").mkdir()
    assert "at least two classes are needed, found ant (bee: no pictures); put" in refusal(raw)
    assert refusal(raw).endswith(f" one sub-folder per class: {raw}/cat/….jpg, {raw}/dog/….jpg")
    (raw / "cow").mkdir()
    assert "found ant (bee, cow: no pictures); put" in refusal(raw)
    make_files(raw, "bee/1.jpg")
    assert classes(raw) == {"ant", "bee"}


def test_index_classes_names_an_empty_folder_and_passes_it_over(tmp_path, capsys):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg")
    (tmp_path / "cow" / "deep").mkdir(parents=True)
    assert classes(tmp_path) == {"ant", "bee"}
    assert capsys.readouterr().out == f"{tmp_path}/cow: has no pictures, so it is not a class of this run\n"


def test_index_classes_refuses_the_parts_of_a_split_and_names_that_for_training(tmp_path):
    make_files(tmp_path, *(f"{part}/{name}/1.jpg" for part in ("test", "train") for name in ("cats", "dogs")))
    assert refusal(tmp_path) == (
        f"{tmp_path}: train and test are parts of a data set and not classes; use one of them: --raw_data "
        f"{tmp_path}/train"
    )


def test_index_classes_names_the_folder_of_the_classes_however_deep_it_is(tmp_path):
    make_files(tmp_path, *(f"seg_{part}/seg_{part}/{name}/1.jpg" for part in ("test", "train") for name in "ab"))
    assert refusal(tmp_path).endswith(f"use one of them: --raw_data {tmp_path}/seg_train/seg_train")


def test_index_classes_refuses_parts_without_class_folders(tmp_path):
    make_files(tmp_path, "train/1.jpg", "test/1.jpg")
    assert refusal(tmp_path).endswith(
        "train and test are parts of a data set and not classes; put one of them into class folders"
    )


def test_index_classes_refuses_a_split_inside_each_class(tmp_path):
    make_files(tmp_path, *(f"{name}/{part}/1.jpg" for part in ("test", "train") for name in ("cat", "dog")))
    assert refusal(tmp_path) == (
        f"{tmp_path}: cat and dog each hold train and test; keep only the pictures to train on in them"
    )


def test_index_classes_names_up_to_five_parts_of_a_split(tmp_path):
    make_files(tmp_path, *(f"fold{number}/{name}/1.jpg" for number in range(6) for name in ("cats", "dogs")))
    make_files(tmp_path, "0/1.jpg")  # no part
    assert refusal(tmp_path) == (
        f"{tmp_path}: fold0 and fold1 and fold2 and fold3 and fold4 are parts of a data set and not classes; use one "
        f"of them: --raw_data {tmp_path}/fold0"
    )


def test_index_classes_of_one_part_of_a_split_names_the_classes_in_it(tmp_path):
    make_files(tmp_path, "train/ant/1.jpg", "train/bee/1.jpg")
    assert refusal(tmp_path).endswith(f"; if ant and bee are the classes, use --raw_data {tmp_path}/train")


def test_index_classes_refuses_the_output_of_augmentor_but_not_a_class_of_that_name(tmp_path):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg", "output/1.jpg", "output/cow/1.jpg")
    assert classes(tmp_path) == {"ant", "bee", "output"}
    make_files(tmp_path, "output/ant/1.jpg")
    assert refusal(tmp_path) == f"{tmp_path}/output: Augmentor's output is not a class; move or remove it"


def test_index_classes_takes_classes_whose_sub_folders_differ(tmp_path):
    make_files(tmp_path, "ant/2023/1.jpg", "bee/2023/1.jpg", "cow/red/1.jpg", "cow/blue/1.jpg")
    assert classes(tmp_path) == {"ant", "bee", "cow"}


def test_index_classes_names_a_folder_in_between(tmp_path):
    make_files(tmp_path, *(f"images/{name}/1.jpg" for name in ("ant", "bee", "cow")), "__MACOSX/images/._1.jpg")
    assert refusal(tmp_path).endswith(f"; if ant and bee are the classes, use --raw_data {tmp_path}/images")


def test_index_classes_refuses_a_class_called_unknown(tmp_path):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg", "unknown/1.jpg")
    assert refusal(tmp_path) == (
        f"{tmp_path}/unknown: a picture of no class is called unknown, so a class must not be; rename the folder, for "
        "example to other"
    )


def test_index_classes_refuses_a_class_called_like_the_manifest(tmp_path):
    make_files(tmp_path, "ant/1.jpg", "manifest.csv/1.jpg")
    message = f"{tmp_path}/manifest.csv: a class must not be called manifest.csv; rename the folder"
    assert refusal(tmp_path) == message


def test_index_classes_refuses_more_classes_than_are_possible(tmp_path):
    make_files(tmp_path, *(f"{number:04}/1.jpg" for number in range(MAX_CLASSES)))
    assert len(classes(tmp_path)) == MAX_CLASSES
    make_files(tmp_path, "more/1.jpg")
    assert refusal(tmp_path) == f"{tmp_path}: 1,001 classes; at most 1,000 are possible"


# ---- what is named ----


def test_index_classes_counts_loose_files_and_cloud_placeholders(tmp_path, capsys):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg", "loose.jpg", "notes.txt", ".hidden", "Thumbs.db")
    make_files(tmp_path, "ant/.IMG_2.jpg.icloud", "ant/deep/.IMG_3.jpg.icloud", "ant/.icloud")
    index_classes(tmp_path, ImageConfig())
    assert capsys.readouterr().out == (
        f"{tmp_path}: ignoring 2 files that are not in a class folder\n"
        f"2 files not downloaded from iCloud yet, such as {tmp_path}/ant/.IMG_2.jpg.icloud: download, run again\n"
    )


def test_index_classes_names_one_loose_file_and_one_placeholder(tmp_path, capsys):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg", "bee/.2.jpg.icloud", "loose.jpg")
    index_classes(tmp_path, ImageConfig())
    assert capsys.readouterr().out == (
        f"{tmp_path}: ignoring 1 file that is not in a class folder\n"
        f"1 file not downloaded from iCloud yet, such as {tmp_path}/bee/.2.jpg.icloud: download, run again\n"
    )


def test_count_loose_files_leaves_out_the_manifest(tmp_path):
    make_files(tmp_path, "ant/1.jpg", "a.jpg", "b.jpg", "manifest.csv", ".hidden")
    assert count_loose_files(tmp_path) == 2


@not_on_windows
def test_index_classes_names_a_class_folder_that_is_a_link_to_nothing(tmp_path, capsys):
    make_files(tmp_path, "ant/1.jpg", "bee/1.jpg")
    (tmp_path / "cow").symlink_to("missing")
    assert classes(tmp_path) == {"ant", "bee"}
    assert capsys.readouterr().out == f"{tmp_path}/cow: is a link to nothing, so it is not a class\n"


@not_on_windows
def test_index_pictures_follows_a_linked_class_and_links_inside_it(tmp_path, capsys):
    make_files(tmp_path, "raw/ant/1.jpg", "raw/cow/c.jpg", "elsewhere/a.jpg", "outside.jpg")
    (tmp_path / "raw" / "bee").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw" / "ant" / "other.jpg").symlink_to("../cow/c.jpg")
    (tmp_path / "elsewhere" / "in.jpg").symlink_to("a.jpg")
    (tmp_path / "elsewhere" / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    found = {Path(p.path).name: p.reason for p in index_pictures(tmp_path / "raw", ImageConfig())}
    (refused,) = (p for p in index_pictures(tmp_path / "raw", ImageConfig()) if p.reason)
    assert (refused.stored, refused.status) == ("", SKIPPED)
    outside = {"out.jpg": "is a link to a place outside the folder"}
    assert found == dict.fromkeys(["1.jpg", "c.jpg", "other.jpg", "a.jpg", "in.jpg"], "") | outside
    index_classes(tmp_path / "raw", ImageConfig())
    assert capsys.readouterr().out == ""


def test_split_off_other_files_goes_by_content_and_name():
    def skipped(name: str, reason: str) -> Picture:
        return Picture(class_name="ant", source=f"ant/{name}", path=f"raw/ant/{name}", status=SKIPPED, reason=reason)

    text = f"is text, {NOT_A_PICTURE}"
    damaged = [skipped("a.JPG", text), skipped("b.txt", "the file is incomplete"), skipped("c.tiff", "")]
    others = [skipped("d.txt", text), skipped("e", text), skipped("f.jpg.csv", text)]
    pictures = [damaged[0], others[0], damaged[1], others[1], damaged[2], others[2]]
    assert split_off_other_files(pictures) == (damaged, others)


def test_find_true_classes_compares_names_whatever_letters_are_made_of(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    make_files(tmp_path, f"{decomposed}/1.png")
    for name in (composed, decomposed):
        assert list(find_true_classes(tmp_path, ["bee", name])[1].values()) == [name]


def test_find_true_classes_names_a_few_classes(tmp_path):
    make_files(tmp_path, *(f"{name}/1.png" for name in "abcdefg"))
    with pytest.raises(UserError, match="a, b, c, d, e and 2 more: not a class of this network, which has x, y; "):
        find_true_classes(tmp_path, ["x", "y"])
    with pytest.raises(UserError, match="e, f, g: not a class of this network, which has a, b, c, d, z1 and 1 more; "):
        find_true_classes(tmp_path, ["a", "b", "c", "d", "z1", "z2"])


def test_find_true_classes_escapes_the_names_of_classes(tmp_path):
    names = ["a\x1b[2J", "b\nee"]
    with pytest.raises(UserError) as empty:
        find_true_classes(tmp_path, names)
    make_files(tmp_path, "c\x1b/1.png")
    with pytest.raises(UserError) as unexpected:
        find_true_classes(tmp_path, names)
    for refused in (unexpected, empty):
        assert str(refused.value).isprintable()
        assert r"a\x1b[2J, b\nee" in str(refused.value)
