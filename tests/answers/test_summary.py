"""What is counted and collected while pictures are predicted."""

from collections import Counter
from pathlib import Path

import pytest

from answers.messages import Message
from answers.output import Answer
from answers.summary import Summary, format_summary
from tests.helpers.screens import show_terminal

TEXT = "is text, not a picture"
THREE = [Answer(path="1", predicted=1), Answer(path="2", predicted=1), Answer(path="3", unknown=True)]


def summary_of(*answers: Answer, named: tuple[str, ...] = (), **options) -> Summary:
    found = Summary(["ant", "bee"], named={Path(name) for name in named}, **{"start": None, **options})
    found.add(answers)
    return found


def test_summary_counts_the_classes():
    found = summary_of(*THREE[:2])
    found.add(THREE[2:])
    assert found.counts == {"bee": 2, "unknown": 1}
    assert found.finish() == []


def test_summary_prints_the_counts_on_a_terminal_only(monkeypatch, capsys):
    assert summary_of(*THREE, start=0.0).finish() == []
    assert capsys.readouterr() == ("", "")
    screen = show_terminal(monkeypatch, "stderr")
    summary_of(*THREE, start=None).finish()
    summary_of(THREE[0], start=0.0).finish()
    assert screen.getvalue() == ""
    summary_of(*THREE, start=0.0).finish()
    assert screen.getvalue().startswith("3 pictures: 2 bee, 1 unknown · ")


def test_summary_returns_each_message_once():
    found = summary_of(Answer(path="1", note="12-bit levels"), Answer(path=Path("2"), note="12-bit levels"))
    found.add([Answer(path="b\x1b", error="the file is empty")])
    remark, failure = Message("2 pictures: 12-bit levels: 1, 2", 0), Message(r"b\x1b: the file is empty", 1)
    assert found.pop_messages() == [remark, failure]
    assert found.finish() == []


def test_summary_has_a_line_for_each_note_of_a_picture():
    found = summary_of(Answer(path="1", note="its first frame; blank"), Answer(path="2", note="blank"))
    assert found.finish() == [Message("1: its first frame", 0), Message("2 pictures: blank: 1, 2", 0)]


@pytest.mark.parametrize(("path", "shown"), [("", "''"), (" ", "' '"), ("a ", "'a '"), ("a b", "a b")])
def test_summary_quotes_names_that_could_not_be_seen(path, shown):
    assert summary_of(Answer(path=path, error="no such file")).finish() == [Message(f"{shown}: no such file", 1)]


def test_summary_prints_messages_at_once_if_wanted(capsys):
    found = summary_of(Answer(path="1", error="the file is empty"), at_once=True)
    assert capsys.readouterr().err == "predict.py: 1: the file is empty\n"
    assert found.finish() == []


def test_file_that_is_no_picture_is_passed_over_unless_it_was_named():
    found = summary_of(Answer(path=Path("a.txt"), error=TEXT), named=("named.txt",))
    assert found.pop_messages() == [Message("passed over 1 file that is no picture: a.txt", 0)]
    found.add([Answer(path=Path("named.txt"), error=TEXT), Answer(path=Path("a.png"), error=TEXT)])
    # What is called .png is a damaged picture.
    assert found.pop_messages() == [Message(f"named.txt: {TEXT}", 1), Message(f"a.png: {TEXT}", 1)]


def test_format_summary_counts_the_classes_most_frequent_first():
    counts = Counter(superman=4, batman=5, unknown=1)
    assert format_summary(counts, 1.26) == "10 pictures: 5 batman, 4 superman, 1 unknown · 1.3 s"
    assert format_summary(Counter(cat=1234), 12) == "1,234 pictures: 1,234 cat · 12.0 s"
    assert format_summary(Counter(unknown=2), 0.5) == "2 pictures: 2 unknown · 0.5 s"


@pytest.mark.parametrize(
    ("classes", "end"),
    [(5, "2 d, 1 e, 9 unknown"), (6, "2 e, 9 unknown and 1 other class"), (8, "and 3 other classes")],
)
def test_format_summary_names_the_five_most_frequent_classes(classes, end):
    counts = Counter({name: classes - number for number, name in enumerate("abcdefgh"[:classes])})
    assert format_summary(counts + Counter(unknown=9), 1).endswith(f"{end} · 1.0 s")


def test_format_summary_escapes_control_characters():
    assert format_summary(Counter({"a\x1b[2J": 2}), 1) == r"2 pictures: 2 a\x1b[2J · 1.0 s"
