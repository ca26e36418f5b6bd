"""Adding files to a folder of the user, in which nothing is replaced."""

import errno
import os
import stat
from pathlib import Path

import pytest

from system.errors import UserError
from system.output_folder import OutputFolder
from tests.helpers.files import contents

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links, permissions and names of POSIX")


def counts(files: OutputFolder) -> tuple[int, int, int]:
    return files.added, files.present, files.renamed


def test_add_writes_a_file_once_and_another_content_beside_it(tmp_path):
    files = OutputFolder(tmp_path / "new" / "out")
    for data in (b"one", b"one", b"two", b"six", b"two"):
        files.add("cat/a.b.png", data)
    assert contents(files.folder) == {"cat/a.b.png": b"one", "cat/a.b (2).png": b"two", "cat/a.b (3).png": b"six"}
    assert (counts(files), files.problems) == ((3, 2, 2), [])


def test_add_copy_keeps_content_times_and_permissions(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(bytes(range(256)) * 8193)  # more than two chunks
    os.utime(source, (1_000_000_000, 1_100_000_000))
    source.chmod(0o640)
    files = OutputFolder(tmp_path / "out")
    for _ in range(2):
        files.add_copy("a.png", source)
    assert contents(files.folder) == {"a.png": source.read_bytes()}
    found = (files.folder / "a.png").stat()
    assert found.st_mtime == 1_100_000_000
    assert os.name == "nt" or stat.S_IMODE(found.st_mode) == 0o640
    assert counts(files) == (1, 1, 0)


@not_on_windows
def test_add_copy_of_a_link_is_the_file_itself(tmp_path):
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "link.png").symlink_to("a.png")
    files = OutputFolder(tmp_path / "out")
    files.add_copy("link.png", tmp_path / "link.png")
    assert not (tmp_path / "out" / "link.png").is_symlink()
    assert contents(files.folder) == {"link.png": b"one"}


@not_on_windows
def test_add_replaces_no_folder_and_no_broken_link(tmp_path):
    files = OutputFolder(tmp_path / "out")
    (files.folder / "a.png").mkdir()
    (files.folder / "a (2).png").symlink_to("nowhere")
    files.add("a.png", b"one")
    assert sorted(path.name for path in files.folder.iterdir()) == ["a (2).png", "a (3).png", "a.png"]
    assert contents(files.folder) == {"a (3).png": b"one"}


@pytest.mark.parametrize("letter", ["x", "é"])
def test_add_shortens_a_name_that_would_be_too_long(tmp_path, letter):
    files = OutputFolder(tmp_path)
    name = letter * (251 // len(letter.encode())) + ".jpg"
    for data in (b"one", b"two"):
        files.add(name, data)
    second, first = sorted(tmp_path.iterdir())
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    count = (249 - len(".jpg")) // len(letter.encode())
    assert first.name == letter * count + ".jpg"
    assert second.name == letter * ((249 - len(" (2).jpg")) // len(letter.encode())) + " (2).jpg"


def test_add_shortens_a_name_whose_suffix_is_too_long(tmp_path):
    OutputFolder(tmp_path).add("a." + "x" * 253, b"one")
    assert [len(path.name) for path in tmp_path.iterdir()] == [249]


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname != "Linux", reason="other systems refuse such names")
def test_add_accepts_names_that_are_not_utf8(tmp_path):
    files = OutputFolder(tmp_path)
    for data in (b"one", b"two"):
        files.add(os.fsdecode(b"\xff.jpg"), data)
    names = sorted(os.fsencode(path.name) for path in tmp_path.iterdir())
    assert names == [b"\xff (2).jpg", b"\xff.jpg"]


def test_add_copy_keeps_a_file_that_is_gone_as_a_problem(tmp_path):
    files = OutputFolder(tmp_path / "out")
    files.add_copy("a.png", tmp_path / "gone.png")
    assert files.problems == [f"{str(tmp_path / 'gone.png')!r}: No such file or directory"]
    assert not list(files.folder.iterdir())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSPC, errno.EACCES])
def test_add_stops_unless_the_error_concerns_one_name(tmp_path, monkeypatch, number):
    files = OutputFolder(tmp_path)
    open_file = Path.open

    def fail(path, mode="r", **options):
        if mode == "xb":
            raise OSError(number, os.strerror(number), os.fspath(path))
        return open_file(path, mode, **options)

    monkeypatch.setattr(Path, "open", fail)
    line = f"{str(tmp_path / 'cat' / 'a.png')!r}: {os.strerror(number)}"
    if number in (errno.EINVAL, errno.ENAMETOOLONG):
        files.add("cat/a.png", b"one")
        assert files.problems == [line]
    else:
        with pytest.raises(UserError) as error:
            files.add("cat/a.png", b"one")
        assert str(error.value).startswith(f"{line}; ")
        assert files.problems == []
    assert files.added == 0


def test_output_folder_refuse_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"out': File exists; move it away or choose another folder"):
        OutputFolder(tmp_path / "out")
    files = OutputFolder(tmp_path / "new")
    (files.folder / "cat").write_bytes(b"mine")
    with pytest.raises(UserError, match="cat'"):
        files.add("cat/a.png", b"one")
    assert contents(tmp_path) == {"out": b"mine", "new/cat": b"mine"}


@pytest.mark.parametrize(
    ("added", "renamed", "present", "text"),
    [
        (0, 0, 1, "0 pictures added, 1 was there already"),
        (1, 0, 0, "1 picture added"),
        (1200, 3, 2, "1,200 pictures added, 3 of them renamed, since their names were taken, 2 were there already"),
    ],
)
def test_describe_counts_what_became_of_the_files(tmp_path, added, renamed, present, text):
    files = OutputFolder(tmp_path)
    files.added, files.renamed, files.present = added, renamed, present
    assert files.describe("picture") == f"{tmp_path}: {text}"
