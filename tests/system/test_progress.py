"""Progress of long work: bars and remarks on a terminal, lines in a log."""

import io
import re
import sys

import pytest

from system import bar as bar_module
from system import progress as progress_module
from system.progress import format_seconds, live_bar, live_line, progress, status
from tests.helpers.screens import rendered, show_terminal


def test_progress_of_long_work_in_a_log_is_one_line_at_a_time(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0)
    with progress(3000, "preprocessing") as advance:
        advance(1200)
        advance(1800)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"preprocessing: 1,200 of 3,000, [\d,]+ img/s, 0:00 left", first)
    assert re.fullmatch(r"preprocessing: 3,000 of 3,000, [\d,]+ img/s, 0:00 left", second)


def test_progress_of_quick_work_leaves_nothing_in_a_log(capsys):
    with progress(3, "preprocessing") as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_progress_needs_no_stream(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    with progress(3, "preprocessing") as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_progress_on_a_terminal_is_a_bar_that_is_erased(name, monkeypatch):
    monkeypatch.setattr(bar_module, "_SECONDS_BETWEEN_DRAWS", 0)
    screen = show_terminal(monkeypatch, name)
    with progress(3000, "working") as advance:
        advance(1500)
        (line,) = rendered(screen.getvalue())
        assert re.fullmatch(r"working ━+[╺╸]━+ 1,500/3,000 [\d,]+ img/s, 0:00 left", line)
        assert len(line) <= 80
        advance(1500)
    assert rendered(screen.getvalue()) == []


def test_progress_of_nothing_shows_nothing(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    with progress(0, "working"):
        pass
    assert screen.getvalue() == ""


def test_progress_is_drawn_a_few_times_per_second(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout")
    monkeypatch.setattr(bar_module, "_SECONDS_BETWEEN_DRAWS", 3600)
    with progress(1000, "working") as advance:
        before = screen.getvalue()
        for _ in range(1000):
            advance(1)
        assert screen.getvalue() == before


def test_bar_has_no_color_if_it_is_not_wanted(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout")
    with progress(10, "working"):
        assert "\x1b[90m━" in screen.getvalue()
    screen = show_terminal(monkeypatch, "stdout")
    monkeypatch.setenv("NO_COLOR", "1")
    with progress(10, "working"):
        assert "working" in screen.getvalue()
    assert "m━" not in screen.getvalue()


def test_simple_terminal_gets_no_bar(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    monkeypatch.setenv("TERM", "dumb")
    with progress(10, "working") as advance, status("waiting ..."):
        advance(10)
    assert screen.getvalue() == ""


def test_lines_printed_during_work_appear_above_the_bar(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    with progress(10, "working") as advance:
        print("an answer")
        advance(5)
        print("a warning", file=sys.stderr)
        *above, line = rendered(screen.getvalue())
        assert above == ["an answer", "a warning"] and line.startswith("working ━")
    assert rendered(screen.getvalue()) == ["an answer", "a warning"]
    assert sys.stdout is screen and sys.stderr is screen


def test_lines_for_a_log_are_not_mixed_into_the_bar_of_the_terminal(monkeypatch):
    log = io.StringIO()
    screen = show_terminal(monkeypatch, "stderr")
    monkeypatch.setattr(sys, "stdout", log)
    with progress(10, "working"):
        print("an answer")
    assert log.getvalue() == "an answer\n"
    assert "answer" not in screen.getvalue() and "working" in screen.getvalue()


def test_bar_is_erased_after_an_error(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout")
    with pytest.raises(KeyboardInterrupt), progress(10, "working"):
        raise KeyboardInterrupt
    assert rendered(screen.getvalue()) == []
    assert sys.stdout is screen


def test_bar_fits_a_narrow_terminal(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", columns=30)
    with live_bar(sys.stdout, 20, "    15", "289 img/s  at most 4:10 left"):
        assert max(map(len, rendered(screen.getvalue()))) <= 30
    assert rendered(screen.getvalue()) == []


def test_status_is_shown_on_a_terminal_and_erased(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    with status("waiting ..."):
        assert rendered(screen.getvalue()) == ["waiting ..."]
    assert rendered(screen.getvalue()) == []
    assert screen.getvalue().endswith("\r")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_status_is_not_shown_if_a_stream_goes_elsewhere(name, monkeypatch):
    show_terminal(monkeypatch, "stdout", "stderr")
    monkeypatch.setattr(sys, name, io.StringIO())
    with status("waiting ..."):
        pass
    assert (sys.stdout.getvalue(), sys.stderr.getvalue()) == ("", "")


def test_status_during_work_is_shown_beside_the_bar(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    with live_bar(sys.stdout, 10, "working", "5 img/s") as bar, status("waiting ..."):
        assert bar
        (line,) = rendered(screen.getvalue())
        assert re.fullmatch(r"working ━+ 0/10 waiting ...", line)
    assert rendered(screen.getvalue()) == []
    with status("later ..."):
        assert rendered(screen.getvalue()) == ["later ..."]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (754, "12:34"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (90061, "25:01:01"),
    ],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_live_line_replaces_a_text_and_erases_it(monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_TEXTS", 0)
    screen = show_terminal(monkeypatch, "stdout", "stderr", columns=12)
    with live_line() as show:
        for text, seen in (
            ("a long text", ["a long text"]),
            ("short", ["short"]),
            ("", []),
            ("too long a text", ["too long a…"]),
        ):
            show(text)
            assert rendered(screen.getvalue()) == seen
        show("")
        print("printed")
        show("text")
        assert rendered(screen.getvalue()) == ["printed", "text"]
    assert rendered(screen.getvalue()) == ["printed"]


def test_live_line_leaves_out_texts_that_follow_at_once(monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_TEXTS", 3600)
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    with live_line() as show:
        show("one")
        show("two")
        assert rendered(screen.getvalue()) == ["one"]
        show("")
        show("three")
        assert rendered(screen.getvalue()) == ["three"]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_live_line_shows_nothing_unless_both_streams_are_the_terminal(name, monkeypatch, capsys):
    screen = show_terminal(monkeypatch, name)
    with live_line() as show:
        show("text")
        show("")
    assert screen.getvalue() == ""
    assert capsys.readouterr() == ("", "")
