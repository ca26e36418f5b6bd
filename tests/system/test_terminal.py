"""What any terminal can show: file names, lines that fit it, symbols."""

import io
import os
import subprocess
import sys

import pytest

from system.terminal import (
    can_redraw,
    colored,
    columns,
    fitted,
    is_terminal,
    keep_running_without_output,
    output_closed,
    output_error,
    plural,
    print_entry,
    print_marked,
    print_to_stderr,
    printable,
    some_names,
    wrapped,
)
from tests.helpers.pictures import ROOT
from tests.helpers.processes import environment
from tests.helpers.screens import Terminal, rendered, show_terminal


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


def test_is_terminal_asks_the_stream_if_it_can():
    assert is_terminal(Terminal())
    for stream in (io.StringIO(), None, object()):  # a file, pythonw, a notebook
        assert not is_terminal(stream)


def test_output_is_complete_where_it_is_not_a_stream_of_the_process():
    keep_running_without_output()  # pytest's own stream stays
    print("a line")
    assert (output_error(), output_closed()) == (None, False)


def test_can_redraw_is_about_terminals_that_are_not_simple(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert can_redraw(Terminal()) and not can_redraw(io.StringIO())
    monkeypatch.delenv("TERM")  # as on Windows
    assert can_redraw(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_redraw(Terminal())


def show_on_terminal(monkeypatch, columns: int) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    return screen


def test_print_entry_breaks_lines_between_words_on_a_terminal(monkeypatch):
    screen = show_on_terminal(monkeypatch, 30)
    print_entry("data/", "240 pictures, 2 classes: well-known, other")
    print_entry("a/long/label/", "and text")
    assert screen.getvalue().splitlines() == [
        "data/      240 pictures, 2",
        "           classes:",
        "           well-known, other",
        "a/long/label/ and text",
    ]


def test_print_entry_writes_one_line_into_a_log(capsys):
    print_entry("data/", "word " * 30 + "end")
    print_entry("", "more")
    assert capsys.readouterr().out == f"data/      {'word ' * 30}end\n           more\n"


@pytest.mark.parametrize(("text", "width"), [("four words", 10), ("小猫 words", 10), ("小猫 鳥", 7)])
def test_wrapped_uses_the_whole_width(text, width, monkeypatch):
    show_on_terminal(monkeypatch, width)
    assert wrapped(text) == text
    show_on_terminal(monkeypatch, width - 1)
    assert wrapped(text) == text.replace(" ", "\n")


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("words", ["words ", "words", "wor…", "wo…"]),
        ("小猫鳥", ["小猫鳥", "小猫…", "小… ", "小…"]),
        ("cafe\u0301s", ["cafe\u0301s ", "cafe\u0301s", "caf…", "ca…"]),  # é as macOS writes it
    ],
)
def test_fitted_takes_as_many_columns_as_it_is_told(text, cut):
    widths = (6, 5, 4, 3)
    assert [fitted(text, width) for width in widths] == cut
    assert tuple(columns(text) for text in cut) == widths


def test_wrapped_does_not_break_words_or_lose_spaces(monkeypatch):
    show_on_terminal(monkeypatch, 10)
    assert wrapped("   a-word-of-20-letters  a  b c d e f", indent=2) == "   a-word-of-20-letters\n  a  b c d\n  e f"


def test_wrapped_fits_the_stream_that_it_is_for(monkeypatch, capsys):
    show_on_terminal(monkeypatch, 9)
    assert wrapped("four words", stream=sys.stderr) == "four words"  # no terminal
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    assert wrapped("four words", stream=sys.stderr) == "four\nwords"


def test_some_names_are_the_first_ones_and_how_many_more():
    assert some_names(["a", "b\n", "c"]) == r"a, b\n, c"
    assert some_names(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert some_names([str(number) for number in range(1500)], 1) == "0 and 1,499 more"


@pytest.mark.parametrize(("count", "text"), [(0, "0 epochs"), (1, "1 epoch"), (12000, "12,000 epochs")])
def test_plural_is_used_for_all_numbers_but_one(count, text):
    assert plural(count, "epoch") == text


def test_print_marked_has_a_green_mark_on_a_terminal(monkeypatch):
    screen = show_on_terminal(monkeypatch, 20)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_marked("a line that is longer  ", "best")
    assert screen.getvalue() == "a line that is longer  \x1b[32mbest\x1b[0m\n"


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_print_marked_has_no_color_if_it_is_not_wanted(name, monkeypatch):
    screen = show_on_terminal(monkeypatch, 20)
    monkeypatch.setenv(name, "dumb")
    print_marked("a line  ", "best")
    assert screen.getvalue() == "a line  best\n"


def test_print_marked_is_plain_in_a_log(capsys):
    print_marked("a line  ", "")
    assert capsys.readouterr().out == "a line\n"


def test_symbols_that_an_encoding_lacks_are_replaced_and_letters_escaped(tmp_path):
    code = (
        "from system.terminal import keep_running_without_output\n"
        "keep_running_without_output()\n"
        "print('███▏ 3 × 4 → 5 é 猫 … \\udce9')\n"
    )
    for encoding, shown in (
        ("ascii", r"### 3 x 4 > 5 \xe9 \u732b ... \udce9"),
        ("latin-1", r"### 3 × 4 > 5 é \u732b ... \udce9"),
        ("utf-8", r"███▏ 3 × 4 → 5 é 猫 … \udce9"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(PYTHONIOENCODING=encoding), capture_output=True
        )
        assert done.stdout.decode(encoding).rstrip() == shown, done.stderr


def test_colored_has_colors_on_a_terminal_only(monkeypatch):
    parts = [("a ", ""), ("b", "red"), ("  ", "")]
    screen = show_terminal(monkeypatch, "stdout")
    assert colored(*parts, stream=screen) == "a \x1b[31mb\x1b[0m  "
    assert colored(("a", ""), stream=screen) == "a"
    assert colored(*parts, stream=io.StringIO()) == "a b  "
    monkeypatch.setenv("NO_COLOR", "1")
    assert colored(*parts, stream=screen) == "a b  "


def test_colored_takes_text_as_it_is(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", columns=20)
    text = "[red]a[/red] :smile: " * 4
    assert colored((text, "green"), stream=screen) == f"\x1b[32m{text}\x1b[0m"


def test_print_to_stderr_wraps_and_colors_on_a_terminal(monkeypatch, capsys):
    print_to_stderr("one two three", "red")
    assert capsys.readouterr() == ("", "one two three\n")
    screen = show_terminal(monkeypatch, "stderr", columns=10)
    print_to_stderr("one two three")
    assert screen.getvalue() == "one two\nthree\n"
    print_to_stderr("four five six", "red")
    assert rendered(screen.getvalue()) == ["one two", "three", "four five", "six"]
