"""Which picture files exist, and reading those that may be read."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, load_image
from pictures.folders import (
    check_output_folder,
    find_classes,
    find_pictures,
    link_problem,
    picture_entries,
    picture_files,
    read_image,
    read_names,
    read_regular_file,
    try_read_picture,
)
from system.errors import UserError
from tests.helpers.files import needs_any_letter
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
def test_find_classes_follows_links_but_not_to_what_contains_them(tmp_path):
    make_files(tmp_path, "raw/ant/1.jpg", "outside/1.jpg")
    (tmp_path / "raw" / "cow").symlink_to(tmp_path / "outside")
    (tmp_path / "raw" / "nothing").symlink_to("missing")
    (tmp_path / "raw" / "loop").symlink_to("loop")
    assert list(find_classes(tmp_path / "raw")) == ["ant", "cow"]
    for target in (tmp_path, tmp_path / "raw"):
        link = tmp_path / "raw" / "up"
        link.symlink_to(target)
        with pytest.raises(UserError, match="raw/up: is a link to a folder that contains it; remove the link$"):
            find_classes(tmp_path / "raw")
        link.unlink()


@needs_any_letter
def test_find_classes_gives_names_in_composed_form(tmp_path):
    decomposed, composed = "cafe\u0301", "caf\u00e9"
    make_files(tmp_path, f"{decomposed}/1.jpg", "ant/1.jpg")
    assert list(find_classes(tmp_path)) == ["ant", composed]


@not_on_windows
@needs_any_letter
def test_find_classes_refuses_two_folders_with_one_name(tmp_path):
    make_files(tmp_path, "cafe\u0301/1.jpg")
    make_files(tmp_path, "caf\u00e9/1.jpg")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system knows only one of them")
    with pytest.raises(UserError, match="two folders are named caf\u00e9; rename one or merge them$"):
        find_classes(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["$RECYCLE.BIN", "lost+found", "System Volume Information", "__MACOSX", "@eaDir", "#recycle", ".git", "Thumbs.db"],
)
def test_folders_and_files_of_the_system_are_ignored_anywhere(name, tmp_path):
    make_files(tmp_path, "ant/1.jpg", f"ant/{name}/2.jpg", f"{name}/3.jpg")
    make_files(tmp_path, f"ant/deep/{name}")
    assert list(find_classes(tmp_path)) == ["ant"]
    assert [path.name for path in picture_files(tmp_path)] == ["1.jpg"]


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
    make_files(tmp_path, "d/" * 99 + "a.jpg", "d/" * 101 + "b.jpg", "e/c.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in picture_files(tmp_path)]
    assert found == ["d/" * 99 + "a.jpg", "d/" * 100 + "d", "e/c.jpg"]


def test_picture_files_yields_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "d":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    make_files(tmp_path, "d/a.jpg", "e/b.jpg")
    monkeypatch.setattr(os, "scandir", refuse)
    assert list(picture_files(tmp_path)) == [tmp_path / "d", tmp_path / "e" / "b.jpg"]
    with pytest.raises(PermissionError):
        list(picture_files(tmp_path / "d"))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", []),
        (b"a.png", ["a.png"]),
        (b"a b.png\n\nb.png\r\n", ["a b.png", "b.png"]),
        (b"a\nb.png\0c\r\n.png\0", ["a\nb.png", "c\r\n.png"]),
        ("é.png".encode(), ["é.png"]),
    ],
)
def test_read_names_takes_one_a_line_or_between_nul_bytes(data, names):
    assert [os.fsencode(name) for name in read_names(io.BytesIO(data))] == [name.encode() for name in names]


def test_find_pictures_takes_files_folders_and_patterns_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "a.jpg", "b.jpg", "c.png", "folder/d.jpg", "folder/deep/e.jpg")
    found, missing = find_pictures(["c.png", "folder", "*.jpg", "a.jpg", "missing.jpg", "*.gif", "\0"])
    assert list(found) == [Path(name) for name in ("c.png", "folder/d.jpg", "folder/deep/e.jpg", "a.jpg", "b.jpg")]
    assert found[Path("folder/deep/e.jpg")] == Path("folder")  # the folder that a link must not leave
    assert found[Path("a.jpg")] is None
    assert missing == ["missing.jpg", "*.gif", "\0"]
    assert list(find_pictures(["**/*.jpg"])[0]) == [
        Path(name) for name in ("a.jpg", "b.jpg", "folder/d.jpg", "folder/deep/e.jpg")
    ]


def test_find_pictures_knows_a_file_by_each_way_to_write_its_path(tmp_path, monkeypatch):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "x.jpg").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.jpg").touch()
    monkeypatch.chdir(tmp_path / "b")
    names = ["../a/x.jpg", "./x.jpg", "../a/../a/x.jpg", "x.jpg", str(tmp_path / "a" / "x.jpg"), "../a/deep/../*.jpg"]
    found, missing = find_pictures(names)
    assert (found, missing) == ({Path("../a/x.jpg"): None, Path("x.jpg"): None}, [])
    assert find_pictures(["../a", "../b/../a/x.jpg"])[0] == {Path("../a/x.jpg"): None}
    assert find_pictures(["../a", "../a/../a"])[0] == {Path("../a/x.jpg"): Path("../a")}


@pytest.mark.skipif(os.name == "nt", reason="links need permissions there")
def test_find_pictures_takes_a_link_and_its_file_but_not_a_linked_folder(tmp_path, monkeypatch):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "x.jpg").touch()
    (tmp_path / "x.jpg").touch()  # not that of link/../x.jpg, which is in a/
    (tmp_path / "link").symlink_to("a/deep", target_is_directory=True)
    (tmp_path / "named.jpg").symlink_to("x.jpg")
    monkeypatch.chdir(tmp_path)
    names = ["x.jpg", "link/../x.jpg", "a/x.jpg", "named.jpg"]
    assert list(find_pictures(names)[0]) == [Path("x.jpg"), Path("link/../x.jpg"), Path("named.jpg")]


def test_find_pictures_prefers_a_file_whose_name_looks_like_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "photo[1].jpg", "photo1.jpg")
    assert find_pictures(["photo[1].jpg"]) == ({Path("photo[1].jpg"): None}, [])


def test_find_pictures_takes_the_folder_of_a_pattern_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "d[1]/a.jpg", "d[1]/b.jpg", "d1/c.jpg")
    assert list(find_pictures(["d[1]/*.jpg"])[0]) == [Path("d[1]/a.jpg"), Path("d[1]/b.jpg")]
    assert list(find_pictures(["d?/*.jpg"])[0]) == [Path("d1/c.jpg")]


def test_find_pictures_names_each_missing_name_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["no.jpg", "", "no.jpg", "a/"]) == ({}, ["no.jpg", "", "a/"])


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


@not_on_windows
def test_read_regular_file_gives_the_reason_for_a_name_that_cannot_be(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    make_files(tmp_path, "a.jpg")
    for name, reason in {
        "loop.jpg": "Too many levels of symbolic links",
        "x" * 300: "File name too long",
        "a.jpg/b.jpg": "Not a directory",
    }.items():
        with pytest.raises(UnreadableImage, match=f"^{reason}$"):
            read_regular_file(tmp_path / name)


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


@not_on_windows
def test_try_read_picture_does_not_follow_a_link_to_a_place_outside(tmp_path):
    write_picture(tmp_path / "a.png", label=0, seed=1)
    folder, options = tmp_path / "raw", {"config": ImageConfig(), "max_pixels": 10**6}
    folder.mkdir()
    (folder / "link.png").symlink_to("../a.png")
    assert try_read_picture((folder / "link.png", folder), **options) == "is a link to a place outside the folder"
    assert try_read_picture((folder / "link.png", tmp_path), **options).pixels == 1200


def test_try_read_picture_returns_the_reason_instead_of_raising(tmp_path, monkeypatch):
    errors = [OSError(5, "Input/output error"), OSError("timed out")]

    def fail(self):
        raise errors.pop(0)

    path, options = write_picture(tmp_path / "a.png", label=0, seed=1), {"config": ImageConfig(), "max_pixels": 10**6}
    loaded = try_read_picture((path, None), **options)
    assert np.array_equal(loaded.image, read_image(path, **options))
    assert (loaded.pixels, loaded.note) == (1200, "")
    assert try_read_picture((tmp_path / "missing.png", tmp_path), **options) == "No such file or directory"
    assert try_read_picture((path, None), **options | {"max_pixels": 9}).startswith("has 40 × 30 pixels, more than")
    monkeypatch.setattr(Path, "read_bytes", fail)
    assert try_read_picture((path, None), **options) == "Input/output error"
    assert try_read_picture((path, None), **options) == "timed out"


# ---- folders that are written to ----


@pytest.mark.parametrize(
    ("folder", "source", "reason"),
    [
        ("photos/sorted", "photos", "lies in photos, which is read"),
        ("photos", "photos", "lies in photos"),
        (".", "photos/a.jpg", "photos/a.jpg lies in it"),
        ("photos", "link", "lies in link"),
        ("link/sorted", "photos", "lies in photos"),
        ("photos/../photos/x", "photos", "lies in photos"),
        ("photos2", "photos", ""),
        ("sorted", "photos", ""),
        ("sorted", "photos/a.jpg", ""),
        ("sorted", "a.jpg", ""),
    ],
)
def test_check_output_folder_refuses_what_would_be_read_again(tmp_path, monkeypatch, folder, source, reason):
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path, "photos/a.jpg", "a.jpg")
    if "link" in (source, folder.split("/")[0]):
        Path("link").symlink_to("photos")
    if not reason:
        check_output_folder("sort", Path(folder), [Path(source)])
        return
    with pytest.raises(UserError, match=rf"^--sort {folder}: {reason}.*; use a folder elsewhere$"):
        check_output_folder("sort", Path(folder), [Path(source)])
