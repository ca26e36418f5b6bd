"""Progress of long work, and file names that any terminal can show."""

import io
import os
import re
import sys

import pytest

from system import terminal
from system.terminal import (
    is_terminal,
    keep_running_without_output,
    output_closed,
    output_error,
    printable,
    progress,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Grüße-日本.png", "Grüße-日本.png"),
        ("two\nlines\t.jpg", "two\\nlines\\t.jpg"),
        ("\x1b[31mred", "\\x1b[31mred"),
        (os.fsdecode(b"latin\xe9.jpg"), "latin\\udce9.jpg"),
        ("quote's", "quote's"),
        ("\u202egpj.exe", "\\u202egpj.exe"),  # would reverse the rest of the line
    ],
)
def test_printable_escapes_what_a_terminal_cannot_show_on_one_line(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")


def test_printable_takes_a_path_too(tmp_path):
    assert printable(tmp_path / "a\nb") == f"{tmp_path}{os.sep}a\\nb"


def test_progress_of_long_work_in_a_log_is_one_line_at_a_time(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_SECONDS_BETWEEN_LINES", 0)
    with progress(3000, "preprocessing") as advance:
        advance(1200)
        advance(1800)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"preprocessing: 1,200 of 3,000, [\d,]+ img/s, \d\d:\d\d left", first)
    assert re.fullmatch(r"preprocessing: 3,000 of 3,000, [\d,]+ img/s, 00:00 left", second)


def test_progress_of_quick_work_leaves_nothing_in_a_log(capsys):
    with progress(3, "preprocessing") as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_is_terminal_asks_the_stream_if_it_can():
    assert is_terminal(Terminal())
    for stream in (io.StringIO(), None, object()):  # a file, pythonw, a notebook
        assert not is_terminal(stream)


def test_progress_needs_no_stream(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    with progress(3, "preprocessing") as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_output_is_complete_where_it_is_not_a_stream_of_the_process():
    keep_running_without_output()  # pytest's own stream stays
    print("a line")
    assert (output_error(), output_closed()) == (None, False)


@pytest.mark.parametrize("leave", [True, False])
def test_progress_on_a_terminal_is_a_bar_that_stays_or_is_erased(leave, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress(30, "working", leave=leave) as advance:
        for _ in range(30):
            advance(1)
    output = screen.getvalue()
    assert "working:   0%" in output and "img/s]" in output
    last = output.split("\r")[-1 if leave else -2]
    assert ("30/30" in last and last.endswith("\n")) if leave else not last.strip()
