"""Writing whole files, going through many of them, printing odd names, and keeping a library quiet."""

import io
import os
import re
import sys
import threading

import pytest

import files
from files import in_parallel, printable, progress, quiet_import, write_atomically


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


# ---- many at a time ----


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 16:  # of the next ones
            second_is_done.set()
        if item == 0 and os.cpu_count() > 1:
            assert second_is_done.wait(timeout=60)  # the other thread overtakes this one
        return item * item

    assert list(in_parallel(work, range(1000), description="squaring")) == [item * item for item in range(1000)]


def test_no_items_give_no_results():
    assert list(in_parallel(str, [], description="nothing")) == []


def test_only_so_many_items_are_under_way(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    begun = []
    results = in_parallel(begun.append, range(1000), description="working")
    assert begun == []  # not before the first is asked for
    next(results)
    results.close()
    assert len(begun) <= (2 * 2 + 1) * files._TOGETHER  # two portions a core, and one more as the first is handed over


def test_an_error_is_raised_and_the_rest_is_dropped(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("the fourth")
        return item

    with pytest.raises(ValueError, match="^the fourth$"):
        list(in_parallel(work, range(1000), description="working"))
    assert len(begun) <= 2 * files._TOGETHER


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (15, 15), (16, 8), (1000, 63)])
def test_few_items_are_shared_out_among_the_cores(count, expected, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    portions = []

    class Counted(list):
        def __getitem__(self, places):
            portions.append(super().__getitem__(places))
            return portions[-1]

    assert list(in_parallel(str, Counted(range(count)), description="working")) == [str(i) for i in range(count)]
    assert len(portions) == expected


def test_short_work_leaves_nothing_in_a_log(capsys):
    assert list(in_parallel(str, range(3), description="working")) == ["0", "1", "2"]
    assert capsys.readouterr() == ("", "")


def test_in_a_log_long_work_is_told_of_in_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(files, "_SECONDS_BETWEEN_LINES", 0)
    with progress(3000, "preprocessing") as advance:
        advance(1200)
        advance(1800)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"preprocessing: 1,200 of 3,000, [\d,]+ img/s, \d\d:\d\d left", first)
    assert re.fullmatch(r"preprocessing: 3,000 of 3,000, [\d,]+ img/s, 00:00 left", second)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("leave", [True, False])
def test_on_a_terminal_a_bar_is_shown_and_left_or_wiped_out(leave, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(in_parallel(str, range(30), description="decoding", leave=leave))
    said = terminal.getvalue()
    assert "decoding:   0%" in said and "img/s]" in said
    last = said.split("\r")[-1 if leave else -2]
    assert ("30/30" in last and last.endswith("\n")) if leave else not last.strip()
