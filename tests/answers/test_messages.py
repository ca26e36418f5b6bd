"""Messages of predict.py about pictures and files."""

from answers import messages
from answers.messages import Message, finish_folder, print_messages
from system.output_folder import OutputFolder
from tests.helpers.screens import rendered, show_terminal


def test_messages_are_printed_with_the_most_serious_last(capsys):
    assert print_messages([]) == 0
    assert print_messages([Message("a remark")]) == 0
    assert print_messages([Message("no space", 2), Message("bad", 1), Message("a remark"), Message("empty", 1)]) == 2
    lines = ["a remark", "a remark", "bad", "empty", "no space"]
    assert capsys.readouterr() == ("", "".join(f"predict.py: {line}\n" for line in lines))


def test_only_problems_are_red(monkeypatch):
    screen = show_terminal(monkeypatch, "stderr")
    assert print_messages([Message("a remark"), Message("bad", 1)]) == 1
    assert screen.getvalue() == "predict.py: a remark\n\x1b[31mpredict.py: bad\x1b[0m\n"


def test_finish_folder_returns_its_problems(tmp_path, monkeypatch, capsys):
    folder = OutputFolder(tmp_path / "out")
    folder.add("a.png", b"one")
    folder.problems.append("b.png: no such file")
    assert finish_folder(folder) == [Message("b.png: no such file", 1)]
    assert capsys.readouterr() == ("", "")
    screen = show_terminal(monkeypatch, "stderr", columns=200)
    finish_folder(folder)
    assert rendered(screen.getvalue()) == [f"{tmp_path / 'out'}: 1 picture added"]
    monkeypatch.setattr(messages, "output_closed", lambda: True)
    finish_folder(folder)
    assert len(rendered(screen.getvalue())) == 1
