"""What is collected while pictures are answered."""

from pathlib import Path

from answers.output import Answer
from answers.summary import Record

TEXT = "is text, not a picture"


def record(*, named: tuple[str, ...] = (), keep: bool = False) -> Record:
    return Record(["ant", "bee"], named={Path(name) for name in named}, keep=keep)


def test_answers_are_counted_and_kept_only_if_they_are_needed():
    answers = [Answer(path="1", predicted=1), Answer(path="2", predicted=1), Answer(path="3", unknown=True)]
    for keep in (False, True):
        found = record(keep=keep)
        found.add(answers[:2])
        found.add(answers[2:])
        assert found.counts == {"bee": 2, "unknown": 1}
        assert found.answers == (answers if keep else [])
        assert not found.failed


def test_lines_are_told_once():
    found = record()
    found.add([Answer(path="1", note="12-bit levels"), Answer(path=Path("2"), note="12-bit levels")])
    found.add([Answer(path="b\x1b", error="the file is empty")])
    remarks, failures = found.pop_messages()
    assert remarks == ["2 pictures: 12-bit levels: 1, 2"]
    assert failures == [r"b\x1b: the file is empty"]
    assert found.pop_messages() == ([], [])
    assert found.failed


def test_file_that_is_no_picture_is_passed_over_unless_it_was_named():
    found = record(named=("named.txt",))
    found.add([Answer(path=Path("a.txt"), error=TEXT)])
    assert not found.failed
    found.add([Answer(path=Path("named.txt"), error=TEXT), Answer(path=Path("a.png"), error=TEXT)])
    assert found.pop_messages() == (
        ["passed over 1 file that is no picture: a.txt"],
        [f"named.txt: {TEXT}", f"a.png: {TEXT}"],  # what is called .png is a damaged picture
    )
    assert found.failed
