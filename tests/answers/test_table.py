"""Answers as an aligned table, on terminals and elsewhere."""

import pytest

from answers.output import Answer
from answers.table import Table
from tests.helpers.screens import rendered, show_terminal

NAMES = ["ant", "bee", "superwasp"]


def answer(path: str = "a.png", scores: tuple[float, ...] = (0.25, 0.061, 0.7), **values) -> Answer:
    best = max(range(len(scores)), key=scores.__getitem__)
    return Answer(**{"path": path, "predicted": best, "logits": scores, "scores": scores, **values})


def line_of(one: Answer, *, names: list[str] | None = None, top: int = 5, raw: bool = False) -> str:
    return "".join(text for text, _ in Table(names or NAMES, names=[one.path], top=top, raw=raw).line(one)).rstrip()


def test_line_has_the_best_class_first():
    assert line_of(answer()) == "a.png  superwasp  0.700  ant 0.250        bee 0.061"
    assert line_of(answer(scores=(0.061, 0.7, 0.25))) == "a.png  bee        0.700  superwasp 0.250  ant 0.061"


@pytest.mark.parametrize(("top", "line"), [(1, ""), (2, "  ant 0.250"), (3, "  ant 0.250        bee 0.061")])
def test_line_has_at_most_top_classes(top, line):
    assert line_of(answer(), top=top) == f"a.png  superwasp  0.700{line}"


def test_line_leaves_out_scores_that_would_be_shown_as_zero():
    assert line_of(answer(scores=(0.0005, 0.0004999, 0.9))) == "a.png  superwasp  0.900  ant 0.001"


def test_line_has_all_raw_magnitudes_aligned():
    raw = answer(logits=(-12.0, 0.0, 7.5))
    assert line_of(raw, raw=True) == "a.png  superwasp    7.500  bee 0.000          ant -12.000"


def test_line_of_an_unknown_picture_has_its_classes_and_a_remark():
    unknown = answer(unknown=True)
    start = "a.png  unknown        -  superwasp 0.700  ant 0.250"
    assert line_of(unknown, top=2) == f"{start}        like nothing seen"
    assert line_of(unknown, top=1) == "a.png  unknown        -  superwasp 0.700  like nothing seen"


@pytest.mark.parametrize(
    ("agreement", "unknown", "remark"),
    [
        (1.0, False, ""),
        (0.6, False, "  3 of 5 networks agree"),
        (0.2, True, "  like nothing seen, 1 of 5 networks agree"),
    ],
)
def test_line_says_how_many_networks_agree_unless_all_do(agreement, unknown, remark):
    one = answer(agreement=agreement, unknown=unknown)
    line = "".join(text for text, _ in Table(NAMES, names=[one.path], top=1, raw=False, networks=5).line(one))
    assert line.endswith(f"0.700{remark}")


def test_line_has_the_predicted_class_first_even_if_scores_are_equal():
    equal = answer(scores=(1.0, 1.0, 0.0), logits=(80.0, 90.0, 0.0), predicted=1)
    assert line_of(equal) == "a.png  bee        1.000  ant 1.000"


def test_line_escapes_control_characters():
    escaped = line_of(answer("a\x1b[31m\n.png", (0.4, 0.6)), names=["ant", "b\x1b[2J\nee"])
    assert escaped == r"a\x1b[31m\n.png  b\x1b[2J\nee  0.600  ant 0.400"


def test_table_is_as_wide_as_the_longest_name(capsys):
    table = Table(NAMES, names=["a.png", "folder/b.png", "猫.png"], top=1, raw=False)
    table.add([answer("a.png"), answer("bad.png", error="the file is empty"), answer("猫.png")])
    table.add([answer("folder/b.png")])
    assert capsys.readouterr().out.splitlines() == [
        "a.png         superwasp  0.700",
        "猫.png        superwasp  0.700",
        "folder/b.png  superwasp  0.700",
    ]


def test_table_grows_with_names_that_are_not_known_before(capsys):
    table = Table(NAMES, names=[], top=1, raw=False)
    table.add([answer("a.png"), answer("folder/b.png"), answer("c.png")])
    assert capsys.readouterr().out.splitlines() == [
        "a.png  superwasp  0.700",
        "folder/b.png  superwasp  0.700",
        "c.png         superwasp  0.700",
    ]


def test_table_that_is_piped_cuts_nothing(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path, name = "folder/" * 30 + "a.png", "x" * 60
    Table([name, *NAMES], names=[path], top=4, raw=False).add([answer(path, (0.7, 0.2, 0.1, 0.05))])
    assert capsys.readouterr().out.split() == [
        path,
        name,
        "0.700",
        "ant",
        "0.200",
        "bee",
        "0.100",
        "superwasp",
        "0.050",
    ]


def test_table_is_not_padded_to_a_very_long_path(capsys):
    for length, width in ((60, 60), (61, 60)):
        table = Table(NAMES, names=["a.png", "b" * length], top=1, raw=False)
        table.add([answer("a.png"), answer("b" * length)])
        lines = capsys.readouterr().out.splitlines()
        assert lines == [f"{'a.png':<{width}}  superwasp  0.700", f"{'b' * length}  superwasp  0.700"]


def test_line_of_an_unknown_picture_has_classes_beside_long_paths(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", columns=80)
    table = Table(NAMES, names=["a.png", "b" * 40], top=5, raw=False)
    table.add([answer(unknown=True)])
    assert rendered(screen.getvalue()) == [
        "a.png  unknown        -  superwasp 0.700  ant 0.250        …  like nothing seen"
    ]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (65, "folder/folder/a.png  superwasp  0.700  ant 0.250        bee 0.061"),
        (64, "folder/folder/a.png  superwasp  0.700  ant 0.250        …"),
        (57, "folder/folder/a.png  superwasp  0.700  ant 0.250        …"),
        (56, "folder/folder/a.png  superwasp  0.700  …"),
        (40, "folder/folder/a.png  superwasp  0.700  …"),
    ],
)
def test_table_fits_a_terminal(columns, line, monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", columns=columns)
    Table(NAMES, names=["folder/folder/a.png"], top=5, raw=False).add([answer("folder/folder/a.png")])
    assert rendered(screen.getvalue()) == [line]


def test_table_cuts_the_start_of_long_paths_on_a_terminal(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", columns=60)
    path = "folder/" * 9 + "a.png"
    Table(["x" * 30, "bee"], names=[path], top=1, raw=False).add([answer(path, (0.7, 0.1))])
    assert rendered(screen.getvalue()) == [f"…{path[-29:]}  {'x' * 21}…  0.700"]


def test_table_is_colored_on_a_terminal_only(monkeypatch, capsys):
    def shown() -> str:
        screen = show_terminal(monkeypatch, "stdout")
        Table(NAMES, names=["a.png"], top=2, raw=False).add([answer(), answer(unknown=True)])
        return screen.getvalue()

    colored = "a.png  \x1b[32msuperwasp  0.700\x1b[0m\x1b[90m  ant 0.250\x1b[0m\n"
    assert shown().startswith(colored) and "\x1b[33munknown " in shown()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            screen = show_terminal(patch, "stdout")
            patch.setenv(name, value)
            Table(NAMES, names=["a.png"], top=2, raw=False).add([answer()])
            assert screen.getvalue() == "a.png  superwasp  0.700  ant 0.250\n"
