"""Writing whole files, showing progress, printing odd names, and keeping a library quiet."""

import os
import re

import pytest

import files
from files import printable, progress, quiet_import, write_atomically


def test_a_file_is_written_with_the_folders_above_it(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomically(path, b"\x00one\r\n")
    assert path.read_bytes() == b"\x00one\r\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]  # nothing temporary is left


def test_a_file_is_replaced_and_never_rewritten_in_place(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    former = path.stat().st_ino
    write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert path.stat().st_ino != former  # whoever has the old one open still reads it whole


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    (tmp_path / ".c.bin.part").mkdir()  # stands where the temporary file would
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_leftover_of_a_crash_is_no_hindrance(tmp_path):
    (tmp_path / ".c.bin.part").write_bytes(b"a much longer leftover")
    write_atomically(tmp_path / "c.bin", b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("c.bin", b"new")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Grüße-日本.png", "Grüße-日本.png"),
        ("two\nlines\t.jpg", "two\\nlines\\t.jpg"),
        ("\x1b[31mred", "\\x1b[31mred"),
        (os.fsdecode(b"latin\xe9.jpg"), "latin\\udce9.jpg"),
        ("quote's", "quote's"),
        ("\u202egpj.exe", "\\u202egpj.exe"),  # would turn the rest of the line around
    ],
)
def test_a_name_is_shown_on_one_line_that_any_terminal_can_print(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")


def test_a_path_is_shown_like_its_name(tmp_path):
    assert printable(tmp_path / "a\nb") == f"{tmp_path}{os.sep}a\\nb"


def test_what_a_library_writes_while_it_loads_is_hushed_and_nothing_else(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")  # so that leaving the block restores the test's environment
    os.write(2, b"before,")
    with quiet_import():
        os.write(2, b"noise from C++,")
        os.write(1, b"output")
    os.write(2, b"after")
    assert capfd.readouterr() == ("output", "before,after")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"  # a level that its user set stays


def test_an_error_while_loading_passes_and_stderr_is_back(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    with pytest.raises(ImportError), quiet_import():
        raise ImportError("no such library")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"  # all but fatal messages, unless its user wants more


# ---- progress ----


def test_in_a_log_long_work_is_told_of_in_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(files, "_SECONDS_BETWEEN_LINES", 0)
    with progress(3000, "preprocessing") as advance:
        advance(1200)
        advance(1800)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"preprocessing: 1,200 of 3,000, [\d,]+ img/s, \d\d:\d\d left", first)
    assert re.fullmatch(r"preprocessing: 3,000 of 3,000, [\d,]+ img/s, 00:00 left", second)
