"""Which picture files exist, and reading those that may be read."""

import os
from pathlib import Path

import numpy as np
import pytest

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, load_image
from pictures.folders import (
    find_classes,
    find_pictures,
    index_classes,
    index_pictures,
    link_problem,
    picture_entries,
    picture_files,
    read_image,
    read_regular_file,
    try_read_image,
)
from pictures.manifest import PENDING, SKIPPED, Picture
from system.errors import UserError
from tests.helpers.pictures import write_picture

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and names of POSIX")
not_as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may open everything")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


# ---- which files exist ----


def test_find_classes_is_sorted_and_ignores_hidden_folders_and_files(tmp_path):
    make_files(tmp_path, "bee/1.jpg", "ant/1.jpg", ".cache/1.jpg", "notes.txt")
    assert list(find_classes(tmp_path).items()) == [("ant", tmp_path / "ant"), ("bee", tmp_path / "bee")]


def test_find_classes_of_a_missing_folder_is_empty(tmp_path):
    assert find_classes(tmp_path / "missing") == {}


@not_on_windows
def test_find_classes_refuses_a_link_to_a_place_outside(tmp_path):
    make_files(tmp_path, "raw/ant/1.jpg", "raw/.bee/1.jpg", "outside/1.jpg")
    (tmp_path / "raw" / "bee").symlink_to(".bee")
    assert list(find_classes(tmp_path / "raw")) == ["ant", "bee"]
    (tmp_path / "raw" / "cow").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="raw/cow: is a link to a place outside the folder; move that folder here"):
        find_classes(tmp_path / "raw")


def test_picture_files_are_sorted_at_any_depth_without_system_files(tmp_path):
    make_files(tmp_path, "b.jpg", "a.png", "deep/er/c.jpg", "deep/d.jpg", ".hidden", ".git/e.jpg", "Thumbs.db")
    make_files(tmp_path, "deep/desktop.ini")
    found = [path.relative_to(tmp_path).as_posix() for path in picture_files(tmp_path)]
    assert found == ["a.png", "b.jpg", "deep/d.jpg", "deep/er/c.jpg"]
    assert [name for name, _ in picture_entries(tmp_path)] == found


@not_on_windows
def test_picture_files_yields_links_and_does_not_follow_them(tmp_path):
    make_files(tmp_path, "a.jpg")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert list(picture_files(tmp_path)) == [tmp_path / "a.jpg", tmp_path / "again", tmp_path / "loop"]


def test_picture_files_yields_a_folder_that_is_nested_too_deep(tmp_path):
    make_files(tmp_path, "d/" * 99 + "a.jpg", "d/" * 101 + "b.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in picture_files(tmp_path)]
    assert found == ["d/" * 99 + "a.jpg", "d/" * 100 + "d"]


def test_find_pictures_takes_files_folders_and_patterns_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "a.jpg", "b.jpg", "c.png", "folder/d.jpg", "folder/deep/e.jpg")
    found, missing = find_pictures(["c.png", "folder", "*.jpg", "a.jpg", "missing.jpg", "*.gif", "\0"])
    assert list(found) == [Path(name) for name in ("c.png", "folder/d.jpg", "folder/deep/e.jpg", "a.jpg", "b.jpg")]
    assert found[Path("folder/deep/e.jpg")] == Path("folder")  # the folder that a link must not leave
    assert found[Path("a.jpg")] is None
    assert missing == ["missing.jpg", "*.gif", "\0"]


def test_find_pictures_prefers_a_file_whose_name_looks_like_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "photo[1].jpg", "photo1.jpg")
    assert find_pictures(["photo[1].jpg"]) == ({Path("photo[1].jpg"): None}, [])


def test_find_pictures_lets_a_named_file_link_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "folder/a.jpg")
    for names in (["folder", "folder/a.jpg"], ["folder/a.jpg", "folder"]):
        assert find_pictures(names)[0] == {Path("folder/a.jpg"): None}


# ---- reading them ----


@not_on_windows
def test_link_problem_allows_only_files_inside_the_folder(tmp_path):
    make_files(tmp_path, "raw/ant/1.jpg", "outside.jpg")
    folder = tmp_path / "raw"
    for name, target in {
        "inside": "ant/1.jpg",
        "nowhere": "missing.jpg",
        "outside": "../outside.jpg",
        "folder": "ant",
        "loop": "loop",
    }.items():
        (folder / name).symlink_to(target)
    assert {path.name: link_problem(path, folder) for path in folder.iterdir() if path.is_symlink()} == {
        "inside": "",
        "nowhere": "",  # reading it gives the reason
        "outside": "is a link to a place outside the folder",
        "folder": "is a link to a folder, which is not followed",
        "loop": "is a link to itself",
    }


def test_read_regular_file_returns_its_content(tmp_path):
    make_files(tmp_path, "a.jpg")
    assert read_regular_file(tmp_path / "a.jpg") == b"content"


def test_read_regular_file_refuses_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UnreadableImage, match="^No such file or directory$"):
        read_regular_file(tmp_path / "missing.jpg")
    with pytest.raises(UnreadableImage, match="^is a folder that cannot be opened, or is nested too deep$"):
        read_regular_file(tmp_path)


@needs_pipes
def test_read_regular_file_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImage, match="^not a regular file$"):
        read_regular_file(tmp_path / "pipe.jpg")


@not_on_windows
@not_as_root
def test_read_regular_file_refuses_a_file_that_may_not_be_opened(tmp_path):
    make_files(tmp_path, "a.jpg")
    (tmp_path / "a.jpg").chmod(0)
    with pytest.raises(UnreadableImage, match="^Permission denied$"):
        read_regular_file(tmp_path / "a.jpg")


@not_on_windows
def test_read_regular_file_follows_a_link_outside_only_without_a_limit(tmp_path):
    make_files(tmp_path, "raw/a.jpg", "outside.jpg")
    link = tmp_path / "raw" / "link.jpg"
    link.symlink_to("../outside.jpg")
    assert read_regular_file(link) == b"content"
    with pytest.raises(UnreadableImage, match="^is a link to a place outside the folder$"):
        read_regular_file(link, within=tmp_path / "raw")


def test_read_regular_file_raises_the_error_of_a_failing_disk(tmp_path, monkeypatch):
    def fail(self):
        raise OSError(5, "Input/output error")

    make_files(tmp_path, "a.jpg")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_regular_file(tmp_path / "a.jpg")


def test_read_image_is_read_regular_file_and_load_image(tmp_path):
    path, config = write_picture(tmp_path / "a.png", label=0, seed=1), ImageConfig(height=16, width=20)
    pixels = read_image(path, config, max_pixels=10**6)
    assert np.array_equal(pixels, load_image(path.read_bytes(), config, max_pixels=10**6))
    with pytest.raises(ImageTooLarge, match="^has 40 × 30 pixels, more than --max_megapixels 0.001$"):
        read_image(path, config, max_pixels=1000)


def test_try_read_image_returns_the_reason_instead_of_raising(tmp_path, monkeypatch):
    def fail(self):
        raise OSError(5, "Input/output error")

    path, options = write_picture(tmp_path / "a.png", label=0, seed=1), {"config": ImageConfig(), "max_pixels": 10**6}
    assert np.array_equal(try_read_image((path, None), **options), read_image(path, **options))
    assert try_read_image((tmp_path / "missing.png", tmp_path), **options) == "No such file or directory"
    assert try_read_image((path, None), **options | {"max_pixels": 9}).startswith("has 40 × 30 pixels, more than")
    monkeypatch.setattr(Path, "read_bytes", fail)
    assert try_read_image((path, None), **options) == "Input/output error"


# ---- listing a folder of classes ----


def test_index_pictures_describes_every_file(tmp_path):
    make_files(tmp_path, "ant/deep/a.jpg")
    status = (tmp_path / "ant" / "deep" / "a.jpg").stat()
    assert index_pictures(tmp_path, ImageConfig(height=20, width=30)) == [
        Picture(
            stored="ant/deep/a.jpg.png",
            class_name="ant",
            source="ant/deep/a.jpg",
            status=PENDING,
            path=f"{tmp_path.as_posix()}/ant/deep/a.jpg",
            size=7,
            modified=status.st_mtime_ns,
            shape="20x30x3",
        )
    ]


@pytest.mark.parametrize(("length", "status", "reason"), [(170, PENDING, ""), (171, SKIPPED, "its name is too long")])
def test_index_pictures_skips_names_that_are_too_long(length, status, reason, tmp_path):
    make_files(tmp_path, f"ant/{'x' * (length - 4)}.jpg")
    (picture,) = index_pictures(tmp_path, ImageConfig())
    assert (picture.status, picture.reason, bool(picture.stored)) == (status, reason, status == PENDING)


def test_index_pictures_judges_the_length_of_a_copy_by_its_source(tmp_path):
    make_files(tmp_path, f"ant/{'x' * 166}.jpg_augmented_0123abcd_0001.jpg")
    assert [picture.status for picture in index_pictures(tmp_path, ImageConfig())] == [PENDING]


def test_index_classes_needs_a_folder_with_two_classes_that_have_pictures(tmp_path):
    raw = tmp_path / "raw"
    with pytest.raises(UserError, match="raw: no such folder; create it and put your pictures into one sub-folder per"):
        index_classes(raw, ImageConfig())
    make_files(raw, "ant/1.jpg")
    with pytest.raises(UserError, match="raw: at least two classes are needed, found ant; put your pictures into one"):
        index_classes(raw, ImageConfig())
    (raw / "bee").mkdir()
    with pytest.raises(UserError, match="^class bee: its folder is empty; add pictures or remove the folder$"):
        index_classes(raw, ImageConfig())
    make_files(raw, "bee/1.jpg")
    assert [picture.source for picture in index_classes(raw, ImageConfig())] == ["ant/1.jpg", "bee/1.jpg"]


@pytest.mark.parametrize("names", [("train", "validation"), ("Test", "TRAIN"), ("training", "testing", "valid")])
def test_index_classes_refuses_the_folders_of_a_split(names, tmp_path):
    make_files(tmp_path, *(f"{name}/1.jpg" for name in names))
    with pytest.raises(UserError, match="are not classes; use one of them as --raw_data$"):
        index_classes(tmp_path, ImageConfig())
    make_files(tmp_path, "ant/1.jpg")
    assert len(index_classes(tmp_path, ImageConfig())) == len(names) + 1
